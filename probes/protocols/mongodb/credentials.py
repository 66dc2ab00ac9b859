"""Credentials, overwritten at the same length before a message's bytes go anywhere.

Overwritten are the values of certain keys wherever they stand in a document of a command that is known to carry them:
SASL payloads, passwords, keys of the old challenge, what usersInfo shows. Such a command may stand within another one
(explain, applyOps): what is in it is then overwritten. The bytes stay valid BSON. Where the bytes cannot be walked,
none of them are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.commands import SECRET_COLLECTIONS, SECRET_COMMANDS, Command, Role
from probes.protocols.mongodb.documents import Document, Element, elements
from probes.protocols.mongodb.wire import HEADER_BYTES

_SECRET_KEYS = frozenset(
    {b"payload", b"pwd", b"password", b"key", b"nonce", b"credentials", b"storedkey", b"serverkey", b"salt"}
    | {b"ldapquerypassword"}
)
# What the server itself stores of users: never anybody's data.
_STORED_KEYS = frozenset({b"credentials", b"storedkey", b"serverkey"})
_MAX_DEPTH = 32
_MAX_ELEMENTS = 2048  # and documents

SPECULATIVE = b"speculativeAuthenticate\0"
"""The key under which a hello, or its reply, carries the first step of an authentication."""

STORED_CREDENTIAL = b"storedKey\0"
"""A key that is in what a server stores of a user's password."""

SECOND_STORED_CREDENTIAL = b"serverKey\0"
"""The key behind it: of what was cut before or within the first one, it may be all that shows."""

MERGE_CURSORS = b"$mergeCursors\0"
"""A stage of an aggregation that holds other commands."""

SYSTEM_COLLECTION = b"system."
"""What the names of the server's own collections begin with: an aggregation may look into them from any other one."""

OPLOG = b"oplog."
"""What those of its log of all writes begin with, likewise."""

SECRET_WORDS = (
    b"payload\0",
    b"pwd\0",
    b"nonce\0",
    b"credentials\0",
    STORED_CREDENTIAL,
    SECOND_STORED_CREDENTIAL,
    SPECULATIVE,
)
"""Bytes that tell of credentials, in a reply to a request that was not seen."""


def suspected(command: Command, data: bytes) -> Command:
    """`command` with the role that the bytes of its request call for."""
    if command.role is Role.AGGREGATE:
        if any(name.encode() in data for name in SECRET_COLLECTIONS):
            return command._replace(role=Role.SECRET)
        if MERGE_CURSORS in data:
            return command._replace(role=Role.CARRIER)
    return command


def redact(data: bytes, documents: Iterable[Document], *, within: bool = False) -> bytes:
    """`data` with the credentials in its `documents` overwritten; only its header where that cannot be done.

    The documents are those of a command with credentials, or of one that may have such a command `within` it.
    """
    clean = bytearray(data)
    left = iter(range(_MAX_ELEMENTS))
    try:
        for document in documents:
            keys = _STORED_KEYS if within else _SECRET_KEYS
            _overwrite(clean, document._replace(rest=None), keys, secret=False, depth=0, left=left)
    except ProtocolError:
        return data[:HEADER_BYTES]
    return bytes(clean)


def _overwrite(
    clean: bytearray, document: Document, keys: frozenset[bytes], *, secret: bool, depth: int, left: Iterator[int]
) -> None:
    """`left` has an item for each element that may still be looked at, of all documents."""
    if depth > _MAX_DEPTH:
        raise ProtocolError("nested too deep")
    parts = [(element, element.key.lower()) for element, _ in zip(elements(document), left, strict=False)]
    if next(left, None) is None:
        raise ProtocolError("too much to look at")
    if any(key in SECRET_COMMANDS for _, key in parts):
        keys = _SECRET_KEYS
    for element, key in parts:
        hidden = secret or key in keys
        nested = document.nested(element)
        if nested is not None:
            _overwrite(clean, nested, keys, secret=hidden, depth=depth + 1, left=left)
        elif hidden:
            _blank(clean, element)


def _blank(clean: bytearray, element: Element) -> None:
    """Overwrite what is visible of a value, but not the lengths and ends that make it BSON."""
    _, _, _, start, end, stop = element
    match element.type:
        case 0x02 | 0x0D | 0x0E:  # a string: its length and its closing zero stay
            start, end, fill = start + 4, end - 1, b"*"
        case 0x05:  # its length stays; subtype 0 holds any bytes
            if start + 4 < stop:
                clean[start + 4] = 0
            start, fill = start + 5, b"*"
        case 0x0B | 0x0C | 0x0F:
            raise ProtocolError("a credential of a type that no client sends")
        case _:
            fill = b"\0"
    stop = min(end, stop)
    if start < stop:
        clean[start:stop] = fill * (stop - start)
