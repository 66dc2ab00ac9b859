"""All keys, and how a filter is written; the rows of the screen beneath come first."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from probes.filters import FIELDS
from tui.bindings import bindings, rows

_PLACES = {"table": "In a table", "filter": "While writing a filter", "app": "Everywhere"}
_FILTER = (
    "field:value terms, all of which have to hold; * stands for any text, != for not, numbers take > >= < <= too",
    "status:error target:shop.* duration>50ms",
)


_HEADER = {
    "lost": "messages of which something is not known; 6 shows why",
    "cut": "requests longer than what is looked at of a message; truncated:true finds them",
    "cpu": "what the collector uses of one core",
}


class HelpScreen(ModalScreen[None]):
    """Help over the screen of the panel `ident`, called `title`."""

    DEFAULT_CSS = """
    HelpScreen { background: ansi_default; }
    HelpScreen VerticalScroll { padding: 0 1; scrollbar-size: 1 1; }
    HelpScreen Static { height: auto; }
    """
    BINDINGS = bindings("help")

    def __init__(self, ident: str, title: str) -> None:
        super().__init__()
        self._ident, self._title = ident, title

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(Content("\n").join(self._lines()))

    def action_dismiss(self) -> None:  # type: ignore[override]  # the same key closes what it opened
        self.dismiss()

    def _lines(self) -> Iterator[Content]:
        yield Content.styled("l7top: the requests of this host, by protocol    esc back", "bold")
        for ident, title in {self._ident: f"On {self._title}", **_PLACES}.items():
            keys = rows(ident)
            if keys:
                yield Content("")
                yield Content.styled(title, "bold")
            for key in keys:
                yield Content.assemble((f"  {key.shown:<8}", "bold"), f" {key.help}")
        yield Content("")
        yield Content.styled("In the first line", "bold")
        for word, meaning in _HEADER.items():
            yield Content.assemble((f"  {word:<8}", "bold"), f" {meaning}")
        yield Content("")
        yield Content.styled("Filter", "bold")
        for line in _FILTER:
            yield Content(f"  {line}")
        for name, field in FIELDS.items():
            yield Content.assemble((f"  {name:<15}", "bold"), f" {field.help}")
