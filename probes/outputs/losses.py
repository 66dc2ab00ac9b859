"""The ledger's losses in one line: what was not captured, by cause. And what had to be contained of plugins."""

from __future__ import annotations

import re
from collections.abc import Mapping

ACCOUNTED = frozenset(
    (
        *("seen", "sessions", "sampled_out", "other_end", "waiting", "filtered", "foreign", "aborted", "unwatched"),
        *("ignored_connections", "raw_foreign", "packets", "other_packets", "duplicate_segments"),
        "lost_bytes",  # of what "holes" counts
    )
)
"""The ledger's entries that are no loss. Any other cause is one, so that a new cause cannot be lost silently."""


_PLUGIN = re.compile(r"plugin_(?P<name>.+)_(?P<what>errors|overtimes|off)")


def plugin_troubles(ledger: Mapping[str, int]) -> dict[str, str]:
    """What had to be contained, by plugin: `"3 calls over 50 ms: switched off"`; those without are left out."""
    found: dict[str, list[str]] = {}
    for cause, count in ledger.items():
        match = _PLUGIN.fullmatch(cause)
        if match is not None and count:
            words = {"errors": f"{count} errors", "overtimes": f"{count} calls over 50 ms", "off": "switched off"}
            found.setdefault(match["name"], []).append(words[match["what"]])
    return {name: ", ".join(words) for name, words in found.items()}


def losses(ledger: Mapping[str, int]) -> dict[str, int]:
    """The losses of `ledger` by cause, greatest first; empty where nothing was lost."""
    lost = {
        cause: count
        for cause, count in ledger.items()
        if count and cause not in ACCOUNTED and not _PLUGIN.fullmatch(cause)
    }
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def losses_line(ledger: Mapping[str, int]) -> str:
    """`"lost on this host: ring_full 12, unparsed 3"`, "" where nothing was lost.

    On the whole host, or in the whole capture, whatever is selected: whose a message was that was not seen nobody can
    tell.
    """
    lost = losses(ledger)
    causes = ", ".join(f"{cause} {count}" for cause, count in lost.items())
    where = "in the capture" if "packets" in ledger else "on this host"
    return f"lost {where}: {causes}" if lost else ""
