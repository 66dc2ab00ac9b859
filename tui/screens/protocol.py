"""A protocol that a plugin teaches: which operations, for whom, how fast, what fails; latency over time."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from probes.store.view import View, Window
from tui.bindings import bindings
from tui.panel import Where
from tui.screens.grouped import GroupedPanel, Grouping, heatmap_of
from tui.widgets.graph import HeatMap
from tui.widgets.groups import (
    BYTES_IN,
    BYTES_OUT,
    ERROR_RATE,
    ERRORS,
    LOST,
    MAX,
    NOW,
    ONEWAY,
    P50,
    P90,
    P99,
    RATE,
    WAIT,
    key_measure,
    share,
)
from tui.widgets.table import Column
from tui.words import protocol_name

_MEASURES = (RATE, ERRORS, P50, P90, P99, MAX, NOW, share(9, priority=1), WAIT, BYTES_IN, BYTES_OUT, LOST, ONEWAY)
_OPERATION = Column("operation", "operation", 12, flexible=True, most=40)
_TARGET = Column("target", "target", 12, flexible=True, most=48)


class ProtocolPanel(GroupedPanel):
    """The panel of the protocol with this name. There may be several."""

    where = "protocol"
    BINDINGS = bindings("protocol")
    DEFAULT_CSS = """
    ProtocolPanel HeatMap { height: 6; }
    ProtocolPanel.tall HeatMap { height: 33%; }
    """

    def __init__(self, name: str) -> None:
        self.ident = f"plugin-{name}"
        self.title = protocol_name(name)
        self.protocol = name
        super().__init__()

    def groupings(self) -> dict[str, Grouping]:
        return {
            "operation": Grouping(
                ("operation", "target"), (key_measure(0, _OPERATION), key_measure(1, _TARGET), *_MEASURES)
            ),
            "target": Grouping(("target",), (key_measure(0, _TARGET), *_MEASURES)),
            "client": Grouping(
                ("client", "client_process"),
                (
                    key_measure(0, Column("client", "client", 15)),
                    key_measure(1, Column("process", "process", 12, flexible=True, most=30)),
                    *_MEASURES,
                ),
            ),
            "error": Grouping(
                ("error_name", "operation", "target"),
                (
                    key_measure(0, Column("error", "error", 14, flexible=True, most=40)),
                    key_measure(1, _OPERATION),
                    key_measure(2, _TARGET),
                    ERROR_RATE,
                    P50,
                    P99,
                    MAX,
                ),
                sort="error_rate",
                keep=lambda group: group.totals.errors > 0,
            ),
            "process": Grouping(
                ("process", "pid"),
                (
                    key_measure(0, Column("process", "process", 10, flexible=True, most=30)),
                    key_measure(1, Column("pid", "pid", 7, right=True)),
                    *_MEASURES,
                ),
            ),
        }

    def below(self) -> Iterable[Widget]:
        yield HeatMap(id=f"{self.ident}-heatmap")

    def show_below(self, view: View, window: Window, where: Where) -> None:
        heatmap = heatmap_of(view, window, where)
        self.query_one(HeatMap).show(f"latency  {window.label}, darker is more", heatmap)
