"""Reads captures as l7top does, and tells what came of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from probes.collector import Collector
from probes.options import CaptureOptions
from probes.records import Connection, Head, Session, Times
from probes.scope import Scope
from probes.sources.captures.reading import Reading
from probes.sources.captures.source import CaptureSource
from probes.sources.sink import Sink


@dataclass
class Seen:
    """What one connection showed; `missed` are numbers of messages that went by uncaptured."""

    connection: Connection
    heads: list[Head] = field(default_factory=list)
    missed: list[tuple[bool, int]] = field(default_factory=list)
    closed: bool = False

    def of(self, outbound: bool) -> list[Head]:
        return [head for head in self.heads if head.outbound is outbound]


class Notes:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}

    def opened(self, connection: Connection) -> None:
        self.seen[connection.id] = Seen(connection)

    def addressed(self, connection: Connection) -> None:
        raise AssertionError("the addresses of a capture are known at once")

    def message(self, connection: Connection, head: Head) -> None:
        assert not self.seen[connection.id].closed
        self.seen[connection.id].heads.append(head)

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        self.message(connection, request)
        self.message(connection, reply)

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        raise AssertionError("a capture has no quiet ends")

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        raise AssertionError("a capture knows no numbers of messages that it did not see")

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        self.seen[connection.id].missed.append((outbound, number))

    def closed(self, connection: Connection, ns: int) -> None:
        self.seen[connection.id].closed = True


@contextmanager
def as_file(data: bytes) -> Iterator[Reading]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield Reading("test.pcap", os.dup(file.fileno()))


def heads_of(data: bytes, *, head_bytes: int = 1024) -> tuple[list[Seen], dict[str, int], str]:
    """What each connection of a capture showed, in the order of their first messages; the counters; the damage."""
    notes = Notes()
    with as_file(data) as reading, closing(CaptureSource(reading, notes, head_bytes=head_bytes)) as source:
        while not source.is_over:
            source.drain()
            source.tend(source.now_ns())
        return list(notes.seen.values()), source.counters(), source.damage


@dataclass
class Told:
    """What the collector made of a capture."""

    sessions: list[Session]
    waiting: list[Session]
    ledger: dict[str, int]
    damage: str


def sessions_of(data: bytes, options: CaptureOptions | None = None) -> Told:
    sessions: list[Session] = []

    def opened(options: CaptureOptions, scope: Scope, sink: Sink) -> CaptureSource:
        return CaptureSource(reading, sink, head_bytes=options.head_bytes, scope=scope)

    options = options or CaptureOptions("test.pcap")
    with as_file(data) as reading, closing(Collector(options, sessions.append, opened)) as collector:
        while not collector.is_over:
            collector.step(0)
        collector.finish()
        return Told(sessions, collector.waiting(), collector.ledger(), collector.damage)
