"""Widgets that draw line by line and send the terminal only the lines whose content changed.

A subclass answers `line(y)`: what stands on its line `y` now. `update()` compares that with what was painted and
repaints the difference; that is all there is to a refresh. So a subclass keeps plain data and never counts changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.text import safe


class Part(NamedTuple):
    """Some text of a line, safe to show. `hint` says how it looks: names of `HINTS`, blanks between them."""

    text: str
    hint: str = ""


Line: TypeAlias = tuple[Part, ...]

YIELDS_TO = 24  # cells of a text that is cut for what stands after it

HINTS = ("head", "title", "quiet", "bad", "warn", "good", "new", "waiting", "loud", "key", "cursor")
"""What a part's look can mean. What matters is bold, dim or reverse too, or has a sign: not all see colour."""


def fitted(line: Line, width: int, yields: int) -> Line:
    """`line` in `width` cells, no number cut in the middle: the text of part number `yields` is cut for what stands
    after it, down to `YIELDS_TO` cells, and what does not fit even so goes whole from the end."""
    shown = list(line)
    cells = [cell_len(part.text) for part in line]
    least = [min(each, YIELDS_TO) if index == yields else each for index, each in enumerate(cells)]
    while shown and sum(least[: len(shown)]) > width:
        shown.pop()
    if yields < len(shown):
        room = width - sum(least[: len(shown)]) + least[yields]
        shown[yields] = shown[yields]._replace(text=safe(shown[yields].text, room))
    return tuple(shown)


class LineWidget(Widget):
    """The base of all live widgets."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{hint}" for hint in HINTS}
    DEFAULT_CSS = """
    LineWidget {
        & > .line--head { color: $text-muted; text-style: underline; }
        & > .line--title { text-style: bold; color: $text-accent; }
        & > .line--quiet { text-style: dim; }
        & > .line--bad { text-style: bold; color: $text-error; }
        & > .line--warn { color: $text-warning; text-style: bold; }
        & > .line--good { color: $text-success; }
        & > .line--new { color: $text-accent; text-style: bold; }
        & > .line--waiting { color: $text-warning; }
        & > .line--loud { text-style: bold; }
        & > .line--key { text-style: bold; color: $text-accent; }
        & > .line--cursor { text-style: reverse; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painted: dict[int, Line] = {}

    def line(self, y: int) -> Line:
        """What stands on line `y` of `self.size.height` now. Asked often: it has to be quick."""
        raise NotImplementedError

    def update(self) -> None:
        """Repaint the lines that are not what is painted."""
        width = self.size.width
        changed = [y for y in range(self.size.height) if self._painted.get(y) != self.line(y)]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        line = self._painted[y] = self.line(y)
        base = self.rich_style
        segments = [Segment(text, self._look(base, hint)) for text, hint in line if text]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _look(self, base: Style, hint: str) -> Style:
        for name in hint.split():
            base += self.get_component_rich_style(f"line--{name}", partial=True)
        return base


class TextLines(LineWidget):
    """A few lines of text that may change each second, cut at the right edge. One line high, unless CSS says more."""

    DEFAULT_CSS = """
    TextLines { height: 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()

    def show(self, lines: Sequence[Sequence[Part | str]]) -> None:
        """`lines` of parts; their text may be captured text as it is, it is made safe here."""
        width = max(self.size.width, 1)
        self._lines = tuple(tuple(_safe_part(part, width) for part in line) for line in lines)
        self.update()

    def line(self, y: int) -> Line:
        return self._lines[y] if y < len(self._lines) else ()


def _safe_part(part: Part | str, width: int) -> Part:
    text, hint = (part, "") if isinstance(part, str) else part
    return Part(safe(text, max(width, 200)), hint)
