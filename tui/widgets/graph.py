"""Graphs over time: from zero, oldest on the left, and a gap is a gap.

Three alphabets, by what the terminal can show: braille (2 × 4 dots a cell), blocks (8 steps a cell), ASCII. Pure
functions make the text, widgets hold the data and repaint what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from probes.store.view import Heatmap
from tui.glyphs import ASCII_GRAPH, BLOCK, BRAILLE, glyphs
from tui.text import fit
from tui.widgets.lines import Line, LineWidget, Part
from tui.widgets.numbers import duration, rate, scale_top

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " _.:-=+*#"
_SHADES = {BLOCK: " ░▒▓█", BRAILLE: " ░▒▓█", ASCII_GRAPH: " .:+#"}
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))  # of a braille cell's two columns, from below
_STEPS = {BRAILLE: 4, BLOCK: 8, ASCII_GRAPH: 1}  # of height in one cell of an area

Values = Sequence[float | None]


def resample(values: Values, columns: int) -> list[float | None]:
    """The values in so many columns of equal time: the largest of those that share one (a peak is never averaged
    away), and the same again where there are more columns than values."""
    if not values:
        return [None] * columns
    n = len(values)
    resampled: list[float | None] = []
    for column in range(columns):
        begin = column * n // columns
        end = max(begin + 1, (column + 1) * n // columns)
        known = [value for value in values[begin:end] if value is not None]
        resampled.append(max(known) if known else None)
    return resampled


def sparkline(values: Values, width: int, *, top: float | None = None, alphabet: str = "") -> str:
    """One line of `width` cells. `top` is what fills a cell, the largest value unless given. Zero is a low line."""
    ladder = _ASCII if (alphabet or glyphs().graph) == ASCII_GRAPH else _BLOCKS
    top = top or scale_top(values)
    steps = len(ladder) - 1

    def sign(value: float | None) -> str:
        return " " if value is None else ladder[max(1, min(steps, ceil(steps * value / top)))]

    return "".join(map(sign, resample(values, width)))


def area(values: Values, width: int, height: int, *, top: float | None = None, alphabet: str = "") -> list[str]:
    """A filled graph of `height` lines of `width` cells, from the top line to the line that stands on zero."""
    alphabet = alphabet or glyphs().graph
    top = top or scale_top(values)
    steps = height * _STEPS[alphabet]
    columns = resample(values, 2 * width if alphabet == BRAILLE else width)
    levels = [None if value is None else max(1, min(steps, ceil(steps * value / top))) for value in columns]
    draw: Callable[[Sequence[int | None], int], str] = _braille if alphabet == BRAILLE else _blocks
    if alphabet == ASCII_GRAPH:
        draw = _hashes
    return [draw(levels, _STEPS[alphabet] * line) for line in reversed(range(height))]


def _braille(levels: Sequence[int | None], below: int) -> str:
    cells = []
    for at in range(0, len(levels), 2):
        bits = 0
        for column, level in zip(_DOTS, levels[at : at + 2], strict=True):
            bits |= sum(column[: max(0, min(4, (level or 0) - below))])
        cells.append(chr(0x2800 + bits) if bits else " ")
    return "".join(cells)


def _blocks(levels: Sequence[int | None], below: int) -> str:
    return "".join(_BLOCKS[max(0, min(8, (level or 0) - below))] for level in levels)


def _hashes(levels: Sequence[int | None], below: int) -> str:
    """Zero cannot be a low line here: it has a sign of its own on the lowest line."""
    return "".join(
        "#" if (level or 0) > below + (not below) else "_" if level and not below else " " for level in levels
    )


class AreaGraph(LineWidget):
    """A graph with a title and its scale: `show(title, values)`, `name_value` making the text of the top's value.

    The first line has the title and the largest value, which is the top of the graph and seldom what is now; the graph
    itself has the rest.
    """

    DEFAULT_CSS = """
    AreaGraph { height: 5; }
    """

    def __init__(
        self, *, name_value: Callable[[float], str] = rate, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._name_value = name_value
        self._title = ""
        self._values: Values = ()
        self._hint = ""
        self._drawn: tuple[object, list[str]] = (None, [])

    def show(self, title: str, values: Values, hint: str = "") -> None:
        self._title, self._values, self._hint = title, tuple(values), hint
        self.update()

    def line(self, y: int) -> Line:
        width, height = self.size
        if y == 0:
            known = [value for value in self._values if value is not None]
            top = f" max {self._name_value(max(known)) if known else glyphs().none}"
            return (Part(fit(self._title, max(0, width - len(top))), "quiet"), Part(top, "quiet"))
        drawn_of = (width, height, self._values)
        if self._drawn[0] != drawn_of:
            self._drawn = (drawn_of, area(self._values, width, height - 1))
        return (Part(self._drawn[1][y - 1], self._hint),)


class HeatMap(LineWidget):
    """Time × latency, darker is more: `show(title, heatmap)`. Under the title the slowest band with a value.

    Each line is one or several of the map's bands; where the slots are fewer than the cells they are drawn wider.
    """

    DEFAULT_CSS = """
    HeatMap { height: 6; }
    """
    LABEL = 8

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = ""
        self._map: Heatmap | None = None
        self._drawn: tuple[object, list[Line]] = (None, [])

    def show(self, title: str, heatmap: Heatmap | None) -> None:
        """None: it cannot be told."""
        self._title, self._map = title, heatmap
        self.update()

    def line(self, y: int) -> Line:
        known = (self.size, self._title, self._map)
        if self._drawn[0] != known:
            title: Line = (Part(fit(self._title, self.size.width), "quiet"),)
            self._drawn = (known, [title, *(self._draw(self._map) if self._map is not None else ())])
        return self._drawn[1][y] if y < len(self._drawn[1]) else ()

    def _draw(self, heatmap: Heatmap) -> list[Line]:
        width, height = self.size.width, self.size.height - 1
        slots = [slot for slot in heatmap.counts if slot is not None]
        used = [band for band in range(len(heatmap.bands_ns)) if any(slot[band] for slot in slots)]
        if not used:
            return [(Part(" " * self.LABEL), Part("no answer in this window", "quiet"))]
        low, high = _band_range(used[0], used[-1], height, len(heatmap.bands_ns))
        per_line = ceil((high - low + 1) / height)
        lines: list[Line] = []
        most = max(max(slot[low : high + 1]) for slot in slots) * per_line
        for first in range(high - per_line + 1, low - per_line, -per_line):
            first = max(first, 0)
            sums = [None if slot is None else float(sum(slot[first : first + per_line])) for slot in heatmap.counts]
            label = duration(heatmap.bands_ns[first]).replace(" ", "")
            shades = _shades(resample(sums, max(width - self.LABEL, 1)), most)
            lines.append((Part(fit(label, self.LABEL - 2, right=True) + " " + _axis(), "quiet"), Part(shades)))
        return lines


def _band_range(low: int, high: int, height: int, bands: int) -> tuple[int, int]:
    """The bands from the lowest with a value to the highest, and more of both sides where there is room."""
    while high - low + 1 < min(height, bands):
        if high < bands - 1:
            high += 1
        if high - low + 1 < height and low > 0:
            low -= 1
    return low, high


def _axis() -> str:
    return "┤" if glyphs().unicode else "|"


def _shades(values: Values, most: float) -> str:
    """Darker by the logarithm of the share, so that few slow ones among many fast ones still show."""
    ladder = _SHADES[glyphs().graph]
    signs = []
    for value in values:
        if not value:
            signs.append(" ")
            continue
        share = value / most
        signs.append(ladder[1 + sum(share > bound for bound in (0.03, 0.15, 0.5))])
    return "".join(signs)
