"""What is recorded on its way to the pairing replays to the sessions that the pairing told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.options import CaptureOptions
from probes.outputs.record import WallClock, session_record
from probes.outputs.recording.files import Files, RecordingEndedError
from probes.outputs.recording.tap import MAX_UNCONFIRMED, PATIENCE_NS, Tap, recordable
from probes.outputs.recording.writer import Recording
from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB
from probes.records import Address, Connection, Head, Ledger, Process, Session, Side, Status
from probes.sessions.ends import Ends
from probes.sessions.pairing import Pairing
from tests.recording.replay import packets, sessions
from tests.unit.fake_protocol import FakeProtocol
from tests.unit.kafka_messages import encoded, framed, reply_header, request_header
from tests.unit.mongodb_messages import REPLY_END, answer, command
from tests.unit.test_kafka_masking import record_batch

SECRET = "s3cr3t!"
MS = 1_000_000
SERVER, CLIENT = Address("127.0.0.1", 27017), Address("127.0.0.1", 51544)
MONGOD, BILLING = Process(712, "mongod", "c0ffee"), Process(99, "billing")
NAMESPACE = 4_026_531_840
HEAD_BYTES, TAIL_BYTES = 1024, 512


class Host:
    """A pairing with a tap before it, and connections that tell it what passes."""

    def __init__(self, path: Path, options: CaptureOptions | None = None) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self.recording = Recording(Files(path), 0, literals=False)
        self.tap = Tap(self.recording, options or CaptureOptions())
        self.sessions: list[Session] = []
        self.protocols = {protocol.name: protocol for protocol in (MongoDB(), Kafka())}
        ledger = Ledger()
        self.ends = Ends(self.sessions.append, ledger)
        spoken = tuple(map(self.tap.watched, self.protocols.values()))
        self.pairing = Pairing(spoken, self.ends.session, ledger, strict=True)
        self.sink = self.tap.before(_Both(self.pairing, self.ends), self.pairing.asks)
        self.now_ns = 0

    def connection(self, number: int, *, server: bool, client_port: int = CLIENT.port) -> Connection:
        client = CLIENT._replace(port=client_port)
        ends = (SERVER, client) if server else (client, SERVER)
        return self._opened(Connection(number, MONGOD if server else BILLING, *ends, NAMESPACE))

    def unix_socket(self, number: int, *, server: bool) -> Connection:
        """One end of a socket; the other end's number is one more or less."""
        path, nowhere = Address("/run/mongodb.sock", 0), Address("", 0)
        process, ends = (MONGOD, (path, nowhere)) if server else (BILLING, (nowhere, path))
        inodes = (70, 71) if server else (71, 70)
        return self._opened(Connection(number, process, *ends, NAMESPACE, inodes=inodes))

    def _opened(self, connection: Connection) -> Connection:
        self.sink.opened(connection)
        return connection

    def pass_by(self, events: Iterable[tuple[Connection, Head]]) -> None:
        for connection, head in events:
            self.sink.message(connection, head)
            self.now_ns = max(self.now_ns, head.last_ns)

    def close(self, connection: Connection, ns: int) -> None:
        self.sink.closed(connection, ns)
        self.now_ns = max(self.now_ns, ns)

    def tick(self, after_ns: int) -> None:
        self.now_ns += after_ns
        self.ends.tick(self.now_ns)
        self.pairing.tick(self.now_ns)
        self.tap.tick(self.now_ns)

    def finish(self) -> list[Session]:
        """All sessions, those that wait last; what was recorded is written."""
        self.pairing.tick(self.now_ns + 3_000 * MS)
        for seconds in (6, 9, 12):
            self.ends.tick(self.now_ns + seconds * 1_000 * MS)
        self.tap.finish()
        self.recording.close()
        return self.sessions + self.ends.waiting(self.pairing.waiting(self.now_ns))


class _Both:
    def __init__(self, pairing: Pairing, ends: Ends) -> None:
        self._pairing, self._ends = pairing, ends
        self.message, self.unseen, self.addressed = pairing.message, pairing.unseen, ends.addressed
        self.missed, self.exchange, self.pair = pairing.missed, ends.exchange, pairing.pair

    def opened(self, connection: Connection) -> None:
        self._ends.opened(connection)
        self._pairing.opened(connection)

    def closed(self, connection: Connection, ns: int) -> None:
        self._pairing.closed(connection, ns)
        self._ends.closed(connection, ns)


def head(data: bytes, number: int, ns: int, *, outbound: bool, took_ns: int = 0) -> Head:
    tail = data[max(HEAD_BYTES, len(data) - TAIL_BYTES) :] if not data[2:3] or data[12:16] == b"\xdd\x07\0\0" else b""
    return Head(outbound, number, ns, ns + took_ns, len(data), data[:HEAD_BYTES], tail)


def records(found: Iterable[Session], protocols: Any) -> list[dict[str, Any]]:
    """The sessions as their records, but for what is hidden in a recording, in the order of time."""
    clock = WallClock(0)
    shown = [session_record(s, protocols[s.protocol].record(s, literals=False), clock) for s in found]
    for record in shown:
        record.pop("error", None)
    return sorted(shown, key=lambda record: (record["time_us"], record.get("request_id", 0)))


def assert_replays(host: Host) -> list[dict[str, Any]]:
    live = records(host.finish(), host.protocols)
    again, protocols = sessions(host.path)
    assert records(again, protocols) == live
    assert SECRET.encode()[:5] not in host.path.read_bytes()
    return live


FIND = {"find": "orders", "filter": {"name": SECRET}, "$db": "shop"}


def found(count: int, cursor: int = 0) -> dict[str, Any]:
    batch = [{"number": number, "name": SECRET} for number in range(count)]
    return {"cursor": {"firstBatch": batch, "id": Int64(cursor), "ns": "shop.orders"}, **REPLY_END}


@given(
    exchanges=st.lists(
        st.tuples(
            st.integers(0, 400),  # documents in the reply
            st.integers(0, 5_000),  # µs until the server has read the request, and until it answers
            st.integers(0, 5_000),
            st.booleans(),  # whether the messages took their time
        ),
        min_size=2,
        max_size=12,
    ),
    closes=st.booleans(),
    answered=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_both_ends_of_a_connection_replay_to_the_same_sessions(
    tmp_path: Path, exchanges: list[tuple[int, int, int, bool]], closes: bool, answered: bool, shuffle: Any
) -> None:
    host = Host(tmp_path / "it.pcapng")
    server, client = host.connection(1, server=True), host.connection(2, server=False)
    events: list[tuple[Connection, Head]] = []
    ns = 1_000 * MS
    for number, (count, reads_us, answers_us, slow) in enumerate(exchanges):
        asked = command(FIND, id=100 + number)
        took_ns = 700 if slow else 0
        events.append((client, head(asked, number, ns, outbound=True, took_ns=took_ns)))
        ns += took_ns + reads_us * 1_000
        events.append((server, head(asked, number, ns, outbound=False, took_ns=took_ns)))
        ns += took_ns + answers_us * 1_000 + 1
        if answered or number < len(exchanges) - 1:
            reply = answer(found(count, cursor=count * 7), id=500 + number, to=100 + number)
            events.append((server, head(reply, number, ns, outbound=True, took_ns=took_ns)))
            events.append((client, head(reply, number, ns + 2_000, outbound=False, took_ns=took_ns)))
            ns += 10_000
    for index in range(0, len(events) - 1, 3):  # two CPUs may tell in another order
        if shuffle.random() < 0.3:
            events[index], events[index + 1] = events[index + 1], events[index]
    host.pass_by(events)
    if closes:
        for connection in (server, client):
            host.close(connection, ns + MS)

    live = assert_replays(host)

    assert len(live) == len(exchanges)
    assert {record["seen_from"] for record in live if record["status"] == "ok"} <= {"both"}
    assert all(record["server_process"] == {"pid": 712, "name": "mongod", "container": "c0ffee"} for record in live)
    if not answered:
        assert live[-1]["status"] == ("lost" if closes else "inflight")


def test_a_fetch_with_records_and_a_produce_without_an_answer(tmp_path: Path) -> None:
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)
    asked = {"max_wait_ms": 500, "min_bytes": 1, "topics": [{"topic": "orders", "partitions": [{"fetch_offset": 3}]}]}
    records_of_topic = record_batch() * 12
    given_back = {"partition_index": 0, "high_watermark": 9, "records": records_of_topic}
    delivered = {"responses": [{"topic": "orders", "partitions": [given_back]}]}
    produced = {"acks": 0, "topic_data": [{"name": "orders", "partition_data": [{"records": records_of_topic}]}]}
    host.pass_by(
        [
            (connection, head(_request(1, 11, 7, asked), 0, 1_000 * MS, outbound=False)),
            (connection, head(_reply(1, 11, 7, delivered), 0, 1_400 * MS, outbound=True)),
            (connection, head(_request(0, 7, 8, produced), 1, 1_500 * MS, outbound=False)),
            (connection, head(_request(1, 11, 9, asked), 2, 1_600 * MS, outbound=False)),
        ]
    )

    live = assert_replays(host)

    assert [(r["operation"], r["status"]) for r in live] == [
        ("Fetch", "ok"),
        ("Produce", "oneway"),
        ("Fetch", "inflight"),
    ]
    assert live[0]["kafka"]["partitions"][0]["lag"] == 6


def _request(api_key: int, version: int, id: int, fields: dict[str, Any]) -> bytes:
    return framed(request_header(api_key, version, id) + encoded(api_key, version, "request", fields))


def _reply(api_key: int, version: int, id: int, fields: dict[str, Any]) -> bytes:
    return framed(reply_header(api_key, version, id) + encoded(api_key, version, "response", fields))


def test_messages_out_of_order_are_written_in_order(tmp_path: Path) -> None:
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)
    heads = [head(command(FIND, id=number), number, 1_000 * MS + number, outbound=False) for number in range(6)]
    host.pass_by((connection, heads[number]) for number in (0, 1, 3, 2, 5, 4))

    assert [r["request_id"] for r in assert_replays(host)] == list(range(6))
    sequences = [packet.sequence for packet in packets(host.path)]
    assert sequences == sorted(sequences)


def test_nothing_is_written_of_a_connection_that_nobody_understands(tmp_path: Path) -> None:
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)
    data = len(SECRET * 9).to_bytes(4, "big") + SECRET.encode() * 9
    host.pass_by((connection, head(data, number, number * MS, outbound=False)) for number in range(MAX_UNCONFIRMED * 3))
    host.close(connection, 100 * MS)
    for _ in range(3):
        host.tick(PATIENCE_NS)

    assert host.finish() == []
    assert list(packets(host.path)) == []


def test_a_reply_to_nothing_holds_up_nothing_for_long(tmp_path: Path) -> None:
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)
    surplus = answer({"ok": 1.0, "name": SECRET}, id=9, to=77)
    host.pass_by(
        [
            (connection, head(command(FIND, id=1), 0, 1_000 * MS, outbound=False)),
            (connection, head(surplus, 0, 1_001 * MS, outbound=True)),
            (connection, head(answer(found(1), id=10, to=1), 1, 1_002 * MS, outbound=True)),
        ]
    )
    host.tick(100 * MS)
    assert [packet.length for packet in packets(host.path)] == [len(command(FIND))]
    host.tick(PATIENCE_NS)

    assert sum(packet.length for packet in packets(host.path)) == sum(
        map(len, (command(FIND), surplus, answer(found(1))))
    )
    (record,) = assert_replays(host)
    assert record["status"] == "ok"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (CaptureOptions(), 4),
        (CaptureOptions(side=Side.SERVER), 2),
        (CaptureOptions(side=Side.CLIENT), 2),
        (CaptureOptions(pids=frozenset({99})), 2),
        (CaptureOptions(pids=frozenset({5})), 0),
    ],
)
def test_only_what_was_asked_for_is_recorded(tmp_path: Path, options: CaptureOptions, kept: int) -> None:
    host = Host(tmp_path / "it.pcapng", options)
    ends = host.connection(1, server=True), host.connection(2, server=False)
    for connection in ends:
        outbound = connection.process is BILLING
        host.pass_by(
            [
                (connection, head(command(FIND), 0, 1_000 * MS, outbound=outbound)),
                (connection, head(answer(found(1)), 0, 1_001 * MS, outbound=not outbound)),
            ]
        )
    host.finish()

    assert len(list(packets(host.path))) == kept


def test_where_the_recording_ends_the_capture_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)

    def full(*_: object) -> None:
        raise RecordingEndedError("no space left on device")

    monkeypatch.setattr(host.recording, "message", full)
    events = [
        event
        for number in range(3)
        for event in (
            (connection, head(command(FIND, id=number), number, 1_000 * MS, outbound=False)),
            (connection, head(answer(found(1), to=number), number, 1_001 * MS, outbound=True)),
        )
    ]
    host.pass_by(events)
    host.tick(100 * MS)

    assert host.tap.ended == "no space left on device"
    assert [session.status for session in host.finish()] == [Status.OK] * 3


@pytest.mark.parametrize("closes", [False, True])
def test_so_it_does_where_the_recording_ends_with_what_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    """A reply that nobody asked for waits until it is too old, or its connection has ended."""
    host = Host(tmp_path / "it.pcapng")
    connection = host.connection(1, server=True)
    host.pass_by(
        [
            (connection, head(command(FIND), 0, 1_000 * MS, outbound=False)),
            (connection, head(answer(found(1)), 0, 1_001 * MS, outbound=True)),
            (connection, head(answer(found(1), to=77), 1, 1_002 * MS, outbound=True)),
        ]
    )

    def full(*_: object) -> None:
        raise RecordingEndedError("no space left on device")

    monkeypatch.setattr(host.recording, "ended" if closes else "message", full)
    if closes:
        host.close(connection, 1_003 * MS)
    host.tick(PATIENCE_NS)
    host.tick(PATIENCE_NS)

    assert host.tap.ended == "no space left on device"
    assert [session.status for session in host.finish()] == [Status.OK]


def test_of_a_protocol_that_does_not_know_better_only_lengths_are_recorded() -> None:
    protocol = FakeProtocol("fake")
    data = SECRET.encode() * 9
    given = Head(True, 0, 1, 2, len(data), data, data[-9:])

    assert recordable(protocol, given, None, None, literals=False) == Head(True, 0, 1, 2, len(data), b"")


class _Broken(FakeProtocol):
    def recordable(self, head: Head, message: object, request: object, *, literals: bool) -> Head:
        raise ZeroDivisionError


def test_a_bug_in_masking_costs_what_the_message_holds() -> None:
    given = Head(True, 0, 1, 2, 9, b"s3cr3t!!!", b"!!!")

    assert recordable(_Broken("fake"), given, None, None, literals=True) == Head(True, 0, 1, 2, 9, b"")


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.outputs.recording.tap.MAX_KEPT", 20)
    host = Host(tmp_path / "it.pcapng")
    for number in range(100):
        connection = host.connection(number, server=True, client_port=1000 + number)
        host.pass_by([(connection, head(b"\0\0\0\x09anything", 0, number * MS, outbound=False))])

    assert len(host.tap._messages) == 20


def test_both_ends_of_a_unix_socket_replay_to_the_same_sessions(tmp_path: Path) -> None:
    host = Host(tmp_path / "it.pcapng")
    server, client = host.unix_socket(1, server=True), host.unix_socket(2, server=False)
    for number in range(3):
        ns, asked, replied = (
            (1_000 + number) * MS,
            command(FIND, id=number),
            answer(found(2), id=90 + number, to=number),
        )
        host.pass_by(
            [
                (client, head(asked, number, ns, outbound=True)),
                (server, head(asked, number, ns + 1, outbound=False)),
                (server, head(replied, number, ns + 2, outbound=True)),
                (client, head(replied, number, ns + 3, outbound=False)),
            ]
        )

    live = assert_replays(host)

    assert [(record["seen_from"], record["server"]) for record in live] == [("both", "/run/mongodb.sock")] * 3
