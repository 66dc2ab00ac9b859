"""What is to be captured: the command line's answer, and all that the collector needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from probes.records import Side

MIN_HEAD_BYTES, MAX_HEAD_BYTES = 64, 16 * 1024
MIN_MEMORY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Sizes in bytes.

    `side` is the end of a connection to look from; `BOTH` joins the two ends where both are on this host.
    No `pids` means every process, no `protocols` every protocol known.
    """

    source: str = "live"
    side: Side = Side.BOTH
    pids: frozenset[int] = frozenset()
    protocols: tuple[str, ...] = ()
    head_bytes: int = 1024
    ring_bytes: int = 64 * 1024 * 1024
    memory: int = 256 * 1024 * 1024
    literals: bool = False
