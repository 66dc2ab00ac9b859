"""TCP streams put together again from segments that come in any order, twice, cut, or not at all.

In: segments with their times, of any number of connections. Out, to a `Taker` for each connection: the bytes of both
directions in their order, each byte once, and how many of them were not captured. What is missing is waited for, and
given up where it will not come any more: the other end has acknowledged it, so it went by without being captured;
PATIENCE_NS has passed; or too much waits behind it. Nothing is raised, and memory is bounded by MAX_FLOWS and
MAX_WAITING_BYTES. Time is that of the segments.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from heapq import nsmallest
from typing import NamedTuple, Protocol

from probes.sources.captures.segments import ACK, FIN, RST, SYN, Segment, reverse

GRACE_NS = 5_000_000  # by which a segment may come after its acknowledgement, where several interfaces are captured
GRACE = 8  # as many later segments that say the same make it certain, too
PATIENCE_NS = 3_000_000_000  # for some retransmissions
LINGER_NS = 10_000_000_000  # for which late segments of a closed connection are known to be its own
MAX_FLOWS = 16_384  # connections that are followed at a time
MAX_WAITING_BYTES = 64 << 20  # of all segments that wait for an earlier one
MAX_WAITING = 1024  # of those, segments of one direction

_SEGMENT_BYTES = 256  # what a waiting segment takes beside its bytes
_MASK, _HALF = (1 << 32) - 1, 1 << 31


class Taker(Protocol):
    """Takes the bytes of one connection. `outbound` ones go from its near end to its far end."""

    def take(self, outbound: bool, data: bytes, length: int, ns: int) -> bool:
        """The next `length` bytes, of which the first are `data`; whether more are wanted."""

    def miss(self, outbound: bool, length: int, ns: int) -> None:
        """The next `length` bytes were not captured."""

    def close(self, ns: int) -> None:
        """No more will come."""


Meet = Callable[[bytes, bool], Taker]
"""Is told of a connection by the flow from its near end to its far end, and whether it is seen from its first byte."""


class _Waiting(NamedTuple):
    """A segment that waits for an earlier one. `at` is the place of its first byte."""

    at: int
    data: bytes
    length: int
    ns: int


class _Direction:
    """One direction of a flow. A place in it is a sequence number, but does not wrap."""

    __slots__ = (
        "acknowledged",
        "acknowledged_ns",
        "acknowledgements",
        "end",
        "flow",
        "missing",
        "next",
        "outbound",
        "peer",
        "start",
        "waiting",
    )

    def __init__(self, flow: _Flow, outbound: bool) -> None:
        self.flow = flow
        self.outbound = outbound
        self.peer = self
        self.start: int | None = None  # the first byte's sequence number, where it is known
        self.next: int | None = None  # the place of the byte that is due, once there is one
        self.end: int | None = None  # the place of the FIN, once it is known
        self.acknowledged = 0  # the place before which the other end has got everything
        self.acknowledged_ns = 0  # since when that is beyond `missing`
        self.acknowledgements = 0  # how many have said so
        self.missing = -1  # the place of a byte that is acknowledged and not there
        self.waiting: list[_Waiting] = []  # by place

    @property
    def is_over(self) -> bool:
        return self.end is not None and self.next is not None and self.next > self.end


class _Flow:
    """A connection, by its key: the flow from its near end to its far end."""

    __slots__ = ("directions", "is_closed", "is_wanted", "is_young", "key", "last_ns", "taker")

    def __init__(self, key: bytes, is_young: bool) -> None:
        self.key = key
        self.is_young = is_young
        self.is_wanted = True
        self.is_closed = False
        self.last_ns = 0
        self.taker: Taker | None = None  # as long as there was no byte
        near, far = self.directions = _Direction(self, True), _Direction(self, False)
        near.peer, far.peer = far, near


class Reassembly:
    """`take` takes segments, `tick` has to be called about every 100 ms of their time, `finish` at the end.

    `counts`: "duplicate_segments"; "holes" and their "lost_bytes"; "reassembly_full" where a hole was given up for want
    of room; "connections_full" of connections that gave way to newer ones.
    """

    def __init__(self, meet: Meet) -> None:
        self.counts: Counter[str] = Counter()
        self._meet = meet
        self._directions: dict[bytes, _Direction] = {}
        self._broken: dict[_Direction, None] = {}  # those in which something may be missing
        self._closed: dict[_Flow, int] = {}  # since when, oldest first
        self._waiting_bytes = 0

    def take(self, segment: Segment, ns: int) -> None:
        """The next segment of the capture."""
        key, sequence, acknowledged, flags, data, length = segment
        direction = self._directions.get(key)
        if direction is None:
            if not length and not flags & SYN:
                return
            direction = self._begin(key, flags)
        if flags & SYN:
            direction = self._synchronise(direction, key, sequence, flags)
            sequence = sequence + 1 & _MASK
        flow = direction.flow
        flow.last_ns = ns
        if not flow.is_wanted:
            self._take_unwanted(direction, segment, ns)
            return
        if length:
            place = direction.next
            if place is None:
                place = direction.next = sequence
            if sequence == place & _MASK and not direction.waiting:
                direction.next = place + length
                if place == direction.missing:
                    ns = _went_by(ns, direction.acknowledged_ns)
                self._hand_on(direction, data, length, ns)
                if direction.next == direction.end:
                    self._settle_end(direction, ns)
            else:
                self._put_by(direction, _Waiting(_place(place, sequence), data, length, ns))
        if flags & ACK:
            peer = direction.peer
            if peer.next is None:
                if flow.is_young:
                    peer.start = peer.next = acknowledged
            elif acknowledged != peer.next & _MASK:
                self._note_acknowledged(peer, _place(peer.next, acknowledged), ns)
        if flags & (FIN | RST):
            self._end(direction, flags, sequence + length & _MASK, ns)

    def follows(self, flow: bytes) -> bool:
        """Whether this flow is known, and not over."""
        direction = self._directions.get(flow)
        return direction is not None and not direction.flow.is_closed

    def begin(self, flow: bytes, taker: Taker, ns: int) -> None:
        """A connection begins here, whose flow from its near to its far end this is; what had the same is over."""
        known = self._directions.get(flow)
        if known is not None:
            self._close(known.flow, ns)
            self._forget(known.flow)
        self._add(_Flow(flow, True)).taker = taker

    def settle(self, flow: bytes) -> None:
        """What is missing of a flow will not come."""
        direction = self._directions.get(flow)
        if direction is not None:
            self._mend(direction, None)
            self._mend(direction.peer, None)

    def tick(self, now_ns: int) -> None:
        """Time has come to `now_ns`: gives up what will not come, and forgets what ended long ago."""
        for direction in list(self._broken):
            self._mend(direction, now_ns)
        while self._closed:
            flow, since_ns = next(iter(self._closed.items()))
            if now_ns - since_ns < LINGER_NS:
                break
            self._forget(flow)

    def finish(self) -> None:
        """The capture is over: what is missing will not come."""
        for direction in list(self._broken):
            self._mend(direction, None)

    # The life of a flow.

    def _begin(self, key: bytes, flags: int) -> _Direction:
        """A new flow. Its near end is the server, as far as can be told: who got the SYN, or has the lower port."""
        from_server = bool(flags & ACK) if flags & SYN else key[-4:-2] < key[-2:]
        near, far = self._add(_Flow(key if from_server else reverse(key), bool(flags & SYN))).directions
        return near if from_server else far

    def _add(self, flow: _Flow) -> _Flow:
        if len(self._directions) >= 2 * MAX_FLOWS:
            self._make_room()
        self._directions[flow.key], self._directions[reverse(flow.key)] = flow.directions
        return flow

    def _synchronise(self, direction: _Direction, key: bytes, sequence: int, flags: int) -> _Direction:
        """A SYN: of this flow, or of the next one with the same addresses."""
        start = sequence + 1 & _MASK
        if direction.start == start:
            return direction
        flow = direction.flow
        if direction.next is not None or flow.is_closed or not flow.is_young:
            self._close(flow, flow.last_ns)
            self._forget(flow)
            direction = self._begin(key, flags)
        direction.start = direction.next = start
        return direction

    def _take_unwanted(self, direction: _Direction, segment: Segment, ns: int) -> None:
        flow = direction.flow
        if not flow.is_closed:
            if segment.flags & (FIN | RST):
                self._close(flow, ns)
        elif (
            segment.length and direction.next is not None and _place(direction.next, segment.sequence) >= direction.next
        ):
            self._forget(flow)  # a later connection with the same addresses, whose beginning was not captured
            self.take(segment, ns)

    def _end(self, direction: _Direction, flags: int, sequence: int, ns: int) -> None:
        flow = direction.flow
        if flags & RST:
            for each in flow.directions:
                self._mend(each, None)
            self._close(flow, ns)
            return
        if direction.next is None:
            direction.next = sequence
        if direction.end is None:
            direction.end = _place(direction.next, sequence)
        self._settle_end(direction, ns)

    def _settle_end(self, direction: _Direction, ns: int) -> None:
        """Closes the flow where both of its directions have come to their end."""
        if direction.next is not None and direction.next == direction.end:
            direction.next += 1
        if direction.is_over and direction.peer.is_over:
            self._close(direction.flow, ns)

    def _close(self, flow: _Flow, ns: int) -> None:
        if flow.is_closed:
            return
        self._drop_waiting(flow)
        flow.is_closed, flow.is_wanted = True, False
        self._closed[flow] = ns
        if flow.taker is not None:
            flow.taker.close(ns)
            flow.taker = None

    def _forget(self, flow: _Flow) -> None:
        self._closed.pop(flow, None)
        del self._directions[flow.key], self._directions[reverse(flow.key)]

    def _make_room(self) -> None:
        """Forgets what is closed; where nothing is, closes a sixteenth of the flows, those silent for longest."""
        if not self._closed:
            flows = (direction.flow for direction in self._directions.values() if direction.outbound)
            for flow in nsmallest(MAX_FLOWS // 16, flows, key=lambda flow: flow.last_ns):
                self.counts["connections_full"] += flow.is_wanted
                for direction in flow.directions:
                    self._mend(direction, None)
                self._close(flow, flow.last_ns)
        for flow in list(self._closed):
            self._forget(flow)

    # The order of a direction's bytes.

    def _hand_on(self, direction: _Direction, data: bytes, length: int, ns: int) -> None:
        flow = direction.flow
        taker = flow.taker
        if taker is None:
            taker = flow.taker = self._meet(flow.key, flow.is_young)
        if not taker.take(direction.outbound, data, length, ns):
            flow.is_wanted = False
            self._drop_waiting(flow)

    def _put_by(self, direction: _Direction, segment: _Waiting) -> None:
        """A segment that is not the next one of its direction, or behind which others wait."""
        at, _, length, _ = segment
        waiting = direction.waiting
        place = bisect_left(waiting, at, key=_by_place)
        known = waiting[place] if place < len(waiting) and waiting[place].at == at else None
        if at + length <= _due(direction) or (known is not None and known.length >= length):
            self.counts["duplicate_segments"] += 1
            return
        if at <= _due(direction) and waiting:
            acknowledged_ns = direction.acknowledged_ns if direction.missing == direction.next else segment.ns
            segment = segment._replace(ns=_went_by(segment.ns, min(waiting[0].ns, acknowledged_ns)))
        waiting.insert(place, segment)
        self._waiting_bytes += len(segment.data) + _SEGMENT_BYTES
        self._broken[direction] = None
        self._hand_on_waiting(direction)
        while direction.waiting and (len(direction.waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES):
            self.counts["reassembly_full"] += 1
            self._skip(direction, direction.waiting[0].at, direction.waiting[0].ns)

    def _hand_on_waiting(self, direction: _Direction) -> None:
        """Hands on what waits, as far as nothing is missing before it."""
        waiting, due = direction.waiting, _due(direction)
        count = 0
        for segment in waiting:
            if segment.at > due:
                break
            due = max(due, segment.at + segment.length)
            count += 1
        ready = waiting[:count]
        del waiting[:count]
        for at, data, length, ns in ready:
            self._waiting_bytes -= len(data) + _SEGMENT_BYTES
            passed = _due(direction) - at
            if passed < length:
                direction.next = at + length
                if direction.flow.is_wanted:
                    self._hand_on(direction, data[passed:], length - passed, ns)
        if ready:
            self._settle_end(direction, direction.flow.last_ns)

    def _note_acknowledged(self, direction: _Direction, place: int, ns: int) -> None:
        if place <= _due(direction):
            return
        direction.acknowledged = max(place, direction.acknowledged)
        if direction.missing != direction.next:
            direction.missing, direction.acknowledged_ns, direction.acknowledgements = _due(direction), ns, 0
        direction.acknowledgements += 1
        self._broken[direction] = None
        if direction.acknowledgements > GRACE or ns - direction.acknowledged_ns >= GRACE_NS:
            self._mend(direction, ns)  # before more comes of the other direction, which may refer to what waits here

    def _mend(self, direction: _Direction, now_ns: int | None) -> None:
        """Gives up what has been missing for too long by now; without a time, all that is missing."""
        while direction.next is not None:
            acknowledged = direction.acknowledged if direction.acknowledged > direction.next else 0
            if direction.waiting:
                to, since_ns = direction.waiting[0].at, direction.waiting[0].ns
            elif acknowledged:
                to, since_ns = acknowledged, direction.acknowledged_ns
            else:
                break
            patience_ns = PATIENCE_NS
            if acknowledged >= to and direction.missing == direction.next:
                since_ns = max(since_ns, direction.acknowledged_ns)
                patience_ns = 0 if direction.acknowledgements > GRACE else GRACE_NS
            if now_ns is not None and now_ns - since_ns < patience_ns:
                return
            self._skip(direction, to, since_ns)
        self._broken.pop(direction, None)

    def _skip(self, direction: _Direction, to: int, ns: int) -> None:
        """What is missing before that place will not come."""
        due = _due(direction)
        if direction.end is None and to == due + 1 and not direction.waiting:
            direction.end = due  # no message is so short: what was acknowledged is a FIN
        missing = (to if direction.end is None else min(to, direction.end)) - due
        direction.next = to
        if missing > 0 and direction.flow.is_wanted:
            self.counts["holes"] += 1
            self.counts["lost_bytes"] += missing
            flow = direction.flow
            if flow.taker is None:
                flow.taker = self._meet(flow.key, flow.is_young)
            flow.taker.miss(direction.outbound, missing, ns)
        self._settle_end(direction, ns)
        self._hand_on_waiting(direction)

    def _drop_waiting(self, flow: _Flow) -> None:
        for direction in flow.directions:
            self._waiting_bytes -= sum(len(segment.data) + _SEGMENT_BYTES for segment in direction.waiting)
            direction.waiting = []
            self._broken.pop(direction, None)


def _went_by(ns: int, evidence_ns: int) -> int:
    """When a segment went by that came at `ns`, and that others had shown to have gone by at `evidence_ns`."""
    return evidence_ns if 0 <= ns - evidence_ns <= GRACE_NS else ns


def _due(direction: _Direction) -> int:
    assert direction.next is not None
    return direction.next


def _place(due: int, sequence: int) -> int:
    """The place nearest to `due` that has this sequence number."""
    return due + (sequence - due + _HALF & _MASK) - _HALF


def _by_place(segment: _Waiting) -> int:
    return segment.at
