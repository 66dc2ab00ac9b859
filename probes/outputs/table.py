"""The groups of `l7top stat` as a table for a terminal, cut to its width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.outputs.escape import cells, printable

_NONE = "–"  # not applicable, or not known
_WIDEST = 48  # cells of one text
_NARROWEST = 4
_NS_PER_MS = 1e6

_NUMBERS = ("req/s", "err %", "p50 ms", "p90 ms", "p99 ms", "max ms", "waiting")


def short(number: float) -> str:
    """At most three significant digits and a power of 1000: `0.04`, `1.23`, `123`, `4.1k`."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5:
            digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
            return f"{number:.{digits}f}{unit}"
        number /= 1000
    return f"{number:.0f}T"


def _numbers(row: dict[str, Any]) -> list[str]:
    durations = (row.get(name) for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns"))
    return [
        short(row["rate"]),
        f"{row['error_ratio']:.1%}".rstrip("%") if "error_ratio" in row else _NONE,
        *(_NONE if ns is None else short(ns / _NS_PER_MS) for ns in durations),
        str(row["inflight"]),
    ]


def _text(value: Any) -> str:
    """A field's value; a process is its name and its pid."""
    if isinstance(value, dict):
        value = " ".join(str(part) for part in (value.get("name"), value.get("pid")) if part is not None)
    return printable(str(value), _WIDEST) if value not in (None, "") else _NONE


def _fit(widths: list[int], room: int) -> list[int]:
    """The `widths` of columns, the widest narrowed until all of them fit into `room` cells."""
    widths = list(widths)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def table(rows: Sequence[dict[str, Any]], by: Sequence[str], width: int | None = None) -> str:
    """Rows of `stat --json` as lines of at most `width` cells, as far as the numbers leave room for that.

    The columns are the fields `by`, then rate, error ratio and durations.
    """
    texts = [list(by), *([_text(row.get(name)) for name in by] for row in rows)]
    numbers = [list(_NUMBERS), *map(_numbers, rows)]
    text_widths = [max(map(cells, column)) for column in zip(*texts, strict=True)]
    number_widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
    if width is not None:
        gaps = len(text_widths) + len(number_widths) - 1
        text_widths = _fit(text_widths, width - sum(number_widths) - gaps)
    lines = []
    for words, counts in zip(texts, numbers, strict=True):
        left = [_padded(word, wide) for word, wide in zip(words, text_widths, strict=True)]
        right = [count.rjust(wide) for count, wide in zip(counts, number_widths, strict=True)]
        lines.append(" ".join([*left, *right]).rstrip())
    return "\n".join(lines)


def _padded(text: str, width: int) -> str:
    text = printable(text, width)
    return text + " " * (width - cells(text))
