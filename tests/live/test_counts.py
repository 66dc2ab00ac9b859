"""What real drivers say they sent is what the tool shows, to the unit: from either end, before and after the start."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.live.clients.process import ClientProcess, Report, run_client
from tests.live.splicing import SplicingProxy
from tests.live.tool import Record, Requests, of_process
from tests.servers import ApacheKafka, Broker, Mongod, Tansu

pytestmark = pytest.mark.live

SIDES = ("server", "client", "both")
# (connections, whether they stand before the tool starts)
WHEN = pytest.mark.parametrize(("threads", "older"), [(1, True), (1, False), (8, True), (8, False)])
# What no run may have, on the one port that is looked at.
NEVER = (
    *("dropped", "unparsed", "parser_error", "evicted", "late"),
    *("ring_full", "unreadable", "connections_full", "calls_full", "too_many_in_a_call"),
)


class Seen:
    """The records of one client's run, and the tool's ledger."""

    def __init__(self, records: Iterable[Record], ledger: dict[str, int], report: Report) -> None:
        self.records = list(records)
        self.ledger = ledger
        self.report = report

    def of(self, operation: str) -> list[Record]:
        return [r for r in self.records if r.get("operation") == operation]

    def statuses(self, operation: str) -> Counter[str]:
        return Counter(r["status"] for r in self.of(operation))

    def assert_nothing_lost(self) -> None:
        assert {cause: n for cause in NEVER if (n := self.ledger.get(cause, 0))} == {}


def watch(program: str, *, port: int, older: bool, arguments: tuple[str, ...] = (), **options: Any) -> Seen:
    """Runs a client program beside the tool, its connections made before or after the tool's start.

    The tool looks at this port only: its ledger is then of this server alone, whatever else the host is doing.
    """
    protocol = "mongodb" if program.startswith("mongo") else "kafka"
    arguments = (*arguments, "--protocols", protocol, "--ports", f"{protocol}={port}")
    with ExitStack() as stack:
        if older:
            client = stack.enter_context(ClientProcess(program, port=port, **options))
            tool = stack.enter_context(Requests(*arguments))
        else:
            tool = stack.enter_context(Requests(*arguments))
            client = stack.enter_context(ClientProcess(program, port=port, **options))
        pid = client.pid
        report = client.finish()
        records = tool.stop()
    mine = [r for r in records if f":{port}" in r.get("server", "")]
    with_client = [r for r in mine if r.get("client_process", {}).get("pid", pid) == pid]
    return Seen(with_client, tool.ledger, report)


def new_topic(broker: Broker) -> str:
    """A topic whose leader is known already: no client has to try twice."""
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    broker.create_topic(topic)
    return topic


@WHEN
@pytest.mark.parametrize("side", SIDES)
def test_finds_by_pymongo(mongod: Mongod, side: str, threads: int, older: bool) -> None:
    seen = watch("mongo_find", port=mongod.port, older=older, threads=threads, count=10_007, arguments=("--side", side))
    assert seen.report["commands"]["sent"]["find"] == 10_007
    assert seen.statuses("find") == {"ok": 10_007}
    assert {r["target"] for r in seen.of("find")} == {"l7top_test.orders"}
    assert {r["seen_from"] for r in seen.of("find")} == {"both"}
    assert len({r["client"] for r in seen.of("find")}) == threads
    seen.assert_nothing_lost()


@pytest.mark.parametrize("threads", [1, 8])
def test_ends_whose_peer_is_not_seen(mongod: Mongod, threads: int) -> None:
    """A proxy that splices stands between: one connection is seen from the client only, the other from the server."""
    with SplicingProxy(mongod.port) as proxy:
        ports = f"mongodb={proxy.port},{mongod.port}"
        with Requests("--protocols", "mongodb", "--ports", ports) as tool:
            report = run_client("mongo_find", port=proxy.port, threads=threads, count=10_007)
            records = tool.stop()
    assert report["commands"]["sent"]["find"] == 10_007
    finds = [r for r in records if r.get("operation") == "find"]
    assert Counter((r["server"], r["seen_from"], r["status"]) for r in finds) == {
        (f"127.0.0.1:{proxy.port}", "client", "ok"): 10_007,
        (f"127.0.0.1:{mongod.port}", "server", "ok"): 10_007,
    }
    assert {cause: n for cause in NEVER if (n := tool.ledger.get(cause, 0))} == {}


def test_finds_over_a_unix_socket_are_seen_from_both_ends(mongod: Mongod) -> None:
    with (
        ClientProcess("mongo_unix", port=mongod.port, count=101, directory=mongod.directory) as client,
        Requests() as tool,
    ):
        client.finish()
        records = of_process(tool.stop(), client.pid)
    finds = [r for r in records if r["operation"] == "find"]
    assert {(r["seen_from"], r["server"], r["server_process"]["pid"]) for r in finds} == {
        ("both", str(mongod.unix_socket), mongod.pid)
    }
    assert len(finds) == 101


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("replicated", [False, True])
def test_duplicate_keys_in_bulk_inserts(request: pytest.FixtureRequest, older: bool, replicated: bool) -> None:
    server: Mongod = request.getfixturevalue("mongod_replica_set" if replicated else "mongod")
    seen = watch("mongo_bulk_duplicates", port=server.port, older=older, count=101)
    inserts = [r for r in seen.of("insert") if r["target"] == "l7top_test.unique"]
    assert Counter((r["status"], r.get("error_code"), r.get("error_name")) for r in inserts) == {
        ("error", 11000, "DuplicateKey"): 101
    }
    assert {r["error_side"] for r in inserts} == {"client"}
    assert {len(r["mongodb"]["errors"]) for r in inserts} == {3}
    seen.assert_nothing_lost()


def test_unacknowledged_inserts_are_oneway(mongod: Mongod) -> None:
    seen = watch("mongo_w0", port=mongod.port, older=True, count=307)
    assert seen.statuses("insert") == {"oneway": 307}
    seen.assert_nothing_lost()


def test_failing_commands_of_a_client_that_leaves(mongod: Mongod) -> None:
    seen = watch("mongo_failing", port=mongod.port, older=True, count=109)
    failed = [r for r in seen.records if r["status"] == "error"]
    assert sum(seen.report["commands"]["failed"].values()) == 109
    assert Counter(r["operation"] for r in failed) == seen.report["commands"]["failed"]
    assert all(r["error_code"] and r["error_name"] for r in failed)
    seen.assert_nothing_lost()


@WHEN
@pytest.mark.parametrize("side", SIDES)
def test_produces_by_librdkafka(apache_kafka: ApacheKafka, side: str, threads: int, older: bool) -> None:
    topic = new_topic(apache_kafka)
    seen = watch(
        "kafka_produce_librdkafka",
        port=apache_kafka.port,
        older=older,
        threads=threads,
        count=1_009,
        topic=topic,
        arguments=("--side", side),
    )
    assert seen.report["requests"]["Produce"] == 1_009
    assert seen.statuses("Produce") == {"ok": 1_009}
    assert {r["target"] for r in seen.of("Produce")} == {topic}
    assert {r["kafka"]["client_id"] for r in seen.of("Produce")} == {"l7top-librdkafka"}
    assert {r["seen_from"] for r in seen.of("Produce")} == {"both"}
    seen.assert_nothing_lost()


def test_produces_without_acknowledgement_are_oneway(apache_kafka: ApacheKafka) -> None:
    topic = new_topic(apache_kafka)
    seen = watch("kafka_produce_librdkafka", port=apache_kafka.port, older=True, count=307, acks="0", topic=topic)
    assert seen.statuses("Produce") == {"oneway": 307}
    seen.assert_nothing_lost()


@pytest.mark.parametrize("program", ["kafka_produce_librdkafka", "kafka_produce_python", "JavaProduce"])
def test_produces_to_tansu_and_to_kafka(tansu: Tansu, apache_kafka: ApacheKafka, program: str) -> None:
    server: Broker = apache_kafka if program == "JavaProduce" else tansu
    seen = watch(program, port=server.port, older=True, count=307, topic=new_topic(server))
    assert seen.statuses("Produce") == {"ok": 307}
    seen.assert_nothing_lost()


@pytest.mark.parametrize("program", ["kafka_consume_python", "kafka_consume_librdkafka"])
def test_fetches_are_long_polls_and_never_durations(apache_kafka: ApacheKafka, program: str) -> None:
    topic = new_topic(apache_kafka)
    run_client("kafka_produce_librdkafka", port=apache_kafka.port, count=211, topic=topic)
    seen = watch(program, port=apache_kafka.port, older=False, count=211, topic=topic, group=topic)
    fetches = [r for r in seen.of("Fetch") if topic in r["targets"]]
    assert fetches
    assert all(r["long_poll"] and "duration_ns" not in r for r in fetches)
    assert {r["status"] for r in fetches} <= {"ok", "inflight", "lost"}
    assert {r["target"] for r in seen.of("JoinGroup")} == {topic}
    assert all(r["long_poll"] for r in seen.of("JoinGroup"))
    seen.assert_nothing_lost()
