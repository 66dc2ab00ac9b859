"""Feeds a store from a capture: sessions as they end, what waits four times a second, rates and facts once a second."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

import psutil

from probes.governor import SAMPLED_ONE_IN, Level
from probes.options import CaptureOptions
from probes.processes import Processes
from probes.protocols.interface import Observes, WireProtocol
from probes.records import Connection, Session
from probes.sessions.causes import Cause
from probes.sources.source import Ignored, RingUse
from probes.store.view import Facts, ProcessFacts
from probes.store.writer import Writer

SHORT_HEAD_BYTES = 128  # SHORT_HEAD of the kernel program
STEP_S = 0.1  # the longest that a step waits: how late what the screen asks for may be heard
INFLIGHT_AFTER_NS = 100_000_000  # what waits for less is no news
_INFLIGHT_EVERY_NS = 250_000_000
_SECOND_NS = 1_000_000_000


class LiveCapture(Protocol):
    """What feeding needs of the collector."""

    @property
    def protocols(self) -> Mapping[str, WireProtocol]: ...

    @property
    def level(self) -> Level: ...

    def step(self, timeout_s: float) -> int: ...

    def waiting(self, *, older_than_ns: int = 0) -> list[Session]: ...

    def ledger(self) -> dict[str, int]: ...

    def connections(self) -> Collection[Connection]: ...

    def ignored(self) -> Collection[Ignored]: ...

    def ring(self) -> RingUse: ...

    def now_ns(self) -> int: ...

    def finish(self) -> None: ...

    @property
    def wall_offset_ns(self) -> int: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def damage(self) -> str: ...


class Feeding:
    """`ended` is the capture's `emit`; after `begin`, `turn` has to be called all the time. Time is the capture's."""

    def __init__(self, options: CaptureOptions) -> None:
        self._options = options
        self._sessions: list[Session] = []  # of this turn
        self.ended = self._sessions.append
        self._last_ns: dict[int, int] = {}  # when a process's last request ended
        self._observers: dict[str, Observes] = {}
        self._unlearned = 0
        self._nth = 0  # of the sessions while they are sampled
        self._sampled_out = 0  # messages
        self._processes = Processes()
        self._self = psutil.Process()
        self._next_inflight_ns = self._next_second_ns = 0
        self._facts = Facts(
            host=socket.gethostname(),
            source=options.source if options.is_live else options.source_name,
            collector_pid=os.getpid(),
            literals=options.literals,
            head_bytes=options.head_bytes,
        )

    def begin(self, capture: LiveCapture) -> int:
        """Opens the store for what `capture` captures from now on; its descriptor."""
        now_ns = capture.now_ns()
        self._capture, self._writer = capture, Writer(self._options.memory, now_ns)
        self._observers = {name: p for name, p in capture.protocols.items() if isinstance(p, Observes)}
        self._facts = replace(self._facts, protocols=tuple(capture.protocols), started_ns=now_ns)
        self._tell()
        return self._writer.fd

    def turn(self) -> None:
        """Captures for one step, and brings the store up to date where that is due."""
        self._capture.step(STEP_S)
        now_ns = self._capture.now_ns()
        self._take(now_ns)
        if now_ns >= self._next_inflight_ns:
            self._next_inflight_ns = now_ns + _INFLIGHT_EVERY_NS
            self._writer.inflight(self._capture.waiting(older_than_ns=INFLIGHT_AFTER_NS), now_ns)
        if now_ns >= self._next_second_ns:
            self._next_second_ns = now_ns + _SECOND_NS
            self._tell()

    def exhaust(self) -> None:
        """The source has come to its end: brings what it was waiting for, and says so."""
        self._capture.finish()
        now_ns = self._capture.now_ns()
        self._take(now_ns)
        self._writer.finish(now_ns)
        self._writer.inflight(self._capture.waiting(), now_ns)
        self._tell()
        self.end(f"it {self._capture.damage}" if self._capture.damage else "all of it was read")

    def end(self, why: str) -> None:
        """Says in the store that nothing more will come, and why."""
        self._take(self._capture.now_ns())
        self._facts = replace(self._facts, ended=why)
        self._writer.facts(self._facts)

    def say(self, playing: str, progress: float | None) -> None:
        """How the capture is read, and how much of it was."""
        self._facts = replace(self._facts, playing=playing, progress=progress)
        self._writer.facts(self._facts)

    def close(self) -> None:
        """Closes the store's descriptor; it is fed all the same."""
        self._writer.close()

    def _take(self, now_ns: int) -> None:
        """Hands the sessions that have ended to the store."""
        last_ns, observers = self._last_ns, self._observers
        for session in self._sessions:
            self._store(session)
            if session.protocol in observers:
                try:
                    observers[session.protocol].observe(session)
                except Exception:  # a bug there costs nothing but what it would have learned, and is counted
                    self._unlearned += 1
            for end in (session.connection, session.client):
                if end is not None and end.process is not None:
                    last_ns[end.process.pid] = now_ns
        self._sessions.clear()
        self._writer.fold(now_ns)

    def _store(self, session: Session) -> None:
        """Into the log, or only into the rates where the host has to be spared."""
        level = self._capture.level
        self._nth = (self._nth + 1) % SAMPLED_ONE_IN
        if level < Level.SAMPLING or (level is Level.SAMPLING and not self._nth):
            self._writer.session(session)
        else:
            self._writer.count(session)
            self._sampled_out += (session.request_bytes > 0) + (session.reply is not None)

    def _ledger(self) -> dict[str, int]:
        ledger = dict(self._capture.ledger())
        unlearned = self._unlearned + sum(learned.get("over", 0) for learned in self._facts.learned.values())
        if unlearned:
            ledger["unlearned"] = unlearned
        if self._sampled_out:
            ledger[Cause.SESSIONS] -= self._sampled_out
            ledger[Cause.SAMPLED_OUT] = self._sampled_out
        return ledger

    def _tell(self) -> None:
        level = self._capture.level
        ring = self._capture.ring()
        cpu_percent = self._self.cpu_percent()
        connections = self._capture.connections()
        processes: tuple[ProcessFacts, ...] = ()
        if self._options.is_live:  # else those of this host have nothing to do with it
            processes = self._processes.sample(connections, self._capture.ignored(), self._last_ns)
        self._facts = replace(
            self._facts,
            wall_offset_ns=self._capture.wall_offset_ns,
            ledger=self._ledger(),
            degradation=level.told,
            sample_ratio=(1.0, 1.0, 1 / SAMPLED_ONE_IN, 0.0)[level],
            head_bytes=min(self._options.head_bytes, SHORT_HEAD_BYTES) if level else self._options.head_bytes,
            ring_bytes=ring.size,
            ring_used_bytes=ring.used,
            ring_peak_bytes=ring.peak,
            cpu_percent=cpu_percent,
            rss_bytes=self._self.memory_info().rss,
            processes=processes,
            learned=self._learned(),
        )
        self._writer.facts(self._facts)
        self._forget({facts.process.pid for facts in processes})

    def _learned(self) -> dict[str, Any]:
        learned = {}
        for name, observer in self._observers.items():
            try:
                learned[name] = observer.facts(self._capture.now_ns())
            except Exception:
                self._unlearned += 1
        return learned

    def _forget(self, kept: set[int]) -> None:
        """Drops what is known of processes that have ended."""
        for pid in [pid for pid in self._last_ns if pid not in kept and not psutil.pid_exists(pid)]:
            del self._last_ns[pid]
