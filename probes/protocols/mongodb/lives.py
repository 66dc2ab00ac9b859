"""What lives longer than a request: cursors from the one that opens them to their end, and transactions.

In: exchanges, in the order in which they ended. Out: the cursors and transactions that are open, with what they did so
far, and how the others ended. What began before the first exchange is known from when it was first met. Bounded: past
the bounds the ones that were used least recently are forgotten, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.compression import COMPRESSED_BYTES, compressed_sizes
from probes.protocols.mongodb.documents import elements, find_fields
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import kept_message
from probes.protocols.mongodb.options import Transaction, command_document, transaction_of
from probes.protocols.mongodb.replies import (
    OF_CURSOR,
    OP_REPLY_DOCUMENTS_AT,
    OP_REPLY_HEADER,
    Batch,
    answer_document,
    batch_of,
    cursor_id,
    cursor_id_behind_batch,
)
from probes.protocols.mongodb.wire import HEADER_BYTES, INT64, NAMESPACE_AT, OP_KILL_CURSORS, OP_MSG, OP_REPLY
from probes.records import Reply, Request, Status

MAX_OPEN = 4096  # of cursors, of transactions, and of sessions that write
MAX_ENDED = 4096
_MAX_KILLED = 1024  # by one request

_TXN_NUMBER = b"\x12txnNumber\0"
_CURSOR = b"\x03cursor\0"
_K = TypeVar("_K")
_V = TypeVar("_V")


class Exchange(Protocol):
    """What is taken: see `probes.store.view.Exchange`."""

    @property
    def number(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def request(self) -> Request | None: ...
    @property
    def reply(self) -> Reply | None: ...


def _opens_cursors(reply: MongoReply) -> bool:
    """Whether there may be a cursor in what is kept of a reply."""
    return bool(reply.compressor) or _CURSOR in reply.data


class End(StrEnum):
    """How a cursor or a transaction ended."""

    EXHAUSTED = "exhausted"
    KILLED = "killed"
    FAILED = "failed"
    COMMITTED = "committed"
    ABORTED = "aborted"
    RETRIED = "retried"  # a write that was sent again; what it belongs to did not end


class Ended(NamedTuple):
    """One end, when it came, of which error, and of what: None where its life was not seen, or did not end."""

    end: End
    ns: int
    error: str = ""
    of: Cursor | OpenTransaction | None = None


@dataclass(slots=True)
class Cursor:
    """An open cursor. `whole`: it was seen from its first request on; `exact`: all its documents were counted."""

    id: int
    operation: str  # that opened it; "getMore" where that was not seen
    target: str
    opened_ns: int
    used_ns: int
    number: int  # of the first exchange
    whole: bool
    documents: int = 0
    batches: int = 0
    exact: bool = True
    waits: bool = False  # for data that is not there yet


@dataclass(slots=True)
class OpenTransaction:
    """A transaction of several statements that was neither committed nor aborted yet."""

    session: bytes
    txn_number: int
    target: str  # of its first statement
    opened_ns: int
    used_ns: int
    number: int
    whole: bool
    statements: int = 0


@dataclass(slots=True)
class Compression:
    """What went by compressed: bytes on the wire, and uncompressed. `unread` messages were cut and gave nothing."""

    messages: int = 0
    sent_bytes: int = 0
    bytes: int = 0
    unread: int = 0


class Lives:
    """`take` is given every exchange. `cursors` and `transactions` are the open ones, least recently used first."""

    def __init__(self) -> None:
        self.cursors: dict[int, Cursor] = {}
        self.transactions: dict[bytes, OpenTransaction] = {}
        self.ended: deque[Ended] = deque(maxlen=MAX_ENDED)
        self.compression: dict[str, Compression] = {}
        self.forgotten = 0
        self._writes: dict[bytes, int] = {}  # the last number of each session

    def take(self, exchange: Exchange) -> None:
        """Learn from an exchange that ended."""
        request, reply = exchange.request, exchange.reply
        reply = reply if isinstance(reply, MongoReply) else None
        if reply is not None and reply.compressor:
            self._compressed(reply)
        if not isinstance(request, MongoRequest):
            return
        if request.compressor:
            self._compressed(request)
        if request.compressor or _TXN_NUMBER in request.data:
            transaction = transaction_of(request.data)
            if transaction is not None and transaction.number is not None:
                self._in_transaction(exchange, request, transaction, transaction.number)
        operation = request.operation.lower()
        if operation == "killcursors":
            self._kill(exchange, request)
        elif reply is not None and (request.cursor_id or reply.cursor_id or _opens_cursors(reply)):
            self._on_cursor(exchange, request, reply)

    def cursor(self, id: int) -> tuple[Cursor, End | None] | None:
        """What is known of a cursor, and how it ended, None where it is open."""
        if id in self.cursors:
            return self.cursors[id], None
        for each in reversed(self.ended):
            if isinstance(each.of, Cursor) and each.of.id == id:
                return each.of, each.end
        return None

    def ends(self, end: End, since_ns: int) -> Iterator[Ended]:
        """Those that came at `since_ns` or later, as far as they are remembered."""
        return (each for each in self.ended if each.end is end and each.ns >= since_ns)

    # Cursors.

    def _on_cursor(self, exchange: Exchange, request: MongoRequest, reply: MongoReply) -> None:
        id, batch = _read_cursor(request, reply)
        asked = request.cursor_id
        cursor = self.cursors.pop(asked or id or 0, None)
        if exchange.status is Status.ERROR:
            if cursor is not None:
                self._end(End.FAILED, exchange, _error(exchange), cursor)
            return
        if not asked and not id:
            return
        if cursor is None:
            cursor = Cursor(
                asked or id or 0,
                request.operation,
                request.target,
                exchange.start_ns,
                exchange.end_ns,
                exchange.number,
                whole=not asked,
                waits=request.waits or request.long_poll,
            )
        cursor.used_ns = exchange.end_ns
        cursor.batches += 1
        cursor.documents += batch.documents if batch is not None else 0
        cursor.exact = cursor.exact and batch is not None and batch.exact
        if id == 0:
            self._end(End.EXHAUSTED, exchange, of=cursor)
        else:
            self._keep(self.cursors, cursor.id, cursor)

    def _kill(self, exchange: Exchange, request: MongoRequest) -> None:
        for id in _killed(request):
            cursor = self.cursors.pop(id, None)
            if cursor is not None:
                cursor.used_ns = exchange.end_ns
                self._end(End.KILLED, exchange, of=cursor)

    # Transactions.

    def _in_transaction(self, exchange: Exchange, request: MongoRequest, its: Transaction, number: int) -> None:
        if not its.inside:
            if self._writes.pop(its.session, None) == number:
                self._end(End.RETRIED, exchange)
            self._keep(self._writes, its.session, number)
            return
        known = self.transactions.pop(its.session, None)
        if known is not None and known.txn_number != number:
            self._end(End.ABORTED, exchange, "a newer one began", known)
            known = None
        error = _error(exchange)
        operation = request.operation.lower()
        if operation in ("committransaction", "aborttransaction"):
            if known is None:
                return
            if not error and exchange.status is Status.OK:
                self._end(End.COMMITTED if operation == "committransaction" else End.ABORTED, exchange, of=known)
                return
            if error == "NoSuchTransaction":
                self._end(End.ABORTED, exchange, error, known)
                return
        elif exchange.status is Status.ERROR:
            # The server aborts a transaction of which a statement failed.
            self._end(End.ABORTED, exchange, error, known)
            return
        if known is None:
            known = OpenTransaction(
                its.session,
                number,
                request.target,
                exchange.start_ns,
                exchange.end_ns,
                exchange.number,
                whole=its.starts,
            )
        known.used_ns = exchange.end_ns
        known.statements += 1
        self._keep(self.transactions, its.session, known)

    # Compression.

    def _compressed(self, part: MongoRequest | MongoReply) -> None:
        its = self.compression.setdefault(part.compressor, Compression())
        its.messages += 1
        sizes = compressed_sizes(part.data)
        if sizes is not None:
            its.sent_bytes += sizes[0]
            its.bytes += sizes[1]
        its.unread += part.truncated and len(part.data) <= COMPRESSED_BYTES

    # Both.

    def _end(self, end: End, exchange: Exchange, error: str = "", of: Cursor | OpenTransaction | None = None) -> None:
        self.ended.append(Ended(end, exchange.end_ns, error, of))

    def _keep(self, of: dict[_K, _V], key: _K, value: _V) -> None:
        """As the most recently used one."""
        of[key] = value
        if len(of) > MAX_OPEN:
            del of[next(iter(of))]
            self.forgotten += 1


def _error(exchange: Exchange) -> str:
    failure = exchange.reply.failure if exchange.reply is not None else None
    return "" if failure is None else failure.name


def _read_cursor(request: MongoRequest, reply: MongoReply) -> tuple[int | None, Batch | None]:
    """The id of the cursor in a reply, and the documents that it has; None for what is not to be seen."""
    id = reply.cursor_id
    if id is None and reply.opcode == OP_MSG and not reply.compressor:
        id = cursor_id_behind_batch(reply.data, reply.data, 0)
    if id == 0 and not request.cursor_id:
        return 0, None  # most have nothing to follow
    try:
        message = kept_message(reply.data)
        document = answer_document(message, request)
    except ProtocolError:
        return id, None
    if document is None:
        if message.opcode != OP_REPLY or len(message.data) < OP_REPLY_DOCUMENTS_AT:
            return id, None
        return id, Batch(OP_REPLY_HEADER.unpack_from(message.data, HEADER_BYTES)[3], exact=True)
    cursor = document.nested(find_fields(document, {b"cursor"}).get(b"cursor"))
    if cursor is None:
        return id, None
    fields = find_fields(cursor, OF_CURSOR)
    return cursor_id(cursor, fields) if id is None else id, batch_of(cursor, fields)


def _killed(request: MongoRequest) -> list[int]:
    """The cursors that a request kills."""
    try:
        message = kept_message(request.data)
        if message.opcode == OP_KILL_CURSORS:
            ids = message.data[NAMESPACE_AT + 4 :]
            return [id for (id,) in INT64.iter_unpack(ids[: len(ids) // 8 * 8][: 8 * _MAX_KILLED])]
        command = command_document(message)
        cursors = None if command is None else command.nested(find_fields(command, {b"cursors"}).get(b"cursors"))
        if cursors is None:
            return []
        return [id for each in islice(elements(cursors), _MAX_KILLED) if (id := each.integer()) is not None]
    except ProtocolError:
        return []
