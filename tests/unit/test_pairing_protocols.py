"""Pairing with the real parsers: the drivers' habits that pairing has to know."""

from __future__ import annotations

import struct

import bson

from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB
from probes.records import Connection, Head, Ledger, Process, Session, Status
from probes.sessions.pairing import Pairing
from tests.unit.mongodb_messages import answer, command, message

MORE_TO_COME, EXHAUST_ALLOWED = 2, 1 << 16
OP_INSERT, OP_QUERY, OP_REPLY = 2002, 2004, 1


class Server:
    """A server's connection: `receives` and `sends` are one whole message each."""

    def __init__(self, label: str = "") -> None:
        self.sessions: list[Session] = []
        self.ledger = Ledger()
        self.pairing = Pairing([MongoDB(), Kafka()], self.sessions.append, self.ledger, strict=True)
        self.connection = Connection(1, Process(1, "server"), protocol=label)
        self.pairing.opened(self.connection)
        self.numbers = [0, 0]
        self.ns = 0

    def _message(self, outbound: bool, data: bytes) -> None:
        self.ns += 1_000
        number = self.numbers[outbound]
        self.numbers[outbound] += 1
        self.pairing.message(self.connection, Head(outbound, number, self.ns, self.ns, len(data), data))

    def receives(self, data: bytes) -> None:
        self._message(False, data)

    def sends(self, data: bytes) -> None:
        self._message(True, data)

    def told(self) -> list[tuple[str, str, Status]]:
        return [(s.protocol, s.request.operation if s.request else "", s.status) for s in self.sessions]


def test_mongodb_find_and_an_unacknowledged_insert() -> None:
    server = Server()
    server.receives(command({"insert": "orders", "documents": [], "$db": "shop"}, flags=MORE_TO_COME, id=7))
    server.receives(command({"find": "orders", "filter": {}, "$db": "shop"}, id=8))
    server.sends(answer({"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "no"}, id=900, to=8))
    assert server.told() == [("mongodb", "insert", Status.ONEWAY), ("mongodb", "find", Status.ERROR)]
    assert server.connection.protocol == "mongodb"


def test_mongodb_streaming_hello() -> None:
    server = Server()
    hello = {"hello": 1, "topologyVersion": {"counter": 0}, "maxAwaitTimeMS": 10_000, "$db": "admin"}
    server.receives(command(hello, flags=EXHAUST_ALLOWED, id=7))
    for answers, id in ((7, 900), (900, 901), (901, 902)):
        server.sends(answer({"ok": 1.0}, flags=MORE_TO_COME, id=id, to=answers))
    assert server.told() == [("mongodb", "hello", Status.OK)] * 3
    assert all(s.request is not None and s.request.long_poll for s in server.sessions)
    assert [s.request.id for s in server.pairing.waiting(10**9) if s.request] == [902]


def test_mongodb_legacy_insert_and_getlasterror_with_one_id() -> None:
    server = Server()
    name = struct.pack("<i", 0) + b"shop.orders\0"
    server.receives(message(OP_INSERT, name + bson.encode({"_id": 1}), id=7))
    query = struct.pack("<i", 0) + b"shop.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode({"getlasterror": 1})
    server.receives(message(OP_QUERY, query, id=7))
    reply = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode({"ok": 1.0, "n": 0})
    server.sends(message(OP_REPLY, reply, id=900, to=7))
    assert server.told() == [("mongodb", "insert", Status.ONEWAY), ("mongodb", "getlasterror", Status.OK)]


def test_kafka_is_confirmed_by_its_first_reply() -> None:
    server = Server()
    client_id = b"rdkafka"
    header = struct.pack(">hhih", 18, 0, 1, len(client_id)) + client_id  # ApiVersions v0
    server.receives(struct.pack(">i", len(header)) + header)
    assert server.told() == []
    body = struct.pack(">ihi", 1, 0, 0)  # correlation id, no error, no keys
    server.sends(struct.pack(">i", len(body)) + body)
    assert server.told() == [("kafka", "ApiVersions", Status.OK)]


def test_kafka_tokens_after_the_first_version_of_the_handshake() -> None:
    server = Server()
    frames = [
        (struct.pack(">hhih", 17, 0, 1, 1) + b"x" + struct.pack(">h", 5) + b"PLAIN", True),
        (struct.pack(">ihih", 1, 0, 1, 5) + b"PLAIN", False),
        (b"\0user\0secret", True),
        (b"", False),
        (struct.pack(">hhih", 18, 0, 2, 1) + b"x", True),
        (struct.pack(">ihi", 2, 0, 0), False),
    ]
    for frame, asks in frames:
        (server.receives if asks else server.sends)(struct.pack(">i", len(frame)) + frame)
    assert server.told() == [
        ("kafka", "SaslHandshake", Status.OK),
        ("kafka", "SaslToken", Status.OK),
        ("kafka", "ApiVersions", Status.OK),
    ]
    assert all(b"secret" not in s.request.data for s in server.sessions if s.request)


def test_what_only_looks_like_kafka_is_foreign() -> None:
    server = Server("kafka")
    request = struct.pack(">hhih", 18, 0, 1, 1) + b"x"
    server.receives(struct.pack(">i", len(request)) + request)
    server.sends(struct.pack(">ii", 4, 12345))
    assert server.told() == []
    server.pairing.closed(server.connection, server.ns)
    server.pairing.tick(10**9)
    assert server.ledger.counts["foreign"] == 2
