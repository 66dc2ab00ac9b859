"""What is MongoDB, from any message of a connection, and what is not."""

import struct

import pytest
from bson import Int64
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.mongodb import MongoDB
from probes.records import Verdict
from tests.unit.mongodb_messages import (
    answer,
    command,
    kind0,
    kind1,
    kind2,
    message,
    op_msg,
    op_reply,
)
from tests.unit.test_mongodb_replies import CASES as REPLIES
from tests.unit.test_mongodb_requests import CASES as REQUESTS

FOREIGN: dict[str, bytes] = {
    "nothing": b"",
    "HTTP request": b"GET /metrics HTTP/1.1\r\nHost: localhost:27017\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
    "HTTP response": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 85\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("00001204000000000000030000006400040010000000020000"),
    "TLS client hello": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)),
    "TLS application data": bytes.fromhex("1703030040") + bytes(range(64)),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "Kafka ApiVersions": bytes.fromhex("000000160012000300000001000a6c6962726b61666b61000000"),
    "Kafka Metadata": bytes.fromhex("0000001c000300090000000200056c3774 6f70000000010000".replace(" ", "")) + bytes(12),
    "Kafka Fetch response": bytes.fromhex("0000003000000005") + bytes(44),
    "PostgreSQL startup": bytes.fromhex("0000002300030000") + b"user\0postgres\0database\0shop\0\0",
    "PostgreSQL query": b"Q\0\0\0\x0dSELECT 1\0",
    "MySQL greeting": bytes.fromhex("4a0000000a") + b"8.0.36\0" + bytes(64),
    "MySQL query": bytes.fromhex("0900000003") + b"SELECT 1",
    "Redis": b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
    "memcached": b"get some:key\r\n",
    "AMQP": b"AMQP\0\0\x09\x01",
    "Cassandra": bytes.fromhex("0400000001000000160001000b43514c5f56455253494f4e0005332e302e30"),
    "ZooKeeper": bytes.fromhex("0000002d0000000000000000000000000000753000000000000000000000001000000000000000000000"),
    "DNS over TCP": bytes.fromhex("001d1234010000010000000000000765 78616d706c6503636f6d0000010001".replace(" ", "")),
    "zeros": bytes(64),
    "a BSON document without a header": kind0({"find": "orders", "$db": "shop"})[1:],
}

BROKEN: dict[str, bytes] = {
    "unknown opcode": message(2014, bytes(30)),
    "a reserved flag": op_msg(kind0({"ping": 1}), flags=1 << 5),
    "kind 3": op_msg(b"\3" + bytes(20)),
    "no section": op_msg(),
    "an empty command": op_msg(kind0({})),
    "a document longer than its section": op_msg(b"\0" + struct.pack("<i", 500) + bytes(40)),
    "a document of negative length": op_msg(b"\0" + struct.pack("<i", -500) + bytes(40)),
    "no BSON type": op_msg(kind0({"ping": 1}).replace(b"\x10ping", b"\x33ping")),
    "a key that is not text": op_msg(kind0({"ping": 1}).replace(b"ping", b"\x01\x02\x03\x04")),
    "a key that is not UTF-8": op_msg(kind0({"ping": 1}).replace(b"ping", b"\xff\xfe\xfd\xfc")),
    "a key without an end": op_msg(b"\0" + struct.pack("<i", 40) + b"\x10" + b"x" * 35),
    "a key too long": op_msg(kind0({"x" * 300: 1})),
    "a sequence without a name": op_msg(b"\1" + struct.pack("<i", 20) + bytes(16)),
    "a sequence too long": op_msg(b"\1" + struct.pack("<i", 2000) + b"documents\0" + bytes(16)),
    "OP_QUERY with unknown flags": message(2004, struct.pack("<i", 1 << 9) + b"a.b\0" + bytes(8) + kind0({})[1:]),
    "OP_QUERY without a dot": message(2004, bytes(4) + b"ab\0" + bytes(8) + kind0({})[1:]),
    "OP_UPDATE whose zero is none": message(2001, struct.pack("<i", 1) + b"a.b\0" + bytes(4) + kind0({})[1:]),
    "OP_DELETE with unknown flags": message(2006, bytes(4) + b"a.b\0" + struct.pack("<i", 8) + kind0({})[1:]),
    "OP_GET_MORE too long": message(2005, bytes(4) + b"a.b\0" + bytes(13)),
    "OP_KILL_CURSORS of another count": message(2007, bytes(4) + struct.pack("<i", 3) + bytes(16)),
    "OP_KILL_CURSORS of a negative count": message(2007, bytes(4) + struct.pack("<i", -1) + bytes(16)),
    "OP_REPLY with unknown flags": op_reply({"ok": 1}, flags=1 << 20),
    "OP_REPLY of more documents than have room": message(1, struct.pack("<iqii", 0, 0, 0, 50) + kind0({})[1:]),
    "OP_REPLY of a negative count": message(1, struct.pack("<iqii", 0, 0, 0, -1)),
    "OP_COMMAND without names": message(2010, bytes(20)),
    "a request that answers": message(2004, bytes(4) + b"a.b\0" + bytes(8) + kind0({"a": 1})[1:], to=5),
    "compressed twice": message(2012, struct.pack("<iiB", 2012, 100, 1) + bytes(50)),
    "compressed to a negative size": message(2012, struct.pack("<iiB", 2013, -100, 1) + bytes(50)),
    "opcode 1000 that is no text": message(1000, bytes(20)),
    "opcode 2003 with a body": message(2003, bytes(20)),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests(case: str) -> None:
    data = REQUESTS[case][0]
    for cut in range(16, len(data) + 1):
        assert MongoDB().identify(data[:cut], len(data)) is Verdict.REQUEST, cut


@pytest.mark.parametrize("case", REPLIES)
def test_replies(case: str) -> None:
    data = REPLIES[case][0]
    for cut in range(16, len(data) + 1):
        assert MongoDB().identify(data[:cut], len(data)) is Verdict.REPLY, cut


def test_a_token_first() -> None:
    data = op_msg(kind2("token"), kind0({"ping": 1, "$db": "admin"}))
    assert MongoDB().identify(data, len(data)) is Verdict.REQUEST


def test_an_exhaust_reply_in_the_middle_of_a_connection() -> None:
    data = answer({"cursor": {"nextBatch": [], "id": Int64(5), "ns": "a.b"}, "ok": 1.0}, flags=2)
    assert MongoDB().identify(data, len(data)) is Verdict.REPLY


@pytest.mark.parametrize("case", FOREIGN)
def test_other_protocols_are_foreign(case: str) -> None:
    data = FOREIGN[case]
    totals = {len(data), 16, 100, 48_000_000}
    if len(data) >= 4:
        totals |= {int.from_bytes(data[:4], "little"), 4 + int.from_bytes(data[:4], "big")}
    for total in totals:
        for cut in range(len(data) + 1):
            assert MongoDB().identify(data[:cut], total) is Verdict.FOREIGN


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_foreign(case: str) -> None:
    data = BROKEN[case]
    assert MongoDB().identify(data, len(data)) is Verdict.FOREIGN


def test_the_middle_of_a_message_is_foreign() -> None:
    data = op_msg(kind0({"insert": "c", "$db": "d"}), kind1("documents", [{"x": "y" * 50}] * 20))
    for at in range(1, len(data) - 16):
        assert MongoDB().identify(data[at:], len(data) - at) is Verdict.FOREIGN
        assert MongoDB().identify(data[at:], int.from_bytes(data[at : at + 4], "little")) is Verdict.FOREIGN


def test_lengths() -> None:
    data = command({"ping": 1, "$db": "admin"})
    for total in (0, 15, len(data) - 1, len(data) + 1, 1 << 31):
        assert MongoDB().identify(data, total) is Verdict.FOREIGN
    for length in (-1, 0, 15, 48_016_385):
        assert MongoDB().identify(struct.pack("<i", length) + data[4:], length) is Verdict.FOREIGN
    assert MongoDB().identify(struct.pack("<i", 48_000_000) + data[4:], 48_000_000) is Verdict.REQUEST


@given(st.binary(max_size=300), st.integers(0, 50_000_000))
def test_random_bytes_are_foreign(data: bytes, total: int) -> None:
    assert MongoDB().identify(data, total) is Verdict.FOREIGN
    assert MongoDB().identify(data, len(data)) is Verdict.FOREIGN
    assert MongoDB().identify(data, int.from_bytes(data[:4], "little", signed=True)) is Verdict.FOREIGN


@given(st.binary(min_size=30, max_size=200), st.sampled_from([1, 2001, 2002, 2004, 2005, 2006, 2010, 2011, 2013]))
def test_a_header_alone_is_not_enough(body: bytes, opcode: int) -> None:
    data = message(opcode, b"\xff" + body)
    assert MongoDB().identify(data, len(data)) is Verdict.FOREIGN
