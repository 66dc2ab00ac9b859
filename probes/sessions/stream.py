"""What pairing knows of one connection."""

from __future__ import annotations

from typing import Any

from probes.protocols.interface import WireProtocol
from probes.records import Connection, Head, Request, Session, Side, Status, Times
from probes.sessions.numbers import Numbers

# A request that waits: its first and last byte's time, its length and its number. What an exhaust reply starts has
# no message of its own: its length is 0.
Waiting = tuple[Request, int, int, int, int]


class Stream:
    """What pairing knows of one connection. `asks` is the direction of its requests: True is outbound."""

    __slots__ = (
        "answered_ns",
        "asks",
        "closed_ns",
        "connection",
        "early",
        "exhaust",
        "guess",
        "held",
        "lost_requests",
        "memory",
        "numbers",
        "protocol",
        "replies",
        "requests",
        "side",
        "since_ns",
        "tries",
        "waiting",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.protocol: WireProtocol | None = None  # None until confirmed
        self.asks = False
        self.side = Side.SERVER
        self.memory: Any = None
        self.numbers = (Numbers(), Numbers())  # inbound, outbound
        self.requests, self.replies = self.numbers
        self.waiting: dict[int, Waiting] = {}  # by id, oldest first
        self.early: dict[int, Head] = {}  # replies without their request, by its id, oldest first
        self.held: list[Head] = []
        self.guess: tuple[Head, Session | None] | None = None  # what the one held head may be, once that was asked
        self.tries = 0
        self.since_ns = 0  # the first request's first byte
        self.answered_ns = 0  # the first byte of the first reply to a request that was seen, 0 before
        self.lost_requests = 0  # lost on our side: as many later replies are explained
        self.exhaust: int | None = None  # the id under which the next exhaust reply is expected
        self.closed_ns: int | None = None

    @property
    def unsettled(self) -> bool:
        return bool(self.early or self.requests.gaps or self.replies.gaps)


def session(
    stream: Stream, status: Status, request: Request | None, first_ns: int, last_ns: int, total: int
) -> Session:
    """A session without a reply."""
    connection, times = stream.connection, Times(first_ns, last_ns)
    return Session(connection.protocol, status, stream.side, connection, request, None, times, total)
