"""What is open at MongoDB: cursors and transactions, how old, for whom; and how others ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from probes.protocols.mongodb.lives import MAX_ENDED, Cursor, End, Lives, OpenTransaction
from probes.store.view import Row, View, Window
from tui.following import Following
from tui.glyphs import glyphs
from tui.widgets import numbers
from tui.widgets.lines import Part, TextLines, fitted
from tui.widgets.table import Cell, Column, LineRow, LineTable
from tui.words import client_name

Line = list[Part | str]

_OF_CURSORS = (End.EXHAUSTED, End.KILLED, End.FAILED)
_OF_TRANSACTIONS = (End.COMMITTED, End.ABORTED, End.RETRIED)
_MOST_ROWS = 100
_OLDEST = 2  # which part of a line tells of the oldest one

_COLUMNS = (
    Column("what", "OPEN", 14, flexible=True, most=60, sortable=False),
    Column("age", "age", 8, right=True, sortable=False),
    Column("idle", "idle", 6, right=True, sortable=False),
    Column("requests", "requests", 8, right=True, sortable=False),
    Column("documents", "documents", 9, right=True, priority=1, sortable=False),
    Column("client", "client", 20, priority=2, sortable=False),
    Column("application", "application", 20, priority=3, sortable=False),
)


class OpenTable(LineTable):
    """Open cursors and transactions, oldest first."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS, empty="no cursor and no transaction is open", id="mongodb-open")
        self._first_rows: dict[object, int] = {}

    def show(self, view: View, lives: Lives, now_ns: int) -> None:
        opened = sorted(_opened(lives), key=lambda each: each.opened_ns)[:_MOST_ROWS]
        self._first_rows = {each.key: each.number for each in opened}
        rows = {row.number: row for row in view.pick([each.number for each in opened])}
        self.set_rows([_row(each, rows.get(each.number), now_ns) for each in opened])

    def first_row(self, view: View, key: object) -> Row | None:
        """The request that opened it, or that was seen first of it; None where it is no longer kept."""
        number = self._first_rows.get(key)
        return next(iter(view.pick([] if number is None else [number])), None)


class _Open(NamedTuple):
    """A cursor or a transaction alike."""

    key: tuple[str, object]
    what: str
    opened_ns: int
    used_ns: int
    number: int
    requests: int
    documents: int | None
    whole: bool  # it was seen from its first request on
    exact: bool  # its documents were counted
    waits: bool


def _opened(lives: Lives) -> list[_Open]:
    return [*map(_of_cursor, lives.cursors.values()), *map(_of_transaction, lives.transactions.values())]


def _of_cursor(its: Cursor) -> _Open:
    return _Open(
        ("cursor", its.id),
        f"{its.operation} {its.target}",
        its.opened_ns,
        its.used_ns,
        its.number,
        its.batches,
        its.documents,
        its.whole,
        its.whole and its.exact,
        its.waits,
    )


def _of_transaction(its: OpenTransaction) -> _Open:
    return _Open(
        ("transaction", its.session),
        f"transaction {its.target}",
        its.opened_ns,
        its.used_ns,
        its.number,
        its.statements,
        None,
        its.whole,
        exact=True,
        waits=False,
    )


def _row(each: _Open, row: Row | None, now_ns: int) -> LineRow:
    sign = f"{glyphs().waiting} " if each.waits else ""
    documents = glyphs().none if each.documents is None else _seen(numbers.count(each.documents), each.exact)
    cells = (
        f"{sign}{each.what}",
        _seen(numbers.age(now_ns - each.opened_ns), each.whole),
        numbers.age(now_ns - each.used_ns),
        _seen(numbers.count(each.requests), each.whole),
        documents,
        client_name(row.client.host, row.client_process) if row is not None else Cell(glyphs().unknown, "quiet"),
        row.application if row is not None else Cell(glyphs().unknown, "quiet"),
    )
    return LineRow(each.key, cells)


def _seen(text: str, whole: bool) -> str:
    return text if whole else numbers.at_least(text)


class LivesLines(TextLines):
    """`lives_lines` in the cells that there are."""

    def line(self, y: int) -> tuple[Part, ...]:
        return fitted(super().line(y), self.size.width, yields=_OLDEST)


def lives_lines(view: View, following: Following, window: Window, now_ns: int) -> list[Line]:
    """Two lines: the cursors, the transactions."""
    lives = following.lives
    since_ns = now_ns - window * 1_000_000_000 if window is not Window.START else 0
    cursors = [_of_cursor(each) for each in lives.cursors.values()]
    transactions = [_of_transaction(each) for each in lives.transactions.values()]
    first: Line = [Part(" cursors  ", "title"), *_oldest(view, cursors, now_ns), *_ends(lives, _OF_CURSORS, since_ns)]
    second: Line = [
        Part(" transactions  ", "title"),
        *_oldest(view, transactions, now_ns),
        *_ends(lives, _OF_TRANSACTIONS, since_ns),
    ]
    if following.behind or following.skipped:
        left = following.behind + following.skipped
        first.append(Part(f"  {numbers.count(left)} requests not read{' yet' if following.behind else ''}", "warn"))
    return [first, second]


def _oldest(view: View, opened: Sequence[_Open], now_ns: int) -> Line:
    """How many are open, and which is the oldest."""
    if not opened:
        return [Part("none open", "quiet"), ""]
    oldest = min(opened, key=lambda each: each.opened_ns)
    row = next(iter(view.pick([oldest.number])), None)
    by = f" by {row.application or client_name(row.client.host, row.client_process)}" if row is not None else ""
    age = _seen(numbers.age(now_ns - oldest.opened_ns), oldest.whole)
    return [Part(f"{numbers.count(len(opened))} open", "loud"), f", oldest {age}: {oldest.what}{by}"]


def _ends(lives: Lives, ends: Sequence[End], since_ns: int) -> Line:
    """How others ended in the window, and of which errors."""
    full = len(lives.ended) == MAX_ENDED and lives.ended[0].ns > since_ns
    parts: Line = []
    for end in ends:
        found = list(lives.ends(end, since_ns))
        if found:
            errors = Counter(each.error for each in found if each.error).most_common(1)
            why = f" ({errors[0][0]})" if errors else ""
            bad = end in (End.FAILED, End.ABORTED)
            parts.append(Part(f"  {end} {_seen(numbers.count(len(found)), not full)}{why}", "bad" if bad else ""))
    return parts


def compression_of(lives: Lives, opcode: str) -> str:
    """What an opcode's compressor makes of what goes by, and what could not be read: "3.1 to 1, 5 cut"."""
    its = lives.compression.get(opcode.partition(" ")[2])
    if its is None or not its.sent_bytes:
        return ""
    unread = f", {numbers.count(its.unread)} cut and not read" if its.unread else ""
    return f"({its.bytes / its.sent_bytes:.1f} to 1{unread}) "
