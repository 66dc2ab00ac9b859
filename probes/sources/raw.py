"""Makes messages of what the kernel copied from connections on the ports of plugins with raw framing.

In: heads of framing RAW, each some bytes of one buffer of one system call, numbered by direction; of a call the first
64 KiB are captured. Out, to the next sink: one head per message, numbered anew. What is no raw head passes through.

A message may span many chunks and a chunk may hold many messages; the plugin's `frame` tells where each ends. At most
`MAX_BUFFER` bytes of a direction wait for more. Where bytes were lost, or make no sense, a message is looked for only
where a chunk begins. A message that is too long for that, the only one under way, ends where the other end speaks.

Replies without ids answer in order, so after a loss nobody can know which one answers what: what waits is given up, and
nothing is told until the connection has been at rest for `REST_NS`; or, of a client that waits for each reply before it
asks again, until it asks after a reply. The same holds for a connection that was not seen from its start: a session
that never was is worse than one missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from probes.protocols.guard import Fault
from probes.protocols.interface import RAW, Abort, ProtocolError, WireProtocol
from probes.records import Connection, Framing, Head, Times, Verdict
from probes.sources.sink import Sink

MAX_BUFFER = 64 * 1024
REST_NS = 1_000_000_000
_ENDLESS = 1 << 62
_TRIES = 256  # chunks that no plugin takes, before a connection is ignored


class RawStreams:
    """A `Sink` in front of `sink`; `give_up` tells it that the replies to all that waits on a connection are lost.

    `counts` has the messages told, and the chunks lost, unsure and foreign.
    """

    def __init__(
        self,
        protocols: Sequence[WireProtocol],
        sink: Sink,
        *,
        give_up: Callable[[Connection], None],
        head_bytes: int,
    ) -> None:
        self._protocols = [protocol for protocol in protocols if protocol.framing == RAW]
        self._sink = sink
        self._give_up = give_up
        self._head_bytes = head_bytes
        self._connections: dict[int, _Raw] = {}
        self.counts: Counter[str] = Counter()

    @property
    def has_work(self) -> bool:
        """Whether there is a protocol with raw framing."""
        return bool(self._protocols)

    def opened(self, connection: Connection) -> None:
        self._find(connection)
        self._sink.opened(connection)

    def addressed(self, connection: Connection) -> None:
        if connection.id not in self._connections:
            self._find(connection)
        self._sink.addressed(connection)

    def _find(self, connection: Connection) -> None:
        ends = {connection.near.port, connection.far.port}
        protocols = [protocol for protocol in self._protocols if ends & {*protocol.ports}]
        if connection.protocol == RAW and protocols:
            self._connections[connection.id] = _Raw(connection, protocols)

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        self._sink.exchange(connection, id, times, messages)

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        if request.framing is not Framing.RAW:
            self._sink.pair(connection, request, reply)
            return
        self.message(connection, request)
        self.message(connection, reply)

    def message(self, connection: Connection, head: Head) -> None:
        if head.framing is not Framing.RAW:
            self._sink.message(connection, head)
            return
        raw = self._connections.get(connection.id)
        if raw is None:
            self.counts["lost"] += 1  # its addresses were
            return
        stream = raw.streams[head.outbound]
        if head.number != stream.chunks:
            self._lose(raw)
        stream.chunks = head.number + 1
        if head.first_ns - raw.last_ns >= REST_NS:
            raw.pipelines = False
        if raw.tries > _TRIES:
            self.counts["foreign"] += 1
        elif not raw.may_go_on(head):
            self.counts["unsure"] += 1
        else:
            self._feed(raw, stream, head)
        raw.last_ns, raw.last_outbound = head.last_ns, head.outbound

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        raw = self._connections.get(connection.id)
        if raw is None:
            self._sink.unseen(connection, outbound, last_number, ns)
        elif last_number >= raw.streams[outbound].chunks:
            raw.streams[outbound].chunks = last_number + 1
            self._lose(raw)

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        self._sink.missed(connection, outbound, number, ns)

    def closed(self, connection: Connection, ns: int) -> None:
        raw = self._connections.pop(connection.id, None)
        if raw is not None:
            self._tell_endless(raw, raw.asks)
            self._tell_endless(raw, not raw.asks)
        self._sink.closed(connection, ns)

    def _feed(self, raw: _Raw, stream: _Stream, head: Head) -> None:
        try:
            self._tell_endless(raw, not head.outbound)
            for message in raw.messages(stream, head, self._head_bytes):
                self._tell(raw, message)
                if raw.pipelines and not raw.is_trusted:
                    self._lose(raw)
                    return
        except (ProtocolError, Fault):
            if raw.is_taken:
                self._lose(raw)
            else:
                stream.lose()
                raw.tries += 1
                self.counts["foreign"] += 1
        except Abort:
            raw.tries = _TRIES + 1

    def _tell(self, raw: _Raw, message: Head) -> None:
        self.counts["messages"] += 1
        raw.waiting = max(0, raw.waiting + (1 if message.outbound == raw.asks else -1))
        raw.pipelines |= raw.waiting > 1
        self._sink.message(raw.connection, message)

    def _tell_endless(self, raw: _Raw, outbound: bool) -> None:
        """The other end speaks, or is gone: what this one was about to say has been said."""
        stream = raw.streams[outbound]
        if stream.is_endless:
            self._tell(raw, stream.end(outbound, stream.last_ns))

    def _lose(self, raw: _Raw) -> None:
        """Something is not known: gives up what waits."""
        self.counts["lost"] += 1
        for stream in raw.streams:
            stream.lose()
        self._give_up(raw.connection)
        raw.waiting = 0
        raw.is_sure = raw.is_trusted = False


class _Raw:
    """One connection. `asks` is the direction of its requests: True is outbound."""

    def __init__(self, connection: Connection, protocols: Sequence[WireProtocol]) -> None:
        self.connection = connection
        self.streams = _Stream(), _Stream()
        self.asks = False
        self.is_taken = False  # by the protocol
        self.tries = 0
        self.is_sure = self.is_trusted = connection.from_start
        self.pipelines = False  # asks again before it is answered
        self.waiting = 0  # requests
        self.last_ns = 0
        self.last_outbound: bool | None = None
        self._protocols = protocols
        self._try(0)

    def may_go_on(self, head: Head) -> bool:
        """Whether it is known what a reply in this chunk would answer, or that none is due."""
        if not self.is_sure and head.outbound == self.asks:
            rested = self.last_ns > 0 and head.first_ns - self.last_ns >= REST_NS
            self.is_trusted = rested
            self.is_sure = rested or (not self.pipelines and self.last_outbound is not self.asks)
        return self.is_sure

    def messages(self, stream: _Stream, head: Head, head_bytes: int) -> Iterator[Head]:
        """Those that end in this chunk. Raises ProtocolError, Fault, Abort where it cannot go on."""
        if not stream.held and not stream.total:
            stream.first_ns = head.first_ns
        stream.last_ns = head.last_ns
        data = stream.held + head.data
        size = len(stream.held) + head.total
        stream.held = b""
        at = 0
        while at < size:
            if not stream.total:
                stream.total = self._length(data[at:])
                if not stream.total and len(data) == size and size - at <= MAX_BUFFER:
                    stream.held = data[at:]
                    return
                if not stream.total:
                    if self.pipelines or self.waiting != (head.outbound != self.asks):
                        raise ProtocolError("its end is not to be found")
                    stream.total, stream.is_endless = _ENDLESS, True
            at += stream.take(data, at, size, head_bytes)
            if stream.done == stream.total:
                yield stream.end(head.outbound, head.last_ns)
                stream.first_ns = head.first_ns

    def _length(self, data: bytes) -> int:
        """Of the message that begins so, 0 where more is needed; by the first protocol that takes it."""
        if not data:
            raise ProtocolError("its beginning was not captured")
        while not self.is_taken:
            try:
                length = self._protocol.frame(data, self.connection.memory)
                if not length:
                    return 0
                if self._protocol.identify(data[:length], length) is not Verdict.FOREIGN:
                    self.is_taken = True
                    self.connection.protocol = self._protocol.name
                    self.tries = 0
                    return length
            except (ProtocolError, Fault):
                pass
            self._try((self._place + 1) % len(self._protocols))
            if not self._place:
                raise ProtocolError("no plugin takes it")
        return self._protocol.frame(data, self.connection.memory)

    def _try(self, place: int) -> None:
        self._place, self._protocol = place, self._protocols[place]
        self.asks = self.connection.near.port not in self._protocol.ports
        self.connection.memory = self._protocol.memory(self.connection)


class _Stream:
    """One direction. `chunks` were seen, `number` messages told."""

    def __init__(self) -> None:
        self.chunks = self.number = 0
        self.held = b""  # of a message whose length is not known yet
        self.total = self.done = 0  # the current message's length, and the bytes of it that went by
        self.is_endless = False  # that length is not known
        self.first_ns = self.last_ns = 0
        self._data = b""

    def take(self, data: bytes, at: int, size: int, most: int) -> int:
        """Bytes of the current message that a chunk has from `at` on; as far as they are captured, `most` are kept."""
        taken = min(self.total - self.done, size - at)
        if self.done == len(self._data):
            self._data += data[at : at + min(taken, most - self.done)]
        self.done += taken
        return taken

    def end(self, outbound: bool, last_ns: int) -> Head:
        """The current message, whose last byte went by at `last_ns`."""
        times = self.first_ns, last_ns
        message = Head(outbound, self.number, *times, self.done, self._data, framing=Framing.RAW)
        self.number += 1
        self.lose()
        return message

    def lose(self) -> None:
        self.held = self._data = b""
        self.total = self.done = 0
        self.is_endless = False
