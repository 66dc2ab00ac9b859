"""Replies: what went wrong, whole and cut at every length."""

import struct
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.messages import MongoRequest
from probes.records import Fault
from tests.unit.mongodb_messages import (
    REPLY_END,
    REPLY_ID,
    REQUEST_ID,
    answer,
    command,
    head,
    kind0,
    kind1,
    maybe_reply,
    message,
    op_msg,
    op_query,
    op_reply,
    reply_of,
    request_of,
)

FIND = request_of(command({"find": "orders", "$db": "shop"}))
INSERT = request_of(command({"insert": "orders", "$db": "shop"}))
QUERY = request_of(op_query("shop.orders", {"a": 1}))
COUNT = request_of(op_query("shop.$cmd", {"count": "orders"}))
GET_LAST_ERROR = request_of(op_query("shop.$cmd", {"getlasterror": 1, "w": 1}))
BULK_WRITE = request_of(op_msg(kind0({"bulkWrite": 1, "$db": "admin"}), kind1("ops", [{"insert": 0}])))
OP_COMMAND = request_of(message(2010, b"shop\0count\0" + kind0({"count": "orders"})[1:]))

DUPLICATE = 'E11000 duplicate key error collection: shop.orders index: email_1 dup key: { email: "x" }'
WRITE_ERRORS = [
    {"index": 3, "code": 11000, "errmsg": DUPLICATE, "keyPattern": {"email": 1}, "keyValue": {"email": "x"}},
    {"index": 5, "code": 121, "errmsg": "Document failed validation"},
]
CONCERN = {"code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out"}
UNAUTHORIZED = {"ok": 0.0, "errmsg": "not authorized on shop", "code": 13, "codeName": "Unauthorized"}
CURSOR = {"cursor": {"firstBatch": [{"_id": n} for n in range(3)], "id": Int64(0), "ns": "shop.orders"}, **REPLY_END}

# What is answered to what, and the code, name and fault of the failure.
CASES: dict[str, tuple[bytes, MongoRequest, tuple[int, str, Fault] | None]] = {
    "ok": (answer({"n": 1, **REPLY_END}), INSERT, None),
    "a cursor": (answer(CURSOR), FIND, None),
    "command failed": (answer({**UNAUTHORIZED, "$clusterTime": {}}), FIND, (13, "Unauthorized", Fault.CLIENT)),
    "interrupted": (
        answer({"ok": 0.0, "errmsg": "operation was interrupted", "code": 11601, "codeName": "Interrupted"}),
        FIND,
        (11601, "Interrupted", Fault.SERVER),
    ),
    "not primary": (
        answer({"topologyVersion": {}, "ok": 0.0, "errmsg": "not primary", "code": 10107}),
        INSERT,
        (10107, "NotWritablePrimary", Fault.SERVER),
    ),
    "a code without a name": (
        answer({"ok": 0.0, "errmsg": "Unrecognized pipeline stage", "code": 40324, "codeName": "Location40324"}),
        FIND,
        (40324, "Location40324", Fault.CLIENT),
    ),
    "no codeName": (answer({"ok": 0, "errmsg": "bad", "code": 40324}), FIND, (40324, "Location40324", Fault.CLIENT)),
    "a name that the table has not": (
        answer({"ok": 0, "errmsg": "bad", "code": 999, "codeName": "BrandNew"}),
        FIND,
        (999, "BrandNew", Fault.CLIENT),
    ),
    "ok last": (answer({"errmsg": "bad", "code": 2, "ok": 0.0}), FIND, (2, "BadValue", Fault.CLIENT)),
    "no code": (answer({"ok": 0.0, "errmsg": "ns missing"}), FIND, (0, "", Fault.SERVER)),
    "write errors": (
        answer({"n": 3, "writeErrors": WRITE_ERRORS, **REPLY_END}),
        INSERT,
        (11000, "DuplicateKey", Fault.CLIENT),
    ),
    "write concern error": (
        answer({"n": 1, "writeConcernError": CONCERN, **REPLY_END}),
        INSERT,
        (64, "WriteConcernTimeout", Fault.SERVER),
    ),
    "write errors before write concern's": (
        answer({"n": 3, "writeConcernError": CONCERN, "writeErrors": WRITE_ERRORS, **REPLY_END}),
        INSERT,
        (11000, "DuplicateKey", Fault.CLIENT),
    ),
    "the command's before its writes'": (
        answer({"ok": 0.0, "code": 91, "errmsg": "x", "codeName": "ShutdownInProgress", "writeErrors": WRITE_ERRORS}),
        INSERT,
        (91, "ShutdownInProgress", Fault.SERVER),
    ),
    "no write errors after all": (answer({"n": 3, "writeErrors": [], **REPLY_END}), INSERT, None),
    "checksum": (answer({**UNAUTHORIZED}, flags=1), FIND, (13, "Unauthorized", Fault.CLIENT)),
    "documents that look like errors": (
        answer({"cursor": {"firstBatch": [{"ok": 0.0, "code": 13, "writeErrors": [{"code": 1}]}]}, **REPLY_END}),
        FIND,
        None,
    ),
    "a string that looks like ok": (
        answer({"note": "\x01ok\0\0\0\0\0\0\0\xf0?", "ok": 0.0, "code": 2, "errmsg": "x"}),
        FIND,
        (2, "BadValue", Fault.CLIENT),
    ),
    "a string that looks like an error": (answer({"note": "\x04writeErrors\0", **REPLY_END}), FIND, None),
    "bulkWrite": (
        answer(
            {
                "cursor": {
                    "id": Int64(0),
                    "firstBatch": [
                        {"ok": 1.0, "idx": 0, "n": 1},
                        {"ok": 0.0, "idx": 1, "code": 11000, "errmsg": DUPLICATE, "n": 0},
                    ],
                    "ns": "admin.$cmd.bulkWrite",
                },
                "nErrors": 1,
                **REPLY_END,
            }
        ),
        BULK_WRITE,
        (11000, "DuplicateKey", Fault.CLIENT),
    ),
    "OP_REPLY": (op_reply({"_id": 1, "ok": 0.0, "code": 13, "errmsg": "user data"}), QUERY, None),
    "OP_REPLY QueryFailure": (
        op_reply({"$err": "no such index", "code": 17007}, flags=2 | 8),
        QUERY,
        (17007, "Location17007", Fault.CLIENT),
    ),
    "OP_REPLY CursorNotFound": (op_reply(flags=1), QUERY, (43, "CursorNotFound", Fault.CLIENT)),
    "OP_REPLY to a command": (op_reply({"n": 5, "ok": 1.0}), COUNT, None),
    "OP_REPLY to a command that failed": (op_reply(UNAUTHORIZED), COUNT, (13, "Unauthorized", Fault.CLIENT)),
    "getlasterror": (
        op_reply({"n": 0, "err": DUPLICATE, "code": 11000, "ok": 1.0}),
        GET_LAST_ERROR,
        (11000, "DuplicateKey", Fault.CLIENT),
    ),
    "getlasterror without error": (op_reply({"n": 1, "err": None, "ok": 1.0}), GET_LAST_ERROR, None),
    "OP_COMMANDREPLY": (
        message(2011, kind0({})[1:] + kind0(UNAUTHORIZED)[1:], id=REPLY_ID, to=REQUEST_ID),
        OP_COMMAND,
        (13, "Unauthorized", Fault.CLIENT),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_reply(case: str) -> None:
    data, request, expected = CASES[case]
    reply = reply_of(data, request)
    failure = reply.failure
    assert (failure and (failure.code, failure.name, failure.fault)) == expected
    assert reply.id == REPLY_ID
    assert MongoDB().reply_to(head(data)) == REQUEST_ID
    assert not reply.truncated
    assert not reply.continues
    assert reply.data == data


@pytest.mark.parametrize("case", CASES)
def test_a_cut_reply_has_no_wrong_field(case: str) -> None:
    data, request, _ = CASES[case]
    whole = reply_of(data, request).failure
    for cut in range(len(data)):
        reply = maybe_reply(head(data, cut), request)
        if reply is None:
            assert cut < 21, cut
            continue
        assert data.startswith(reply.data)
        failure = reply.failure
        if failure is None:
            assert whole is None or reply.truncated, cut
        else:
            assert whole is not None, cut
            # A later kind of failure is taken where the first one was cut away.
            if failure.code != whole.code or failure.message != whole.message:
                assert reply.truncated, cut
                assert failure.code in (0, whole.code, CONCERN["code"]), cut
                assert failure.message in ("", whole.message, CONCERN["errmsg"]), cut


def test_the_errors_of_a_cut_reply_are_seen() -> None:
    many = [{"index": n, "code": 11000, "errmsg": DUPLICATE} for n in range(100)]
    reply = reply_of(head(answer({"n": 0, "writeErrors": many, **REPLY_END}), 256), INSERT)
    assert reply.failure
    assert (reply.failure.code, reply.failure.message) == (11000, DUPLICATE)
    assert reply.truncated


def test_the_golden_reply() -> None:
    """A server's reply as it was captured: 163 bytes, requestID 0x4888500a, responseTo 35, `ok` 1.0 as a double."""
    end = {"ok": 1.0, "$clusterTime": REPLY_END["$clusterTime"], "note": ""}
    end["note"] = "x" * (163 - len(answer(end)))
    data = answer(end, id=0x4888500A, to=35)
    assert len(data) == 163
    assert data[:21] == bytes.fromhex("a30000000a50884823000000dd0700000000000000")
    assert MongoDB().reply_to(head(data)) == 35
    for request in (FIND, None):
        reply = reply_of(data, request)
        assert (reply.id, reply.failure, reply.truncated, reply.opcode) == (0x4888500A, None, False, 2013)


@pytest.mark.parametrize(
    ("ok", "failed"),
    [
        (1.0, False),
        (0.0, True),
        (-0.0, True),
        (1, False),
        (0, True),
        (Int64(1), False),
        (Int64(0), True),
        (True, False),
        (False, True),
        (Decimal128("1"), False),
        (Decimal128("0"), True),
        (Decimal128("0E+3"), True),
        (Decimal128("NaN"), False),
        (float("nan"), False),
        (2.5, False),
        ("yes", False),
        (None, True),
    ],
)
def test_ok_of_any_type(ok: Any, failed: bool) -> None:
    reply = reply_of(answer({"ok": ok, "code": 26, "errmsg": "ns not found"}), FIND)
    assert (reply.failure is not None) == failed


@pytest.mark.parametrize("code", [26, 26.0, Int64(26), Decimal128("26")])
def test_a_code_of_any_type(code: Any) -> None:
    reply = reply_of(answer({"ok": 0, "code": code, "errmsg": "ns not found"}), FIND)
    assert reply.failure
    assert (reply.failure.code, reply.failure.name) == (26, "NamespaceNotFound")


@pytest.mark.parametrize("code", [float("nan"), float("inf"), Decimal128("sNaN"), Decimal128("1E+6000"), "26", None])
def test_a_code_that_is_none(code: Any) -> None:
    reply = reply_of(answer({"ok": 0, "code": code, "errmsg": "?"}), FIND)
    assert reply.failure
    assert (reply.failure.code, reply.failure.name) == (0, "")


def test_a_reply_without_ok_is_incomplete() -> None:
    reply = reply_of(answer({"n": 1}), FIND)
    assert (reply.failure, reply.truncated) == (None, True)


class TestTail:
    DATA = answer(
        {
            "cursor": {
                "firstBatch": [{"_id": n, "text": "y" * 50} for n in range(60)],
                "id": Int64(-77),
                "ns": "shop.orders",
            },
            **REPLY_END,
        }
    )

    def test_the_tail_shows_ok_and_the_cursor(self) -> None:
        for request in (FIND, None):
            for cut in (80, 128, 700, 1024):
                reply = reply_of(head(self.DATA, cut, tail=512), request)
                assert (reply.failure, reply.cursor_id, reply.truncated) == (None, -77, True)

    def test_without_it_a_cut_reply_is_a_success_but_truncated(self) -> None:
        reply = reply_of(head(self.DATA, 1024), FIND)
        assert (reply.failure, reply.cursor_id, reply.truncated) == (None, None, True)

    def test_a_failure_in_the_tail(self) -> None:
        data = answer({"results": [{"text": "y" * 50}] * 60, "ok": 0, "code": 50, "errmsg": "too slow"})
        reply = reply_of(head(data, 1024, tail=512), FIND)
        assert reply.failure
        assert (reply.failure.code, reply.failure.name) == (50, "MaxTimeMSExpired")

    def test_a_tail_to_which_the_way_is_not_known(self) -> None:
        end = {"ok": 0, "code": 50}
        data = answer({"a": "x" * 900, "b": "y" * 900, "c": "z" * 900, **end})
        reply = reply_of(head(data, 1024, tail=512), FIND)
        assert reply.failure
        assert reply.failure.code == 50
        # A string that looks like the end of a reply makes it uncertain: then nothing is said.
        fake = "\x01ok\0\0\0\0\0\0\0\0\0\x10code\0\0\0\0"
        data = answer({"a": "x" * 900, "b": "y" * 900, "c": "z" * 900, "d": fake, "ok": 1.0})
        reply = reply_of(head(data, 1024, tail=512), FIND)
        assert (reply.failure, reply.truncated) == (None, True)

    def test_documents_in_the_tail_are_no_end(self) -> None:
        batch = [{"ok": 0.0, "code": 13, "id": Int64(5), "ns": "a.b"}] * 60
        data = answer({"cursor": {"firstBatch": batch, "id": Int64(8), "ns": "shop.orders"}, **REPLY_END})
        for cut in range(60, 1100, 97):
            reply = reply_of(head(data, cut, tail=512), FIND)
            assert (reply.failure, reply.cursor_id) == (None, 8)


class TestExhaust:
    def test_more_to_come(self) -> None:
        hello = request_of(command({"hello": 1, "maxAwaitTimeMS": 1, "$db": "admin"}, flags=1 << 16))
        assert reply_of(answer({"ok": 1.0}, flags=2), hello).continues
        assert not reply_of(answer({"ok": 1.0}), hello).continues
        assert reply_of(answer({"ok": 1.0}, flags=2), FIND).continues

    def test_legacy(self) -> None:
        exhaust = request_of(op_query("shop.orders", {}, flags=64))
        assert reply_of(op_reply({"a": 1}, cursor_id=5), exhaust).continues
        assert not reply_of(op_reply({"a": 1}, cursor_id=0), exhaust).continues
        assert not reply_of(op_reply({"a": 1}, cursor_id=5), QUERY).continues


def test_a_reply_to_an_unknown_request() -> None:
    assert reply_of(answer(UNAUTHORIZED), None).failure
    # Of an OP_REPLY one cannot tell whether its document is a command's answer or a user's.
    assert reply_of(op_reply(UNAUTHORIZED), None).failure is None
    assert reply_of(op_reply(flags=1), None).failure


def test_documents_in_any_order() -> None:
    data = message(2011, kind0(UNAUTHORIZED)[1:] + kind0({"metadata": ObjectId()})[1:])
    reply = reply_of(data, OP_COMMAND)
    assert reply.failure
    assert reply.failure.code == 13


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(40), message(2004, bytes(40)), message(2007, bytes(16))])
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        reply_of(data, FIND)
    with pytest.raises(ProtocolError):
        MongoDB().reply_to(head(data))


def test_a_cursor_whose_length_lies() -> None:
    data = answer(CURSOR)
    for length in (-(1 << 31), -8, 0, 4, 5, len(data), 1 << 30):
        reply = maybe_reply(head(data.replace(data[33:37], struct.pack("<i", length), 1)), FIND)
        assert reply is None or reply.failure is None
