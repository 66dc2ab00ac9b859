"""The log as a live table: what waits now, and under it every request that ended, newest first.

Rows are addressed by their number in the log and fetched when they come on screen: a million of them cost no more than
a page. New ones come in above. Who reads further down, or has the cursor on a row, keeps the place; `follow` goes back
to the newest, and so does `home`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from probes.records import Status
from probes.store.view import Row, View
from tui.glyphs import glyphs
from tui.widgets import numbers
from tui.widgets.table import AnyCell, AnyRow, Cell, Column, LineTable

Numbers = range | NDArray[np.int64]
"""Numbers of rows, ascending: all of the log's, or those that fit a filter."""

COLUMNS = (
    Column("time", "time", 11, sortable=False),
    Column("ms", "ms", 6, right=True, sortable=False),
    Column("operation", "operation", 15, sortable=False),
    Column("target", "target", 11, flexible=True, most=48, sortable=False),
    Column("status", "status", 16, sortable=False),
    Column("client", "client", 15, sortable=False),
    Column("connection", "connection", 14, right=True, priority=1, sortable=False),
    Column("application", "application", 16, priority=2, sortable=False),
    Column("sent", "request", 8, right=True, priority=3, sortable=False),
    Column("received", "response", 8, right=True, priority=3, sortable=False),
    Column("process", "process", 14, priority=4, sortable=False),
    Column("server", "server", 15, priority=5, sortable=False),
    Column("opcode", "opcode", 12, priority=6, sortable=False),
)

_STATUS = next(place for place, column in enumerate(COLUMNS) if column.name == "status")


class LogRow(NamedTuple):
    """A row of the table, with what it shows; None where that is no longer kept."""

    key: Hashable
    cells: tuple[AnyCell, ...]
    hint: str
    row: Row | None


class RowCache:
    """Rows of the log by their numbers, fetched some at a time: rows never change later."""

    _BLOCK = 64  # rows fetched at a time
    _KEPT = 4096

    def __init__(self) -> None:
        self._known: dict[int, Row | None] = {}  # None is gone

    def row(self, view: View, matching: Numbers, place: int) -> Row | None:
        """The row at this place of `matching`; its neighbours are fetched with it. None: it is gone."""
        number = int(matching[place])
        if number not in self._known:
            if len(self._known) > self._KEPT:
                self._known.clear()
            begin = place - place % self._BLOCK
            wanted = np.asarray(matching[begin : begin + self._BLOCK], np.int64)
            self._known.update(dict.fromkeys(wanted.tolist()))
            self._known.update((row.number, row) for row in view.pick(wanted))
        return self._known[number]


class LogRows(Sequence[LogRow]):
    """Rows of the log as a table wants them: those in flight, then `matching` from the newest on. Does not change."""

    def __init__(self, view: View, inflight: Sequence[Row], matching: Numbers, now_ns: int, cache: RowCache) -> None:
        self.inflight = inflight
        self._view, self._matching, self._now_ns, self._cache = view, matching, now_ns, cache
        self._wall_offset_ns = view.facts().wall_offset_ns

    def __len__(self) -> int:
        return len(self.inflight) + len(self._matching)

    @overload
    def __getitem__(self, index: int) -> LogRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LogRow]: ...
    def __getitem__(self, index: int | slice) -> LogRow | Sequence[LogRow]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < len(self.inflight):
            row = self.inflight[index]
            return LogRow(key_of(row), cells_of(row, self._wall_offset_ns, self._now_ns), "waiting", row)
        place = len(self) - 1 - index  # the newest is the first
        number = int(self._matching[place])
        found = self._cache.row(self._view, self._matching, place)
        if found is None:
            return LogRow(number, ("", "", "no longer kept", *("",) * (len(COLUMNS) - 3)), "quiet", None)
        return LogRow(number, cells_of(found, self._wall_offset_ns, self._now_ns), "", found)

    def newest(self, most: int) -> list[Row]:
        """The newest `most` that ended and are still kept, the oldest first, then those in flight."""
        numbers = np.asarray(self._matching[max(0, len(self._matching) - most) :], np.int64)
        return [*self._view.pick(numbers), *self.inflight]

    def find(self, key: Hashable) -> int | None:
        """The place of the row with this key."""
        if not isinstance(key, int):
            return next((index for index, row in enumerate(self.inflight) if key_of(row) == key), None)
        place = bisect_left(self._matching, key)
        if place < len(self._matching) and self._matching[place] == key:
            return len(self) - 1 - place
        return None


class LogTable(LineTable):
    """`show(rows)`; `place` says how far from the newest its top is."""

    opens = "open"

    def __init__(self, *, empty: str, id: str) -> None:
        super().__init__(COLUMNS, empty=empty, id=id)
        self._log: LogRows | None = None

    @property
    def shown(self) -> LogRows | None:
        """What is shown."""
        return self._log

    @property
    def newer(self) -> int:
        """How many rows that ended are above the first line on screen."""
        waiting = len(self._log.inflight) if self._log is not None else 0
        return max(0, self._top - waiting) if self._top else 0

    def show(self, rows: LogRows) -> None:
        """Show these, and keep the line that is read where it is on the screen."""
        anchor = self.cursor_row if self._cursor >= 0 else self._row(self._top) if self._top else None
        line = (self._cursor if self._cursor >= 0 else self._top) - self._top
        self._log = rows
        self.set_rows(rows)
        found = rows.find(anchor.key) if anchor is not None else None
        if found is not None:
            self._top = found - line
            self._keep_within()
            self.update()

    @property
    def request(self) -> Row | None:
        """What the cursor is on, also where it is no longer among the rows."""
        row = self.cursor_row
        return row.row if isinstance(row, LogRow) else None

    def action_edge(self, last: int) -> None:
        if last:
            super().action_edge(last)
        else:
            self.clear_cursor()

    def _left_behind(self, row: AnyRow) -> AnyRow:
        if not isinstance(row, LogRow) or row.row is None or row.row.status is not Status.INFLIGHT:
            return row
        cells = list(row.cells)
        cells[_STATUS] = Cell("waits no more", "quiet")
        return row._replace(cells=tuple(cells))

    def _find(self, key: Hashable, near: int) -> int | None:
        return self._log.find(key) if self._log is not None else None


def key_of(row: Row) -> Hashable:
    """A row's key in the table: its number in the log, else what tells it from others in flight."""
    return row.number if row.number >= 0 else row.key


def operation_of(row: Row) -> str:
    if not row.operation:
        return "(undecoded)"
    return row.operation if row.version is None else f"{row.operation}_v{row.version}"


def status_of(row: Row, now_ns: int) -> AnyCell:
    """How it ended, in words; the error's name where there is one."""
    signs = glyphs()
    match row.status:
        case Status.OK:
            return Cell("ok long poll" if row.long_poll else "ok", "quiet")
        case Status.ERROR:
            name = row.error_name or (str(row.error_code) if row.error_code is not None else "error")
            return Cell(f"{signs.failing} {name}", "bad")
        case Status.INFLIGHT:
            return Cell(f"waits {numbers.age(now_ns - row.start_ns)}", "waiting")
        case Status.ONEWAY:
            return Cell("one-way", "quiet")
        case Status.LOST:
            return Cell("connection lost", "warn")
        case Status.DROPPED:
            return Cell("reply unseen", "warn")
        case Status.UNPARSED:
            return Cell("not decoded", "warn")


def cells_of(row: Row, wall_offset_ns: int, now_ns: int) -> tuple[AnyCell, ...]:
    """The cells of `COLUMNS`."""
    signs = glyphs()
    process = row.server_process or row.client_process
    waits = row.status is Status.INFLIGHT
    if waits:
        time_on_wire: AnyCell = Cell(signs.waiting, "waiting")
    elif row.duration_ns is None:
        time_on_wire = Cell(signs.none, "quiet")
    else:
        time_on_wire = Cell(numbers.ms(row.duration_ns), "quiet" if row.long_poll else "")
    return (
        numbers.of_day(row.start_ns + wall_offset_ns),
        time_on_wire,
        operation_of(row),
        row.target or signs.none,
        status_of(row, now_ns),
        str(row.client) or signs.unknown,
        str(row.connection),
        row.application or signs.none,
        numbers.size(row.request_bytes) if row.request_bytes else signs.none,
        numbers.size(row.response_bytes) if row.response_bytes else signs.none,
        f"{process.name} {process.pid}" if process is not None else signs.none,
        str(row.server) or signs.unknown,
        row.opcode or signs.none,
    )
