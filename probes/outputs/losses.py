"""The ledger's losses in one line: what was not captured, by cause."""

from __future__ import annotations

from collections.abc import Mapping

ACCOUNTED = frozenset(
    {
        "seen",
        "sessions",
        "other_end",
        "waiting",
        "filtered",
        "foreign",
        "unwatched",
        "ignored_connections",
        "packets",
        "other_packets",
        "duplicate_segments",
    }
)
"""The ledger's entries that are no loss. Any other cause is one, so that a new cause cannot be lost silently."""


def losses(ledger: Mapping[str, int]) -> dict[str, int]:
    """The losses of `ledger` by cause, greatest first; empty where nothing was lost."""
    lost = {cause: count for cause, count in ledger.items() if count and cause not in ACCOUNTED}
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def losses_line(ledger: Mapping[str, int]) -> str:
    """`"lost on this host: ring_full 12, unparsed 3"`, "" where nothing was lost.

    On the whole host, whatever is selected: whose a message was that never came out of the kernel nobody can tell.
    """
    lost = losses(ledger)
    causes = ", ".join(f"{cause} {count}" for cause, count in lost.items())
    return f"lost on this host: {causes}" if lost else ""
