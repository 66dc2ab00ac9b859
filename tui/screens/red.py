"""Rate, errors and durations of each protocol over time: as a table with small graphs, and as larger ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Grid
from textual.widget import Widget

from probes.filters import FilterError
from probes.store.view import Group, Groups, Point, Quantiles, Series, View, Window
from tui.glyphs import glyphs
from tui.panel import Where
from tui.widgets.graph import AreaGraph, sparkline
from tui.widgets.numbers import count, duration, ms, percent, rate, scale_top
from tui.widgets.table import AnyCell, Cell, Column, LineRow, LineTable
from tui.words import protocol_name

BY = ("protocol",)
_SLOWER = 2.0  # times the p99 before, from which on it is marked


@dataclass(frozen=True, slots=True)
class Red:
    """What is known of the protocols: `now` over the window, `series` over the last minute or more, `before` that.

    Only the log can say which requests fit some filters; then there is neither a series nor a baseline.
    """

    now: Groups
    series: tuple[Series, ...] = ()
    before: tuple[Group, ...] = ()

    @classmethod
    def of(cls, view: View, window: Window, where: Where) -> Red:
        now = view.groups(BY, window, where)
        long = window in (Window.M15, Window.START)
        try:
            series = view.series(BY, Window.M15 if long else Window.M1, where)
            return cls(now, series, view.baseline(BY, where).groups)
        except FilterError:
            return cls(now)

    def values(self, protocol: object, measure: Callable[[Point], float | None]) -> list[float | None]:
        """The slots of a protocol, None a gap."""
        points = next((series.points for series in self.series if series.key == (protocol,)), ())
        return [None if point is None else measure(point) for point in points]

    def p99_before(self, protocol: object) -> Quantiles:
        return next((g.totals.durations for g in self.before if g.key == (protocol,)), Quantiles())

    @property
    def groups(self) -> list[Group]:
        """By name, MongoDB first: their order never changes."""
        return sorted(
            self.now.groups, key=lambda group: (group.key != ("mongodb",), group.key != ("kafka",), group.key)
        )


def request_rate(point: Point) -> float:
    return point.rate(point.totals.requests)


def error_percent(point: Point) -> float:
    """0 where nothing was answered: nothing failed."""
    return 100 * (point.totals.error_ratio or 0.0)


def p99_ns(point: Point) -> float | None:
    return point.totals.durations.p99 if point.totals.durations.count else None


class RedTable(LineTable):
    """A line for each protocol."""

    DEFAULT_CSS = "RedTable { height: 3; }"
    _FIXED = 54  # cells of all but the graphs, gaps included
    _FROM_WIDE = 120  # there the p99 has a graph, too

    def __init__(self) -> None:
        super().__init__(_columns(10, durations=True), id="red")
        self._red: Red | None = None

    def show(self, red: Red, empty: str) -> None:
        """`empty` is what to say where there is nothing to show."""
        self._red, self.empty = red, empty
        self._fill()

    def on_resize(self) -> None:
        wide = self.size.width >= self._FROM_WIDE
        graphs = 3 if wide else 2
        self.columns = _columns(max(1, (self.size.width - self._FIXED) // graphs - 1), durations=wide)
        self._fill()
        super().on_resize()

    def _fill(self) -> None:
        if self._red is not None:
            red = self._red
            self.styles.height = 1 + max(1, len(red.groups))
            self.set_rows([self._of(red, group) for group in red.groups])

    def _of(self, red: Red, group: Group) -> LineRow:
        protocol, totals = group.key[0], group.totals
        width = next(column.width for column in self.columns if column.name == "rates")
        durations = totals.durations
        slower = durations.count and durations.p99 > _SLOWER * red.p99_before(protocol).p99 > 0
        p99 = ms(durations.p99) if durations.count else glyphs().none
        cells: tuple[AnyCell, ...] = (
            protocol_name(str(protocol)),
            rate(red.now.rate(totals.requests)),
            _graph(red.values(protocol, request_rate), width),
            _errors(totals.error_ratio),
            Cell(_graph(red.values(protocol, error_percent), width), "bad" if totals.errors else "quiet"),
            ms(durations.p50) if durations.count else glyphs().none,
            Cell(f"{glyphs().worse} {p99}", "bad") if slower else p99,
            _graph(red.values(protocol, p99_ns), width),
            Cell(count(group.inflight), "waiting" if group.inflight else "quiet"),
        )
        return LineRow(protocol, cells if len(self.columns) == len(cells) else (*cells[:7], cells[8]))


def _graph(values: Sequence[float | None], width: int) -> str:
    """A line of blocks that leaves an eighth free, so that it does not run into the line above."""
    return sparkline(values, width, top=scale_top(values) * 8 / 7)


def _errors(ratio: float | None) -> AnyCell:
    return Cell(f"{glyphs().failing} {percent(ratio)}", "bad") if ratio else Cell(percent(ratio), "quiet")


def _columns(graph: int, *, durations: bool) -> tuple[Column, ...]:
    columns = [
        Column("protocol", "protocol", 10, sortable=False),
        Column("rate", "req/s", 6, right=True, sortable=False),
        Column("rates", "", graph, sortable=False),
        Column("errors", "err %", 7, right=True, sortable=False),
        Column("error_graph", "", graph, sortable=False),
        Column("p50", "p50 ms", 7, right=True, sortable=False),
        Column("p99", "p99 ms", 8, right=True, sortable=False),
        Column("waiting", "waiting", 7, right=True, sortable=False),
    ]
    if durations:
        columns.insert(7, Column("p99_graph", "", graph, sortable=False))
    return tuple(columns)


class RedGraphs(Widget):
    """Three graphs for each of the first two protocols; only where the terminal is tall."""

    SCOPED_CSS = False  # what the size of the terminal decides is said of the screen
    DEFAULT_CSS = """
    RedGraphs { display: none; height: auto; }
    RedGraphs Grid { grid-size: 3; grid-gutter: 0 2; height: auto; grid-rows: 5; }
    .-tall RedGraphs { display: block; }
    RedGraphs.one-row Grid { grid-size: 6; grid-rows: 7; }
    RedGraphs.one-row AreaGraph { height: 7; }
    """
    _ONE_ROW_FROM = 160  # cells: there are enough for the title and the largest value of each
    _MEASURES: Sequence[tuple[str, Callable[[Point], float | None], Callable[[float], str]]] = (
        ("req/s", request_rate, rate),
        ("errors", error_percent, lambda value: f"{rate(value)} %"),
        ("p99", p99_ns, lambda value: duration(int(value))),
    )

    def compose(self) -> ComposeResult:
        with Grid():
            for _ in range(2):
                for _, _, name_value in self._MEASURES:
                    yield AreaGraph(name_value=name_value)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= self._ONE_ROW_FROM, "one-row")

    def show(self, red: Red) -> None:
        graphs = list(self.query(AreaGraph))
        for index, graph in enumerate(graphs):
            place, measure = divmod(index, len(self._MEASURES))
            graph.display = place < len(red.groups)
            if graph.display:
                title, value, _ = self._MEASURES[measure]
                protocol = red.groups[place].key[0]
                values = red.values(protocol, value)
                bad = title == "errors" and any(values)
                graph.show(f"{protocol_name(str(protocol))} {title}", values, "bad" if bad else "")
