"""The sections of an OP_MSG (MongoDB's "OP_MSG" specification): where the body lies, and what stands beside it.

In: a message, maybe cut, maybe with windows further in. Out: its body (the one section of kind 0) as far as it is
visible, and the document sequences (kind 1) that are. Raises ProtocolError where the visible bytes cannot be sections.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.documents import MIN_DOCUMENT_BYTES, Document, open_document
from probes.protocols.mongodb.opened import Message
from probes.protocols.mongodb.wire import (
    CHECKSUM_BYTES,
    CHECKSUM_PRESENT,
    HEADER_BYTES,
    INT32,
    MAX_MESSAGE_BYTES,
    OP_MSG,
    UNKNOWN_REQUIRED,
)

FLAGS_AT = HEADER_BYTES
SECTIONS_AT = HEADER_BYTES + 4
BODY, SEQUENCE, SECURITY_TOKEN = 0, 1, 2
_MAX_SECTIONS = 64


class Sequence(NamedTuple):
    """A section of kind 1: documents one after the other from `start`, visible up to `stop`, ending at `end`."""

    identifier: bytes
    start: int
    stop: int
    end: int


class Sections(NamedTuple):
    """What is visible of a message's sections.

    `body` is None where it was cut away; `base` is the offset of the window that it lies in, 0 for the head itself.
    `sequences` are those in the head. `token_at` is the offset of the security token, which is secret.
    """

    flags: int
    body: Document | None
    base: int
    sequences: list[Sequence]
    token_at: int | None


def read_sections(message: Message) -> Sections:
    """The sections of an OP_MSG. Raises ProtocolError."""
    data, length = message.data, message.length
    if len(data) < SECTIONS_AT:
        raise ProtocolError("cut before the first section")
    (flags,) = INT32.unpack_from(data, FLAGS_AT)
    if flags & UNKNOWN_REQUIRED:
        raise ProtocolError(f"unknown flags {flags & UNKNOWN_REQUIRED:#x}")
    end = length - CHECKSUM_BYTES if flags & CHECKSUM_PRESENT else length
    body: Document | None = None
    body_base = 0
    sequences: list[Sequence] = []
    token_at: int | None = None
    at = SECTIONS_AT
    for _ in range(_MAX_SECTIONS):
        if at >= end:
            break
        view, base = _view(message, at)
        here = at - base + 1
        if here + 4 > len(view):
            if view[here - 1 :][:1] == bytes([SECURITY_TOKEN]) and token_at is None:
                token_at = at
            return Sections(flags, body, body_base, sequences, token_at)
        kind = view[here - 1]
        (size,) = INT32.unpack_from(view, here)
        if kind == BODY:
            if body is not None:
                raise ProtocolError("two bodies")
            body_base = base
            body = open_document(view, here, end - base, message.rest(base))
        elif kind == SEQUENCE:
            if size < MIN_DOCUMENT_BYTES or at + 1 + size > end:
                raise ProtocolError(f"a sequence of {size} bytes where {end - at - 1} are left")
            if not base:
                sequences += _sequence(view, here, size)
        elif kind == SECURITY_TOKEN:
            token_at = at if token_at is None else token_at
            size = _token_size(view, here, end - base)
        else:
            raise ProtocolError(f"a section of kind {kind}")
        at += 1 + size
    if at < end:
        raise ProtocolError("more sections than any message has")
    if body is None:
        raise ProtocolError("no body")
    return Sections(flags, body, body_base, sequences, token_at)


def only_body(data: bytes) -> Document | None:
    """The body of the OP_MSG that begins `data`, where its header says that this is all of it; else None.

    Most messages are of this kind: they need not be opened.
    """
    if len(data) < _ONLY_BODY.size:
        return None
    length, opcode, flags, kind, size = _ONLY_BODY.unpack_from(data)
    if opcode != OP_MSG or kind != BODY or flags & (UNKNOWN_REQUIRED | CHECKSUM_PRESENT):
        return None
    if size + SECTIONS_AT + 1 != length or size < MIN_DOCUMENT_BYTES or not len(data) <= length <= MAX_MESSAGE_BYTES:
        return None
    return Document(data, _ONLY_BODY.size, min(length - 1, len(data)), length - 1)


_ONLY_BODY = Struct("<i8xiIBi")  # length, opcode, flags, kind, and the length of the document


def _view(message: Message, at: int) -> tuple[bytes, int]:
    """The captured bytes in which offset `at` of the message is visible, and their own offset."""
    if at >= len(message.data):
        for offset, window in message.windows:
            if offset <= at < offset + len(window):
                return window, offset
    return message.data, 0


def _sequence(data: bytes, at: int, size: int) -> list[Sequence]:
    end = at + size
    stop = min(end, len(data))
    name_end = data.find(0, at + 4, stop)
    if name_end < 0:
        if stop == end:
            raise ProtocolError("a sequence without a name")
        return []
    return [Sequence(data[at + 4 : name_end], name_end + 1, stop, end)]


def _token_size(data: bytes, at: int, limit: int) -> int:
    """The token's length: it is a document in some versions of the server, a C string in others."""
    (size,) = INT32.unpack_from(data, at)
    if MIN_DOCUMENT_BYTES <= size <= limit - at and (at + size > len(data) or data[at + size - 1] == 0):
        return int(size)
    end = data.find(0, at, limit)
    return (end + 1 if end >= 0 else limit) - at
