"""Text as cells of the terminal: escaped, cut and padded here, and nowhere else."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len

from probes.outputs.escape import UNSAFE, char_cells, printable
from tui.glyphs import glyphs

_VARIATION_SELECTORS = {0xFE0E: None, 0xFE0F: None}  # make their character wider in some terminals only


@lru_cache(4096)
def _steady(char: str) -> str:
    """`char`, or its escape where it is not certain how many cells a terminal gives it."""
    if char_cells(char) == cell_len(char) or UNSAFE.match(char):
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def safe(text: str, width: int) -> str:
    """Captured text as it may go to the terminal, at most `width` cells wide, with a sign where it was cut.

    Costs no more than what is shown of it, however long `text` is.
    """
    if len(text) <= width and text.isascii() and text.isprintable():
        return text
    bounded = text[: 8 * width + 64]
    if not bounded.isascii():
        if glyphs().unicode:
            bounded = "".join(map(_steady, bounded.translate(_VARIATION_SELECTORS)))
        else:
            bounded = bounded.encode("ascii", "backslashreplace").decode()
    shown = printable(bounded, width)
    return shown if glyphs().unicode else shown.replace("…", glyphs().cut)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text`, which is safe, with blanks to `width` cells; `right` puts them before it."""
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Captured text in exactly `width` cells: made safe, cut or padded."""
    return pad(safe(text, width), width, right=right)


def wrapped(text: str, width: int, most: int) -> list[str]:
    """Captured text made safe, on as many lines of `width` cells as it needs but `most`: the last says it is cut."""
    left = safe(text, width * most)
    lines = []
    while left:
        at, used = 0, 0
        while at < len(left) and used + cell_len(left[at]) <= width:
            used += cell_len(left[at])
            at += 1
        at = max(at, 1)
        lines.append(left[:at])
        left = left[at:]
    return lines[:most] or [""]
