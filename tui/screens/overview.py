"""Screen 1: is it slow, failing or saturated; since when; for whom; what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from textual.app import ComposeResult
from textual.containers import Grid

from probes.filters import FilterError
from probes.records import Process
from probes.store.changes import Change, Kind, begun_ns, changes
from probes.store.view import Group, Groups, InFlight, Key, Row, View, Window
from tui.glyphs import glyphs
from tui.panel import Detail, Drill, Panel, Where
from tui.screens.processes import BY, ProcessTable, UnseenTable
from tui.screens.red import BY as RED_BY
from tui.screens.red import Red, RedGraphs, RedTable
from tui.widgets.groups import ERROR_RATE, P99, RATE, GroupTable, Measure, key_measure
from tui.widgets.numbers import age, count, duration, rate
from tui.widgets.table import Cell, Column, LineRow, LineTable
from tui.words import clock, exactly, what

_SLOWEST = ("protocol", "operation", "version", "target")
_FAILING = (*_SLOWEST, "error_name", "client")
_SHOWN_CHANGES = 12  # whose beginning is looked for


class OverviewPanel(Panel):
    """The protocols on top, what changed, what is slow, failing and hanging, and the processes."""

    SCOPED_CSS = False  # what the size of the terminal decides is said of the screen
    DEFAULT_CSS = """
    OverviewPanel { layout: vertical; }
    OverviewPanel Grid { height: 1fr; grid-size: 2; grid-columns: 3fr 2fr; grid-rows: 4fr 5fr 3fr; grid-gutter: 0 2; }
    OverviewPanel #changes, OverviewPanel #failing { column-span: 2; }
    OverviewPanel #overview-processes { height: 3; }
    OverviewPanel #overview-unseen { height: auto; max-height: 3; }
    OverviewPanel.-quiet Grid, OverviewPanel.-quiet RedGraphs { display: none; }
    OverviewPanel.-quiet #overview-unseen { max-height: 100%; }
    .-tall OverviewPanel #overview-processes { height: 6; }
    .-tall OverviewPanel #overview-unseen { max-height: 6; }
    .-wide OverviewPanel Grid { grid-columns: 1fr 1fr; grid-rows: 1fr 1fr; }
    .-wide OverviewPanel #changes, .-wide OverviewPanel #failing { column-span: 1; }
    """
    ident = "overview"
    title = "Overview"

    def __init__(self) -> None:
        super().__init__(id=self.ident)
        self._begun: dict[tuple[Kind, Key], int | None] = {}

    def compose(self) -> ComposeResult:
        yield RedTable()
        yield RedGraphs()
        with Grid():
            yield ChangeTable()
            yield GroupTable(_slowest(), sort="p99", empty="nothing was answered in this window", id="slowest")
            yield HangingTable()
            yield GroupTable(_failing(), sort="error_rate", empty="no error in this window", id="failing")
        yield ProcessTable(id="overview-processes")
        yield UnseenTable(id="overview-unseen")

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        facts, by_pid = view.facts(), view.groups(BY, window, where)
        since = f"nothing seen since {clock(facts.started_ns, facts)}: below is why" if not where else "nothing fits"
        red = Red.of(view, window, where)
        self.set_class(not red.groups and not where, "-quiet")
        self.query_one(RedTable).show(red, since)
        self.query_one(RedGraphs).show(red)
        self._show_changes(view, where, now_ns)
        self.query_one("#slowest", GroupTable).show(_with_durations(view.groups(_SLOWEST, window, where)))
        self.query_one("#failing", GroupTable).show(_with_errors(view.groups(_FAILING, window, where)))
        self.query_one(HangingTable).show(view.inflight(where), now_ns)
        self.query_one(ProcessTable).show(facts, by_pid, now_ns)
        self.query_one(UnseenTable).show(facts, by_pid)

    def focus_table(self) -> None:
        self.query_one(RedTable).focus()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        table, key = message.table, message.key
        if isinstance(table, HangingTable):
            row = table.row_of(key)
            if row is not None:
                self.post_message(Detail(row))
        elif isinstance(table, ChangeTable):
            self.post_message(Drill(table.where_of(key)))
        elif isinstance(table, GroupTable):
            self.post_message(Drill(table.where_of(cast(Key, key))))
        elif isinstance(table, RedTable):
            self.post_message(Drill(exactly(RED_BY, [cast(str, key)])))
        else:
            self.post_message(Drill(exactly(BY, [cast(Process, key).pid])))

    def _show_changes(self, view: View, where: Where, now_ns: int) -> None:
        facts = view.facts()
        try:
            baseline_s, found = changes(view, where)
            without = f"no baseline yet, started {age(now_ns - facts.started_ns)} ago"
            self._find_beginnings(view, where, found)
        except FilterError:
            baseline_s, found = 0.0, []
            without = "not known: only the log can say which requests fit this filter"
        since = [(change, self._begun.get((change.kind, change.key))) for change in found]
        self.query_one(ChangeTable).show(
            [(change, "" if at is None else f"since {clock(at, facts)}") for change, at in since], baseline_s, without
        )

    def _find_beginnings(self, view: View, where: Where, found: Sequence[Change]) -> None:
        """Since when: asked once for each change, as long as it lasts."""
        keys = [(change.kind, change.key) for change in found]
        self._begun = {key: self._begun[key] for key in keys if key in self._begun}
        for change, key in zip(found[:_SHOWN_CHANGES], keys, strict=False):
            if self._begun.get(key) is None:
                self._begun[key] = begun_ns(view, change, where)


class ChangeTable(LineTable):
    """What changed, the weightiest first."""

    def __init__(self) -> None:
        super().__init__(self._columns(0.0), id="changes")
        self._changes: dict[tuple[Kind, Key], Change] = {}

    def show(self, found: Sequence[tuple[Change, str]], baseline_s: float, without: str) -> None:
        """`found` with since when, against so long a baseline; `without` is what to say where there is none."""
        self.columns = self._columns(baseline_s)
        self.empty = "nothing" if baseline_s else without
        self._changes = {(change.kind, change.key): change for change, _ in found}
        self.set_rows([LineRow((change.kind, change.key), _change_cells(change, since)) for change, since in found])

    def where_of(self, key: object) -> Where:
        return self._changes[cast(tuple[Kind, Key], key)].where

    @staticmethod
    def _columns(baseline_s: float) -> tuple[Column, ...]:
        against = f"last 1m, {age(int(baseline_s * 1e9))} before it" if baseline_s else ""
        return (
            Column("sign", "", 1, sortable=False),
            Column("what", "WHAT CHANGED", 34, flexible=True, most=70, sortable=False),
            Column("moved", against, 26, sortable=False),
            Column("since", "", 14, sortable=False),
        )


def _change_cells(change: Change, since: str) -> tuple[Cell, ...]:
    sign, hint = _sign(change.kind)
    return Cell(sign, hint), Cell(_subject(change)), Cell(_moved(change), hint), Cell(since, "quiet")


def _sign(kind: Kind) -> tuple[str, str]:
    signs = glyphs()
    match kind:
        case Kind.ERROR:
            return signs.failing, "bad"
        case Kind.SLOWER:
            return signs.worse, "bad"
        case Kind.CLIENT | Kind.OPERATION:
            return signs.new, "new"
        case Kind.FASTER:
            return signs.better, "good"
        case Kind.FEWER:
            return signs.better, "warn"
        case Kind.MORE:
            return signs.worse, "warn"


def _subject(change: Change) -> str:
    if change.kind is Kind.CLIENT:
        return f"client {change.key[1]} {change.key[2] or ''}".rstrip()
    _, operation, version, target = change.key[:4]
    return what(str(operation), cast("int | None", version), str(target))


def _moved(change: Change) -> str:
    to = glyphs().to
    if change.kind in (Kind.SLOWER, Kind.FASTER):
        return f"p99 {duration(int(change.before))} {to} {duration(int(change.now))}"
    if change.kind is Kind.ERROR:
        return f"{change.key[4]} {rate(change.before)} {to} {rate(change.now)}/s"
    return f"{rate(change.before)} {to} {rate(change.now)} req/s"


class HangingTable(LineTable):
    """What waits for its reply now and is no long poll, oldest first."""

    def __init__(self) -> None:
        columns = [
            Column("sign", "", 1, sortable=False),
            Column("what", "HANGING NOW", 12, flexible=True, sortable=False),
            Column("client", "client", 15, priority=1, sortable=False),
            Column("age", "age", 6, right=True, sortable=False),
        ]
        super().__init__(columns, id="hanging")
        self._waiting: dict[object, Row] = {}

    def show(self, inflight: InFlight, now_ns: int) -> None:
        polls = sum(row.long_poll for row in inflight.rows)
        self.empty = f"nothing; {count(polls)} long polls wait, as they should" if polls else "nothing"
        self._waiting = {row.key: row for row in inflight.rows if not row.long_poll}
        self.set_rows(
            [
                LineRow(
                    key,
                    (
                        Cell(glyphs().waiting, "waiting"),
                        what(row.operation, row.version, row.target),
                        row.client.host,
                        Cell(age(inflight.age_ns(row, now_ns)), "waiting"),
                    ),
                )
                for key, row in self._waiting.items()
            ]
        )

    def row_of(self, key: object) -> Row | None:
        """The request; None where it has ended meanwhile."""
        return self._waiting.get(key)


def _slowest() -> Sequence[Measure]:
    return _what("SLOWEST"), replace(P99, column=replace(P99.column, width=7)), RATE


def _failing() -> Sequence[Measure]:
    return (
        _what("FAILING"),
        ERROR_RATE,
        key_measure(4, Column("error_name", "error", 23)),
        key_measure(5, Column("client", "client", 15)),
    )


def _what(title: str) -> Measure:
    def text(group: Group) -> str:
        _, operation, version, target = group.key[:4]
        return what(str(operation), cast("int | None", version), str(target))

    column = Column("what", title, 12, flexible=True, most=60)
    return Measure(column, lambda _, group: text(group), lambda _, group: text(group))


def _with_durations(groups: Groups) -> Groups:
    return replace(groups, groups=tuple(group for group in groups.groups if group.totals.durations.count))


def _with_errors(groups: Groups) -> Groups:
    return replace(groups, groups=tuple(group for group in groups.groups if group.totals.errors))
