"""What of MongoDB's messages goes into a recording: everything that a session shows, nothing that a user put there."""

from __future__ import annotations

import datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.compression import COMPRESSED_BYTES
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.records import Head
from tests.unit.mongodb_messages import (
    CONNECTION,
    LSID,
    REPLY_END,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    message,
    op_msg,
    op_query,
    op_reply,
    record_of,
)

cramjam = pytest.importorskip("cramjam")

SECRET = "s3cr3t!"
NUMBER = 0x7365637265742121  # "!!terces", which its bytes spell
VALUES: list[Any] = [
    SECRET,
    SECRET * 30,
    SECRET.encode(),
    Binary(SECRET.encode(), 4),
    Binary(SECRET.encode(), 2),
    Binary(SECRET.encode(), 128),
    NUMBER,
    float.fromhex("0x1.373657263p+55"),
    ObjectId(b"s3cr3t!s3cr3"),
    Decimal128.from_bid(b"s3cr3t!s3cr3t!s3"),
    datetime.datetime(2026, 11, 25, 12, 0, 1),
    Timestamp(0x73336372, 0x33742173),
    Regex(SECRET, "im"),
    Code(SECRET),
    Code(SECRET, {"scope": SECRET}),
    True,
    None,
    MaxKey(),
    DBRef("orders", SECRET),
    [SECRET, {"within": [SECRET, [SECRET]]}],
]
DOCUMENT = {f"field{number}": value for number, value in enumerate(VALUES)} | {"nested": {"deep": SECRET}}

ENVELOPE = {"lsid": LSID, "txnNumber": Int64(4), "$db": "shop"}
FAILED = {**REPLY_END, "ok": 0.0, "errmsg": f"bad value {SECRET}", "code": 2, "codeName": "BadValue"}
BATCH = {"cursor": {"firstBatch": [DOCUMENT] * 3, "id": Int64(771), "ns": "shop.orders"}, **REPLY_END}
WRITE_ERRORS = [{"index": 1, "code": 11000, "errmsg": f"dup key {SECRET}", "keyValue": {"name": SECRET}}]
HELLO = {"hello": 1, "client": {"application": {"name": "billing"}, "driver": {"name": "PyMongo", "version": "4"}}}

EXCHANGES: dict[str, tuple[bytes, bytes]] = {
    "find": (command({"find": "orders", "filter": DOCUMENT, "limit": 3, **ENVELOPE}), answer(BATCH)),
    "getMore": (
        command({"getMore": Int64(771), "collection": "orders", "comment": SECRET, **ENVELOPE}),
        answer({"cursor": {"nextBatch": [DOCUMENT], "id": Int64(0), "ns": "shop.orders"}, **REPLY_END}),
    ),
    "insert": (
        op_msg(kind0({"insert": "orders", "ordered": True, **ENVELOPE}), kind1("documents", [DOCUMENT] * 4)),
        answer({"n": 1, "writeErrors": WRITE_ERRORS, **REPLY_END}),
    ),
    "documents first": (
        op_msg(kind1("documents", [DOCUMENT] * 4), kind0({"insert": "orders", "ordered": True, **ENVELOPE})),
        answer({"n": 4, **REPLY_END}),
    ),
    "documents within": (
        command({"insert": "orders", "documents": [DOCUMENT] * 4, **ENVELOPE}),
        answer(
            {"n": 4, "writeConcernError": {"code": 64, "codeName": "WriteConcernTimeout", "errmsg": SECRET}, "ok": 1}
        ),
    ),
    "update": (
        op_msg(kind0({"update": "orders", **ENVELOPE}), kind1("updates", [{"q": DOCUMENT, "u": {"$set": DOCUMENT}}])),
        answer({"n": 1, "nModified": 1, "upserted": [{"index": 0, "_id": SECRET}], **REPLY_END}),
    ),
    "bulkWrite": (
        op_msg(
            kind0({"bulkWrite": 1, **ENVELOPE}),
            kind1("ops", [{"insert": 0, "document": DOCUMENT}]),
            kind1("nsInfo", [{"ns": "shop.orders"}]),
        ),
        answer(
            {
                "cursor": {
                    "firstBatch": [{"ok": 0.0, "idx": 0, "code": 11000, "errmsg": SECRET, "n": 0}],
                    "id": Int64(0),
                    "ns": "admin.$cmd.bulkWrite",
                },
                "nErrors": 1,
                **REPLY_END,
            }
        ),
    ),
    "aggregate": (
        command({"aggregate": "orders", "pipeline": [{"$match": DOCUMENT}], "cursor": {"batchSize": 3}, **ENVELOPE}),
        answer(FAILED),
    ),
    "change stream": (
        command({"aggregate": "orders", "pipeline": [{"$changeStream": {"resumeAfter": DOCUMENT}}], **ENVELOPE}),
        answer(BATCH),
    ),
    "findAndModify": (
        command({"findAndModify": "orders", "query": DOCUMENT, "update": DOCUMENT, **ENVELOPE}),
        answer(
            {"lastErrorObject": {"n": 1, "updatedExisting": True, "upserted": SECRET}, "value": DOCUMENT, "ok": 1.0}
        ),
    ),
    "explain": (
        command({"explain": {"find": "orders", "filter": DOCUMENT}, "verbosity": SECRET, "$db": "shop"}),
        answer({"queryPlanner": DOCUMENT, "ok": 1.0}),
    ),
    "options": (
        command(
            {
                "count": "orders",
                "query": DOCUMENT,
                "hint": {"a": 1, "b": -1.0},
                "readConcern": {"level": "majority", "afterClusterTime": Timestamp(1, 2)},
                "writeConcern": {"w": "majority", "j": True, "wtimeout": 5},
                "$readPreference": {"mode": "nearest", "tags": [SECRET]},
                "maxTimeMS": 100,
                "comment": SECRET,
                "autocommit": False,
                "startTransaction": True,
                **ENVELOPE,
            }
        ),
        answer({**FAILED, "errorLabels": ["TransientTransactionError"]}),
    ),
    "checksum": (
        op_msg(kind0({"find": "orders", "filter": DOCUMENT, "hint": "a_1", **ENVELOPE}), flags=1),
        answer(FAILED, flags=1),
    ),
    "distinct": (
        command({"distinct": "orders", "key": "name", "query": DOCUMENT, **ENVELOPE}),
        answer({"values": [SECRET, 3, DOCUMENT], **REPLY_END}),
    ),
    "hello": (
        command(
            {**HELLO, "saslSupportedMechs": SECRET, "speculativeAuthenticate": {"payload": SECRET}, "$db": "admin"}
        ),
        answer({"isWritablePrimary": True, "setName": SECRET, "hosts": [SECRET], "ok": 1.0}),
    ),
    "saslStart": (
        command({"saslStart": 1, "mechanism": "PLAIN", "payload": SECRET.encode(), "$db": "admin"}),
        answer({"conversationId": 1, "payload": SECRET.encode(), "done": True, "ok": 1.0}),
    ),
    "createUser": (command({"createUser": SECRET, "pwd": SECRET, "roles": [SECRET], "$db": "admin"}), answer(FAILED)),
    "usersInfo": (command({"usersInfo": 1, "$db": "admin"}), answer({"users": [DOCUMENT], "ok": 1.0})),
    "legacy query": (op_query("shop.orders", DOCUMENT), op_reply(DOCUMENT, DOCUMENT, cursor_id=771)),
    "legacy failure": (op_query("shop.orders", DOCUMENT), op_reply({"$err": SECRET, "code": 96}, flags=2)),
    "legacy command": (
        op_query(
            "shop.$cmd", {"$query": {"count": "orders", "query": DOCUMENT}, "$readPreference": {"mode": "nearest"}}
        ),
        op_reply({"n": 4.0, "ok": 1.0, "values": [SECRET]}),
    ),
    "getLastError": (
        op_query("shop.$cmd", {"getLastError": 1}),
        op_reply({"err": SECRET, "code": 11000, "n": 0, "ok": 1}),
    ),
    "legacy insert": (message(2002, bytes(4) + b"shop.orders\0" + bson.encode(DOCUMENT)), op_reply({"ok": 1})),
    "legacy update": (
        message(2001, bytes(4) + b"shop.orders\0" + bytes(4) + bson.encode(DOCUMENT) * 2),
        op_reply({"ok": 1}),
    ),
    "OP_COMMAND": (
        message(2010, b"shop\0find\0" + bson.encode({}) + bson.encode({"find": "orders", "filter": DOCUMENT})),
        message(2011, bson.encode({"ok": 1.0, "n": 3, "value": SECRET}) + bson.encode({}), to=17),
    ),
    "no command at all": (command({"ping": 1, "$db": "shop"}), answer({"ok": 1.0, SECRET[:2]: SECRET})),
}
CUTS = (None, 1024, 700, 300, 150, 90, 64)
TAILS = (0, 512, 200, 60)


def of(asked: Head, answered: Head) -> tuple[Head, Head, MongoRequest, MongoReply]:
    """A request and its reply: as they are recorded, and what was parsed of them. Raises ProtocolError."""
    mongodb = MongoDB()
    memory = mongodb.memory(CONNECTION)
    request = mongodb.request(asked, memory)
    reply = mongodb.reply(answered, request, memory)
    assert isinstance(request, MongoRequest)
    assert isinstance(reply, MongoReply)
    kept = mongodb.recordable(asked, request, None, literals=False)
    return kept, mongodb.recordable(answered, reply, request, literals=False), request, reply


def captured(head: Head) -> bytes:
    return b"".join((head.data, *(window for _, window in head.windows), head.tail))


def assert_hidden(head: Head) -> None:
    data = captured(head)
    assert SECRET[:4].encode() not in data
    assert NUMBER.to_bytes(8, "little")[:5] not in data


def assert_same(heads: tuple[Head, Head], exact: bool = True) -> None:
    """What is recorded of an exchange hides its literals, and reads as the same session."""
    try:
        kept_asked, kept_answered, request, reply = of(*heads)
    except ProtocolError:
        return
    assert_hidden(kept_asked)
    assert_hidden(kept_answered)
    _, _, again, reply_again = of(kept_asked, kept_answered)

    shown, shown_again = record_of(request, reply), record_of(again, reply_again)
    shown.pop("error", None)
    shown_again.pop("error", None)
    assert shown_again == shown
    again.data, reply_again.data = request.data, reply.data
    again.windows, reply_again.windows = request.windows, reply.windows
    # By which way it was read, and whether the cursor is found in the data or beside them, is all one.
    again.plain, reply_again.cursor_id = request.plain, reply.cursor_id
    if reply.failure is not None and reply_again.failure is not None:
        reply_again.failure.message = reply.failure.message
    assert (again, reply_again) == (request, reply)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", EXCHANGES)
def test_what_is_recorded_is_read_as_the_same_session(name: str, cut: int | None, tail: int) -> None:
    asked, answered = EXCHANGES[name]

    assert_same((cut_head(asked, cut, tail), cut_head(answered, cut, tail)))


def cut_head(data: bytes, cut: int | None, tail: int) -> Head:
    if cut is None or cut >= len(data):
        return head(data)
    return head(data, cut, tail=min(tail, len(data) - cut))


@pytest.mark.parametrize("at", range(64, 700, 3))
def test_wherever_it_was_cut(at: int) -> None:
    for name in ("find", "insert", "documents first", "documents within", "bulkWrite", "legacy command"):
        asked, answered = EXCHANGES[name]
        assert_same((cut_head(asked, at, 300), cut_head(answered, at, 300)))


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_whole_message_stays_valid(name: str) -> None:
    kept_asked, kept_answered, *_ = of(*map(head, EXCHANGES[name]))

    for kept, sent in zip((kept_asked, kept_answered), EXCHANGES[name], strict=True):
        assert (len(kept.data), kept.total) == (len(sent), len(sent))
        if kept.data[12:21] == sent[12:21] and sent[12:16] == (2013).to_bytes(4, "little") and not sent[20]:
            size = int.from_bytes(sent[21:25], "little")
            masked, plain = bson.decode(kept.data[21 : 21 + size]), bson.decode(sent[21 : 21 + size])
            assert shape(masked) == shape(plain)


def shape(value: Any) -> Any:
    """Keys, types and lengths."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value), len(value) if isinstance(value, str | bytes) else None


@pytest.mark.parametrize("compressor", [0, 1, 2, 3])
@pytest.mark.parametrize("name", EXCHANGES.keys() - {"hello"})  # which is never compressed
def test_compressed_messages(name: str, compressor: int) -> None:
    asked, answered = (compressed_by(compressor, each) for each in EXCHANGES[name])
    heads = head(asked), head(answered)

    kept_asked, kept_answered, *_ = of(*heads)

    for kept, sent in zip((kept_asked, kept_answered), (asked, answered), strict=True):
        assert len(kept.data) in (len(sent), COMPRESSED_BYTES)
        assert kept.total == len(sent)
    if len(kept_asked.data) == len(asked) and len(kept_answered.data) == len(answered):
        assert_same(heads)


def compressed_by(compressor: int, data: bytes) -> bytes:
    body = data[16:]
    payload = {1: cramjam.snappy.compress_raw, 3: cramjam.zstd.compress}.get(compressor)
    return compressed(data, compressor, None if payload is None else bytes(payload(body)))


def test_most_compressed_messages_have_room_to_be_compressed_again() -> None:
    found = [
        len(of(head(compressed_by(compressor, asked)), head(answered))[0].data) > COMPRESSED_BYTES
        for asked, answered in EXCHANGES.values()
        for compressor in (1, 2, 3)
        if len(asked) > 200
    ]
    assert sum(found) >= 0.9 * len(found)


@pytest.mark.parametrize("compressor", [1, 2, 3])
@pytest.mark.parametrize("filter", [{"number": 5}, {"$nonsense": 1}, {"name": "bob", "created": {"$gt": 5}}])
def test_so_have_short_ones(filter: dict[str, Any], compressor: int) -> None:
    """Where a mask takes more room than what it hides, too: a signature of zeros."""
    clock = {"clusterTime": Timestamp(1, 2), "signature": {"hash": Binary(bytes(20)), "keyId": Int64(0)}}
    asked = {"find": "orders", "filter": filter, "limit": 10, "lsid": LSID, "$clusterTime": clock, "$db": "shop"}
    assert_same((head(compressed_by(compressor, command(asked))), head(answer(FAILED))))
    assert len(of(head(compressed_by(compressor, command(asked))), head(answer(FAILED)))[0].data) > COMPRESSED_BYTES


@pytest.mark.parametrize("compressor", [0, 1, 2, 3])
@pytest.mark.parametrize("cut", [200, 300, 400])
def test_of_a_cut_compressed_message_the_beginning_is_recorded(compressor: int, cut: int) -> None:
    asked, answered = (compressed_by(compressor, each) for each in EXCHANGES["find"])
    heads = cut_head(asked, min(cut, len(asked) - 20), 0), head(answered)
    kept_asked, *_ = of(*heads)

    assert_hidden(kept_asked)
    if len(kept_asked.data) > COMPRESSED_BYTES:
        assert_same(heads)


def values(depth: int = 2) -> st.SearchStrategy[Any]:
    leaves = st.sampled_from(VALUES)
    if not depth:
        return leaves
    inner = values(depth - 1)
    return leaves | st.lists(inner, max_size=4) | documents(inner)


KEYS = st.sampled_from(
    ["a", "ok", "code", "codeName", "n", "cursor", "id", "ns", "$db", "limit", "errmsg", "writeErrors"]
)


def documents(of_values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(KEYS, of_values, max_size=5)


@given(
    filter=documents(values()),
    batch=st.lists(documents(values()), max_size=5),
    cut=st.integers(64, 1024),
    tail=st.integers(0, 512),
    compressor=st.sampled_from([None, None, 0, 1, 2, 3]),
)
def test_no_value_is_ever_recorded(
    filter: dict[str, Any], batch: list[dict[str, Any]], cut: int, tail: int, compressor: int | None
) -> None:
    """Also where users' keys are those of the protocol, at another place."""
    asked = op_msg(
        kind0({"find": "orders", "filter": filter, "lsid": LSID, "$db": "shop"}), kind1("documents", [{"a": filter}])
    )
    answered = answer({"cursor": {"firstBatch": batch, "id": Int64(3), "ns": "shop.orders"}, **REPLY_END})
    if compressor is not None:
        asked, answered = compressed_by(compressor, asked), compressed_by(compressor, answered)
    heads = cut_head(asked, cut, tail), cut_head(answered, cut, tail)
    try:
        kept_asked, kept_answered, *_ = of(*heads)
    except ProtocolError:
        return
    assert_hidden(kept_asked)
    assert_hidden(kept_answered)
    if compressor is None:
        assert_same(heads)


@given(st.binary(max_size=300), st.integers(0, 40), st.sampled_from([1, 2004, 2010, 2011, 2012, 2013, 2002, 2007]))
def test_whatever_the_bytes_are_nothing_is_raised(body: bytes, flags: int, opcode: int) -> None:
    mongodb = MongoDB()
    data = message(opcode, flags.to_bytes(4, "little") + body)
    request, reply = MongoRequest(1, "find", data), MongoReply(2, data)
    for parsed in (request, reply, None):
        for literals in (False, True):
            kept = mongodb.recordable(head(data), parsed, request, literals=literals)
            assert len(kept.data) <= len(data)
            assert kept.total == len(data)


def test_a_wrong_length_makes_no_name_of_what_follows() -> None:
    asked = bytearray(EXCHANGES["find"][0])
    at = asked.index(b"orders") - 4
    asked[at] = asked.index(SECRET.encode(), at) - at + 40
    mongodb = MongoDB()
    request = mongodb.request(head(bytes(asked)), mongodb.memory(CONNECTION))
    kept = mongodb.recordable(head(bytes(asked)), request, None, literals=False)

    assert SECRET[:4].encode() not in kept.data[: at + 4 + asked[at]]


@pytest.mark.parametrize("literals", [False, True])
@pytest.mark.parametrize("name", ["hello", "saslStart", "createUser", "usersInfo"])
def test_credentials_are_never_recorded(name: str, literals: bool) -> None:
    mongodb = MongoDB()
    secret = b"p4ssw0rd"
    asked, answered = (each.replace(SECRET.encode(), secret[:7]) for each in EXCHANGES[name])
    for cut in (None, 200, 60):
        heads = cut_head(asked, cut, 512), cut_head(answered, cut, 512)
        memory = mongodb.memory(CONNECTION)
        request = mongodb.request(heads[0], memory)
        reply = mongodb.reply(heads[1], request, memory)
        kept = [
            mongodb.recordable(heads[0], request, None, literals=literals),
            mongodb.recordable(heads[1], reply, request, literals=literals),
            *(mongodb.recordable(each, None, None, literals=literals) for each in heads),
        ]
        for each in kept:
            if name == "hello" or (name in ("createUser", "usersInfo") and literals):
                continue  # names and hosts, which are no credentials
            assert secret[:4] not in captured(each)


def test_with_literals_all_that_was_captured_of_a_usual_message_is_recorded() -> None:
    mongodb = MongoDB()
    asked = cut_head(EXCHANGES["insert"][0], 700, 300)
    request = mongodb.request(asked, mongodb.memory(CONNECTION))

    assert mongodb.recordable(asked, request, None, literals=True) == asked
