"""What the screens of protocols share: one table of groups, and keys that say by what to group."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget

from probes.filters import FilterError
from probes.store.view import Condition, Group, Groups, Heatmap, Is, Series, View, Window
from tui.bindings import rows
from tui.glyphs import glyphs
from tui.panel import Drill, Panel, Where
from tui.widgets.groups import ERROR_RATE, MAX, P50, P99, GroupTable, Measure, key_measure
from tui.widgets.lines import Part, TextLines
from tui.widgets.numbers import of_day
from tui.widgets.table import Column, LineTable

WIDE, TALL = 120, 34  # from so many cells on panels stand side by side, have more lines


class Grouping(NamedTuple):
    """A way to group: the fields, what is shown of each group, by what they are sorted at first, which are kept."""

    by: tuple[str, ...]
    measures: tuple[Measure, ...]
    sort: str = "rate"
    keep: Callable[[Group], bool] | None = None


def by_error(by: tuple[str, ...], *columns: Measure) -> Grouping:
    """What fails, by its error and these fields, and how fast that is."""
    error = key_measure(0, Column("error", "error", 20, flexible=True, most=40))
    return Grouping(
        ("error_name", *by),
        (error, *columns, ERROR_RATE, P50, P99, MAX),
        sort="error_rate",
        keep=lambda group: group.totals.errors > 0,
    )


def by_process(measures: tuple[Measure, ...]) -> Grouping:
    """Whose requests they are."""
    process = key_measure(0, Column("process", "process", 10, flexible=True, most=30))
    return Grouping(("process", "pid"), (process, key_measure(1, Column("pid", "pid", 7, right=True)), *measures))


class GroupedPanel(Panel):
    """A panel of one protocol. Subclasses give `protocol`, `groupings` and what is below the table."""

    protocol: str

    DEFAULT_CSS = """
    GroupedPanel { layout: vertical; }
    GroupedPanel GroupTable { height: 1fr; min-height: 5; }
    """

    def __init__(self) -> None:
        super().__init__(id=self.ident)
        self._groupings = self.groupings()
        self.grouping = next(iter(self._groupings))
        self._shown: tuple[View, Window, Where, int] | None = None

    def compose(self) -> ComposeResult:
        yield TextLines(id=f"{self.ident}-by")
        yield GroupTable(
            self._groupings[self.grouping].measures,
            empty=f"no {self.title} request in this window",
            id=f"{self.ident}-groups",
        )
        yield from self.below()

    def groupings(self) -> dict[str, Grouping]:
        """The ways to group, by their names; the first is the one that is shown first."""
        raise NotImplementedError

    def below(self) -> Iterable[Widget]:
        """The widgets under the table."""
        return ()

    def show_below(self, view: View, window: Window, where: Where) -> None:
        """Fill them; `where` already says which protocol."""

    @property
    def table(self) -> GroupTable:
        return self.query_one(f"#{self.ident}-groups", GroupTable)

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        self._shown = (view, window, where, now_ns)
        where = self.its_own(where)
        grouping = self._groupings[self.grouping]
        groups = view.groups(grouping.by, window, where)
        if grouping.keep is not None:
            groups = replace(groups, groups=tuple(filter(grouping.keep, groups.groups)))
        self.table.show(groups)
        self._show_keys(groups, view)
        self.show_below(view, window, where)

    def its_own(self, where: Sequence[Condition]) -> Where:
        """`where`, of this panel's protocol."""
        return (*where, Is("protocol", self.protocol))

    def focus_table(self) -> None:
        self.table.focus()

    def action_by(self, name: str) -> None:
        """Group by something else."""
        if name != self.grouping:
            self.grouping = name
            self.table.measure(self._groupings[name].measures, sort=self._groupings[name].sort)
        if self._shown is not None:
            self.show(*self._shown)
        self.focus_table()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        if self._shown is not None:
            self.post_message(Drill((*self.its_own(self._shown[2]), *self.behind(message.table, message.key))))

    def behind(self, table: LineTable, key: Hashable) -> tuple[Is, ...]:
        """What is true of the requests behind a row of `table`, and of no others."""
        return table.where_of(key) if isinstance(table, GroupTable) and isinstance(key, tuple) else ()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= WIDE, "wide")
        self.set_class(event.size.height >= TALL, "tall")

    def _show_keys(self, groups: Groups, view: View) -> None:
        line = [Part(f" by {self.grouping} {glyphs().descending} ", "title")]
        if groups.from_log:
            since = of_day(view.facts().wall_offset_ns + groups.start_ns, digits=0)
            line.append(Part(f" from the log, since {since} ", "warn"))
        for key in rows(self.place):
            name = key.action.removeprefix("by('").removesuffix("')")
            piece = [Part(f" {key.shown} ", "key"), Part(name)]
            if name != self.grouping and sum(cell_len(part.text) for part in (*line, *piece)) <= self.size.width:
                line += piece
        self.query_one(f"#{self.ident}-by", TextLines).show([line])


def series_of(view: View, window: Window, where: Where) -> Series | None:
    """The one series of what fits; None where there is none, or where rates over time cannot be told."""
    try:
        series = view.series(("protocol",), window, where)
    except FilterError:
        return None
    return series[0] if series else None


def heatmap_of(view: View, window: Window, where: Where) -> Heatmap | None:
    try:
        return view.heatmap(window, where)
    except FilterError:
        return None
