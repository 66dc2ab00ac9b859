"""Lively traffic without a kernel: what the screens and the store are tried on.

`Traffic` makes the sessions, the requests in flight and the facts of each second: MongoDB and Kafka with slow, failing,
hanging, one-way and lost requests, a client that appears and an operation that becomes slow in the middle. Real heads,
read by the real protocols: a session's record decodes. The same seed gives the same traffic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from random import Random
from struct import pack
from typing import Any, NamedTuple

from probes.protocols.interface import WireProtocol
from probes.protocols.kafka import Kafka
from probes.protocols.kafka.facts import ClientFacts, GroupFacts, KafkaFacts, LagFacts, ProducerFacts, RoundFacts
from probes.protocols.mongodb import MongoDB
from probes.records import Address, Connection, Head, Process, Reply, Request, Session, Side, Status, Times
from probes.store.reader import Reader
from probes.store.view import Facts, ProcessFacts, Visibility
from probes.store.writer import Writer
from tests.store.model import Model
from tests.unit import kafka_messages
from tests.unit.mongodb_messages import answer, command

SECOND = 1_000_000_000
MS = 1_000_000
START_NS = 1_000 * SECOND
WALL_OFFSET_NS = 1_795_420_801 * SECOND

MONGOD = Process(712, "mongod")
BROKER = Process(903, "java", "4be1c2f07a9d")
SILENT = Process(1180, "node")


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request: `rate` a second, durations log-normal around `median_ms`.

    From `changes_at_s` after the start on it has `later` for what it had before.
    """

    protocol: str
    request: bytes
    reply: bytes
    rate: float
    median_ms: float
    sigma: float = 0.4
    failure: bytes = b""
    error_ratio: float = 0.0
    clients: tuple[str, ...] = ("10.0.0.5", "10.0.3.4", "10.0.3.17")
    size: int = 0  # the reply's true length, where its head was cut
    changes_at_s: float = math.inf
    later: dict[str, Any] | None = None


class Feed(NamedTuple):
    """Where traffic goes."""

    session: Callable[[Session], None]
    fold: Callable[[int], None]
    inflight: Callable[[Sequence[Session], int], None]
    facts: Callable[[Facts], None]


def into(writer: Writer) -> Feed:
    return Feed(writer.session, writer.fold, writer.inflight, writer.facts)


def into_model(model: Model) -> Feed:
    return Feed(model.add, model.fold, model.set_inflight, model.set_facts)


def feed(to: Feed, seconds: int, *, seed: int = 1, scale: float = 1.0) -> Traffic:
    """Gives `to` the traffic of that many seconds, and what waits at their end."""
    traffic = Traffic(seed, scale=scale)
    now_ns = START_NS
    for second in range(1, seconds + 1):
        now_ns = START_NS + second * SECOND
        for session in traffic.second(now_ns):
            to.session(session)
        to.fold(now_ns)
    to.inflight(traffic.waiting(now_ns), now_ns)
    to.facts(traffic.facts(now_ns))
    return traffic


def synthetic_view(seconds: int = 150, *, seed: int = 1, scale: float = 1.0) -> Reader:
    """A view of the traffic of that many seconds, and of what waits at their end (`START_NS` + `seconds`)."""
    writer = Writer(16 << 20, START_NS)
    feed(into(writer), seconds, seed=seed, scale=scale)
    try:
        return Reader(writer.fd)
    finally:
        writer.close()


_OK = answer({"n": 1, "ok": 1.0})
_FOUND = answer(
    {"cursor": {"firstBatch": [{"_id": n, "n": n} for n in range(9)], "id": 0, "ns": "shop.orders"}, "ok": 1.0}
)
_DUPLICATE_TEXT = "E11000 duplicate key error collection: shop.orders index: _id_ dup key: { _id: 7 }"
_DUPLICATE = answer({"n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": _DUPLICATE_TEXT}], "ok": 1.0})
_PRODUCED = {"responses": [{"name": "orders", "partition_responses": [{"index": 0, "base_offset": 41}]}]}
_NOT_LEADER = {"responses": [{"name": "orders", "partition_responses": [{"index": 0, "error_code": 6}]}]}
_FETCHED = {"responses": [{"topic": "orders", "partitions": [{"partition_index": 0, "high_watermark": 51}]}]}
_FETCH = {
    "max_wait_ms": 500,
    "min_bytes": 1,
    "topics": [{"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": 41}]}],
}


def _produce(acks: int) -> bytes:
    data = {"index": 0, "records": kafka_messages.batch(3)}
    fields = {"acks": acks, "timeout_ms": 500, "topic_data": [{"name": "orders", "partition_data": [data]}]}
    return kafka_messages.request_bytes(0, 9, fields, client_id="billing-producer")


LOADS = (
    Load(
        "mongodb",
        command({"find": "orders", "filter": {"status": "new"}, "limit": 101, "$db": "shop"}),
        _FOUND,
        rate=60,
        median_ms=0.9,
        size=44_100,
        changes_at_s=100,
        later={"median_ms": 9.0, "sigma": 0.9},
    ),
    Load(
        "mongodb",
        command({"insert": "orders", "documents": [{"_id": 7, "n": 1}], "$db": "shop"}),
        _OK,
        rate=25,
        median_ms=0.6,
        failure=_DUPLICATE,
        error_ratio=0.02,
        changes_at_s=110,
        later={"error_ratio": 0.7},
    ),
    Load("mongodb", command({"getMore": 771, "collection": "orders", "$db": "shop"}), _FOUND, 9, 1.2),
    Load("mongodb", command({"aggregate": "lines", "pipeline": [], "$db": "shop"}), _FOUND, 3, 18.0, sigma=0.6),
    Load("mongodb", command({"hello": 1, "$db": "admin"}), answer({"ok": 1.0}), 2, 0.1),
    Load("mongodb", command({"insert": "audit", "$db": "shop"}, flags=2), b"", 4, 0.0),
    Load(
        "mongodb",
        command({"count": "orders", "$db": "shop"}),
        _OK,
        rate=0,
        median_ms=2.0,
        clients=("10.0.3.99",),
        changes_at_s=105,
        later={"rate": 30.0},
    ),
    Load(
        "kafka",
        _produce(-1),
        kafka_messages.reply_bytes(0, 9, _PRODUCED),
        rate=40,
        median_ms=1.1,
        failure=kafka_messages.reply_bytes(0, 9, _NOT_LEADER),
        error_ratio=0.01,
        clients=("10.0.3.9", "10.0.3.4"),
    ),
    Load("kafka", _produce(0), b"", 5, 0.0, clients=("10.0.3.9",)),
    Load(
        "kafka",
        kafka_messages.request_bytes(1, 12, _FETCH, client_id="audit-consumer"),
        kafka_messages.reply_bytes(1, 12, _FETCHED),
        rate=6,
        median_ms=480.0,
        sigma=0.02,
        clients=("10.0.3.9",),
    ),
    Load(
        "kafka",
        kafka_messages.request_bytes(8, 8, {"group_id": "billing", "member_id": "m-1"}),
        kafka_messages.reply_bytes(8, 8, {}),
        rate=4,
        median_ms=12.0,
        clients=("10.0.3.9",),
    ),
)


class Traffic:
    """The traffic of `loads`, every rate times `scale`, from `START_NS` on."""

    def __init__(self, seed: int = 1, loads: tuple[Load, ...] = LOADS, scale: float = 1.0) -> None:
        self._random = Random(seed)
        self._loads = loads
        self._scale = scale
        self._connections: dict[tuple[str, str], Connection] = {}
        self._count = 0
        self.protocols: dict[str, WireProtocol] = {"mongodb": MongoDB(), "kafka": Kafka()}
        self._parsed = {load.request: self._parse(load) for load in loads}

    def second(self, end_ns: int) -> list[Session]:
        """The sessions that ended in the second before `end_ns`, in that order."""
        sessions = [session for load in self._loads for session in self._some(load, end_ns)]
        sessions.sort(key=lambda session: session.times.reply_last or session.times.request_last)
        return sessions

    def waiting(self, now_ns: int) -> list[Session]:
        """What is in flight at `now_ns`, oldest first: an aggregate that hangs, a Produce, a Fetch that waits."""
        ages = ((3, 41.0), (7, 3.2), (9, 0.3))
        return [
            self._session(self._loads[index], Status.INFLIGHT, min(now_ns, START_NS + 60 * SECOND) - int(age * SECOND))
            for index, age in ages
            if index < len(self._loads)
        ]

    def facts(self, now_ns: int) -> Facts:
        """What the collector would say at `now_ns`."""
        elapsed = (now_ns - START_NS) // SECOND
        return Facts(
            host="db1",
            started_ns=START_NS,
            wall_offset_ns=WALL_OFFSET_NS,
            collector_pid=4242,
            head_bytes=1024,
            protocols=("mongodb", "kafka"),
            ledger={"seen": 300 * elapsed, "sessions": 298 * elapsed, "waiting": 3, "unparsed": 2, "ring_full": 0},
            ring_bytes=64 << 20,
            ring_used_bytes=2 << 20,
            ring_peak_bytes=7 << 20,
            cpu_percent=1.8,
            rss_bytes=61 << 20,
            kernel_cpu_percent=0.6,
            processes=(
                ProcessFacts(MONGOD, Visibility.SEEN, "", now_ns, (27017,), 64, 61, 96.0, 3 << 30, 88, 412, 0.0, 18e6),
                ProcessFacts(
                    BROKER, Visibility.TLS, "Java's own", 0, (9092, 9093), 61, 14, 21.0, 1 << 30, 71, 530, 0.0, 2.2e6
                ),
                ProcessFacts(SILENT, Visibility.UNCONNECTED),
            ),
            learned={"kafka": json.loads(json.dumps(_learned(now_ns)._asdict()))},
        )

    def _some(self, load: Load, end_ns: int) -> Iterator[Session]:
        random = self._random
        if end_ns - START_NS > load.changes_at_s * SECOND and load.later is not None:
            load = replace(load, **load.later)
        expected = load.rate * self._scale * random.uniform(0.8, 1.2)
        for _ in range(int(expected + random.random())):
            ended_ns = end_ns - random.randrange(SECOND)
            if not load.reply:
                yield self._session(load, Status.ONEWAY, ended_ns)
            elif random.random() < 0.001:
                yield self._session(load, random.choice((Status.LOST, Status.DROPPED)), ended_ns)
            else:
                duration = int(load.median_ms * MS * math.exp(random.gauss(0.0, load.sigma)))
                failed = random.random() < load.error_ratio
                yield self._session(load, Status.ERROR if failed else Status.OK, ended_ns - duration, duration)

    def _session(self, load: Load, status: Status, sent_ns: int, duration_ns: int = 0) -> Session:
        self._count += 1
        request, replied, failed = self._parsed[load.request]
        request = copy(request)
        request.id = self._count
        request.data = _with_id(load.protocol, request.data, self._count)
        connection = self._connection(load)
        reply = copy(failed if status is Status.ERROR else replied)
        times = Times(sent_ns - 80_000, sent_ns)
        if status not in (Status.OK, Status.ERROR) or reply is None:
            return Session(load.protocol, status, Side.SERVER, connection, request, None, times, len(load.request))
        reply.id = self._count
        if load.protocol == "mongodb":
            reply.id += 5000
            reply.data = reply.data[:4] + pack("<ii", reply.id, self._count) + reply.data[12:]
        times = Times(*times[:2], sent_ns + duration_ns, sent_ns + duration_ns + 30_000)
        size = load.size or len(load.reply)
        return Session(load.protocol, status, Side.SERVER, connection, request, reply, times, len(load.request), size)

    def _parse(self, load: Load) -> tuple[Request, Reply | None, Reply | None]:
        protocol, memory = self.protocols[load.protocol], self.protocols[load.protocol].memory(Connection(0, None))
        request = protocol.request(_head(load.request), memory)
        replied, failed = (
            protocol.reply(_head(each), request, memory) if each else None for each in (load.reply, load.failure)
        )
        return request, replied, failed

    def _connection(self, load: Load) -> Connection:
        client = self._random.choice(load.clients)
        mongodb = load.protocol == "mongodb"
        if (load.protocol, client) not in self._connections:
            id = len(self._connections) + 1
            near = Address("10.0.0.9", 27017 if mongodb else 9092)
            self._connections[load.protocol, client] = Connection(
                id, MONGOD if mongodb else BROKER, near, Address(client, 40_000 + id), 4026531840, load.protocol
            )
        return self._connections[load.protocol, client]


def _learned(now_ns: int) -> KafkaFacts:
    """What Kafka's own observer would have learned: of one group much, of another little."""
    rounds = tuple(
        RoundFacts(number, START_NS + at * SECOND, START_NS + at * SECOND + took_ms * MS, members, True, why)
        for number, at, took_ms, members, why in (
            (7, 12, 30, 4, "joined billing-4"),
            (8, 31, 3_040, 3, "timed out billing-2"),
            (9, 45, 120, 4, "joined billing-2"),
        )
    )
    return KafkaFacts(
        (
            GroupFacts("billing", "classic", "Stable", 9, 4, True, 12_430, True, 181.2, 3, rounds),
            GroupFacts("audit", "consumer", "Reconciling", 3, 1, False, None, False, None, 0, ()),
        ),
        (
            LagFacts("billing", "billing-2", "10.0.3.9", "orders", 0, 81_200, 93_600, 12_400, 181.2),
            LagFacts("billing", "billing-1", "10.0.3.9", "orders", 1, 70_000, 70_030, 30, -2.4),
            LagFacts("", "replayer", "10.0.3.17", "orders", 2, 5, None, None, None),
        ),
        (
            ProducerFacts("shop-1", "10.0.3.4", "orders", -1, 24.5, 3_410.0, "zstd", True, "shop-tx", now_ns),
            ProducerFacts("metrics", "10.0.3.8", "lines", 0, None, None, "", None, "", now_ns - 9 * SECOND),
        ),
        (ClientFacts("consumer-1", "10.0.3.9", "apache-kafka-java 3.7.0", "", 12, 1_200, now_ns - 4 * SECOND),),
    )


def _with_id(protocol: str, request: bytes, id: int) -> bytes:
    at, form = (4, "<i") if protocol == "mongodb" else (8, ">i")
    return request[:at] + pack(form, id) + request[at + 4 :]


def _head(message: bytes) -> Head:
    return Head(False, 0, 0, 0, len(message), message)
