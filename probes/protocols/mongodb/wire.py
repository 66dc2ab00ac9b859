"""MongoDB's message header, its opcodes and their flags (MongoDB wire protocol; all integers little-endian)."""

from __future__ import annotations

from struct import Struct

MAX_MESSAGE_BYTES = 48_000_000 + 16 * 1024
"""The longest message a server takes (maxMessageSizeBytes), and some room for its own overhead."""

HEADER_BYTES = 16
OPCODE_AT = 12
HEADER = Struct("<iiii")
"""messageLength (itself included), requestID, responseTo, opCode."""

INT32 = Struct("<i")
INT64 = Struct("<q")

OP_REPLY = 1
OP_DEPRECATED_MSG = 1000
OP_UPDATE = 2001
OP_INSERT = 2002
OP_RESERVED = 2003
OP_QUERY = 2004
OP_GET_MORE = 2005
OP_DELETE = 2006
OP_KILL_CURSORS = 2007
OP_COMMAND = 2010
OP_COMMANDREPLY = 2011
OP_COMPRESSED = 2012
OP_MSG = 2013

OPCODE_NAMES = {
    OP_REPLY: "OP_REPLY",
    OP_DEPRECATED_MSG: "OP_MSG_DEPRECATED",  # a text message, long before 2013
    OP_UPDATE: "OP_UPDATE",
    OP_INSERT: "OP_INSERT",
    OP_RESERVED: "RESERVED",
    OP_QUERY: "OP_QUERY",
    OP_GET_MORE: "OP_GET_MORE",
    OP_DELETE: "OP_DELETE",
    OP_KILL_CURSORS: "OP_KILL_CURSORS",
    OP_COMMAND: "OP_COMMAND",
    OP_COMMANDREPLY: "OP_COMMANDREPLY",
    OP_COMPRESSED: "OP_COMPRESSED",
    OP_MSG: "OP_MSG",
}
REPLY_OPCODES = frozenset({OP_REPLY, OP_COMMANDREPLY, OP_MSG})
REQUEST_OPCODES = frozenset(OPCODE_NAMES) - {OP_REPLY, OP_COMMANDREPLY, OP_COMPRESSED}

NAMESPACE_AT = HEADER_BYTES + 4
"""Where the legacy operations on a collection have its full name, a C string."""

AFTER_NAMESPACE = {OP_QUERY: 8, OP_INSERT: 0, OP_UPDATE: 4, OP_DELETE: 4, OP_GET_MORE: 12}
"""What they have between it and their documents (OP_GET_MORE: the end), bytes."""

# OP_MSG's flags. Of bits 0 to 15 an unknown one makes the message invalid, the others may be ignored.
CHECKSUM_PRESENT = 1
MORE_TO_COME = 2
UNKNOWN_REQUIRED = 0xFFFF & ~(CHECKSUM_PRESENT | MORE_TO_COME)
CHECKSUM_BYTES = 4

# OP_QUERY's
AWAIT_DATA = 1 << 5
EXHAUST = 1 << 6

# OP_REPLY's
CURSOR_NOT_FOUND = 1
QUERY_FAILURE = 2

_QUERY_FLAGS = (
    "",
    "tailableCursor",
    "secondaryOk",
    "oplogReplay",
    "noCursorTimeout",
    "awaitData",
    "exhaust",
    "partial",
)
_REPLY_FLAGS = ("cursorNotFound", "queryFailure", "shardConfigStale", "awaitCapable")
_FLAGS: dict[int, tuple[str, ...]] = {
    OP_MSG: ("checksumPresent", "moreToCome", *[""] * 14, "exhaustAllowed"),
    OP_QUERY: _QUERY_FLAGS,
    OP_REPLY: _REPLY_FLAGS,
    OP_INSERT: ("continueOnError",),
    OP_UPDATE: ("upsert", "multiUpdate"),
    OP_DELETE: ("singleRemove",),
}


def known_flags(opcode: int) -> int:
    """The flag bits that mean something with this opcode."""
    return sum(1 << bit for bit, name in enumerate(_FLAGS.get(opcode, ())) if name)


def flag_names(opcode: int, flags: int) -> list[str]:
    """The names of the bits set in `flags`; an unknown bit is "bit N"."""
    if not flags:
        return []
    names = _FLAGS.get(opcode, ())
    return [(names[bit] if bit < len(names) else "") or f"bit {bit}" for bit in range(32) if flags >> bit & 1]
