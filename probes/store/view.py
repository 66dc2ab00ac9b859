"""What a front end can ask of the store: immutable answers about sessions, their rates, and the capture itself.

A `View` is read by another process than the collector's, at any time, without asking it, also once it has died. All
times are nanoseconds of CLOCK_MONOTONIC; `Facts.wall_offset_ns` added to one gives nanoseconds since the epoch. Text is
as it was captured: whoever shows it escapes it (`probes.outputs.escape.printable`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from probes.filters import Term
from probes.records import Address, Fault, Process, Reply, Request, Session, Side, Status

KeyValue: TypeAlias = str | int | Process | None
Key: TypeAlias = tuple[KeyValue, ...]
"""The values of the fields that were grouped by, in their order: hashable, so that a selection can be by key."""

GROUP_FIELDS = (
    "protocol",
    "operation",  # "find", "Produce"; "" where a message could not be decoded
    "version",  # of Kafka's API, int; None where there is none
    "target",  # namespace, topic or group
    "opcode",  # "OP_MSG", "OP_COMPRESSED snappy"; "" for protocols without
    "error_name",  # "" where there is none
    "client",  # host of the client
    "application",  # what the client calls itself: appName, client id
    "server",  # address of the server, "10.0.0.9:27017"
    "client_process",  # Process, None where it is not on this host
    "server_process",
    "process",  # name of the server's process, else of the client's
    "pid",  # likewise
    "container",  # likewise
    "seen_from",
)
"""What can be grouped by. Of several targets a group has the first."""

LOG_FIELDS = ("shape",)
"""What can be grouped by, too, but is answered from the log's rows: the requests without their values."""


class Is(NamedTuple):
    """A condition: this group field has exactly this value. The members of a group are those of its key."""

    field: str
    value: KeyValue


Condition: TypeAlias = Term | Is
"""A term of a filter as somebody typed it, or a field of a group's key."""

OTHER = "other"
"""Stands where a table was full: the names of all that found no place."""

UNKNOWN = "?"
"""A shape that is not known: the request's head is gone, or was not looked at yet."""


class Window(IntEnum):
    """How far back an answer looks, in seconds; START is everything since the capture began."""

    S1 = 1
    S10 = 10
    M1 = 60
    M15 = 900
    START = 0

    @property
    def label(self) -> str:
        return {1: "1s", 10: "10s", 60: "1m", 900: "15m", 0: "start"}[self]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of `count` values, in ns: percentiles to within 5 %, the maximum exactly. All 0 where there is no value."""

    count: int = 0
    p50: int = 0
    p90: int = 0
    p99: int = 0
    max: int = 0


NO_VALUES = Quantiles()


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over sessions that ended. `durations` is without long polls, whose waits are in `waits`.

    `requests` counts all sessions, whatever their status; `responses` those that were answered.
    """

    requests: int = 0
    responses: int = 0
    errors: int = 0
    oneway: int = 0
    lost: int = 0
    dropped: int = 0
    unparsed: int = 0
    long_polls: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    durations: Quantiles = NO_VALUES
    waits: Quantiles = NO_VALUES

    @property
    def error_ratio(self) -> float | None:
        """Errors by responses; None where nothing was answered."""
        return self.errors / self.responses if self.responses else None


@dataclass(frozen=True, slots=True)
class Group:
    """What sessions with the same key add up to. `inflight` of them are waiting now and in none of the totals."""

    key: Key
    totals: Totals
    inflight: int = 0


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups over a window, those with most requests first. A group may have nothing but requests in flight.

    `seconds` is how long was really looked at, the divisor of every rate: less than the window soon after the start,
    and 0.0 where there is nothing yet. `from_log` says that the filter was not on group fields only: the answer then
    comes from the log's rows, which reach back `seconds` at most.
    """

    by: tuple[str, ...]
    window: Window
    start_ns: int
    end_ns: int
    seconds: float
    groups: tuple[Group, ...]
    from_log: bool = False

    def rate(self, count: float) -> float:
        """`count` per second."""
        return count / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One slot of a series; `start_ns` to `end_ns` is the time it really covers."""

    start_ns: int
    end_ns: int
    totals: Totals

    def rate(self, count: float) -> float:
        """`count` per second."""
        return count * 1e9 / (self.end_ns - self.start_ns)


@dataclass(frozen=True, slots=True)
class Series:
    """A group's slots over time, oldest first, `step_s` long each. None is a gap: nothing is known of that time."""

    key: Key
    step_s: int
    end_ns: int
    points: tuple[Point | None, ...]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Time × duration. `counts[slot][band]`, oldest slot first, None a gap; band i begins at `bands_ns[i]`."""

    step_s: int
    end_ns: int
    bands_ns: tuple[int, ...]
    counts: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log, or one request in flight: all that a table needs, without the heads.

    `number` is its place in the log, which never changes; -1 for a request in flight. `duration_ns` is None where no
    reply was seen. `has_heads` says whether `View.session` still finds the messages' heads.
    """

    number: int
    protocol: str
    status: Status
    operation: str
    version: int | None
    target: str
    opcode: str
    application: str
    error_code: int | None
    error_name: str
    error_fault: Fault | None
    start_ns: int  # first byte of the request
    end_ns: int  # last byte of the reply, else of the request
    duration_ns: int | None  # of a long poll: how long it waited
    long_poll: bool
    truncated: bool
    request_bytes: int
    response_bytes: int
    request_id: int | None
    response_id: int | None
    client: Address
    server: Address
    client_process: Process | None
    server_process: Process | None
    connection: int
    seen_from: Side
    has_heads: bool

    @property
    def key(self) -> tuple[int, int | None, int]:
        """What tells a request in flight from all others."""
        return self.connection, self.request_id, self.start_ns


class Exchange(NamedTuple):
    """The two messages of a row, and what following the life of something takes beside them."""

    number: int
    status: Status
    start_ns: int  # first byte of the request
    end_ns: int  # last byte of the reply, else of the request
    request: Request | None
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Span:
    """The log's rows `oldest` to before `next` are kept. Numbers only grow; `since_ns` is when the oldest ended."""

    oldest: int
    next: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class Matches:
    """Numbers of the rows that fit, ascending, and the rows that were looked at."""

    numbers: NDArray[np.int64]
    oldest: int
    next: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """What waits for its reply, oldest first; of `total` only the oldest may be in `rows`. As of `taken_ns`."""

    taken_ns: int
    total: int
    rows: tuple[Row, ...]

    def age_ns(self, row: Row, now_ns: int) -> int:
        return max(0, now_ns - row.start_ns)


class Visibility(StrEnum):
    """Why nothing, or something, is shown of a process."""

    SEEN = "seen"  # its requests are shown
    IDLE = "idle"  # connected, and nothing went by since `since_ns`
    TLS = "tls"  # encrypted by a library that is not traced
    UNRECOGNISED = "unrecognised"  # bytes of no known protocol
    UNCONNECTED = "unconnected"  # listens or not, but has no connection
    UNTRACED = "untraced"  # its system calls are not seen (io_uring, …): `note` says which


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process, as the collector last sampled it. None is what could not be read."""

    process: Process
    visibility: Visibility = Visibility.SEEN
    note: str = ""
    since_ns: int = 0  # when a byte last went by, 0 for never
    listens: tuple[int, ...] = ()  # ports
    connections: int = 0
    clients: int = 0  # hosts that are connected to it
    cpu_percent: float | None = None  # of one core
    rss_bytes: int | None = None
    threads: int | None = None
    fds: int | None = None
    read_bytes_s: float | None = None  # from disk
    write_bytes_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the collector says of itself and of the host, about once a second."""

    host: str = ""
    source: str = "live"
    started_ns: int = 0
    wall_offset_ns: int = 0
    collector_pid: int = 0
    ended: str = ""  # why the capture is over, "" while it runs
    playing: str = ""  # how a file is read: "seeking", "paused", "max" (as fast as it can be), or "1x"
    progress: float | None = None  # the share of it that was read
    literals: bool = False
    head_bytes: int = 0
    protocols: tuple[str, ...] = ()
    degradation: str = ""  # "", or what is done to spare the host: "short heads", "sampled 1:8", "only counting"
    sample_ratio: float = 1.0  # of the sessions that reach the log
    ledger: Mapping[str, int] = field(default_factory=dict)  # messages by what became of them
    ring_bytes: int = 0
    ring_used_bytes: int = 0
    ring_peak_bytes: int = 0
    cpu_percent: float = 0.0  # of one core, the collector
    rss_bytes: int = 0
    kernel_cpu_percent: float | None = None  # of one core, our programs in the kernel
    processes: tuple[ProcessFacts, ...] = ()
    learned: Mapping[str, Any] = field(default_factory=dict)  # by protocols, beyond single sessions: their own lists


@dataclass(frozen=True, slots=True)
class StoreUse:
    """How full the store is. `overflowed` counts what became "other" for want of room.

    By field: names that were refused; "cell": combinations that were; "slot": seconds in which rare ones were.
    """

    size_bytes: int
    used_bytes: int
    rows: int
    rows_bound: int
    log_since_ns: int
    heads_since: int  # the number of the oldest row that has its heads
    cells: int
    cells_bound: int
    overflowed: Mapping[str, int]


class View(Protocol):
    """The store as a front end sees it.

    All of the conditions `where` have to hold: terms of a filter (`probes.filters.parse`), or `Is`. Those on group
    fields and on the status are exact in every window, others are answered from the log's rows. Methods raise
    `FilterError` for terms, and ValueError for group fields, that do not exist.
    """

    def facts(self) -> Facts: ...

    def use(self) -> StoreUse: ...

    def heartbeat_ns(self) -> int:
        """When the collector last wrote; more than 2 s ago: it hangs or is dead."""

    def groups(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> Groups: ...

    def baseline(self, by: Sequence[str], where: Sequence[Condition] = ()) -> Groups:
        """The quarter of an hour before the last minute; `seconds` is 0.0 as long as there is none."""

    def series(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> tuple[Series, ...]:
        """All groups over time, in steps of 1 s (up to M1) or 10 s (M15, and START, which reaches no further back).

        Conditions that only the log can answer are refused with FilterError. For few groups: narrow it with `where`.
        """

    def heatmap(self, window: Window, where: Sequence[Condition] = ()) -> Heatmap:
        """Durations, without long polls, over time: steps as in `series`, four bands to each factor of ten."""

    def inflight(self, where: Sequence[Condition] = ()) -> InFlight: ...

    def span(self) -> Span: ...

    def rows(self, first: int, count: int) -> tuple[Row, ...]:
        """The rows from number `first` on that are kept, `count` at most; in order, without those that are gone."""

    def pick(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Row, ...]:
        """The rows with these numbers, without those that are gone."""

    def matching(self, where: Sequence[Condition], first: int = 0) -> Matches:
        """Which rows from number `first` on fit. To follow the log, ask again from the last answer's `next` on."""

    def exchanges(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Exchange]:
        """The messages of the rows with these numbers, without those that are gone: several times as fast as `session`.

        To be read at once, before the store gives up more rows.
        """

    def session(self, row: Row) -> Session | None:
        """The whole session of a row or a request in flight, for `WireProtocol.record`; None where it is gone.

        Where `row.has_heads` no longer holds, its messages' `data` is empty and only the row's own facts are there.
        """
