"""The message that a head begins, uncompressed."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.compression import COMPRESSED_BYTES, inflate
from probes.protocols.mongodb.wire import HEADER, HEADER_BYTES, MAX_MESSAGE_BYTES, OP_COMPRESSED, OPCODE_NAMES
from probes.records import Head

Windows: TypeAlias = tuple[tuple[int, bytes], ...]


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
    windows: Windows
    captured: bytes

    @property
    def whole(self) -> bool:
        return len(self.data) == self.length

    @property
    def bare(self) -> bytes:
        """What of it can be kept whatever is in it: its header, and that of its compression."""
        return self.captured[: COMPRESSED_BYTES if self.compressor else HEADER_BYTES]

    def rest(self, base: int) -> tuple[int, bytes] | None:
        """The window that reaches the message's end, and its offset from `base`."""
        for offset, window in self.windows:
            if offset > base and offset + len(window) == self.length:
                return offset - base, window
        return None


def open_message(head: Head) -> Message:
    """The message that `head` begins. Raises ProtocolError where its header cannot be one."""
    return _opened(head.data, head.tail, head.windows)


def kept_message(data: bytes) -> Message:
    """The message whose first bytes a request or a reply kept. Raises ProtocolError."""
    return _opened(data)


def _opened(data: bytes, tail: bytes = b"", windows: Windows = ()) -> Message:
    if len(data) < HEADER_BYTES:
        raise ProtocolError("the head is shorter than a message header")
    length, id, response_to, opcode = HEADER.unpack_from(data)
    if not HEADER_BYTES <= length <= MAX_MESSAGE_BYTES or opcode not in OPCODE_NAMES:
        raise ProtocolError(f"no message has {length} bytes and opcode {opcode}")
    data, windows = _joined(data[:length], length, tail, windows)
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


def read_name(message: Message, at: int) -> tuple[str, int]:
    """The C string at `at`, and where it ends; "" and a place behind the data where its end was cut away."""
    data = message.data
    end = data.find(0, at)
    if end < 0:
        if message.whole:
            raise ProtocolError("a name without an end")
        return "", len(data) + 1
    return data[at:end].decode("utf-8", "replace"), end + 1


def _joined(data: bytes, length: int, tail: bytes, windows: Windows) -> tuple[bytes, Windows]:
    """The head's data and windows; its tail belongs to one or the other."""
    missing = length - len(data)
    tail = tail[-length:]
    if not missing or not tail:
        return data, (windows if missing else ())
    if len(tail) >= missing:
        return data + tail[len(tail) - missing :], ()
    if windows and windows[-1][0] + len(windows[-1][1]) == length - len(tail):  # what came before it within one segment
        tail = windows[-1][1] + tail
        windows = windows[:-1]
    return data, (*windows, (length - len(tail), tail))
