"""MongoDB: which commands, for whom, how fast; opcodes, what is open, and latency over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.cells import cell_len
from textual.containers import Horizontal
from textual.widget import Widget

from probes.protocols.mongodb.lives import Lives
from probes.store.view import UNKNOWN, Group, Groups, View, Window
from tui.bindings import bindings
from tui.following import Following
from tui.glyphs import glyphs
from tui.panel import Detail, Where
from tui.screens.grouped import GroupedPanel, Grouping, by_error, by_process, heatmap_of, series_of
from tui.screens.lives import LivesLines, OpenTable, compression_of, lives_lines
from tui.widgets.graph import AreaGraph, HeatMap
from tui.widgets.groups import USUAL, Measure, key_measure
from tui.widgets.lines import Part, TextLines
from tui.widgets.numbers import percent, rate
from tui.widgets.table import AnyCell, Cell, Column, LineTable

_COMMAND = Column("command", "command", 10, flexible=True, most=13)
_TARGET = Column("target", "target", 12, flexible=True, most=48)
_COMPRESSED = "OP_COMPRESSED"
_MESSAGE = "OP_MSG"


class MongoDBPanel(GroupedPanel):
    ident = "mongodb"
    title = "MongoDB"
    protocol = "mongodb"
    BINDINGS = bindings("mongodb")
    DEFAULT_CSS = """
    MongoDBPanel #mongodb-lives { height: 2; }
    MongoDBPanel #mongodb-open { height: 6; display: none; }
    MongoDBPanel.tall #mongodb-open { display: block; }
    MongoDBPanel #mongodb-below { height: 6; }
    MongoDBPanel.tall #mongodb-below { height: 33%; }
    MongoDBPanel HeatMap { width: 1fr; height: 100%; }
    MongoDBPanel AreaGraph { width: 1fr; height: 100%; display: none; margin-left: 2; }
    MongoDBPanel.wide AreaGraph { display: block; }
    """

    def __init__(self) -> None:
        self._following = Following()
        super().__init__()

    def forget(self) -> None:
        self._following, self._shown = Following(), None

    def groupings(self) -> dict[str, Grouping]:
        return {
            "command": Grouping(("operation", "target"), (key_measure(0, _COMMAND), key_measure(1, _TARGET), *USUAL)),
            "opcode": Grouping(
                ("opcode",), (key_measure(0, Column("opcode", "opcode", 20, flexible=True, most=40)), *USUAL)
            ),
            "namespace": Grouping(
                ("target",), (key_measure(0, Column("target", "namespace", 20, flexible=True, most=60)), *USUAL)
            ),
            "shape": Grouping(
                ("shape", "target"),
                (
                    shape_measure(),
                    key_measure(1, Column("target", "target", 16, priority=4)),
                    *USUAL,
                ),
            ),
            "application": Grouping(
                ("application", "client"),
                (
                    key_measure(0, Column("application", "application", 8, flexible=True, most=40)),
                    key_measure(1, Column("client", "client", 15)),
                    *USUAL,
                ),
            ),
            "error": by_error(
                ("operation", "target"), key_measure(1, _COMMAND), key_measure(2, Column("target", "target", 16))
            ),
            "process": by_process(USUAL),
        }

    def below(self) -> Iterable[Widget]:
        yield TextLines(id="mongodb-opcodes")
        yield LivesLines(id="mongodb-lives")
        yield OpenTable()
        yield Horizontal(
            HeatMap(id="mongodb-heatmap"),
            AreaGraph(id="mongodb-rate"),
            AreaGraph(id="mongodb-errors"),
            id="mongodb-below",
        )

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        super().show(view, window, where, now_ns)
        # Asked now: a view that freezes has to be.
        self.call_after_refresh(self._follow, view.groups(("opcode",), window, self.its_own(where)))

    def _follow(self, by_opcode: Groups) -> None:
        """Read what was opened and closed since, which takes long: the rest of the screen is there before.

        What is open is shown whatever the filter: it may have been opened by a request that does not fit.
        """
        if self._shown is not None:
            view, window, _, now_ns = self._shown
            self._following.update(view)
            self.query_one(LivesLines).show(lives_lines(view, self._following, window, now_ns))
            if self.has_class("tall"):
                self.query_one(OpenTable).show(view, self._following.lives, now_ns)
            opcodes = self.query_one("#mongodb-opcodes", TextLines)
            opcodes.show([opcodes_line(by_opcode, self._following.lives, opcodes.size.width)])

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        if not isinstance(message.table, OpenTable):
            return  # the base class takes it
        message.stop()
        message.prevent_default()
        row = message.table.first_row(self._shown[0], message.key) if self._shown is not None else None
        if row is None:
            self.app.bell()
        else:
            self.post_message(Detail(row))

    def show_below(self, view: View, window: Window, where: Where) -> None:
        self.query_one(HeatMap).show(f"latency  {window.label}, darker is more", heatmap_of(view, window, where))
        if self.has_class("wide"):
            series = series_of(view, window, where)
            points = series.points if series is not None else ()
            requests = [None if point is None else point.rate(point.totals.requests) for point in points]
            errors = [None if point is None else point.rate(point.totals.errors) for point in points]
            self.query_one("#mongodb-rate", AreaGraph).show(f"req/s  {window.label}", requests)
            self.query_one("#mongodb-errors", AreaGraph).show(f"err/s  {window.label}", errors, "bad")


def shape_measure() -> Measure:
    """What is asked. What the log's requests ask is read bit by bit, so it may not be known yet."""
    known = key_measure(0, Column("shape", "shape", 24, flexible=True, most=120))

    def cell(groups: Groups, group: Group) -> AnyCell:
        return Cell(f"{glyphs().cut} not read yet", "quiet") if group.key[0] == UNKNOWN else known.cell(groups, group)

    return replace(known, cell=cell)


def opcodes_line(groups: Groups, lives: Lives, width: int) -> list[Part]:
    """Which opcodes carry the requests, as parts of all of them, and how many a second are of the legacy ones; as much
    of that as there is room for.
    """
    line: list[Part] = []
    for piece in _opcodes(groups, lives):
        if sum(cell_len(part.text) for part in (*line, *piece)) <= width:
            line += piece
    return line


def _opcodes(groups: Groups, lives: Lives) -> Iterator[tuple[Part, ...]]:
    """Pieces that say something each."""
    yield (Part(" opcodes  ", "title"),)
    requests = {str(group.key[0]): group.totals.requests for group in groups.groups if group.totals.requests}
    total = sum(requests.values())
    if not total:
        yield (Part("none in this window", "quiet"),)
        return
    for opcode, count in requests.items():
        if opcode == "" or opcode.startswith((_MESSAGE, _COMPRESSED)):
            yield Part(f" {opcode or 'not known'} "), Part(f"{percent(count / total)} % ", "loud")
            yield (Part(compression_of(lives, opcode)),)
    legacy = {name: count for name, count in requests.items() if name and not name.startswith((_MESSAGE, _COMPRESSED))}
    if not legacy:
        yield (Part(" legacy 0", "quiet"),)
        return
    yield (Part(f" legacy {rate(groups.rate(sum(legacy.values())))}/s ", "warn"),)
    yield (Part(f"({', '.join(legacy)})"),)
