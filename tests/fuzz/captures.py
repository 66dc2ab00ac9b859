"""`python -m tests.fuzz.captures`: mutated captures up to the heads, in the ways that `engine` describes.

Nothing but CaptureError may come out of it, and nothing may be held beyond its bound. The seeds are some captures of
the unit tests. An input is a byte that says what it is, and a capture (even) or segments (odd), of which each takes 9
bytes and its payload. At the end it tells how many packets and segments went through.
"""

from __future__ import annotations

import atexit
import struct
from collections import Counter
from collections.abc import Iterator

from tests.fuzz import engine

# What is instrumented has to be imported first.
with engine.instrumented("probes.sources"):
    from probes.sources.captures.container import CaptureError, Container
    from probes.sources.captures.conversation import Conversation, Desk
    from probes.sources.captures.inflate import Inflation
    from probes.sources.captures.reassembly import MAX_WAITING, MAX_WAITING_BYTES, Reassembly
    from probes.sources.captures.segments import Decoder, Segment, addresses, reverse
    from probes.sources.framing import KAFKA, MONGODB

from probes.records import Connection, Head, Times
from tests.captures.test_truth import kafka_exchange, mongodb_exchange
from tests.captures.writing import LINKS, Wire, pcap, pcapng

FLOW = bytes((10, 0, 0, 1, 10, 0, 0, 2)) + struct.pack(">HH", 40_000, 27_017)
_STEP = struct.Struct(">BBhhBH")  # direction and flags, payload's length, sequence, acknowledgement, time, snapped

went_through: Counter[str] = Counter()


class Nobody:
    """A sink that only looks whether what it is told makes sense."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.numbers: dict[tuple[int, bool], int] = {}

    def opened(self, connection: Connection) -> None:
        assert connection.id not in self.open
        self.open.add(connection.id)

    def message(self, connection: Connection, head: Head) -> None:
        self._next(connection, head.outbound, head.number)
        assert head.first_ns <= head.last_ns
        assert len(head.data) <= head.total

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        self.message(connection, request)
        self.message(connection, reply)

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        self._next(connection, outbound, number)

    def _next(self, connection: Connection, outbound: bool, number: int) -> None:
        assert connection.id in self.open
        assert number > self.numbers.get((connection.id, outbound), -1)
        self.numbers[connection.id, outbound] = number

    def closed(self, connection: Connection, ns: int) -> None:
        self.open.remove(connection.id)

    def addressed(self, connection: Connection) -> None:
        raise AssertionError

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        raise AssertionError

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        raise AssertionError


class Way:
    """From segments to heads."""

    def __init__(self) -> None:
        self._desk = Desk(Nobody(), 1024)
        self._reassembly = Reassembly(self._meet)
        self._count = self._now_ns = 0

    def _meet(self, flow: bytes, is_young: bool) -> Conversation:
        self._count += 1
        connection = Connection(self._count, None, *addresses(flow))
        return Conversation(self._desk, connection, (MONGODB, KAFKA), is_young=is_young)

    def take(self, segment: Segment, ns: int) -> None:
        self._reassembly.take(segment, ns)
        if ns - self._now_ns > 100_000_000:
            self._now_ns = ns
            self._reassembly.tick(ns)
        assert self._reassembly._waiting_bytes <= MAX_WAITING_BYTES
        assert all(len(each.waiting) <= MAX_WAITING for each in self._reassembly._directions.values())

    def finish(self) -> None:
        self._reassembly.finish()
        assert self._reassembly._waiting_bytes == 0
        assert not any(each.waiting for each in self._reassembly._directions.values())


def run_capture(data: bytes) -> None:
    way, inflation, container, decoder = Way(), Inflation(), Container(), Decoder()
    try:
        for piece in inflation.receive(data):
            for interface, ns, captured, length, _, _ in container.receive(piece):
                went_through["packets"] += 1
                segment = decoder.segment(interface.link, captured, length)
                if segment is not None:
                    way.take(segment, ns)
    except CaptureError:
        went_through["damaged"] += 1
    way.finish()


def segments_of(data: bytes) -> Iterator[tuple[Segment, int]]:
    at, ns, next_ = 0, 1, [0, 0]
    while at + _STEP.size <= len(data):
        first, size, sequence, acknowledged, wait, snapped = _STEP.unpack_from(data, at)
        at += _STEP.size
        payload = data[at : at + size]
        at += size
        outbound = first >> 7
        ns += wait * wait * 10_000
        length = len(payload) + snapped % 64 * (snapped > 65_000)
        place = next_[outbound] + (sequence if abs(sequence) < 2000 else 0)
        told = next_[not outbound] + (acknowledged if abs(acknowledged) < 2000 else 0)
        next_[outbound] = max(next_[outbound], place + length)
        flow = FLOW if outbound else reverse(FLOW)
        yield Segment(flow, place & 0xFFFFFFFF, told & 0xFFFFFFFF, first & 0x17, payload, length), ns


def run_segments(data: bytes) -> None:
    way = Way()
    for segment, ns in segments_of(data):
        went_through["segments"] += 1
        way.take(segment, ns)
    way.finish()


def run(data: bytes, around: engine.Around) -> None:
    what = run_segments if data[0] & 1 else run_capture
    around(what.__name__, lambda: what(data[1:]))


def seeds() -> Iterator[bytes]:
    for number, link in enumerate(LINKS):
        wire = Wire()
        wire.open()
        for exchange in (mongodb_exchange(number), kafka_exchange(number)):
            wire.send(True, exchange[0])
            wire.send(False, exchange[1], acknowledge=True)
        wire.close()
        yield b"\0" + pcap(wire.packets, link)
        yield b"\0" + pcapng(wire.packets, (link, link))
    for make in (mongodb_exchange, kafka_exchange):
        steps = b""
        for n in range(8):
            for outbound, message in zip((0x80, 0), make(n), strict=True):
                for place in range(0, len(message), 200):
                    piece = message[place : place + 200]
                    steps += _STEP.pack(outbound | 0x10, len(piece), 0, 0, 3, 0) + piece
        yield b"\1" + steps


if __name__ == "__main__":
    atexit.register(lambda: print(dict(went_through)))
    raise SystemExit(engine.main(engine.Target(run, seeds, CaptureError, options=1, longest=engine.MAX_BYTES)))
