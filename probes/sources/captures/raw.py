"""One connection of a capture whose messages only a plugin can find: each segment becomes a head of framing RAW."""

from __future__ import annotations

from probes.records import Connection, Framing, Head
from probes.sources.captures.conversation import Desk


class RawConversation:
    """A `reassembly.Taker`."""

    __slots__ = ("_connection", "_desk", "_numbers")

    def __init__(self, desk: Desk, connection: Connection, *, is_young: bool) -> None:
        self._desk = desk
        self._connection = connection
        self._numbers = [0, 0]
        connection.protocol, connection.from_start = "raw", is_young
        desk.connections[connection.id] = connection
        desk.sink.opened(connection)

    def take(self, outbound: bool, data: bytes, length: int, ns: int) -> bool:
        number = self._numbers[outbound]
        self._numbers[outbound] = number + 1
        self._desk.sink.message(self._connection, Head(outbound, number, ns, ns, length, data, framing=Framing.RAW))
        return True

    def miss(self, outbound: bool, length: int, ns: int) -> None:
        self._numbers[outbound] += 1  # the next number tells

    def close(self, ns: int) -> None:
        del self._desk.connections[self._connection.id]
        self._desk.sink.closed(self._connection, ns)


class Unwanted:
    """A connection on whose ports nothing is looked for."""

    def take(self, outbound: bool, data: bytes, length: int, ns: int) -> bool:
        return False

    def miss(self, outbound: bool, length: int, ns: int) -> None:
        pass

    def close(self, ns: int) -> None:
        pass
