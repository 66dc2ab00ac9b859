"""Is this the beginning of a MongoDB message? Decided from its header and as much of its body as is visible.

A message may be any of a connection, not only its first. What is visible has to fit: length, opcode, flags, counts, and
where a document or a name begins. Nothing is raised: what does not fit is FOREIGN.
"""

from __future__ import annotations

from probes.protocols.mongodb.compression import COMPRESSED, COMPRESSED_BYTES, COMPRESSORS
from probes.protocols.mongodb.documents import MIN_DOCUMENT_BYTES, TYPES
from probes.protocols.mongodb.replies import OP_REPLY_DOCUMENTS_AT, OP_REPLY_HEADER
from probes.protocols.mongodb.sections import BODY, SECTIONS_AT, SECURITY_TOKEN, SEQUENCE
from probes.protocols.mongodb.wire import (
    AFTER_NAMESPACE,
    CHECKSUM_BYTES,
    CHECKSUM_PRESENT,
    HEADER,
    HEADER_BYTES,
    INT32,
    MAX_MESSAGE_BYTES,
    NAMESPACE_AT,
    OP_COMMAND,
    OP_COMMANDREPLY,
    OP_COMPRESSED,
    OP_DELETE,
    OP_DEPRECATED_MSG,
    OP_GET_MORE,
    OP_INSERT,
    OP_KILL_CURSORS,
    OP_MSG,
    OP_QUERY,
    OP_REPLY,
    OP_RESERVED,
    OP_UPDATE,
    OPCODE_NAMES,
    REPLY_OPCODES,
    REQUEST_OPCODES,
    UNKNOWN_REQUIRED,
    known_flags,
)
from probes.records import Verdict

_MAX_NAME_BYTES = 255  # of a key, a namespace or a command


def identify(data: bytes, total: int) -> Verdict:
    """What the head `data` of a message of `total` bytes is."""
    if len(data) < HEADER_BYTES:
        return Verdict.FOREIGN
    length, _, response_to, opcode = HEADER.unpack_from(data)
    if length != total or not HEADER_BYTES <= length <= MAX_MESSAGE_BYTES or opcode not in OPCODE_NAMES:
        return Verdict.FOREIGN
    data = data[:length]
    if opcode == OP_COMPRESSED:
        if len(data) < COMPRESSED_BYTES:
            return Verdict.FOREIGN
        opcode, size, compressor = COMPRESSED.unpack_from(data, HEADER_BYTES)
        fits = 0 <= size <= MAX_MESSAGE_BYTES and compressor in COMPRESSORS
    else:
        fits = _body_fits(data, length, opcode)
    if not fits:
        return Verdict.FOREIGN
    if opcode in (OP_REPLY, OP_COMMANDREPLY) or (opcode in REPLY_OPCODES and response_to != 0):
        return Verdict.REPLY
    return Verdict.REQUEST if opcode in REQUEST_OPCODES and response_to == 0 else Verdict.FOREIGN


def _body_fits(data: bytes, length: int, opcode: int) -> bool:
    if opcode == OP_MSG:
        return _op_msg_fits(data, length)
    if opcode == OP_REPLY:
        return _op_reply_fits(data, length)
    if opcode == OP_COMMANDREPLY:
        return _document_fits(data, HEADER_BYTES, length)
    if opcode == OP_COMMAND:
        command_at = _after_name(data, HEADER_BYTES, length)
        document_at = _after_name(data, command_at, length)
        return document_at >= 0 and _document_fits(data, document_at, length)
    if opcode == OP_DEPRECATED_MSG:
        return _after_name(data, HEADER_BYTES, length) in (length, len(data) + 1)
    if opcode == OP_RESERVED:
        return length == HEADER_BYTES
    return _legacy_fits(data, length, opcode)


def _op_msg_fits(data: bytes, length: int) -> bool:
    flags = _int(data, HEADER_BYTES, 0)
    kind = data[SECTIONS_AT] if len(data) > SECTIONS_AT else BODY
    end = length - CHECKSUM_BYTES if flags & CHECKSUM_PRESENT else length
    at = SECTIONS_AT + 1
    if flags & UNKNOWN_REQUIRED or at + MIN_DOCUMENT_BYTES > end:
        return False
    if kind == BODY:
        return _document_fits(data, at, end, empty=False)
    if kind == SEQUENCE:
        size = _int(data, at, MIN_DOCUMENT_BYTES + 1)
        return MIN_DOCUMENT_BYTES < size <= end - at and _after_name(data, at + 4, at + size) >= 0
    return kind == SECURITY_TOKEN


def _op_reply_fits(data: bytes, length: int) -> bool:
    if len(data) < OP_REPLY_DOCUMENTS_AT:
        return length >= OP_REPLY_DOCUMENTS_AT
    flags, _, starting_from, returned = OP_REPLY_HEADER.unpack_from(data, HEADER_BYTES)
    room = length - OP_REPLY_DOCUMENTS_AT
    if flags & ~known_flags(OP_REPLY) or starting_from < 0 or not 0 <= returned * MIN_DOCUMENT_BYTES <= room:
        return False
    return _document_fits(data, OP_REPLY_DOCUMENTS_AT, length) if returned else room == 0


def _legacy_fits(data: bytes, length: int, opcode: int) -> bool:
    first = _int(data, HEADER_BYTES, 0)
    if first & ~(known_flags(opcode) if opcode in (OP_QUERY, OP_INSERT) else 0):
        return False
    if opcode == OP_KILL_CURSORS:
        return length == NAMESPACE_AT + 4 + 8 * _int(data, NAMESPACE_AT, (length - NAMESPACE_AT - 4) // 8)
    at = _after_name(data, NAMESPACE_AT, length, dotted=True)
    if at < 0:
        return False
    if opcode == OP_GET_MORE:
        return at == length - AFTER_NAMESPACE[opcode] or at > len(data)
    if opcode in (OP_UPDATE, OP_DELETE) and _int(data, at, 0) & ~known_flags(opcode):
        return False
    return _document_fits(data, at + AFTER_NAMESPACE[opcode], length)


def _int(data: bytes, at: int, unseen: int) -> int:
    """The int32 at `at`; `unseen` where it was cut away."""
    return int(INT32.unpack_from(data, at)[0]) if at + 4 <= len(data) else unseen


def _document_fits(data: bytes, at: int, limit: int, *, empty: bool = True) -> bool:
    size = _int(data, at, MIN_DOCUMENT_BYTES + 1)
    if not MIN_DOCUMENT_BYTES <= size <= limit - at and at < len(data):
        return False
    first = at + 4
    if first >= len(data):
        return True
    if size == MIN_DOCUMENT_BYTES:
        return empty and data[first] == 0
    return data[first] in TYPES and _after_name(data, first + 1, at + size) >= 0


def _after_name(data: bytes, at: int, limit: int, *, dotted: bool = False) -> int:
    """Where the C string at `at` ends; behind the data where that was cut away; -1 where it cannot be a name."""
    if at < 0 or at >= limit:
        return -1
    end = data.find(0, at, limit)
    name = data[at : end if end >= 0 else min(limit, len(data))]
    if len(name) > _MAX_NAME_BYTES or (end < 0 and limit <= len(data)):
        return -1
    text = name.decode("utf-8", "ignore")
    if not text.isprintable() or (end >= 0 and (len(text.encode()) != len(name) or not name)):
        return -1
    if dotted and end >= 0 and b"." not in name[1:-1]:
        return -1
    return end + 1 if end >= 0 else len(data) + 1
