"""A capture as a source: its packets become heads, by reassembly and framing, which go to the sink.

Its time is that of the packets, in ns since the epoch; where they come as they are captured, it goes on between them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from probes.exit_codes import ExitCode, Refusal
from probes.records import Connection, Head
from probes.scope import EVERYTHING, PortUse, Scope
from probes.sources.captures.container import CaptureError, Container, Interface, Packet
from probes.sources.captures.conversation import Conversation, Desk
from probes.sources.captures.inflate import Inflation
from probes.sources.captures.raw import RawConversation, Unwanted
from probes.sources.captures.reading import Reading
from probes.sources.captures.reassembly import Reassembly, Taker
from probes.sources.captures.recorded import RecordedPacket
from probes.sources.captures.segments import Decoder, Segment, addresses, reverse, within
from probes.sources.framing import KAFKA, MONGODB
from probes.sources.marks import InterfaceMark
from probes.sources.sink import Sink
from probes.sources.source import Ignored, RingUse

_FRAMED = {MONGODB: PortUse.MONGODB, KAFKA: PortUse.KAFKA}
_FOREVER_NS = 1 << 63
DRAIN_NS = 100_000_000  # by so much the capture's time goes on in one drain, if there is as much to read


class CaptureSource:
    """`reading` as a `probes.sources.source.Source`; it is closed with this.

    `limit_ns` is the time up to which packets are taken: there a file's time stands still.
    """

    wall_offset_ns = 0

    def __init__(self, reading: Reading, sink: Sink, *, head_bytes: int, scope: Scope = EVERYTHING) -> None:
        self.is_over = False
        self.damage = ""
        self._reading = reading
        self._inflation, self._container, self._decoder = Inflation(), Container(), Decoder()
        self._desk, self._scope = Desk(sink, head_bytes, scope.skim), scope
        self._reassembly = Reassembly(self._meet)
        self._pending: Iterator[Packet] = iter(())  # of what was read
        self._held: Packet | None = None  # the first one beyond the limit
        self.limit_ns = _FOREVER_NS
        self._packets = 0
        self._last_id = 0
        self._began_ns = 0  # of the first packet
        self._now_ns = 0  # of the latest one
        self._came_ns = self._opened_ns = time.monotonic_ns()  # when that came

    @property
    def elapsed_ns(self) -> int:
        if self._reading.is_file:
            return self._now_ns - self._began_ns
        return time.monotonic_ns() - self._opened_ns

    @property
    def progress(self) -> float | None:
        size = self._reading.size
        return min(1.0, self._reading.done / size) if size else None

    def now_ns(self) -> int:
        if self._reading.is_file or self.is_over or not self._now_ns:
            return self._now_ns
        return self._now_ns + time.monotonic_ns() - self._came_ns

    def wait(self, timeout_s: float) -> None:
        if self._held is not None and self._held.ns > self.limit_ns:
            time.sleep(timeout_s)
        else:
            self._reading.wait(timeout_s)

    def drain(self) -> int:
        """Raises Refusal where the bytes are no capture, or cannot be read."""
        if self.is_over:
            return 0
        before, until_ns = self._packets, self._now_ns + DRAIN_NS
        try:
            if self._take(until_ns):
                self._read()
                self._take(until_ns)
        except CaptureError as error:
            if not self._container.is_recognised:
                raise Refusal(f"{self._reading.name} {error}", ExitCode.SOURCE) from error
            self._end(str(error))
        return self._packets - before

    def _take(self, until_ns: int) -> bool:
        """Takes the packets that were read, up to that time; whether that were all."""
        decode, take, now_ns = self._decoder.segment, self._reassembly.take, self._now_ns
        packets, limit_ns, pending = 0, self.limit_ns, self._pending
        if self._held is not None:
            pending, self._held = chain((self._held,), pending), None
        try:
            for packet in pending:
                interface, ns, data, length, options, order = packet
                if ns > limit_ns:
                    self._held = packet
                    now_ns = max(now_ns, limit_ns)
                    return False
                packets += 1
                segment = decode(interface.link, data, length)
                if segment is not None:
                    if interface.mark is None:
                        take(segment, ns)
                    else:
                        self._take_recorded(interface, interface.mark, segment, ns, RecordedPacket.of(options, order))
                if ns > now_ns:
                    now_ns = ns
                    if now_ns >= until_ns:
                        return False
            return True
        finally:
            self._packets += packets
            self._now_ns = now_ns
            self._began_ns = self._began_ns or now_ns

    def _take_recorded(
        self, interface: Interface, mark: InterfaceMark, segment: Segment, ns: int, told: RecordedPacket
    ) -> None:
        """A packet of a recording: one process's view, which has nothing to do with what the same addresses are to
        another one. It is in its place: what is missing before it was lost when it was recorded."""
        flow = within(segment.flow, interface.number)
        near = flow if told.outbound else reverse(flow)
        if told.mark is not None or not self._reassembly.follows(near):
            ends = addresses(segment.flow if told.outbound else reverse(segment.flow))
            near_end, far_end = ends if told.mark is None else (told.mark.near, told.mark.far)
            self._last_id += 1
            connection = Connection(self._last_id, mark.process, near_end, far_end, mark.namespace)
            if told.mark is not None:
                connection.inodes = told.mark.inodes
            conversation = self._conversation(connection, is_young=True, is_recorded=True)
            self._reassembly.begin(near, conversation, ns)
        self._reassembly.take(segment._replace(flow=flow), ns)
        self._reassembly.settle(near)

    def _read(self) -> None:
        data = self._reading.read()
        if data is None:
            return
        if data:
            self._came_ns = time.monotonic_ns()
            self._pending = chain.from_iterable(map(self._container.receive, self._inflation.receive(data)))
        elif not self._reading.done:
            raise Refusal(f"{self._reading.name} is empty", ExitCode.SOURCE)
        elif self._inflation.is_whole and self._container.is_whole:
            self._end("")
        else:
            self._end("is cut off in the middle")

    def _end(self, damage: str) -> None:
        self.damage = damage
        self.is_over = True
        self._pending, self._held = iter(()), None
        self._reassembly.finish()

    def tend(self, now_ns: int) -> None:
        self._reassembly.tick(now_ns)

    def recheck(self, connections: Iterable[Connection], now_ns: int) -> None:
        """What was lost has been told when it was noticed."""

    def spare(self, on: bool) -> None:
        """Nothing: all of it is there already."""

    def quieten(self, connection: Connection) -> bool:
        return False

    def quiet_requests(self, older_than_ns: int, now_ns: int) -> Iterable[tuple[Connection, Head]]:
        return ()

    def connections(self) -> Collection[Connection]:
        return self._desk.connections.values()

    def ignored(self) -> Collection[Ignored]:
        """None: a capture has no processes, of which this would have to tell."""
        return ()

    def ring(self) -> RingUse:
        return RingUse()

    def counters(self) -> dict[str, int]:
        desk, segments = self._desk.counts, self._decoder.counts
        return {
            "seen": desk["messages"],
            "packets": self._packets,
            "other_packets": segments["other"],
            **self._reassembly.counts,
            "fragments": segments["fragments"],
            "malformed_packets": segments["malformed"],
            "headers_cut": segments["headers_cut"],
            "capture_dropped": self._container.dropped,
            "capture_damaged": int(bool(self.damage)),
            "resynchronised": desk["resynchronised"],
            "ignored_connections": desk["ignored_connections"],
        }

    def stop(self) -> None:
        """Gives up what is missing; what has not been read is left."""
        if not self.is_over:
            self._end("")

    def close(self) -> None:
        self._reading.close()

    def _meet(self, flow: bytes, is_young: bool) -> Taker:
        self._last_id += 1
        near, far = addresses(flow)
        return self._conversation(Connection(self._last_id, None, near, far), is_young=is_young)

    def _conversation(self, connection: Connection, *, is_young: bool, is_recorded: bool = False) -> Taker:
        use = self._scope.of(connection.near.port, connection.far.port)
        if use & PortUse.RAW:
            return RawConversation(self._desk, connection, is_young=is_young)
        protocols = tuple(name for name, bit in _FRAMED.items() if use & bit)
        if not protocols:
            return Unwanted()
        return Conversation(self._desk, connection, protocols, is_young=is_young, is_recorded=is_recorded)
