"""What l7top says of MongoDB's requests, beside who knows it.

Clients do some of everything, through every compressor that they have; beside each command that they sent, by its
requestID, stands what their driver was told of it. mongod logs every command (`slowms: 0`): beside those, in order on
each connection, stands its log. Compared are operation, target, status, error code, and where the record is not marked
truncated nreturned and n. Each truth may leave things out; nothing that it says may be missing or different. tshark
reads all of the traffic, too.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import MongoClient, UpdateOne, WriteConcern, monitoring
from pymongo.errors import PyMongoError

from tests.agreement import dissected
from tests.agreement.agreement import MISSING, Agreement
from tests.agreement.drivers import HERE, mongodb_go, mongodb_jars, node_modules
from tests.agreement.table import Row
from tests.agreement.tshark import Capture
from tests.live.tool import Record, Requests
from tests.servers import Mongod

Document = dict[str, Any]
DATABASE = "l7top_agreement"
COMPRESSORS = ("none", "zlib", "snappy", "zstd")
_UNKNOWN_COMPRESSORS = {("node", "zstd")}  # its package downloads what it needs
_TITLES = {
    "pymongo": "PyMongo",
    "node": "MongoDB's Node driver",
    "go": "MongoDB's Go driver",
    "java": "MongoDB's Java driver",
    "mongod's log": "mongod's log",
    "tshark, live": "tshark, of MongoDB, live",
    "tshark, from the capture": "tshark, of MongoDB, from the capture",
}
_SETTLE_S = 1.0
_AHEAD = 20  # records among which an entry of the log is looked for


@dataclass(frozen=True, slots=True)
class Truth:
    """One command, as somebody else knows it. None is what is not known."""

    operation: str
    target: str | None
    error_code: int | None  # 0: none
    nreturned: int | None
    n: int | None = None
    acknowledged: bool = True
    ended_us: int = 0  # since the epoch, in the log


def compare(agreement: Agreement, truth: Truth, record: Record | None) -> None:
    agreement.requests[truth.operation] += 1
    agreement.expect("record", True, record is not None, str(truth))
    if record is None:
        return
    if record["status"] == "dropped":
        agreement.dropped += 1
        return
    own, cut = record["mongodb"], record["truncated"]
    agreement.truncated += cut
    status = "oneway" if not truth.acknowledged else "error" if truth.error_code else "ok"
    for name, expected, seen in (
        ("operation", truth.operation, record.get("operation", MISSING)),
        ("target", truth.target, record.get("target", MISSING)),
        ("status", None if truth.error_code is None else status, record["status"]),
        ("error code", truth.error_code, record.get("error_code", 0)),
        ("nreturned", truth.nreturned, own.get("nreturned", MISSING)),
        ("n", truth.n, own.get("n", MISSING)),
    ):
        if expected is not None:
            agreement.expect(name, expected, seen, f"{truth} but {json.dumps(record)}", truncated=cut)


# The drivers.


class _Listener(monitoring.CommandListener):
    """What PyMongo is told of each command, by its requestID."""

    def __init__(self) -> None:
        self.truths: dict[int, Truth] = {}
        self._started: dict[int, monitoring.CommandStartedEvent] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._started[event.request_id] = event

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._ended(event.request_id, dict(event.reply))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._ended(event.request_id, dict(event.failure))

    def _ended(self, id: int, reply: Document) -> None:
        started = self._started.pop(id)
        command = started.command
        name = started.command_name
        own = command.get("collection") if name == "getMore" else command.get(name)
        errors = reply.get("writeErrors") or [{}]
        cursor = reply.get("cursor", {})
        documents = cursor.get("firstBatch", cursor.get("nextBatch")) if isinstance(cursor, dict) else None
        acknowledged = command.get("writeConcern", {}).get("w") != 0
        database = started.database_name
        self.truths[id] = Truth(
            name,
            f"{database}.{own}" if isinstance(own, str) else database,
            reply.get("code") or errors[0].get("code") or 0,
            len(documents) if documents is not None and acknowledged else None,
            int(reply["n"]) if "n" in reply and acknowledged else None,
            acknowledged,
        )


def pymongo_client(mongod: Mongod, rounds: int, compressor: str) -> dict[int, Truth]:
    """Some of everything, by PyMongo in this process."""
    listener = _Listener()
    options: Document = {"appname": f"pymongo-{compressor}"}
    options |= {} if compressor == "none" else {"compressors": compressor}
    with MongoClient[Document](mongod.uri, event_listeners=[listener], **options) as client:
        client[DATABASE]["pymongo"].drop()
        for turn in range(rounds):
            _some_of_everything(client, turn)
    return listener.truths


def _some_of_everything(client: MongoClient[Document], turn: int) -> None:
    database = client[DATABASE]
    orders = database["pymongo"]
    base = turn * 100
    orders.insert_one({"_id": base, "text": "x" * (turn % 700), "deep": {"a": [{"b": turn}]}})
    orders.insert_many([{"_id": base + 1 + n, "n": n, "text": "y" * 30} for n in range(20)])
    if turn % 5 == 0:
        orders.insert_many([{"_id": base + 0.5 + n, "text": "z" * 60} for n in range(300)])
    _fails(lambda: orders.insert_many([{"_id": base}, {"_id": base + 50}, {"_id": base + 1}], ordered=False))
    list(orders.find({"n": {"$gte": 3}}, batch_size=7, limit=30, sort=[("n", 1)]))
    orders.find_one({"_id": base})
    orders.update_one({"_id": base}, {"$set": {"state": "new"}, "$inc": {"n": 1.5}})
    orders.update_many({"n": {"$lt": 5}}, [{"$set": {"state": "$text"}}])
    orders.bulk_write([UpdateOne({"_id": base + n}, {"$inc": {"n": 1}}, upsert=True) for n in range(3)])
    orders.find_one_and_update({"_id": base}, {"$set": {"state": "old"}})
    list(orders.aggregate([{"$match": {"n": {"$gt": 2}}}, {"$group": {"_id": "$n", "c": {"$sum": 1}}}]))
    orders.count_documents({"n": 3})
    orders.estimated_document_count()
    orders.distinct("n")
    database.list_collection_names()
    client.admin.command("ping")
    _fails(lambda: database.command("frobnicate"))
    _fails(lambda: list(orders.find({"$bad": 1})))
    _fails(lambda: database.command("collMod", "missing"))
    orders.with_options(write_concern=WriteConcern(w=0)).insert_one({"_id": base + 90})
    cursor = orders.find({}, batch_size=2)
    next(cursor)
    cursor.close()
    with client.start_session() as session:
        with session.start_transaction():
            orders.insert_one({"_id": -1 - turn}, session=session)
            orders.find_one({"_id": -1 - turn}, session=session)
        session.start_transaction()
        orders.update_one({"_id": base}, {"$set": {"state": "never"}}, session=session)
        session.abort_transaction()
    if turn % 50 == 0:
        with orders.watch(max_await_time_ms=5) as stream:
            stream.try_next()
    orders.delete_many({"_id": {"$gte": base}})


def _fails(action: Callable[[], object]) -> None:
    try:
        action()
    except PyMongoError:
        return
    raise AssertionError("it was to fail")


def program_client(program: Sequence[str], mongod: Mongod, rounds: int, compressor: str) -> dict[int, Truth]:
    """The same by a program that prints what its driver was told of each command."""
    told = subprocess.check_output([*program, mongod.uri, str(rounds), compressor], text=True)
    truths = {}
    for line in told.splitlines():
        event = json.loads(line)
        target = f"{event['database']}.{event['collection']}" if event["collection"] else event["database"]
        known = event["acknowledged"]
        truths[event["request_id"]] = Truth(
            event["command"],
            target,
            event["error_code"] or 0,
            event["nreturned"] if known else None,
            event["n"] if known else None,
            known,
        )
    return truths


def with_driver(records: list[Record], application: str, truths: dict[int, Truth]) -> Agreement:
    """The records of one client, which calls itself `application`, beside what its driver was told."""
    by_id = {r["request_id"]: r for r in records if r["mongodb"].get("app_name") == application}
    agreement = Agreement()
    for id, truth in truths.items():
        record = by_id.get(id)
        compare(agreement, truth, record)
        if record is not None and truth.operation != "endSessions" and record["status"] != "dropped":
            # No client waits for the answer to endSessions.
            agreement.expect("seen from", "both", record["seen_from"], json.dumps(record))
    return agreement


# mongod's log.


def logged(mongod: Mongod, since_us: int) -> dict[str, list[Truth]]:
    """What mongod logged since then of the commands of each client's address, in order.

    Left out are handshakes, which it also logs long after they came, and what it does by itself within a command: reads
    of its own collections.
    """
    truths: dict[str, list[Truth]] = defaultdict(list)
    for time_us, attributes in _commands_of_log(mongod):
        command = attributes["command"]
        name = next(iter(command))
        database, _, collection = attributes["ns"].partition(".")
        if time_us < since_us or name in _NOT_COMPARED or database == "config":
            continue
        if collection.startswith("$cmd"):
            collection = command[name] if isinstance(command[name], str) else ""
        truths[attributes["remote"]].append(
            Truth(
                name,
                f"{database}.{collection}" if collection else database,
                attributes.get("errCode") if attributes.get("ok", 1) == 0 else None,
                attributes.get("nreturned"),
                ended_us=time_us,
            )
        )
    return truths


# Handshakes; and "u", by which it logs a command that it does not know.
_NOT_COMPARED = frozenset({"hello", "ismaster", "isMaster", "u"})


def _commands_of_log(mongod: Mongod) -> Iterator[tuple[int, Document]]:
    for line in (mongod.directory / "log").read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        attributes = entry.get("attr", {})
        if entry.get("msg") == "Slow query" and attributes.get("type") == "command" and "remote" in attributes:
            yield int(datetime.fromisoformat(entry["t"]["$date"]).timestamp() * 1e6), attributes


def with_log(records: list[Record], logs: dict[str, list[Truth]]) -> Agreement:
    """The records beside mongod's log: on each connection the commands that it logged, in its order.

    It does not log all: a record without an entry is passed over.
    """
    by_client: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record["time_us"]):
        by_client[record.get("client", "")].append(record)
    agreement = Agreement()
    for remote, truths in logs.items():
        its, at = by_client.get(remote, []), 0
        for truth in truths:
            ahead = range(at, min(at + _AHEAD, len(its)))
            found = next((n for n in ahead if _may_be(its[n], truth)), None)
            compare(agreement, truth, None if found is None else its[found])
            at = at if found is None else found + 1
    return agreement


def programs() -> dict[str, tuple[str, ...]]:
    """The programs of other drivers, by the beginning of their names."""
    java = ("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", f"{mongodb_jars()}/*")
    return {
        "node": ("env", f"NODE_MODULES={node_modules()}", "node", str(HERE / "mongodb_node.mjs")),
        "go": (str(mongodb_go()),),
        "java": (*java, str(HERE / "MongodbJava.java")),
    }


def _may_be(record: Record, truth: Truth) -> bool:
    """Whether the record is of this command, which ended within the millisecond that the log says."""
    same = record.get("operation", "").lower() == truth.operation.lower()
    return same and bool(record["time_us"] <= truth.ended_us + 1_000)


def agree(
    rounds: int, head_bytes: int = 1024, others: Mapping[str, Sequence[str]] | None = None
) -> Iterator[tuple[str, Agreement]]:
    """Runs PyMongo and the `others`, and hands out what each truth says, by its name."""
    with Mongod(replica_set=True, options=("--slowms", "0")) as mongod:
        tool = Requests("protocol:mongodb", f"--head-bytes={head_bytes}", f"--pid={mongod.pid}")
        truths: dict[str, dict[int, Truth]] = {}
        with tool, Capture(mongod.port, "mongo") as capture:
            since_us = int(time.time() * 1e6)
            for compressor in COMPRESSORS:
                truths[f"pymongo-{compressor}"] = pymongo_client(mongod, rounds, compressor)
                for name, program in (others or {}).items():
                    if (name, compressor) not in _UNKNOWN_COMPRESSORS:
                        truths[f"{name}-{compressor}"] = program_client(program, mongod, rounds, compressor)
            time.sleep(_SETTLE_S)
            logs = logged(mongod, since_us)
            capture.stop()
            records = tool.stop()
            again = capture.records(f"--head-bytes={head_bytes}")
            dissections = [
                (f"tshark, {source}", dissected.mongodb(capture.messages(), its))
                for source, its in (("live", records), ("from the capture", again))
            ]
        losses = {cause: n for cause, n in tool.ledger.items() if cause in ("ring_full", "dropped", "unpaired") and n}
        print(f"{len(records):,} requests, --head-bytes {head_bytes}, lost by l7top: {losses or 'none'}", flush=True)
        for application, told in truths.items():
            yield application, with_driver(records, application, told)
        yield "mongod's log", with_log(records, logs)
        yield from dissections


def rows(rounds: int, head_bytes: int) -> tuple[list[Row], list[str]]:
    """A row for each truth, and the details of those that differ."""
    by_truth: dict[str, Agreement] = defaultdict(Agreement)
    for name, agreement in agree(rounds, head_bytes, programs()):
        by_truth[_TITLES[name.partition("-")[0]]].add(agreement)
    details = [agreement.table(title) for title, agreement in by_truth.items() if not agreement.agrees]
    return [agreement.row(title) for title, agreement in by_truth.items()], details
