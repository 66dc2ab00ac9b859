"""What changed, the weightiest first: the overview's table of the last minute against the quarter of an hour before."""

from __future__ import annotations

from typing import TypeAlias, cast

from probes.filters import FilterError
from probes.store.changes import Change, Kind, begun_ns, changes, where_of
from probes.store.view import Key, View
from tui.glyphs import glyphs
from tui.panel import Where
from tui.widgets.numbers import age, duration, rate
from tui.widgets.table import Cell, Column, LineRow, LineTable
from tui.words import client_name, clock, what

_EVERY_NS = 5_000_000_000  # a minute against a quarter of an hour moves slowly, and costs most of all that is asked
_BEGINNINGS = 6  # that are looked for at a time

ChangeKey: TypeAlias = tuple[Kind, Key]


class ChangeTable(LineTable):
    """`show(view, where, now_ns)` fills it; `where_of(key)` are the conditions of the requests behind a row."""

    def __init__(self) -> None:
        super().__init__(_columns(0.0), id="changes")
        self._changes: dict[ChangeKey, Change] = {}
        self._begun: dict[ChangeKey, int | None] = {}
        self._asked: tuple[View | None, Where, int] = (None, (), 0)

    def show(self, view: View, where: Where, now_ns: int) -> None:
        asked_view, asked_where, asked_ns = self._asked
        if view is asked_view and where == asked_where and now_ns - asked_ns < _EVERY_NS:
            return
        self._asked = (view, where, now_ns)
        facts = view.facts()
        try:
            baseline_s, found = changes(view, where)
            self._changes = {(change.kind, change.key): change for change in found}
            self._find_beginnings(view, where)
            self.empty = "nothing" if baseline_s else f"no baseline yet, started {age(now_ns - facts.started_ns)} ago"
        except FilterError:
            baseline_s, self._changes = 0.0, {}
            self.empty = "not known: only the log can say which requests fit this filter"
        self.columns = _columns(baseline_s)
        rows = []
        for key, change in self._changes.items():
            at = self._begun.get(key)
            rows.append(LineRow(key, _cells(change, "" if at is None else f"since {clock(at, facts)}")))
        self.set_rows(rows)

    def forget(self) -> None:
        """Ask everything anew next time."""
        self._begun, self._asked = {}, (None, (), 0)

    def where_of(self, key: object) -> Where:
        return where_of(*cast(ChangeKey, key))

    def _find_beginnings(self, view: View, where: Where) -> None:
        """Since when: asked once for each change, as long as it lasts."""
        self._begun = {key: begun for key, begun in self._begun.items() if key in self._changes}
        for key in [key for key in self._changes if key not in self._begun][:_BEGINNINGS]:
            self._begun[key] = begun_ns(view, self._changes[key], where)


def _columns(baseline_s: float) -> tuple[Column, ...]:
    against = f"last 1m, {age(int(baseline_s * 1e9))} before it" if baseline_s else ""
    return (
        Column("sign", "", 1, sortable=False),
        Column("what", "WHAT CHANGED", 34, flexible=True, most=70, sortable=False),
        Column("moved", against, 26, sortable=False),
        Column("since", "", 14, sortable=False),
    )


def _cells(change: Change, since: str) -> tuple[Cell, ...]:
    sign, hint = _sign(change.kind)
    return Cell(sign, hint), Cell(_subject(change)), Cell(_moved(change), hint), Cell(since, "quiet")


def _sign(kind: Kind) -> tuple[str, str]:
    signs = glyphs()
    match kind:
        case Kind.ERROR:
            return signs.failing, "bad"
        case Kind.SLOWER:
            return signs.worse, "bad"
        case Kind.CLIENT | Kind.OPERATION | Kind.SHAPE:
            return signs.new, "new"
        case Kind.FASTER:
            return signs.better, "good"
        case Kind.FEWER:
            return signs.better, "warn"
        case Kind.MORE:
            return signs.worse, "warn"


def _subject(change: Change) -> str:
    if change.kind is Kind.CLIENT:
        _, host, application, process = change.key
        return f"client {client_name(str(host), process)} {application or ''}".rstrip()
    if change.kind is Kind.SHAPE:
        return str(change.key[3])
    _, operation, version, target = change.key[:4]
    return what(str(operation), cast("int | None", version), str(target))


def _moved(change: Change) -> str:
    to = glyphs().to
    if change.kind in (Kind.SLOWER, Kind.FASTER):
        return f"p99 {duration(int(change.before))} {to} {duration(int(change.now))}"
    if change.kind is Kind.ERROR:
        return f"{change.key[4]} {rate(change.before)} {to} {rate(change.now)}/s"
    return f"{rate(change.before)} {to} {rate(change.now)} req/s"
