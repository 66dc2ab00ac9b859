"""What the app and its panels tell each other.

A panel is one screen's contents, below the header and above the footer. The app asks the shown panel once a second, and
at once when the window, the filter or the screen has changed; not while the view is frozen and nothing else changed. A
panel asks the view what it needs and keeps the answers: on resize it draws them again without asking.

Panels live in `tui/screens/`: `OverviewPanel()`, `MongoDBPanel()`, `KafkaPanel()`, `RequestsPanel()`,
`ConnectionsPanel()`, `CapturePanel()`, `ProtocolPanel(name)` for each that a plugin teaches, and
`DetailPanel(protocols, literals=…)`, which is opened with one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from textual.message import Message
from textual.widget import Widget

from probes.store.view import Condition, Row, View, Window

Where: TypeAlias = tuple[Condition, ...]
"""All of these have to hold; empty: everything."""


class Panel(Widget):
    """The base of all panels. `ident` is its id, also in CSS. Its keys are those `where` the table of bindings has it:
    at its ident, unless several panels share them.
    """

    ident: str
    title: str
    where: str = ""

    @property
    def place(self) -> str:
        """Where its keys are in the table of bindings."""
        return self.where or self.ident

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        """Ask `view` and draw what changed. `now_ns` is the moment that is shown, for ages (frozen: when it froze)."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget what was remembered of rows: the next view is another one."""

    def focus_table(self) -> None:
        """Give the focus to what `enter` and the arrow keys should act on."""
        raise NotImplementedError


class Drill(Message):
    """Show the requests behind a number: the app switches to Requests with these conditions, `esc` comes back."""

    def __init__(self, where: Sequence[Condition]) -> None:
        super().__init__()
        self.where: Where = tuple(where)


class Detail(Message):
    """Show one request: the app calls `DetailPanel.open(view, row)` and switches to it, `esc` comes back."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row
