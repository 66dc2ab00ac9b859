"""The collector: a source, the protocols and the pairing, put together and kept turning."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterable

from probes.governor import Governor, Level
from probes.options import CaptureOptions
from probes.outputs.recording.tap import Tap
from probes.protocols.chosen import chosen, complaints
from probes.protocols.interface import RAW, LooksAround, Skims, WireProtocol
from probes.records import Connection, Ledger, Session, Side, Times
from probes.scope import PortUse, Scope, Skim
from probes.sessions.ends import Ends
from probes.sessions.pairing import Pairing
from probes.sessions.selection import selected
from probes.sources.raw import RawStreams
from probes.sources.sink import Sink
from probes.sources.source import Ignored, RingUse, Source

_TICK_NS = 100_000_000
_RECHECK_NS = 1_000_000_000
_PATIENCE_NS = 3_000_000_000  # more than pairing and ends wait for anything
_MUCH = 4096  # records in one drain after which there is no pause
_GC_THRESHOLD = 50_000

_USES = {"mongodb": PortUse.MONGODB, "kafka": PortUse.KAFKA, RAW: PortUse.RAW}


def scope_of(protocols: Iterable[WireProtocol]) -> Scope:
    """What a source has to look for, and where, so that each of these protocols is given its messages."""
    everywhere, ports = PortUse.NONE, dict[int, PortUse]()
    skim: Callable[[], Skim] | None = None
    for protocol in protocols:
        use = _USES[protocol.framing]
        if not protocol.ports:
            everywhere |= use
        for port in protocol.ports:
            ports[port] = ports.get(port, PortUse.NONE) | use
        if isinstance(protocol, Skims):
            skim = protocol.skim
    return Scope(everywhere, ports, skim)


OpenSource = Callable[[CaptureOptions, Scope, Sink], Source]
"""Opens the source that the options name, for what is to be looked for. Raises Refusal."""


class Collector:
    """What is captured from one source, in that source's time. `emit` is handed each session once it has ended, during
    `step`.

    `tap` records what goes by, of each end by itself. `sparing` is what may be left off at most where the host has to
    be spared; whoever is handed the sessions looks after what `level` says beyond short heads.

    Raises Refusal where the source cannot be opened, or turns out to be none.
    """

    def __init__(
        self,
        options: CaptureOptions,
        emit: Callable[[Session], None],
        open_source: OpenSource,
        *,
        tap: Tap | None = None,
        sparing: Level = Level.SHORT_HEADS,
    ) -> None:
        self.protocols = chosen(options)
        self._ledger = Ledger()
        self._selected = selected(options.side, options.pids)
        self._tap = tap
        wanted_all = options.side is Side.BOTH and not options.pids  # the usual case: nothing is asked per session
        selecting = emit if wanted_all else self._selecting(emit)
        self._ends = Ends(selecting, self._ledger, quieten=self._quieten, asked=self._asked)
        spoken = self.protocols.values() if tap is None else map(tap.watched, self.protocols.values())
        self._pairing = Pairing(tuple(spoken), self._ends.session, self._ledger)
        rooms: Sink = _Rooms(self._pairing, self._ends)
        if tap is not None:
            rooms = tap.before(rooms, self._pairing.asks)
        protocols = tuple(self.protocols.values())
        raw = RawStreams(protocols, rooms, give_up=self._pairing.give_up, head_bytes=options.head_bytes)
        self._raw_counts = raw.counts
        self._source = open_source(options, scope_of(protocols), raw if raw.has_work else rooms)
        self.now_ns = self._source.now_ns
        self._looking: dict[str, LooksAround] = {
            name: protocol
            for name, protocol in self.protocols.items()
            if options.is_live and isinstance(protocol, LooksAround)
        }
        self._governor = Governor(options.max_cpu if options.is_live else 0, sparing)
        self._next_tick_ns = self._next_recheck_ns = 0
        self._behind = False
        # Sessions live long and hold no cycles: looking for those often would cost more than all else.
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 20)

    def step(self, timeout_s: float) -> int:
        """Takes what has gone by, after a wait of at most `timeout_s` or one drain's interval; how many records it was.

        There is no wait where the last step left something: a host short of CPU still hears of what was taken.
        """
        if not self._behind:
            self._source.wait(timeout_s)
        records = self._drain()
        self._behind = records >= _MUCH
        return records

    @property
    def level(self) -> Level:
        """What is left off now to spare the host."""
        return self._governor.level

    @property
    def is_over(self) -> bool:
        """Whether the source has come to its end."""
        return self._source.is_over

    @property
    def damage(self) -> str:
        """What is wrong with the source, "" where nothing is."""
        return self._source.damage

    @property
    def wall_offset_ns(self) -> int:
        """What the source's time lacks to the time since the epoch."""
        return self._source.wall_offset_ns

    @property
    def elapsed_ns(self) -> int:
        """For how long has been captured: of a file, its own time."""
        return self._source.elapsed_ns

    @property
    def progress(self) -> float | None:
        """The share of the source that is done, None where that is not to be known."""
        return self._source.progress

    def waiting(self, *, older_than_ns: int = 0) -> list[Session]:
        """The requests in flight for at least so long, oldest first, each once."""
        now_ns = self.now_ns()
        waiting = self._pairing.waiting(now_ns, older_than_ns=older_than_ns)
        for connection, head in self._source.quiet_requests(older_than_ns, now_ns):
            session = self._pairing.quiet_request(connection, head)
            if session is not None:
                waiting.append(session)
        waiting.sort(key=lambda session: session.times.request_first)
        return [s for s in self._ends.waiting(waiting) if self._selected(s)]

    def connections(self) -> Collection[Connection]:
        """The open connections that carry a known protocol, each end of them on this host by itself."""
        return self._source.connections()

    def ignored(self) -> Collection[Ignored]:
        """The last connections that carried none."""
        return self._source.ignored()

    def ring(self) -> RingUse:
        """How full the ring is and has been when it was drained."""
        return self._source.ring()

    def ledger(self) -> dict[str, int]:
        """Messages by what became of them, and losses by cause (README, "Losses")."""
        self._pairing.tick(self.now_ns())
        counters, raw = self._source.counters(), dict(self._raw_counts)
        return {
            "seen": counters.pop("seen") + raw.pop("messages", 0),
            **{str(cause): n for cause, n in self._ledger.counts.items()},
            **counters,
            **{f"raw_{what}": n for what, n in raw.items()},
            **complaints(self.protocols),
        }

    def finish(self) -> None:
        """Ends the capture: emits what has gone by until now, and what was held for its other end."""
        self._source.stop()
        while self._drain():
            pass
        now_ns = self.now_ns()
        # Nothing more can come: decide at once what would wait for it.
        self._pairing.tick(now_ns + _PATIENCE_NS)
        for patience in (2, 3):  # what is held turns twice
            self._ends.tick(now_ns + patience * _PATIENCE_NS)
        if self._tap is not None:
            self._tap.finish()

    def close(self) -> None:
        """Lets go of the source."""
        self._source.close()
        gc.unfreeze()

    def _drain(self) -> int:
        records = self._source.drain()
        now_ns = self.now_ns()
        if now_ns >= self._next_tick_ns:
            self._next_tick_ns = now_ns + _TICK_NS
            self._source.tend(now_ns)
            self._ends.tick(now_ns)  # first: what the pairing tells now waits from now on
            self._pairing.tick(now_ns)
            if self._tap is not None:
                self._tap.tick(now_ns)
        if now_ns >= self._next_recheck_ns:
            self._next_recheck_ns = now_ns + _RECHECK_NS
            stale = self._pairing.waiting(now_ns, older_than_ns=_RECHECK_NS)
            self._source.recheck({s.connection.id: s.connection for s in stale}.values(), now_ns)
            self._look_around()
            self._spare(now_ns)
        return records

    def _spare(self, now_ns: int) -> None:
        before = self._governor.level
        level = self._governor.sample(now_ns, time.process_time_ns())
        if bool(level) != bool(before):
            self._source.spare(bool(level))

    def _quieten(self, end: Connection) -> bool:
        """Whether a client's end tells but times from now on. A recording wants its messages, too; and plugins may have
        ids that the kernel does not know.
        """
        return self._tap is None and end.protocol in _USES and self._source.quieten(end)

    def _asked(self, connection: Connection, id: int, times: Times) -> Times:
        return self._pairing.exchange(connection, id, times)

    def _look_around(self) -> None:
        for name, protocol in self._looking.items():
            connections = self._source.connections()
            protocol.look_around({c.process for c in connections if c.protocol == name and c.process is not None})

    def _selecting(self, emit: Callable[[Session], None]) -> Callable[[Session], None]:
        def take(session: Session) -> None:
            if self._selected(session):
                emit(session)

        return take


class _Rooms:
    """The next rooms, as one `Sink`."""

    def __init__(self, pairing: Pairing, ends: Ends) -> None:
        self._pairing, self._ends = pairing, ends
        self.message = pairing.message
        self.pair = pairing.pair
        self.unseen = pairing.unseen
        self.missed = pairing.missed
        self.addressed = ends.addressed
        self.exchange = ends.exchange

    def opened(self, connection: Connection) -> None:
        if connection.process is not None:  # else there is one view of it, which nothing has to be joined with
            self._ends.opened(connection)
        self._pairing.opened(connection)

    def closed(self, connection: Connection, ns: int) -> None:
        self._pairing.closed(connection, ns)
        self._ends.closed(connection, ns)
