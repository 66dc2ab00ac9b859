"""Screen 1: is it slow, failing or saturated; since when; for whom; what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from textual.app import ComposeResult
from textual.containers import Grid

from probes.filters import Term
from probes.store.view import Group, Groups, InFlight, Key, Row, View, Window
from tui.glyphs import glyphs
from tui.panel import Detail, Drill, Panel, Where
from tui.screens.changes import ChangeTable
from tui.screens.processes import ProcessTable, UnseenTable, Work, client_measure
from tui.screens.red import BY as RED_BY
from tui.screens.red import Red, RedGraphs, RedTable
from tui.widgets.groups import ERROR_RATE, P99, RATE, GroupTable, Measure, key_measure
from tui.widgets.numbers import age, count
from tui.widgets.table import Cell, Column, LineRow, LineTable
from tui.words import client_name, clock, exactly, what

_SLOWEST = ("protocol", "operation", "version", "target")
_FAILING = (*_SLOWEST, "error_name", "client", "client_process")
_FAILED = Term("status", "=", "error")
_HANGS_FROM_NS = 1_000_000_000


class OverviewPanel(Panel):
    """The protocols on top, what changed, what is slow, failing and hanging, and the processes."""

    SCOPED_CSS = False  # what the size of the terminal decides is said of the screen
    DEFAULT_CSS = """
    OverviewPanel { layout: vertical; }
    OverviewPanel > Grid { height: 1fr; grid-size: 2; grid-columns: 3fr 2fr; grid-rows: 4fr 5fr 3fr; grid-gutter: 0 2; }
    OverviewPanel #changes, OverviewPanel #failing { column-span: 2; }
    OverviewPanel #overview-processes { height: 3; }
    OverviewPanel #overview-unseen { height: auto; max-height: 3; }
    OverviewPanel.-quiet > Grid, OverviewPanel.-quiet RedGraphs { display: none; }
    OverviewPanel.-quiet #overview-unseen { max-height: 100%; }
    .-tall OverviewPanel #overview-processes { height: 6; }
    .-tall OverviewPanel #overview-unseen { max-height: 6; }
    .-wide OverviewPanel > Grid { grid-columns: 1fr 1fr; grid-rows: 1fr 1fr; }
    .-wide OverviewPanel #changes, .-wide OverviewPanel #failing { column-span: 1; }
    """
    ident = "overview"
    title = "Overview"

    def __init__(self) -> None:
        super().__init__(id=self.ident)

    def compose(self) -> ComposeResult:
        yield RedTable()
        yield RedGraphs()
        with Grid():
            yield ChangeTable()
            yield GroupTable(_slowest(), sort="", empty="nothing was answered in this window", id="slowest")
            yield HangingTable()
            yield GroupTable(_failing(), sort="error_rate", empty="no error in this window", id="failing")
        yield ProcessTable(id="overview-processes")
        yield UnseenTable(id="overview-unseen")

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        facts, work = view.facts(), Work.of(view, window, where)
        since = f"nothing seen since {clock(facts.started_ns, facts)}: below is why" if not where else "nothing fits"
        red = Red.of(view, window, where)
        self.set_class(not red.groups and not where, "-quiet")
        self.query_one(RedTable).show(red, since)
        self.query_one(RedGraphs).show(red)
        self.query_one(ChangeTable).show(view, where, now_ns)
        self.query_one("#slowest", GroupTable).show(_by_slowness(view.groups(_SLOWEST, window, where)))
        self.query_one("#failing", GroupTable).show(view.groups(_FAILING, window, (*where, _FAILED)))
        self.query_one(HangingTable).show(view.inflight(where), now_ns)
        self.query_one(ProcessTable).show(facts, work, now_ns)
        self.query_one(UnseenTable).show(facts, work)

    def forget(self) -> None:
        self.query_one(ChangeTable).forget()

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
        elif isinstance(table, ProcessTable | UnseenTable):
            self.post_message(Drill(table.where_of(key)))


class HangingTable(LineTable):
    """What has waited for its reply for a second or more and is no long poll, oldest first."""

    def __init__(self) -> None:
        columns = [
            Column("sign", "", 1, sortable=False),
            Column("what", "HANGING NOW", 12, flexible=True, sortable=False),
            Column("client", "client", 20, priority=1, sortable=False),
            Column("age", "age", 6, right=True, sortable=False),
        ]
        super().__init__(columns, id="hanging")
        self._waiting: dict[tuple[object, ...], Row] = {}

    def show(self, inflight: InFlight, now_ns: int) -> None:
        self._waiting = {row.key: row for row in inflight.rows if _hangs(row, now_ns)}
        others = inflight.total - len(self._waiting)
        self.empty = f"nothing; {count(others)} wait for less than 1 s, or poll" if others else "nothing"
        self.set_rows([_hanging_row(key, row, now_ns) for key, row in self._waiting.items()])

    def row_of(self, key: object) -> Row | None:
        """The request; None where it has ended meanwhile."""
        return self._waiting.get(cast(tuple[object, ...], key))


def _hangs(row: Row, now_ns: int) -> bool:
    return not row.long_poll and now_ns - row.start_ns >= _HANGS_FROM_NS


def _hanging_row(key: tuple[object, ...], row: Row, now_ns: int) -> LineRow:
    return LineRow(
        key,
        (
            Cell(glyphs().waiting, "waiting"),
            what(row.operation, row.version, row.target),
            client_name(row.client.host, row.client_process),
            Cell(age(now_ns - row.start_ns), "waiting"),
        ),
    )


def _slowest() -> Sequence[Measure]:
    return _what("SLOWEST, one of each first"), replace(P99, column=replace(P99.column, width=7)), RATE


def _failing() -> Sequence[Measure]:
    return (
        _what("FAILING"),
        ERROR_RATE,
        key_measure(4, Column("error_name", "error", 23)),
        client_measure(5, 6, Column("client", "client", 16)),
    )


def _what(title: str) -> Measure:
    def text(group: Group) -> str:
        _, operation, version, target = group.key[:4]
        return what(str(operation), cast("int | None", version), str(target))

    column = Column("what", title, 12, flexible=True, most=60)
    return Measure(column, lambda _, group: text(group), lambda _, group: text(group))


def _by_slowness(groups: Groups) -> Groups:
    """The slowest first, before them the slowest of each protocol: a fast one that became slow is not to be missed."""
    answered = [group for group in groups.groups if group.totals.durations.count]
    answered.sort(key=lambda group: -group.totals.durations.p99)
    worst = {group.key[0]: group.key for group in reversed(answered)}.values()
    return replace(groups, groups=tuple(sorted(answered, key=lambda group: group.key not in worst)))
