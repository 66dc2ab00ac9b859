"""One connection of a capture: its bytes, in order again, become heads, which go to the sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from probes.records import Connection, Head
from probes.scope import Skim
from probes.sources.framing import ConnectionFraming
from probes.sources.sink import Sink


@dataclass(slots=True)
class Desk:
    """What the conversations of a capture have in common. `connections` are the open ones of a known protocol, by id.

    `skim` makes what finds more of long replies than their heads.
    `counts`: "messages" that went by; "resynchronised", directions that fell out of step; "ignored_connections".
    """

    sink: Sink
    head_bytes: int
    skim: Callable[[], Skim] | None = None
    connections: dict[int, Connection] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class Conversation:
    """A `reassembly.Taker`. The sink hears of it when it shows its first message."""

    __slots__ = ("_connection", "_desk", "_framing", "_is_open", "_is_recorded", "_last_ns", "_shifts")

    def __init__(
        self,
        desk: Desk,
        connection: Connection,
        protocols: tuple[str, ...],
        *,
        is_young: bool,
        is_recorded: bool = False,
    ) -> None:
        """`is_recorded`: each byte that is missing stands for a message that was lost when l7top recorded it."""
        self._desk = desk
        self._connection = connection
        skim = desk.skim() if desk.skim is not None else None
        self._framing = ConnectionFraming(young=is_young, head_bytes=desk.head_bytes, protocols=protocols, skim=skim)
        self._is_open = False
        self._is_recorded = is_recorded
        self._last_ns = [0, 0]  # by direction: when a byte last went by
        self._shifts = [0, 0]  # by direction: messages that went by uncaptured, which the framing knows nothing of

    def take(self, outbound: bool, data: bytes, length: int, ns: int) -> bool:
        framing = self._framing
        ns = self._last_ns[outbound] = max(ns, self._last_ns[outbound])
        heads = framing.feed(outbound, data, ns, length=length)
        if heads:
            self._tell(outbound, heads)
        if framing.ignored:
            self._desk.counts["ignored_connections"] += 1
            return False
        return True

    def miss(self, outbound: bool, length: int, ns: int) -> None:
        framing = self._framing
        if self._is_recorded:
            self._shifts[outbound] += length
            return
        steps = framing.resynchronised
        # When it went by is not known: soon after what was captured before it.
        self._tell(outbound, framing.feed(outbound, b"", self._last_ns[outbound] or ns, length=length))
        if framing.resynchronised > steps:  # a header was in there: one message went by at least
            self._shifts[outbound] += 1
            if self._is_open:
                self._desk.counts["messages"] += 1
                number = framing.whole(outbound) + self._shifts[outbound] - 1
                self._desk.sink.missed(self._connection, outbound, number, ns)

    def close(self, ns: int) -> None:
        self._desk.counts["resynchronised"] += self._framing.resynchronised
        if self._is_open:
            del self._desk.connections[self._connection.id]
            self._desk.sink.closed(self._connection, ns)

    def _tell(self, outbound: bool, heads: Iterable[Head]) -> None:
        connection, message, shift = self._connection, self._desk.sink.message, self._shifts[outbound]
        for head in heads:
            if not self._is_open:
                self._open()
            self._desk.counts["messages"] += 1
            message(connection, head._replace(number=head.number + shift) if shift else head)

    def _open(self) -> None:
        self._is_open = True
        self._connection.protocol = self._framing.protocol
        self._desk.connections[self._connection.id] = self._connection
        self._desk.sink.opened(self._connection)
