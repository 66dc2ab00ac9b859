"""Rates, errors and durations of sessions, in cells that can be grouped by any of their fields.

A cell is what sessions have in common: operation, target, who asked whom, error. Their number is bounded: once it
is reached, sessions that would need a new cell go to their protocol's cell "other" and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from probes.records import Address, Connection, Process, Session, Side, Status
from probes.store.histogram import Histogram

MAX_CELLS = 16384
MAX_CONNECTIONS = 65536  # whose parties are remembered
OTHER = "other"
NO_PROCESS = Process(0, "")

_Kind: TypeAlias = tuple[str, int | None, str, str, str]


class Parties(NamedTuple):
    """Who spoke with whom. `client` is a host, `server` an address; processes are those of this host."""

    protocol: str
    seen_from: str = ""
    client: str = ""
    server: str = ""
    client_process: Process | None = None
    server_process: Process | None = None

    @property
    def process(self) -> Process:
        return self.server_process or self.client_process or NO_PROCESS


class Kind(NamedTuple):
    """What was asked, and the name of the error that came of it, or "". `shape` only where it is asked for."""

    operation: str
    version: int | None
    target: str
    error_name: str
    shape: str


@dataclass(slots=True)
class Totals:
    """Sums over sessions, each of which is one request and, where a reply came, one response.

    `unparsed` counts sessions with a message that could not be decoded. Histograms are in ns: `durations` of what
    was answered, `waits` of the long polls among it, which are not in `durations`.
    """

    requests: int = 0
    responses: int = 0
    oneway: int = 0
    lost: int = 0
    dropped: int = 0
    unparsed: int = 0
    inflight: int = 0
    long_polls: int = 0
    errors: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    durations: Histogram = field(default_factory=Histogram)
    waits: Histogram = field(default_factory=Histogram)
    new: list[int] = field(default_factory=list)  # durations of usual sessions, which are about to be counted together

    def add(self, session: Session) -> None:
        self.requests += 1
        self.request_bytes += session.request_bytes
        _, request_last, reply_first, reply_last = session.times
        if reply_last:
            self.responses += 1
            self.response_bytes += session.reply_bytes
            request = session.request
            duration = reply_first - request_last
            if request is not None and request.long_poll:
                self.long_polls += 1
                self.waits.add(duration)
            else:
                self.durations.add(duration)
        if session.status is not _OK:
            name = _COUNTED_AS[session.status]
            setattr(self, name, getattr(self, name) + 1)

    def merge(self, other: Totals) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.durations.merge(other.durations)
        self.waits.merge(other.waits)


COUNTS = tuple(each.name for each in fields(Totals) if each.default == 0)
_OK = Status.OK
_COUNTED_AS = {
    Status.ERROR: "errors",
    Status.ONEWAY: "oneway",
    Status.LOST: "lost",
    Status.DROPPED: "dropped",
    Status.INFLIGHT: "inflight",
    Status.UNPARSED: "unparsed",
}

# What cells can be grouped by: the names that `--by` takes. `process`, `pid` and `container` are of the server's
# end where that is on this host, else of the client's.
FIELDS: dict[str, Callable[[Parties, Kind], Any]] = {
    "protocol": lambda parties, kind: parties.protocol,
    "operation": lambda parties, kind: kind.operation,
    "version": lambda parties, kind: kind.version,
    "target": lambda parties, kind: kind.target,
    "error_name": lambda parties, kind: kind.error_name,
    "shape": lambda parties, kind: kind.shape,
    "client": lambda parties, kind: parties.client,
    "server": lambda parties, kind: parties.server,
    "client_process": lambda parties, kind: parties.client_process,
    "server_process": lambda parties, kind: parties.server_process,
    "process": lambda parties, kind: parties.process.name,
    "pid": lambda parties, kind: parties.process.pid or None,
    "container": lambda parties, kind: parties.process.container,
    "seen_from": lambda parties, kind: parties.seen_from,
}
DEFAULT_BY = ("protocol", "operation", "version", "target")


@dataclass(frozen=True, slots=True)
class Group:
    """What cells with the same values of some fields add up to. `key` has those values: str, int, Process, None."""

    key: dict[str, Any]
    totals: Totals

    def row(self, window_s: float) -> dict[str, Any]:
        """The row of `stat --json` (DESIGN section 6) for a window of that length; what is unknown is absent."""
        totals = self.totals
        row = {name: _plain(value) for name, value in self.key.items() if value not in (None, "")}
        row |= {name: getattr(totals, name) for name in COUNTS}
        row["rate"] = totals.requests / window_s
        if totals.responses:
            row["error_ratio"] = totals.errors / totals.responses
        return row | _quantiles("", totals.durations) | _quantiles("wait_", totals.waits)


@dataclass(slots=True)
class _Known:
    """The cells of a connection's parties, as long as the connection's ends are these."""

    side: Side
    near: Address
    far: Address
    client: Connection | None
    parties: Parties
    cells: dict[_Kind, Totals]


class Red:
    """The cells, `max_cells` of them; `overflowed` counts the sessions that found no cell of their own.

    Requests are told apart by their shape with `shapes` only: it costs as much as all else.
    """

    def __init__(self, max_cells: int = MAX_CELLS, *, shapes: bool = False) -> None:
        self.overflowed = 0
        self._shapes = shapes
        self._max_cells = max_cells
        self._size = 0
        self._cells: dict[Parties, dict[_Kind, Totals]] = {}
        self._others: dict[str, Totals] = {}
        self._known: dict[int, _Known] = {}

    def add(self, sessions: Iterable[Session]) -> None:
        """Count sessions that are over: the more at once, the cheaper each."""
        known_by_id, shapes = self._known, self._shapes
        changed: list[Totals] = []
        for session in sessions:
            connection = session.connection
            known = known_by_id.get(connection.id)
            if (
                known is None
                or known.side is not session.seen_from
                or known.near is not connection.near
                or known.far is not connection.far
                or known.client is not session.client
            ):
                known = self._meet(session)
            request = session.request
            _, request_last, reply_first, reply_last = session.times
            usual = False
            if session.status is _OK and request is not None and not request.long_poll and reply_last:
                usual = True
                kind = request.operation, request.version, request.target, "", request.shape if shapes else ""
            else:
                kind = _kind(session, shapes)
            cell = known.cells.get(kind)
            if cell is None:
                cell = self._new_cell(known, kind)
            if not usual:
                cell.add(session)
                continue
            new = cell.new
            if not new:
                changed.append(cell)
            new.append(reply_first - request_last)
            cell.request_bytes += session.request_bytes
            cell.response_bytes += session.reply_bytes
        for cell in changed:
            cell.requests += len(cell.new)
            cell.responses += len(cell.new)
            cell.durations.add_all(cell.new)
            cell.new.clear()

    def groups(self, by: Sequence[str] = DEFAULT_BY, waiting: Iterable[Session] = ()) -> list[Group]:
        """The cells' sums by the values of the fields `by` (KeyError where one is none of FIELDS), busiest first.

        `waiting` are the sessions in flight, which are in no cell.
        """
        get = [FIELDS[name] for name in by]
        sums: dict[tuple[Any, ...], Totals] = {}
        for parties, kind, cell in self._all():
            sums.setdefault(tuple(value(parties, kind) for value in get), Totals()).merge(cell)
        for session in waiting:
            parties, kind = _parties(session), Kind(*_kind(session, self._shapes))
            sums.setdefault(tuple(value(parties, kind) for value in get), Totals()).add(session)
        groups = [Group(dict(zip(by, key, strict=True)), totals) for key, totals in sums.items()]
        groups.sort(key=lambda group: -group.totals.requests)
        return groups

    def _all(self) -> Iterator[tuple[Parties, Kind, Totals]]:
        for parties, cells in self._cells.items():
            for kind, cell in cells.items():
                yield parties, Kind(*kind), cell
        for protocol, cell in self._others.items():
            yield Parties(protocol, OTHER, OTHER, OTHER), Kind(OTHER, None, OTHER, OTHER, OTHER), cell

    def _meet(self, session: Session) -> _Known:
        parties, connection = _parties(session), session.connection
        cells = self._cells.get(parties)
        if cells is None:
            cells = {}
            if self._size < self._max_cells:
                self._cells[parties] = cells
        if len(self._known) >= MAX_CONNECTIONS:
            self._known.clear()
        known = _Known(session.seen_from, connection.near, connection.far, session.client, parties, cells)
        self._known[connection.id] = known
        return known

    def _new_cell(self, known: _Known, kind: _Kind) -> Totals:
        if self._size >= self._max_cells:
            self.overflowed += 1
            return self._others.setdefault(known.parties.protocol, Totals())
        self._size += 1
        cell = known.cells[kind] = Totals()
        return cell


def _kind(session: Session, shapes: bool) -> _Kind:
    request, reply = session.request, session.reply
    error = "" if reply is None or reply.failure is None else reply.failure.name
    if request is None:
        return "", None, "", error, ""
    return request.operation, request.version, request.target, error, request.shape if shapes else ""


def _parties(session: Session) -> Parties:
    return Parties(
        session.protocol,
        session.seen_from,
        session.client_address.host,
        str(session.server_address),
        session.client_process,
        session.server_process,
    )


def _plain(value: Any) -> Any:
    """A process as the session record has it, all else as it is."""
    if not isinstance(value, Process):
        return value
    return {name: each for name, each in value._asdict().items() if each}


def _quantiles(prefix: str, histogram: Histogram) -> dict[str, int]:
    if not histogram.counts:
        return {}
    shares = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99}
    row = {prefix + name: histogram.percentile(share) or 0 for name, share in shares.items()}
    return row | {prefix + "max_ns": histogram.max}
