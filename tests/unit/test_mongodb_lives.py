"""The lives of cursors and transactions, from the exchanges that they consist of."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from bson import Binary, Int64
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.mongodb import lives as lives_module
from probes.protocols.mongodb.lives import End, Lives
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.records import Reply, Request, Status
from tests.unit.mongodb_messages import (
    LSID,
    answer,
    command,
    compressed,
    head,
    maybe_reply,
    maybe_request,
    message,
    op_query,
    op_reply,
    reply_of,
    request_of,
)
from tests.unit.test_mongodb_hostile import HOSTILE, MESSAGES

Doc = dict[str, Any]
SECOND = 1_000_000_000


class Exchanged(NamedTuple):
    number: int
    status: Status
    start_ns: int
    end_ns: int
    request: Request | None
    reply: Reply | None


class Log:
    """Exchanges a second apart, each taken as it is made."""

    def __init__(self) -> None:
        self.lives = Lives()
        self.count = 0

    def bytes(self, asked: bytes, answered: bytes | None = None, *, cut: int | None = None) -> None:
        request = request_of(asked)
        reply = None
        if answered is not None:
            tail = 300 if cut is not None else 0
            reply = reply_of(head(answered, min(cut or len(answered), len(answered)), tail=tail), request)
        self.take(request, reply)

    def take(self, request: MongoRequest | None, reply: MongoReply | None) -> None:
        status = Status.LOST if reply is None else Status.ERROR if reply.failure is not None else Status.OK
        now_ns = self.count * SECOND
        self.lives.take(Exchanged(self.count, status, now_ns, now_ns + 1000, request, reply))
        self.count += 1

    def exchange(self, asked: Doc, answered: Doc | None, **options: Any) -> None:
        self.bytes(command({**asked, "$db": "shop"}), None if answered is None else answer(answered), **options)

    def ended(self) -> list[tuple[End, str]]:
        return [(each.end, each.error) for each in self.lives.ended]


def batch(id: int, count: int, *, first: bool = False, text: str = "x") -> Doc:
    documents = [{"_id": n, "text": text} for n in range(count)]
    return {
        "cursor": {"firstBatch" if first else "nextBatch": documents, "id": Int64(id), "ns": "shop.orders"},
        "ok": 1.0,
    }


def get_more(id: int) -> Doc:
    return {"getMore": Int64(id), "collection": "orders"}


FIND = {"find": "orders", "filter": {}}


class TestCursors:
    def test_from_the_find_to_its_end(self) -> None:
        log = Log()
        log.exchange(FIND, batch(77, 2, first=True))
        log.exchange(get_more(77), batch(77, 3))
        (cursor,) = log.lives.cursors.values()
        assert (cursor.id, cursor.operation, cursor.target, cursor.whole) == (77, "find", "shop.orders", True)
        assert (cursor.documents, cursor.exact, cursor.batches, cursor.number) == (5, True, 2, 0)
        assert (cursor.opened_ns, cursor.used_ns) == (0, SECOND + 1000)
        log.exchange(get_more(77), batch(0, 1))
        assert not log.lives.cursors
        assert log.ended() == [(End.EXHAUSTED, "")]
        assert log.lives.cursor(77) == (cursor, End.EXHAUSTED)
        assert (cursor.documents, cursor.batches, cursor.used_ns) == (6, 3, 2 * SECOND + 1000)
        assert log.lives.cursor(78) is None

    def test_one_batch_leaves_nothing(self) -> None:
        log = Log()
        log.exchange(FIND, batch(0, 2, first=True))
        log.exchange({"insert": "orders", "documents": [{}]}, {"n": 1, "ok": 1.0})
        assert not log.lives.cursors
        assert log.ended() == []

    def test_killed(self) -> None:
        log = Log()
        for id in (1, 2, 3):
            log.exchange({"aggregate": "orders", "pipeline": [], "cursor": {}}, batch(id, 1, first=True))
        log.exchange(
            {"killCursors": "orders", "cursors": [Int64(1), Int64(9)]}, {"cursorsKilled": [Int64(1)], "ok": 1.0}
        )
        log.bytes(message(2007, bytes(4) + (1).to_bytes(4, "little") + (3).to_bytes(8, "little")))
        assert list(log.lives.cursors) == [2]
        assert log.ended() == [(End.KILLED, "")] * 2

    def test_failed(self) -> None:
        log = Log()
        log.exchange(FIND, batch(5, 1, first=True))
        log.exchange(get_more(5), {"ok": 0.0, "code": 43, "codeName": "CursorNotFound", "errmsg": "x"})
        log.exchange(get_more(6), {"ok": 0.0, "code": 43, "codeName": "CursorNotFound", "errmsg": "x"})
        assert not log.lives.cursors
        assert log.ended() == [(End.FAILED, "CursorNotFound")]

    def test_what_was_opened_before(self) -> None:
        log = Log()
        log.exchange(get_more(8), batch(8, 4))
        (cursor,) = log.lives.cursors.values()
        assert (cursor.whole, cursor.operation, cursor.documents) == (False, "getMore", 4)

    def test_cut_replies_count_what_was_seen(self) -> None:
        log = Log()
        log.exchange(FIND, batch(9, 50, first=True, text="y" * 50), cut=600)
        (cursor,) = log.lives.cursors.values()
        assert not cursor.exact
        assert 0 < cursor.documents < 50

    def test_compressed_and_legacy(self) -> None:
        log = Log()
        log.bytes(compressed(command({**FIND, "$db": "shop"}), 2), compressed(answer(batch(7, 2, first=True)), 2))
        log.bytes(op_query("shop.orders", {}), op_reply({}, {}, cursor_id=8))
        log.bytes(
            message(2005, bytes(4) + b"shop.orders\0" + bytes(4) + (8).to_bytes(8, "little")), op_reply({}, cursor_id=8)
        )
        assert {id: cursor.documents for id, cursor in log.lives.cursors.items()} == {7: 2, 8: 3}
        assert (log.lives.compression["zlib"].messages, log.lives.compression["zlib"].unread) == (2, 0)
        log.bytes(compressed(command(FIND), 3, b"no zstd"), compressed(answer({"ok": 1.0}), 3, b"no zstd"))
        assert log.lives.compression["zstd"].unread == 2

    def test_those_that_wait_say_so(self) -> None:
        log = Log()
        log.exchange(
            {"aggregate": "orders", "pipeline": [{"$changeStream": {}}], "cursor": {}}, batch(3, 0, first=True)
        )
        log.exchange(FIND, batch(4, 1, first=True))
        assert {id: cursor.waits for id, cursor in log.lives.cursors.items()} == {3: True, 4: False}


SESSION = {"lsid": LSID, "autocommit": False}


def statement(number: int, **more: Any) -> Doc:
    return {"insert": "orders", "documents": [{}], **SESSION, "txnNumber": Int64(number), **more}


def ending(name: str, number: int) -> Doc:
    return {name: 1, **SESSION, "txnNumber": Int64(number)}


OK = {"n": 1, "ok": 1.0}
CONFLICT = {
    "ok": 0.0,
    "code": 112,
    "codeName": "WriteConflict",
    "errmsg": "x",
    "errorLabels": ["TransientTransactionError"],
}
NO_SUCH = {"ok": 0.0, "code": 251, "codeName": "NoSuchTransaction", "errmsg": "x"}


class TestTransactions:
    def test_committed(self) -> None:
        log = Log()
        log.exchange(statement(1, startTransaction=True), OK)
        log.exchange(statement(1), OK)
        (transaction,) = log.lives.transactions.values()
        assert (transaction.statements, transaction.whole, transaction.target) == (2, True, "shop.orders")
        assert (transaction.opened_ns, transaction.used_ns) == (0, SECOND + 1000)
        log.exchange(ending("commitTransaction", 1), OK)
        log.exchange(ending("commitTransaction", 1), OK)  # sent again
        assert not log.lives.transactions
        assert log.ended() == [(End.COMMITTED, "")]

    def test_aborted(self) -> None:
        log = Log()
        log.exchange(statement(1, startTransaction=True), OK)
        log.exchange(ending("abortTransaction", 1), OK)
        log.exchange(statement(2, startTransaction=True), OK)
        log.exchange(statement(2), CONFLICT)
        log.exchange(ending("abortTransaction", 2), NO_SUCH)
        log.exchange(statement(3, startTransaction=True), OK)
        log.exchange(ending("commitTransaction", 3), NO_SUCH)
        log.exchange(statement(4, startTransaction=True), OK)
        log.exchange(statement(5, startTransaction=True), OK)
        assert log.ended() == [
            (End.ABORTED, ""),
            (End.ABORTED, "WriteConflict"),
            (End.ABORTED, "NoSuchTransaction"),
            (End.ABORTED, "a newer one began"),
        ]
        assert [each.txn_number for each in log.lives.transactions.values()] == [5]

    def test_begun_before(self) -> None:
        log = Log()
        log.exchange(statement(1), OK)
        assert [each.whole for each in log.lives.transactions.values()] == [False]

    def test_a_write_that_is_sent_again(self) -> None:
        log = Log()
        for number, answered in ((1, OK), (2, None), (2, OK), (3, OK)):
            log.exchange({"insert": "orders", "documents": [{}], "lsid": LSID, "txnNumber": Int64(number)}, answered)
        assert log.ended() == [(End.RETRIED, "")]
        assert not log.lives.transactions


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives_module, "MAX_OPEN", 8)
    log = Log()
    for number in range(1, 40):
        session = {"lsid": {"id": Binary(number.to_bytes(16, "little"), 4)}}
        log.exchange(FIND, batch(number, 1, first=True))
        log.exchange({**statement(1, startTransaction=True), **session}, OK)
        log.exchange({"insert": "orders", **session, "txnNumber": Int64(1)}, OK)
    lives = log.lives
    assert list(lives.cursors) == list(range(32, 40))
    assert len(lives.transactions) == len(lives._writes) == 8
    assert lives.forgotten == 3 * 31


@given(st.lists(st.tuples(st.sampled_from(MESSAGES + list(HOSTILE.values())), st.sampled_from(MESSAGES)), max_size=6))
def test_any_messages(exchanges: list[tuple[bytes, bytes]]) -> None:
    log = Log()
    for asked, answered in exchanges:
        request = maybe_request(head(asked, min(len(asked), 1024)))
        log.take(request, maybe_reply(head(answered), request))
    assert all(cursor.id for cursor in log.lives.cursors.values())


def test_ends_since() -> None:
    log = Log()
    for number in range(1, 4):
        log.exchange(statement(number, startTransaction=True), OK)
        log.exchange(ending("commitTransaction", number), OK)
    assert len(list(log.lives.ends(End.COMMITTED, 3 * SECOND))) == 2
    assert list(log.lives.ends(End.ABORTED, 0)) == []
