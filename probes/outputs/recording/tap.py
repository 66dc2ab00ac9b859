"""Records what a source tells, on its way to the pairing: a `Sink` before the pairing's, and protocols before its own.

What may be written of a message follows from what its parser made of it, which the pairing asks for in its own time. So
a connection's messages wait, in their order, until each was parsed; what nobody parses (a reply to nothing) until it is
too old for that. Of connections that turn out to speak no known protocol nothing is written.

Nothing is raised for the recording's sake: where it ends, `ended` says why, and the capture goes on.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from probes.options import CaptureOptions
from probes.outputs.recording.files import RecordingEndedError
from probes.outputs.recording.writer import Recording
from probes.protocols.interface import WireProtocol
from probes.records import Connection, Head, Reply, Request, Session, Side, Verdict
from probes.sources.sink import Sink

REORDER_NS = 100_000_000  # messages are no further out of order than this
PATIENCE_NS = 2_000_000_000  # more than a reply may wait for its request
MAX_UNCONFIRMED = 16  # messages kept of a connection that may speak anything
MAX_WAITING = 1024  # of one that speaks a known protocol
MAX_KEPT = 16_384  # of all: past that, connections that may speak anything are not recorded

Asks = Callable[[Connection], bool | None]
"""Which direction of a connection carries the requests (True: outbound); None as long as nothing confirms it."""


def recordable(
    protocol: WireProtocol | None, head: Head, message: Request | Reply | None, request: Request | None, literals: bool
) -> Head:
    """What may be written of a message (`Records`). A bug there costs what the message holds, never the capture."""
    nothing = head._replace(data=b"", tail=b"", windows=())
    keep: Callable[..., Head] | None = getattr(protocol, "recordable", None)  # isinstance would take 10 µs
    if keep is None:
        return nothing._replace(data=message.data) if literals and message is not None else nothing
    try:
        return keep(head, message, request, literals=literals)
    except Exception:
        if os.environ.get("L7TOP_DEBUG") == "1":
            traceback.print_exc()
        return nothing


class _Message:
    __slots__ = ("head", "parsed", "protocol", "request")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.protocol: WireProtocol | None = None
        self.parsed: Request | Reply | None = None
        self.request: Request | None = None  # that it answers


class _Queue:
    """A connection's messages that are not written yet, in their order."""

    __slots__ = ("asks", "closed_ns", "connection", "messages", "next")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: deque[_Message] = deque()
        self.asks: bool | None = None
        self.next: list[int | None] = [None, None]  # numbers, inbound and outbound
        self.closed_ns: int | None = None

    def add(self, message: _Message) -> None:
        """Puts the message before those that came too early."""
        head, place = message.head, len(self.messages)
        for index in range(place - 1, -1, -1):
            other = self.messages[index].head
            if other.outbound == head.outbound:
                if other.number < head.number:
                    break
                place = index
        self.messages.insert(place, message)


class Tap:
    """Writes what goes by to `recording`; `options` say which processes, which side, and whether with literals."""

    def __init__(self, recording: Recording, options: CaptureOptions) -> None:
        self.ended = ""
        self._recording = recording
        self._pids, self._side, self._literals = options.pids, options.side, options.literals
        self._queues: dict[int, _Queue] = {}
        self._closing: dict[int, _Queue] = {}
        self._late: dict[int, _Queue] = {}  # those with messages that wait
        self._messages: dict[int, _Message] = {}  # that wait, by their head's identity
        self._now_ns = 0

    def before(self, sink: Sink, asks: Asks) -> Sink:
        """A sink that records what it passes on to `sink`."""
        self._asks = asks
        return _Sink(self, sink)

    def watched(self, protocol: WireProtocol) -> WireProtocol:
        """The same protocol; what it parses is known here."""
        return _Watched(protocol, self._messages)

    def arrived(self, connection: Connection, head: Head) -> None:
        """A message, before anybody else has seen it."""
        process = connection.process
        if self.ended or (self._pids and (process is None or process.pid not in self._pids)):
            return
        queue = self._queues.get(connection.id)
        if queue is None:
            queue = self._queues[connection.id] = _Queue(connection)
        if queue.asks is None and len(self._messages) >= MAX_KEPT:
            return
        message = self._messages[id(head)] = _Message(head)
        queue.add(message)
        self._late[connection.id] = queue
        self._now_ns = max(self._now_ns, head.last_ns)

    def passed(self, connection: Connection) -> None:
        """The others have seen the connection's last message."""
        queue = self._queues.get(connection.id)
        if queue is None:
            return
        if queue.asks is None:
            queue.asks = self._asks(connection)
        if queue.asks is None:
            if len(queue.messages) > MAX_UNCONFIRMED:
                self._forget(queue.messages.popleft())
        else:
            self._write(queue, at_least=len(queue.messages) - MAX_WAITING)

    def closed(self, connection: Connection, ns: int) -> None:
        """The connection ended; its last messages may still come."""
        queue = self._queues.get(connection.id)
        if queue is not None and queue.closed_ns is None:
            queue.closed_ns = ns
            self._closing[connection.id] = queue

    def tick(self, now_ns: int) -> None:
        """Writes what has waited for too long, and hands all to the system."""
        self._now_ns = max(self._now_ns, now_ns)
        for id_, queue in list(self._late.items()):
            if queue.asks is not None:
                old = sum(now_ns - message.head.last_ns >= PATIENCE_NS for message in queue.messages)
                self._write(queue, at_least=old)
            if not queue.messages:
                self._late.pop(id_, None)  # where the recording has just ended, it is not there any more
        for queue in list(self._closing.values()):
            if now_ns - (queue.closed_ns or 0) >= (PATIENCE_NS if queue.messages else 2 * REORDER_NS):
                self._end(queue)
        self._do(self._recording.flush)

    def finish(self) -> None:
        """Writes all that waits: nothing more will come."""
        for queue in list(self._late.values()):
            self._write(queue, at_least=len(queue.messages))
        for queue in list(self._closing.values()):
            self._end(queue)
        self._do(self._recording.flush)

    def _end(self, queue: _Queue) -> None:
        self._write(queue, at_least=len(queue.messages))
        if queue.asks is not None and queue.closed_ns is not None:
            self._do(self._recording.ended, queue.connection, queue.closed_ns)
        while queue.messages:
            self._forget(queue.messages.popleft())
        for waiting in (self._queues, self._closing, self._late):
            waiting.pop(queue.connection.id, None)

    def _write(self, queue: _Queue, *, at_least: int) -> None:
        """Writes the messages from the first on that are ready, or of which so many cannot wait longer."""
        if queue.asks is None:
            return
        messages = queue.messages
        while messages:
            head, parsed = messages[0].head, messages[0].parsed
            expected = queue.next[head.outbound]
            early = expected is not None and head.number > expected and self._now_ns - head.last_ns < REORDER_NS
            if at_least <= 0 and (
                early or parsed is None or isinstance(parsed, Request) != (head.outbound == queue.asks)
            ):
                return
            at_least -= 1
            message = messages.popleft()
            self._forget(message)
            if expected is None or head.number >= expected:
                queue.next[head.outbound] = head.number + 1
                self._record(queue, message)

    def _record(self, queue: _Queue, message: _Message) -> None:
        asks, head, parsed = queue.asks, message.head, message.parsed
        if self._side is not Side.BOTH and asks is not (self._side is Side.CLIENT):
            return
        if isinstance(parsed, Request) != (head.outbound == asks):
            parsed = None  # it was taken for something else, before the connection was confirmed
        kept = recordable(message.protocol, head, parsed, message.request, self._literals)
        self._do(self._recording.message, queue.connection, kept)

    def _forget(self, message: _Message) -> None:
        self._messages.pop(id(message.head), None)

    def _do(self, write: Callable[..., None], *arguments: Any) -> None:
        if self.ended:
            return
        try:
            write(*arguments)
        except RecordingEndedError as error:
            self.ended = str(error)
            for waiting in (self._queues, self._closing, self._late, self._messages):
                waiting.clear()


class _Sink:
    def __init__(self, tap: Tap, sink: Sink) -> None:
        self._tap, self._sink = tap, sink
        self.opened, self.addressed = sink.opened, sink.addressed
        self.unseen, self.missed, self.exchange = sink.unseen, sink.missed, sink.exchange

    def message(self, connection: Connection, head: Head) -> None:
        self._tap.arrived(connection, head)
        self._sink.message(connection, head)
        self._tap.passed(connection)

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        self.message(connection, request)
        self.message(connection, reply)

    def closed(self, connection: Connection, ns: int) -> None:
        self._sink.closed(connection, ns)
        self._tap.closed(connection, ns)


class _Watched(WireProtocol):
    """A protocol whose requests and replies are noted beside the messages that they were parsed from."""

    def __init__(self, protocol: WireProtocol, messages: dict[int, _Message]) -> None:
        self.name, self.framing, self.ports = protocol.name, protocol.framing, protocol.ports
        self.confirms_alone = protocol.confirms_alone
        self._protocol, self._messages = protocol, messages

    def memory(self, connection: Connection) -> Any:
        return self._protocol.memory(connection)

    def identify(self, data: bytes, total: int) -> Verdict:
        return self._protocol.identify(data, total)

    def request(self, head: Head, memory: Any) -> Request:
        note = self._note(head, None)
        request = self._protocol.request(head, memory)
        if note is not None:
            note.parsed = request
        return request

    def reply_to(self, head: Head, memory: Any) -> int | None:
        return self._protocol.reply_to(head, memory)

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        note = self._note(head, request)
        reply = self._protocol.reply(head, request, memory)
        if note is not None:
            note.parsed = reply
        return reply

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        return self._protocol.record(session, literals=literals)

    def _note(self, head: Head, request: Request | None) -> _Message | None:
        message = self._messages.get(id(head))
        if message is not None:
            message.protocol, message.parsed, message.request = self._protocol, None, request
        return message
