"""Any bytes: nothing but ProtocolError, in bounded work; and the short way says what the long one says."""

import struct
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Regex, Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.cursors import WaitingCursors
from probes.protocols.mongodb.messages import Memory, MongoReply, MongoRequest
from probes.protocols.mongodb.opened import open_message
from probes.protocols.mongodb.replies import read_reply
from probes.protocols.mongodb.requests import read_request
from probes.records import Head
from tests.effort import lines_run
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    CONNECTION,
    LSID,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    message,
    op_msg,
    record_of,
    request_of,
)
from tests.unit.test_mongodb_replies import CASES as REPLIES
from tests.unit.test_mongodb_requests import CASES as REQUESTS

MESSAGES = [data for data, *_ in REQUESTS.values()] + [data for data, *_ in REPLIES.values()]
MESSAGES += [compressed(data, 2) for data in MESSAGES]
MOST_LINES = 1_000_000
FIND = request_of(command({"find": "orders", "$db": "shop"}))


def parse_all(given_head: Head) -> None:
    """Everything that is ever done with a head. Raises what the protocol raises but ProtocolError."""
    protocol = MongoDB()
    memory = protocol.memory(CONNECTION)
    protocol.identify(given_head.data, given_head.total)
    request, reply = None, None
    try:
        request = protocol.request(given_head, memory)
    except ProtocolError:
        pass
    try:
        protocol.reply_to(given_head)
    except ProtocolError:
        pass
    for asked in (request, FIND, None):
        try:
            reply = protocol.reply(given_head, asked, memory)
        except ProtocolError:
            continue
        record_of(asked, reply, literals=True)
    if request is not None:
        assert request.operation
        record_of(request, literals=True)


def bounded(given_head: Head) -> None:
    """Of one message 1,024 fields are looked at, a dozen times; here it is shown four times, as both halves."""
    assert lines_run(lambda: parse_all(given_head)) < MOST_LINES


@given(st.binary(max_size=400), st.binary(max_size=64))
def test_any_bytes(data: bytes, tail: bytes) -> None:
    parse_all(Head(True, 0, 1, 2, len(data), data, tail))
    parse_all(Head(False, 0, 1, 2, len(data) + 100, data, tail, ((len(data) + 5, tail),)))


@given(
    st.sampled_from([1, 1000, 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2010, 2011, 2012, 2013]),
    st.binary(max_size=300),
    st.integers(0, 3000),
)
def test_any_body(opcode: int, body: bytes, missing: int) -> None:
    data = struct.pack("<iiii", 16 + len(body) + missing, 1, 2, opcode) + body
    parse_all(Head(True, 0, 1, 2, len(data) + missing, data))


@st.composite
def mutated(draw: st.DrawFn) -> Head:
    data = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at : at + 4] = struct.pack("<i", draw(st.integers(-(1 << 31), (1 << 31) - 1)))
            case 2:
                del data[at : at + draw(st.integers(1, 9))]
            case 3:
                data[at:at] = draw(st.binary(max_size=9))
        if not data:
            data += b"\0"
    total = len(data)
    if draw(st.booleans()) and total >= 4:
        data[:4] = struct.pack("<i", total)
    cut = draw(st.integers(0, total))
    tail = draw(st.integers(0, total))
    window = draw(st.integers(0, total))
    return head(bytes(data), cut, tail=tail, windows=[(window, 60)])


@given(mutated())
def test_mutated_messages(given_head: Head) -> None:
    parse_all(given_head)


def nested(depth: int, type: bytes) -> bytes:
    document = bson.encode({})
    for _ in range(depth):
        inner = type + b"0\0" + document + b"\0"
        document = struct.pack("<i", len(inner) + 4) + inner
    return document


def in_message(fields: bytes, *, to: int = 0) -> bytes:
    return message(2013, bytes(5) + struct.pack("<i", len(fields) + 5) + fields + b"\0", to=to)


FIRST = b"\x02find\0\x02\0\0\0c\0"
LAST = b"\x02$db\0\x02\0\0\0d\0"
HOSTILE: dict[str, bytes] = {
    "documents 2,300 deep": in_message(FIRST + b"\x03f\0" + nested(2300, b"\x03") + LAST),
    "arrays 2,300 deep": in_message(FIRST + b"\x04f\0" + nested(2300, b"\x04") + LAST),
    "a deep credential": in_message(b"\x10saslStart\0\1\0\0\0\x03payload\0" + nested(2300, b"\x03") + LAST),
    "a deep reply": in_message(b"\x03cursor\0" + nested(2300, b"\x03") + b"\x01ok\0" + bytes(8), to=1),
    "deep errors": in_message(b"\x04writeErrors\0" + nested(2300, b"\x04") + b"\x01ok\0" + bytes(8), to=1),
    "thousands of elements": in_message(FIRST + b"\x0a\0" * 8000 + LAST),
    "thousands of short strings": in_message(FIRST + b"\x02a\0\x01\0\0\0\0" * 2000 + LAST),
    "thousands of elements and no database": in_message(FIRST + b"\x08a\0\1" * 4000),
    "thousands of fake databases": in_message(FIRST + b"\x02x\0" + struct.pack("<i", 16001) + LAST * 1333 + b"xxxxx\0"),
    "thousands of sections": op_msg(*[kind1("a", [])] * 2000, kind0({"insert": "c", "$db": "d"})),
    "thousands of empty sections": message(2013, bytes(4) + b"\1\5\0\0\0\0" * 2600),
    "thousands of tokens": message(2013, bytes(4) + b"\2\0" * 8000),
    "thousands of documents": message(1, struct.pack("<iqii", 0, 0, 0, 1 << 30) + b"\5\0\0\0\0" * 3000),
    "2^31 documents": message(1, struct.pack("<iqii", 2, -1, -1, (1 << 31) - 1) + b"\5\0\0\0\0"),
    "2^31 cursors": message(2007, bytes(4) + struct.pack("<i", (1 << 31) - 1) + bytes(16000)),
    "no end of a name": message(2004, bytes(4) + b"x" * 16000),
    "no end of a key": in_message(b"\x10" + b"x" * 16000),
    "no end of a command": message(2010, b"x" * 16000),
    "a string of 2^31 bytes": in_message(b"\x02find\0\xff\xff\xff\x7fc\0" + LAST),
    "a string of -1 bytes": in_message(b"\x02find\0\xff\xff\xff\xffc\0" + LAST),
    "a document of 2^31 bytes": in_message(FIRST + b"\x03f\0\xff\xff\xff\x7f" + bytes(20) + LAST),
    "a document of -2^31 bytes": in_message(FIRST + b"\x03f\0\0\0\0\x80" + bytes(20) + LAST),
    "a binary of -5 bytes": in_message(FIRST + b"\x05f\0\xfb\xff\xff\xff\0" + LAST),
    "a regular expression without end": in_message(FIRST + b"\x0bf\0" + b"x" * 900),
    "many alternatives that fail": in_message(FIRST + b"\x02a\0\x7f\0\0\0" + b"\x02" * 8000 + LAST),
    "zeros": in_message(bytes(9000)),
}


# A few hundred bytes that inflate to as much as is ever inflated.
MANY = 120_000
BOMBS: dict[str, bytes] = {
    "elements": in_message(FIRST + b"\x0a\0" * MANY + LAST),
    "elements of an array": in_message(
        FIRST + b"\x04f\0" + struct.pack("<i", 2 * MANY + 5) + b"\x0a\0" * MANY + b"\0" + LAST
    ),
    "strings": in_message(FIRST + b"\x02a\0\x01\0\0\0\0" * (MANY // 4) + LAST),
    "sections": message(2013, bytes(4) + b"\1\5\0\0\0\0" * (MANY // 3)),
    "tokens": message(2013, bytes(4) + b"\2\0" * MANY),
    "documents": message(1, struct.pack("<iqii", 0, 0, 0, 1 << 30) + b"\5\0\0\0\0" * (MANY // 3)),
    "passwords": in_message(b"\x10saslStart\0\1\0\0\0" + b"\x02pwd\0\2\0\0\0x\0" * (MANY // 8) + LAST),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs(case: str) -> None:
    data = compressed(BOMBS[case], 2)
    assert len(data) < 4096
    bounded(head(data))
    bounded(head(data, len(data) // 2, tail=20))
    bounded(head(BOMBS[case], 16_384))


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_messages(case: str) -> None:
    data = HOSTILE[case]
    bounded(head(data))
    for cut in (len(data) // 2, len(data) - 1, 128, 1024):
        bounded(head(data, min(cut, len(data))))
        bounded(head(data, min(cut, len(data)), tail=min(512, len(data))))
        bounded(head(data, min(cut, len(data)), windows=[(min(cut, len(data)), 512), (0, 64)]))
    bounded(head(compressed(data, 2)))
    bounded(head(compressed(data, 0)))


KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["$db", "ok", "find", "collection", "awaitData", "writeErrors", "cursor", "maxTimeMS"]
)
FAKES = st.sampled_from(
    ["\x02$db\0\5\0\0\0evil", "\x02$db\0\5\0\0\0evil\0", "\x01ok\0\0\0\0\0\0\0\0\0", "\x04writeErrors\0", "awaitData\0"]
)
SCALARS = (
    st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.none()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
    | FAKES
    | st.binary(max_size=150)
    | st.sampled_from([ObjectId(), Timestamp(1, 2), Decimal128("1.5"), Regex("a", "i"), LSID, CLUSTER_TIME])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)
FIRSTS = st.sampled_from(["find", "insert", "getMore", "aggregate", "ping", "x" * 70, "frobnicate"])


@given(FIRSTS, VALUES, DOCUMENTS, FAKES | st.just("shop"), DOCUMENTS, st.sampled_from([0, 2, 1 << 16]))
@example("getMore", Int64(5), {"collection": "c"}, "shop", {}, 0)
@example("ping", 1, {}, "shop", {}, 0)
@example("ping", 1.0, {}, "shop", {}, 0)
def test_the_short_way_says_what_the_long_one_says(
    name: str, value: Any, before: dict[str, Any], database: str, after: dict[str, Any], flags: int
) -> None:
    document = {name: value, **{key: item for key, item in before.items() if key not in (name, "$db")}}
    document["$db"] = database
    document |= {key: item for key, item in after.items() if key not in document}
    alone = op_msg(kind0(document), flags=flags)
    for data in (alone, compressed(alone, 2), op_msg(kind0(document), kind1("documents", [{}]), flags=flags)):
        protocol = MongoDB()
        request = protocol.request(head(data), protocol.memory(CONNECTION))
        long_way = read_request(open_message(head(data)), Memory(), WaitingCursors())
        assert isinstance(request, MongoRequest)
        assert request.command.database == database
        request.plain = long_way.plain  # the long way leaves plain replies to itself
        assert request == long_way


@given(DOCUMENTS, st.sampled_from([1.0, 0.0, 1, None]), DOCUMENTS, st.integers(21, 3000), st.integers(0, 600))
@example({}, 1.0, {"writeErrors": {"": []}, "writeConcernError": [1]}, 3000, 0)
def test_so_it_does_of_replies(before: dict[str, Any], ok: Any, after: dict[str, Any], cut: int, tail: int) -> None:
    cursor = {"cursor": {"firstBatch": [before, after] * 4, "id": Int64(5), "ns": "a.b"}}
    for document in (before, cursor, {"n": 1, **before}):
        whole = {key: value for key, value in document.items() if key != "ok"}
        whole |= {"ok": ok} | {key: value for key, value in after.items() if key not in (*whole, "ok")}
        data = answer(whole)
        for given_head in (
            head(data),
            head(compressed(data, 2)),
            head(data, min(cut, len(data)), tail=min(tail, len(data))),
        ):
            if len(given_head.data) < 25:
                continue
            reply = MongoDB().reply(given_head, FIND, None)
            long_way = read_reply(open_message(given_head), FIND, WaitingCursors())
            assert isinstance(reply, MongoReply)
            assert reply.cursor_id in (None, long_way.cursor_id)  # the short way may leave it to the record
            long_way.cursor_id, long_way.windows = reply.cursor_id, reply.windows
            assert reply == long_way
