"""What holds of reassembly for any segments: each byte once, in its order, or counted as missing; memory bounded."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.sources.captures import reassembly
from probes.sources.captures.reassembly import MAX_WAITING, PATIENCE_NS, Reassembly
from probes.sources.captures.segments import ACK, FIN, RST, SYN, Segment, reverse

FLOW = bytes((10, 0, 0, 1, 10, 0, 0, 2)) + (40_000).to_bytes(2, "big") + (27_017).to_bytes(2, "big")
MS = 1_000_000


class Piece(NamedTuple):
    """What was handed on: bytes, or how many are missing."""

    outbound: bool
    data: bytes
    missing: int = 0


class Notes:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.closed_ns: int | None = None

    def take(self, outbound: bool, data: bytes, length: int, ns: int) -> bool:
        assert self.closed_ns is None
        assert len(data) <= length
        self.pieces.append(Piece(outbound, data, length - len(data)))
        return True

    def miss(self, outbound: bool, length: int, ns: int) -> None:
        assert length > 0
        self.pieces.append(Piece(outbound, b"", length))

    def close(self, ns: int) -> None:
        assert self.closed_ns is None
        self.closed_ns = ns

    def of(self, outbound: bool, fill: bytes = b"?") -> bytes:
        """A direction's stream, what is missing as `fill`."""
        return b"".join(piece.data + fill * piece.missing for piece in self.pieces if piece.outbound is outbound)


class Bench:
    """A reassembly and what it hands on; time goes on by 1 ms with each segment."""

    def __init__(self) -> None:
        self.met: list[tuple[bytes, bool, Notes]] = []
        self.reassembly = Reassembly(self._meet)
        self.ns = 10**18

    def _meet(self, flow: bytes, is_young: bool) -> Notes:
        notes = Notes()
        self.met.append((flow, is_young, notes))
        return notes

    @property
    def notes(self) -> Notes:
        ((_, _, notes),) = self.met
        return notes

    def send(
        self, at: int, data: bytes, *, ack: int = 0, flags: int = ACK, back: bool = False, length: int = 0
    ) -> None:
        """A segment of the client, or `back` of the server."""
        flow = reverse(FLOW) if back else FLOW
        segment = Segment(flow, at & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, data, length or len(data))
        self.reassembly.take(segment, self.ns)
        self.ns += MS

    def open(self, start: int = 0) -> None:
        """The handshake; the first bytes are at `start`."""
        self.send(start - 1, b"", flags=SYN)
        self.send(start - 1, b"", ack=start, flags=SYN | ACK, back=True)


@given(
    stream=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.tuples(st.integers(0, 299), st.integers(1, 80)), max_size=60),
    order=st.randoms(use_true_random=False),
    start=st.sampled_from([0, 1, 2**31 - 50, 2**32 - 100]),
)
def test_overlapping_segments_in_any_order_are_the_stream(
    stream: bytes, cuts: list[tuple[int, int]], order: object, start: int
) -> None:
    bench = Bench()
    bench.open(start)
    pieces = [(at, stream[at : at + size]) for at, size in cuts] + [
        (at, stream[at : at + 50]) for at in range(0, len(stream), 50)
    ]
    order.shuffle(pieces)  # type: ignore[attr-defined]
    for at, data in pieces:
        if data:
            bench.send(start + at, data)
    assert bench.notes.of(False) == stream  # the near end is the server
    assert bench.reassembly._waiting_bytes == 0


@given(
    kept=st.lists(st.booleans(), min_size=2, max_size=40),
    acknowledges=st.booleans(),
    start=st.sampled_from([5, 2**32 - 300]),
)
def test_what_was_not_captured_is_counted_exactly(kept: list[bool], acknowledges: bool, start: int) -> None:
    bench = Bench()
    bench.open(start)
    for number, is_kept in enumerate(kept):
        at = start + 10 * number
        if is_kept:
            bench.send(at, b"%010d" % number, ack=start)
        if acknowledges:
            bench.send(start, b"", ack=at + 10, back=True)
    bench.reassembly.finish()
    last = len(kept) if acknowledges else max((n for n, each in enumerate(kept, 1) if each), default=0)
    expected = b"".join(b"%010d" % n if each else b"?" * 10 for n, each in enumerate(kept[:last]))
    assert (bench.notes.of(False) if bench.met else b"") == expected
    assert bench.reassembly.counts["lost_bytes"] == expected.count(b"?")


def test_what_was_acknowledged_is_given_up_soon_and_what_was_not_is_waited_for() -> None:
    bench = Bench()
    bench.open()
    bench.send(10, b"later")
    bench.reassembly.tick(bench.ns + PATIENCE_NS // 2)
    assert not bench.met
    bench.reassembly.tick(bench.ns + PATIENCE_NS)
    assert bench.notes.of(False) == b"?" * 10 + b"later"
    bench.send(20, b"more")
    bench.send(0, b"", ack=24, back=True)
    bench.reassembly.tick(bench.ns + 10 * MS)
    assert bench.notes.of(False) == b"?" * 10 + b"later?????more"


def test_a_retransmission_that_comes_in_time_fills_the_hole() -> None:
    bench = Bench()
    bench.open()
    bench.send(0, b"one ")
    bench.send(8, b"three ")
    bench.ns += 2_000 * MS
    bench.send(4, b"two ")
    assert bench.notes.of(False) == b"one two three "


def test_snapped_segments_say_what_is_missing() -> None:
    bench = Bench()
    bench.open()
    bench.send(0, b"head", length=100)
    bench.send(90, b"ten again, and then more", length=50)
    assert bench.notes.of(False) == b"head" + b"?" * 96 + b" and then more" + b"?" * 26
    assert "holes" not in bench.reassembly.counts


@pytest.mark.parametrize("early", [True, False])
def test_a_fin_before_the_last_bytes_does_not_end_the_connection(early: bool) -> None:
    bench = Bench()
    bench.open()
    if early:
        bench.send(4, b"", flags=FIN | ACK)
        bench.send(0, b"last")
    else:
        bench.send(0, b"last", flags=FIN | ACK)
    assert bench.notes.closed_ns is None
    bench.send(0, b"", ack=5, flags=FIN | ACK, back=True)
    assert bench.notes.of(False) == b"last"
    assert bench.notes.closed_ns is not None


def test_a_reset_tells_what_was_waiting_and_ends_it() -> None:
    bench = Bench()
    bench.open()
    bench.send(4, b"late")
    bench.send(8, b"", flags=RST | ACK)
    assert bench.notes.of(False) == b"????late"
    assert bench.notes.closed_ns is not None
    bench.send(4, b"late")  # captured once more, on another interface
    assert len(bench.met) == 1


@pytest.mark.parametrize("flags", [SYN | ACK, ACK])
def test_the_server_is_the_near_end(flags: int) -> None:
    bench = Bench()
    bench.send(0, b"" if flags & SYN else b"reply", ack=1, flags=flags, back=True)
    bench.send(1, b"request")
    assert bench.met[0][0] == reverse(FLOW)
    assert bench.met[0][1] is bool(flags & SYN)


def test_segments_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.open()
    for number in range(1, 2 * MAX_WAITING):
        bench.send(2 * number, b"x")
        assert len(next(iter(bench.reassembly._directions.values())).waiting) <= MAX_WAITING
    assert bench.reassembly.counts["reassembly_full"] > 0
    monkeypatch.setattr(reassembly, "MAX_WAITING_BYTES", 10_000)
    bench = Bench()
    bench.open()
    for number in range(1, 100):
        bench.send(2000 * number, bytes(1000))
        assert bench.reassembly._waiting_bytes <= 10_000


def test_connections_are_bounded_and_the_silent_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_FLOWS", 32)
    bench = Bench()
    for number in range(100):
        flow = FLOW[:-4] + (1000 + number).to_bytes(2, "big") + FLOW[-2:]
        bench.reassembly.take(Segment(flow, 0, 0, ACK, b"data", 4), bench.ns + number)
        bench.reassembly.take(Segment(FLOW, 4 * number, 0, ACK, b"busy", 4), bench.ns + number)
        assert len(bench.reassembly._directions) <= 2 * 32
    busy = [notes for flow, _, notes in bench.met if flow in (FLOW, reverse(FLOW))]
    assert [notes.of(False) for notes in busy] == [b"busy" * 100]
    assert bench.reassembly.counts["connections_full"] == 101 - len(bench.reassembly._directions) // 2


segments = st.builds(
    Segment,
    st.sampled_from([FLOW, reverse(FLOW), FLOW[:-1] + b"\1"]),
    st.one_of(st.integers(0, 60), st.integers(2**32 - 60, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 60), st.integers(0, 2**32 - 1)),
    st.integers(0, 31),
    st.binary(max_size=20),
    st.just(0),
)


@given(st.lists(st.tuples(segments, st.integers(0, 3), st.integers(0, 5_000)), max_size=60))
def test_any_segments_are_harmless(steps: list[tuple[Segment, int, int]]) -> None:
    bench = Bench()
    for segment, snapped, wait_ms in steps:
        bench.ns += wait_ms * MS
        bench.reassembly.take(segment._replace(length=len(segment.payload) + snapped), bench.ns)
        bench.reassembly.tick(bench.ns)
    bench.reassembly.finish()
    assert bench.reassembly._waiting_bytes == 0
    sent = sum(len(segment.payload) for segment, _, _ in steps)
    assert sum(len(piece.data) for _, _, notes in bench.met for piece in notes.pieces) <= sent
