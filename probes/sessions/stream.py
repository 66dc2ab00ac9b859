"""What pairing knows of one connection."""

from __future__ import annotations

from typing import Any

from probes.protocols.interface import WireProtocol
from probes.records import Connection, Head, Request, Session, Side, Status, Times
from probes.sessions.numbers import Numbers

# A request that waits: its first and last byte's time, its length and its number. What an exhaust reply starts has
# no message of its own: its length is 0.
Waiting = tuple[Request, int, int, int, int]

Reader = tuple[WireProtocol, Any]  # a protocol and its memory of the connection


class Stream:
    """What pairing knows of one connection. `asks` is the direction of its requests: True is outbound."""

    __slots__ = (
        "answered_ns",
        "apart",
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
        "others",
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
        self.others: tuple[Reader, ...] = ()  # who read what the protocol passes
        self.apart: dict[int, Reader | None] = {}  # of requests that wait: who read it, None where it is not to be told
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
    stream: Stream, status: Status, request: Request | None, first_ns: int, last_ns: int, total: int, name: str = ""
) -> Session:
    """A session without a reply, of the connection's protocol unless it has another `name`."""
    connection, times = stream.connection, Times(first_ns, last_ns)
    return Session(name or connection.protocol, status, stream.side, connection, request, None, times, total)
