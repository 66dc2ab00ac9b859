"""MongoDB's requests and replies as records, and the message that a head begins, uncompressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.commands import UNKNOWN_COMMAND, Command
from probes.protocols.mongodb.compression import inflate
from probes.protocols.mongodb.wire import (
    HEADER,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    OP_COMPRESSED,
    OP_MSG,
    OPCODE_NAMES,
)
from probes.records import Head, Reply, Request


class Client(NamedTuple):
    """What a client said of itself in its hello; "" where it did not."""

    app_name: str
    driver: str


@dataclass(slots=True)
class Memory:
    """What is remembered of one connection."""

    client: Client | None = None


@dataclass(slots=True)
class MongoRequest(Request):
    """A request. `opcode` is the inner one of a compressed message, `compressor` how it was compressed."""

    opcode: int = OP_MSG
    flags: int = 0
    command: Command = UNKNOWN_COMMAND
    client: Client | None = None
    compressor: str = ""
    plain: bool = False  # nothing in its reply asks for more care than `ok` and errors
    waits: bool = False  # its reply may open a cursor whose getMore waits for data
    cursor_id: int | None = None  # the one it asks for

    @property
    def application(self) -> str:
        return "" if self.client is None else self.client.app_name or self.client.driver

    @property
    def opcode_name(self) -> str:
        return f"OP_COMPRESSED {self.compressor}" if self.compressor else OPCODE_NAMES.get(self.opcode, "")


@dataclass(slots=True)
class MongoReply(Reply):
    """A reply. `cursor_id` is there where it was found beyond the bytes that `data` keeps."""

    opcode: int = OP_MSG
    flags: int = 0
    compressor: str = ""
    cursor_id: int | None = None


class Message(NamedTuple):
    """What is known of a message: `data` its first bytes, uncompressed, `length` its true length, uncompressed.

    `windows` are further parts of it, as (offset, bytes), its tail among them. `sealed`: it came compressed and could
    not be inflated, `data` is but its header. `captured` is `data` as it was sent.
    """

    data: bytes
    length: int
    id: int
    response_to: int
    opcode: int
    compressor: str
    sealed: bool
    windows: tuple[tuple[int, bytes], ...]
    captured: bytes

    @property
    def whole(self) -> bool:
        return len(self.data) == self.length

    def rest(self, base: int) -> tuple[int, bytes] | None:
        """The window that reaches the message's end, and its offset from `base`."""
        for offset, window in self.windows:
            if offset > base and offset + len(window) == self.length:
                return offset - base, window
        return None


def open_message(head: Head) -> Message:
    """The message that `head` begins. Raises ProtocolError where its header cannot be one."""
    data = head.data
    if len(data) < HEADER_BYTES:
        raise ProtocolError("the head is shorter than a message header")
    length, id, response_to, opcode = HEADER.unpack_from(data)
    if not HEADER_BYTES <= length <= MAX_MESSAGE_BYTES or opcode not in OPCODE_NAMES:
        raise ProtocolError(f"no message has {length} bytes and opcode {opcode}")
    data, windows = _joined(data[:length], length, head)
    if opcode != OP_COMPRESSED:
        return Message(data, length, id, response_to, opcode, "", False, windows, data)
    inflated = inflate(data, length, id, response_to)
    return Message(
        data[:HEADER_BYTES] if inflated.data is None else inflated.data,
        inflated.length,
        id,
        response_to,
        inflated.opcode,
        inflated.compressor,
        inflated.data is None,
        (),
        data,
    )


def _joined(data: bytes, length: int, head: Head) -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
    """The head's data and windows; its tail belongs to one or the other."""
    missing = length - len(data)
    tail = head.tail[-length:]
    if not missing or not tail:
        return data, (head.windows if missing else ())
    if len(tail) >= missing:
        return data + tail[len(tail) - missing :], ()
    return data, (*head.windows, (length - len(tail), tail))
