"""The typed records that pass between the rooms, in the data's order.

A source (the kernel, a capture) yields `Connection`s and `Head`s; a protocol turns heads into `Request`s and
`Reply`s; `probes.sessions` pairs those into `Session`s; stores and outputs read sessions.

Times are nanoseconds of CLOCK_MONOTONIC, sizes are bytes on the wire, headers included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeAlias


class Framing(IntEnum):
    """How the stream was cut into heads: the kernel's and the captures' common notion."""

    MESSAGE = 0  # one head per length-prefixed message
    RAW = 1  # one head per system call or segment; a plugin frames it


class Address(NamedTuple):
    """One end of a connection. A unix socket has its path as host and port 0; "" and 0 are unknown."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


UNKNOWN_ADDRESS = Address("", 0)


class Process(NamedTuple):
    """A process of this host. `container` is its container's id, "" where it runs in none."""

    pid: int
    name: str
    container: str = ""


@dataclass(slots=True, eq=False)
class Connection:
    """One stream connection as seen from one process (`near` is that process's end).

    A connection taken from a capture has no process. `namespace` is the network namespace's inode (0 where unknown):
    loopback addresses mean nothing without it. The addresses of a connection may become known after its first heads.
    """

    id: int
    process: Process | None
    near: Address = UNKNOWN_ADDRESS
    far: Address = UNKNOWN_ADDRESS
    namespace: int = 0
    protocol: str = ""  # the label, "" as long as there is none
    inodes: tuple[int, int] = (0, 0)  # of a unix socket: its own and its peer's, which no address tells
    from_start: bool = False  # seen from its first byte; known of raw framing only
    memory: Any = None  # of raw framing: what its protocol remembers of it
    asks: bool | None = None  # the direction that carries the requests (True: outbound), None as long as that is open


class Head(NamedTuple):
    """The beginning of one message of one direction of a connection, and what else was kept of it.

    `number` counts the messages of that direction from 0: a jump is a loss on our side.
    `data` is the message's beginning, `tail` its very end where the beginning was cut, `windows` what was kept
    between them, as (offset, bytes). `total` is the message's true length.
    """

    outbound: bool  # sent by the process of the connection (captures: by its near end)
    number: int
    first_ns: int
    last_ns: int
    total: int
    data: bytes
    tail: bytes = b""
    windows: tuple[tuple[int, bytes], ...] = ()
    framing: Framing = Framing.MESSAGE

    @property
    def truncated(self) -> bool:
        return len(self.data) < self.total


class Verdict(IntEnum):
    """What a protocol makes of the first head of a connection it has not met before."""

    FOREIGN = 0
    REQUEST = 1
    REPLY = 2


class Fault(StrEnum):
    """Whose fault an error is."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(slots=True)
class Failure:
    """What a reply says went wrong. `message` may hold literals: outputs hide them unless asked."""

    code: int
    name: str
    message: str = ""
    fault: Fault = Fault.SERVER


Attribute: TypeAlias = tuple[str, str | int | float | bool]
Attributes: TypeAlias = tuple[Attribute, ...]
"""What a plugin tells of a request or a reply beside its fields: names and values."""


@dataclass  # no slots: what most of them have in common is the class' and need not be set
class Request:
    """A parsed request. Protocols derive their own with more fields.

    `data` is the head with credentials overwritten: the only bytes of the message that leave the parser.
    """

    id: int
    operation: str
    data: bytes
    version: int | None = None
    target: str = ""
    targets: tuple[str, ...] = ()
    expects_reply: bool = True
    long_poll: bool = False  # the server may hold it back: never part of durations
    truncated: bool = False  # a field may be missing because the head was cut
    in_order: bool = False  # its reply carries no id: it is the next one
    attributes: Attributes = ()

    @property
    def application(self) -> str:
        """What the client calls itself (appName, client id); "" where it does not say."""
        return ""

    @property
    def opcode_name(self) -> str:
        """How the message was encoded, in the protocol's own terms ("OP_MSG"); "" where there is one way only."""
        return ""

    @property
    def shape(self) -> str:
        """What is asked, without its values: the same text for requests that differ in values only; "" for none."""
        return self.shape_of(self.data)

    @classmethod
    def shape_of(cls, data: bytes) -> str:
        """The shape of a request of this class that kept `data`."""
        return ""


@dataclass  # no slots: what most of them have in common is the class' and need not be set
class Reply:
    """A parsed reply. Protocols derive their own with more fields.

    `continues`: a further reply follows and answers this one's `id` (MongoDB's exhaust).
    """

    id: int | None
    data: bytes
    failure: Failure | None = None
    continues: bool = False
    truncated: bool = False
    attributes: Attributes = ()


class Status(StrEnum):
    """How a session ended."""

    OK = "ok"
    ERROR = "error"
    ONEWAY = "oneway"  # no reply is due
    LOST = "lost"  # the connection closed first
    DROPPED = "dropped"  # its reply went by unseen
    INFLIGHT = "inflight"  # still waiting
    UNPARSED = "unparsed"  # not to be decoded


class Side(StrEnum):
    """From which end of the connection a session was seen."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


class Times(NamedTuple):
    """The four times of an exchange as one end saw them, ns; the reply's are 0 where there is none."""

    request_first: int
    request_last: int
    reply_first: int = 0
    reply_last: int = 0

    @property
    def duration(self) -> int:
        """First byte of the reply minus last byte of the request, ns."""
        return max(0, self.reply_first - self.request_last)


@dataclass(slots=True)
class Session:
    """A request and what became of it."""

    protocol: str
    status: Status
    seen_from: Side
    connection: Connection  # of the server's end where both were seen
    request: Request | None  # None where only an undecodable message is known
    reply: Reply | None
    times: Times
    request_bytes: int
    reply_bytes: int = 0
    client: Connection | None = None  # the client's end where both were seen
    client_times: Times | None = None

    @property
    def client_address(self) -> Address:
        c = self.connection
        return c.near if self.seen_from is Side.CLIENT else c.far

    @property
    def server_address(self) -> Address:
        c = self.connection
        return c.far if self.seen_from is Side.CLIENT else c.near

    @property
    def client_process(self) -> Process | None:
        if self.client is not None:
            return self.client.process
        return self.connection.process if self.seen_from is Side.CLIENT else None

    @property
    def server_process(self) -> Process | None:
        return None if self.seen_from is Side.CLIENT else self.connection.process


@dataclass(slots=True)
class Ledger:
    """Messages by what became of them, and every loss by its cause (DESIGN: nothing is lost silently)."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, cause: str, n: int = 1) -> None:
        self.counts[cause] = self.counts.get(cause, 0) + n
