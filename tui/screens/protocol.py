"""A protocol that a plugin teaches: which operations, for whom, how fast, what fails; latency over time."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from probes.store.view import View, Window
from tui.bindings import bindings
from tui.panel import Where
from tui.screens.grouped import GroupedPanel, Grouping, by_error, by_process, heatmap_of
from tui.widgets.graph import HeatMap
from tui.widgets.groups import USUAL, key_measure
from tui.widgets.table import Column
from tui.words import protocol_name

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
                ("operation", "target"), (key_measure(0, _OPERATION), key_measure(1, _TARGET), *USUAL)
            ),
            "target": Grouping(("target",), (key_measure(0, _TARGET), *USUAL)),
            "client": Grouping(
                ("client", "client_process"),
                (
                    key_measure(0, Column("client", "client", 15)),
                    key_measure(1, Column("process", "process", 12, flexible=True, most=30)),
                    *USUAL,
                ),
            ),
            "error": by_error(("operation", "target"), key_measure(1, _OPERATION), key_measure(2, _TARGET)),
            "process": by_process(USUAL),
        }

    def below(self) -> Iterable[Widget]:
        yield HeatMap(id=f"{self.ident}-heatmap")

    def show_below(self, view: View, window: Window, where: Where) -> None:
        heatmap = heatmap_of(view, window, where)
        self.query_one(HeatMap).show(f"latency  {window.label}, darker is more", heatmap)
