"""The table of an agreement, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """What one truth says of l7top's records. A fact is one field of one of them."""

    truth: str
    requests: int
    facts: int
    different: int
    truncated: int  # records that are marked so
    dropped: int  # records that say that the reply was lost on l7top's side


def table(rows: Iterable[Row]) -> str:
    titles = ("Truth", "requests", "facts compared", "differences", "truncated", "dropped")
    lines = [f"| {' | '.join(titles)} |", "|---|--:|--:|--:|--:|--:|"]
    return "\n".join([*lines, *(f"| {each[0]} | {' | '.join(f'{n:,}' for n in each[1:])} |" for each in rows)])
