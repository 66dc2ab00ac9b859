"""The table of an agreement, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """What one truth says of l7top's records. A fact is one field of one of them."""

    truth: str
    requests: int
    facts: int
    different: int
    truncated: int  # records that are marked so
    dropped: int  # records that say that the reply was lost on l7top's side
    # By the reason: messages of which the truth says that it cannot read them. Only their headers are compared.
    left_out: Mapping[str, int]


def table(rows: Iterable[Row]) -> str:
    rows = list(rows)
    titles = ("Truth", "requests", "facts compared", "differences", "truncated", "dropped", "headers only")
    lines = [f"| {' | '.join(titles)} |", "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        numbers = (*row[1:-1], sum(row.left_out.values()))
        lines.append(f"| {row.truth} | {' | '.join(f'{number:,}' for number in numbers)} |")
    lines += ["", *(f"{row.truth}: {count:,} messages {why}" for row in rows for why, count in row.left_out.items())]
    return "\n".join(lines)
