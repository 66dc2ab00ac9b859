"""A live table of groups: what sessions with the same key add up to, a column for each measure.

A table is declared by its columns: what each shows of a group, and what it sorts by. Cells are made for the rows on
screen only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

from probes.records import Process
from probes.store.view import Group, Groups, Is, Key, KeyValue, Quantiles
from tui.glyphs import glyphs
from tui.widgets import numbers
from tui.widgets.table import AnyCell, AnyRow, Cell, Column, LineTable

Where: TypeAlias = tuple[Is, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: `cell` is what it shows of a group, `order` what it is sorted by."""

    column: Column
    cell: Callable[[Groups, Group], AnyCell]
    order: Callable[[Groups, Group], Any]


class _GroupRow:
    """A row of the table that makes its cells when it is drawn."""

    __slots__ = ("_group", "_groups", "_measures")
    hint = ""

    def __init__(self, groups: Groups, group: Group, measures: Sequence[Measure]) -> None:
        self._groups, self._group, self._measures = groups, group, measures

    @property
    def key(self) -> Key:
        return self._group.key

    @property
    def cells(self) -> tuple[AnyCell, ...]:
        return tuple(measure.cell(self._groups, self._group) for measure in self._measures)


class _GroupRows(Sequence[AnyRow]):
    """The rows of groups in this order, made when they are on screen."""

    def __init__(self, groups: Groups, ordered: Sequence[Group], measures: Sequence[Measure]) -> None:
        self._groups, self.ordered, self._measures = groups, ordered, measures

    def __len__(self) -> int:
        return len(self.ordered)

    @overload
    def __getitem__(self, index: int) -> AnyRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnyRow]: ...
    def __getitem__(self, index: int | slice) -> AnyRow | Sequence[AnyRow]:
        if isinstance(index, slice):
            return _GroupRows(self._groups, self.ordered[index], self._measures)
        return _GroupRow(self._groups, self.ordered[index], self._measures)


class GroupTable(LineTable):
    """`show(groups)` fills it; `where_of(key)` are the conditions that lead to the requests behind a row."""

    def __init__(self, measures: Sequence[Measure], *, sort: str = "rate", empty: str = "", id: str = "") -> None:
        super().__init__([measure.column for measure in measures], sort=sort, empty=empty, id=id or None)
        self._measures = tuple(measures)
        self._groups: Groups | None = None

    def measure(self, measures: Sequence[Measure], *, sort: str = "rate") -> None:
        """Other columns; until the next `show` it is empty."""
        self._measures, self._groups = tuple(measures), None
        self.set_columns([measure.column for measure in measures], sort=sort)

    def show(self, groups: Groups) -> None:
        self._groups = groups
        order = next((each.order for each in self._measures if each.column.name == self.sort_name), None)
        ordered: Sequence[Group] = groups.groups
        if order is not None:
            ordered = sorted(ordered, key=lambda group: order(groups, group), reverse=self.descending)
        self.set_rows(_GroupRows(groups, ordered, self._measures))

    def where_of(self, key: Sequence[KeyValue]) -> Where:
        by = self._groups.by if self._groups is not None else ()
        return tuple(Is(field, value) for field, value in zip(by, key, strict=True))

    def on_line_table_sorted(self) -> None:
        if self._groups is not None:
            self.show(self._groups)

    def _find(self, key: Hashable, near: int) -> int | None:
        rows = self.rows
        if not isinstance(rows, _GroupRows):
            return super()._find(key, near)
        return next((index for index, group in enumerate(rows.ordered) if group.key == key), None)


# What a column can show of a group.


def text_of(value: KeyValue) -> str:
    """A key's value as text; what is not there reads "–"."""
    if isinstance(value, Process):
        return f"{value.name} {value.pid}"
    return glyphs().none if value is None or value == "" else str(value)


def key_measure(index: int, column: Column) -> Measure:
    """The key's value number `index`."""

    def order(_: Groups, group: Group) -> tuple[bool, Any]:
        value = group.key[index]
        return value is None, value if isinstance(value, int) else text_of(value)

    return Measure(column, lambda _, group: text_of(group.key[index]), order)


def _quiet(text: str, *, when: bool) -> AnyCell:
    return Cell(text, "quiet") if when else text


def _rate(groups: Groups, group: Group) -> AnyCell:
    return _quiet(numbers.rate(groups.rate(group.totals.requests)), when=not group.totals.requests)


def _errors(_: Groups, group: Group) -> AnyCell:
    ratio = group.totals.error_ratio
    return Cell(numbers.percent(ratio), "bad" if ratio else "quiet")


def _waiting(_: Groups, group: Group) -> AnyCell:
    return Cell(numbers.count(group.inflight), "waiting" if group.inflight else "quiet")


RATE = Measure(Column("rate", "req/s", 6, right=True), _rate, lambda _, group: group.totals.requests)
ERRORS = Measure(
    Column("errors", "err %", 6, right=True),
    _errors,
    lambda _, group: (group.totals.error_ratio or 0, group.totals.errors),
)
ERROR_RATE = Measure(
    Column("error_rate", "err/s", 6, right=True),
    lambda groups, group: Cell(numbers.rate(groups.rate(group.totals.errors)), "bad"),
    lambda _, group: group.totals.errors,
)
NOW = Measure(Column("now", "now", 4, right=True), _waiting, lambda _, group: group.inflight)
BYTES_IN = Measure(
    Column("in", "MB/s in", 7, right=True, priority=3),
    lambda groups, group: numbers.rate(groups.rate(group.totals.request_bytes) / 1e6),
    lambda _, group: group.totals.request_bytes,
)
BYTES_OUT = Measure(
    Column("out", "MB/s out", 8, right=True, priority=3),
    lambda groups, group: numbers.rate(groups.rate(group.totals.response_bytes) / 1e6),
    lambda _, group: group.totals.response_bytes,
)
LOST = Measure(
    Column("lost", "lost", 5, right=True, priority=4),
    lambda _, group: Cell(numbers.count(group.totals.lost), "warn" if group.totals.lost else "quiet"),
    lambda _, group: group.totals.lost,
)
ONEWAY = Measure(
    Column("oneway", "one-way/s", 9, right=True, priority=5),
    lambda groups, group: _quiet(numbers.rate(groups.rate(group.totals.oneway)), when=not group.totals.oneway),
    lambda _, group: group.totals.oneway,
)


def durations(name: str, title: str, *, priority: int = 0) -> Measure:
    """A quantile of the durations, which are without long polls; `name` as in `Quantiles`."""

    def value(quantiles: Quantiles) -> int:
        return int(getattr(quantiles, name)) if quantiles.count else -1

    def cell(_: Groups, group: Group) -> AnyCell:
        of = group.totals.durations
        return numbers.ms(value(of)) if of.count else Cell(glyphs().none, "quiet")

    return Measure(
        Column(name, title, 6, right=True, priority=priority), cell, lambda _, group: value(group.totals.durations)
    )


P50, P90 = durations("p50", "p50 ms"), durations("p90", "p90 ms", priority=1)
P99, MAX = durations("p99", "p99 ms"), durations("max", "max ms", priority=2)


def _wait(_: Groups, group: Group) -> AnyCell:
    waits = group.totals.waits
    return numbers.ms(waits.p50) if waits.count else Cell(glyphs().none, "quiet")


WAIT = Measure(
    Column("wait", "wait ms", 7, right=True, priority=1),
    _wait,
    lambda _, group: group.totals.waits.p50 if group.totals.waits.count else -1,
)
"""How long polls were held back, at the median: no latency."""


def is_long_poll(group: Group) -> bool:
    """Whether nothing but long polls is known of it."""
    return bool(group.totals.waits.count and not group.totals.durations.count)


def share(width: int, *, priority: int = 0) -> Measure:
    """A bar: the group's part of all requests. Of long polls it says that they are."""

    def cell(groups: Groups, group: Group) -> AnyCell:
        if is_long_poll(group):
            return Cell("long poll", "quiet")
        busiest = max((each.totals.requests for each in groups.groups[:1]), default=0)
        return numbers.bar(group.totals.requests / busiest if busiest else 0.0, width)

    column = Column("share", "share", width, priority=priority, sortable=False)
    return Measure(column, cell, lambda _, group: group.totals.requests)


USUAL = (RATE, ERRORS, P50, P90, P99, MAX, NOW, share(9, priority=1), WAIT, BYTES_IN, BYTES_OUT, LOST, ONEWAY)
"""What is told of a group of requests where nothing else matters more."""
