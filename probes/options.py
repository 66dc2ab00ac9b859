"""What is to be captured: the command line's answer, and all that the collector needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from probes.records import Side

MIN_HEAD_BYTES, MAX_HEAD_BYTES = 64, 16 * 1024
MIN_MEMORY = 16 * 1024 * 1024
LIVE, STDIN = "live", "-"  # sources; any other is a capture's path


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Sizes in bytes; `max_cpu` in percent of one core, 0 for no bound.

    `side` is the end of a connection to look from; `BOTH` joins the two ends where both are on this host.
    No `pids` means every process, no `protocols` every protocol known. `plugins` are files, `ports` by protocol.
    """

    source: str = LIVE
    side: Side = Side.BOTH
    pids: frozenset[int] = frozenset()
    protocols: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    ports: tuple[tuple[str, tuple[int, ...]], ...] = ()
    head_bytes: int = 1024
    ring_bytes: int = 64 * 1024 * 1024
    memory: int = 256 * 1024 * 1024
    literals: bool = False
    max_cpu: float = 50.0
    speed: float = 0.0  # of a capture in the dashboard: times that of the clock; 0: as fast as it can be read

    @property
    def is_live(self) -> bool:
        return self.source == LIVE

    @property
    def source_name(self) -> str:
        """The source, in a sentence."""
        return {LIVE: "this host", STDIN: "stdin"}.get(self.source, self.source)
