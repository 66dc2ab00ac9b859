"""Numbers as an operator reads them: three significant digits at most, the unit in the column's head.

All of these are pure; widths are at most 5 cells where nothing else is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from probes.outputs.table import short
from tui.glyphs import glyphs

_NS_PER_MS = 1e6
_SECOND = 1_000_000_000
_SIZES = (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))


def count(number: int) -> str:
    """A count: "0", "412", "12.4k"."""
    return str(number) if number < 1000 else short(number)


def exact(number: int) -> str:
    """A count to the unit: "8,412,004"."""
    return f"{number:,}"


def rate(per_second: float) -> str:
    """A rate or any other measure: "0", "0.04", "310", "4.10k"."""
    if per_second == 0:
        return "0"
    return "<.01" if 0 < per_second < 0.005 else short(per_second)


def percent(ratio: float | None) -> str:
    """A ratio for a column headed "%": "0", "79.3", "<.01"; "–" where there is nothing to divide by."""
    return glyphs().none if ratio is None else rate(100 * ratio)


def ms(ns: int | None) -> str:
    """A duration for a column headed "ms": "0.04", "48.2", "210"; from a second on with its unit: "1.24s", "16m"."""
    if ns is None:
        return glyphs().none
    if ns < 999.5 * _NS_PER_MS:
        return rate(ns / _NS_PER_MS)
    seconds = ns / _SECOND
    return f"{short(seconds)}s" if seconds < 599.5 else f"{seconds / 60:.0f}m"


def duration(ns: int | None) -> str:
    """A duration with its unit: "820 ns", "12.3 µs", "48.2 ms", "1.24 s"."""
    if ns is None:
        return glyphs().none
    for unit, size in (("ns", 1), ("µs" if glyphs().unicode else "us", 1000), ("ms", 10**6)):
        if ns < 999.5 * size:
            return f"{ns if size == 1 else short(ns / size)} {unit}"
    return age(ns) if ns >= 100 * _SECOND else f"{short(ns / _SECOND)} s"


def age(ns: int) -> str:
    """How long ago, or how long already, at most 6 cells: "0.3 s", "41 s", "8m05", "3h12", "2d04"."""
    seconds = max(ns, 0) / _SECOND
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for next_unit, unit, size in ((3600, "m", 60), (86400, "h", 3600)):
        if whole < 60:
            return f"{whole} s"
        if whole < next_unit:
            return f"{whole // size}{unit}{whole % size * 60 // size:02}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}"


def size(number: float | None) -> str:
    """Bytes with their unit, in powers of 1000: "212 B", "44.1 kB"."""
    if number is None:
        return glyphs().unknown
    for unit, factor in _SIZES[:-1]:
        if number < 999.5 * factor:
            return f"{number:.0f} B" if factor == 1 else f"{short(number / factor)} {unit}"
    unit, factor = _SIZES[-1]
    return f"{short(number / factor)} {unit}"


def at_least(text: str) -> str:
    """`text` where more may have gone by unseen: "≥ 12"."""
    return f"{glyphs().at_least} {text}"


def of_day(wall_ns: int, *, digits: int = 2) -> str:
    """The local time of day of a wall-clock time: "14:02:10.91", with so many digits of the second."""
    seconds, ns = divmod(wall_ns, _SECOND)
    text = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{text}.{ns // 10 ** (9 - digits):0{digits}}" if digits else text


def bar(share: float, width: int) -> str:
    """A bar that fills `share` (0 to 1) of `width` cells; nothing only for nothing."""
    share = max(0.0, min(share, 1.0))
    parts = glyphs().bar_parts
    steps = len(parts) + 1
    eighths = round(share * width * steps)
    if share and not eighths:
        eighths = 1
    full, rest = divmod(eighths, steps)
    return glyphs().bar * full + (parts[rest - 1] if rest else "")


def scale_top(values: Iterable[float | None]) -> float:
    """The top of an axis from zero that holds all `values`: the largest, or 1.0 where all are zero or gaps."""
    return max((value for value in values if value), default=0.0) or 1.0
