"""What the collector needs of a source, whatever it is. What a source sees it hands to the `Sink` that it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from probes.records import Connection, Head


class Ignored(NamedTuple):
    """A connection that carries nothing we know, for the explanation of an empty screen."""

    pid: int
    tls: bool


class RingUse(NamedTuple):
    """Bytes of the ring buffer: all, now waiting, and the most that ever waited. All 0 where there is none."""

    size: int = 0
    used: int = 0
    peak: int = 0


class Source(Protocol):
    """Its time, of which all `ns` are, is CLOCK_MONOTONIC for a live one and the capture's own for a capture."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""

    @property
    def damage(self) -> str:
        """What is wrong with it, as a sentence's end after its name; "" where nothing is."""

    @property
    def wall_offset_ns(self) -> int:
        """What its time lacks to the time since the epoch."""

    @property
    def elapsed_ns(self) -> int:
        """For how long it has been captured: of a file, its own time."""

    @property
    def progress(self) -> float | None:
        """The share of it that is done, None where that is not to be known."""

    def now_ns(self) -> int:
        """How far its time has come, 0 as long as it has not begun."""

    def wait(self, timeout_s: float) -> None:
        """Returns when it is worth while to drain, at the latest after that time."""

    def drain(self) -> int:
        """Hands over what has come; how many records that were."""

    def tend(self, now_ns: int) -> None:
        """Looks after itself; called now and then."""

    def recheck(self, connections: Iterable[Connection], now_ns: int) -> None:
        """Tells the sink what it knows of messages that these connections seem to have lost."""

    def quieten(self, connection: Connection) -> bool:
        """From now on it may tell of a client's end by `Sink.exchange` alone. Whether it does."""

    def quiet_requests(self, older_than_ns: int, now_ns: int) -> Iterable[tuple[Connection, Head]]:
        """The requests that wait on such connections for so long."""

    def spare(self, on: bool) -> None:
        """From now on it may show but the very beginning of each message; or again as much as was asked for."""

    def connections(self) -> Collection[Connection]:
        """The open ones that carry a known protocol."""

    def ignored(self) -> Collection[Ignored]:
        """The last ones that carried none."""

    def ring(self) -> RingUse: ...

    def counters(self) -> dict[str, int]:
        """The ledger's part that only the source knows: "seen", and losses by cause."""

    def stop(self) -> None:
        """No more comes in; what has can still be drained."""

    def close(self) -> None: ...
