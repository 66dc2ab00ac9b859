"""What a command is sent with beside its content: session and transaction, concerns, limits, hints.

In: the bytes that a request kept. Out: those options that are to be seen in them. Read when someone looks.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.documents import (
    BINARY,
    STRING,
    Document,
    Element,
    Fields,
    documents_from,
    elements,
    find_fields,
    first_element,
    others_than,
)
from probes.protocols.mongodb.opened import Message, kept_message, read_name
from probes.protocols.mongodb.sections import only_body, read_sections
from probes.protocols.mongodb.wire import AFTER_NAMESPACE, HEADER_BYTES, NAMESPACE_AT, OP_COMMAND, OP_MSG, OP_QUERY

_MAX_PARTS = 32  # of a hint


class Transaction(NamedTuple):
    """A command's session, and its place in it. `number` alone marks a write that may be sent again.

    `inside`: it belongs to a transaction of several statements; `starts`: as the first one.
    """

    session: bytes  # the id's 16 bytes
    number: int | None
    inside: bool
    starts: bool


def command_document(message: Message) -> Document | None:
    """The command of the request `message`, as far as it is visible. Raises ProtocolError."""
    if message.opcode == OP_MSG:
        return read_sections(message).body
    if message.opcode == OP_QUERY:
        _, at = read_name(message, NAMESPACE_AT)
        found = documents_from(message.data, at + AFTER_NAMESPACE[OP_QUERY], message.length)
        query = next(found, None)
        if query is None:
            return None
        inner = query.nested(find_fields(query, {b"$query"}).get(b"$query"))
        return query if inner is None else inner
    if message.opcode == OP_COMMAND:
        _, at = read_name(message, HEADER_BYTES)
        name, at = read_name(message, at)
        for document in documents_from(message.data, at, message.length):
            first = first_element(document)
            if first is not None and first.key == name.encode():
                return document
    return None


def transaction_of(data: bytes) -> Transaction | None:
    """The session of the request that kept `data`; None where it has none to be seen."""
    session = _session_alone(data)
    if session is not None:
        return Transaction(session, None, inside=False, starts=False)
    command = kept_command(data)
    return None if command is None else _transaction(command, find_fields(command, _OF_TRANSACTION))


def kept_command(data: bytes) -> Document | None:
    """The command of the request that kept `data`, as far as it is visible."""
    try:
        return only_body(data) or command_document(kept_message(data))
    except ProtocolError:
        return None


def _transaction(command: Document, fields: Fields) -> Transaction | None:
    session = command.nested(fields.get(b"lsid"))
    id = None if session is None else find_fields(session, {b"id"}).get(b"id")
    if id is None or id.type != BINARY or not id.whole:
        return None
    return Transaction(
        id.data[id.start + 5 : id.end],
        fields.integer(b"txnNumber"),
        fields.truth(b"autocommit") is False,
        fields.truth(b"startTransaction") is True,
    )


_OF_TRANSACTION = frozenset({b"lsid", b"txnNumber", b"autocommit", b"startTransaction"})
_OPTIONS = frozenset({b"readConcern", b"writeConcern", b"$readPreference", b"maxTimeMS", b"hint", b"comment"})
_FIELDS = _OF_TRANSACTION | _OPTIONS
# One session among elements of which none is an option: so most requests are.
_session_alone_match = re.compile(
    rb"(?s)" + others_than(_FIELDS)
    + rb"\x03lsid\x00\x1e\x00{3}\x05id\x00\x10\x00{3}\x04(.{16})\x00" + others_than(_FIELDS)
).fullmatch  # fmt: skip


def _session_alone(data: bytes) -> bytes | None:
    """The id of the session of the request that kept `data`, where that is its one option; None where that takes a
    closer look.
    """
    body = only_body(data)
    match = _session_alone_match(data, body.start, body.stop) if body is not None else None
    return None if match is None else match[1]


def options_of(data: bytes, *, literals: bool) -> dict[str, Any]:
    """The record's fields for the options of the request that kept `data`; a comment is a literal."""
    session = _session_alone(data)
    if session is not None:
        return {"session": session.hex()}
    command = kept_command(data)
    if command is None:
        return {}
    fields = find_fields(command, _FIELDS)
    record: dict[str, Any] = {}
    transaction = _transaction(command, fields)
    if transaction is not None:
        record["session"] = transaction.session.hex()
        record["txn_number"] = transaction.number
        record["in_transaction"] = transaction.inside or None
    if not _OPTIONS.isdisjoint(fields):
        record |= _options(command, fields, literals=literals)
    return {name: value for name, value in record.items() if value not in (None, "", {})}


def _options(command: Document, fields: Fields, *, literals: bool) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, key, inner in (
        ("read_concern", b"readConcern", b"level"),
        ("read_preference", b"$readPreference", b"mode"),
    ):
        document = command.nested(fields.get(key))
        record[name] = None if document is None else find_fields(document, {inner}).text(inner)
    concern = command.nested(fields.get(b"writeConcern"))
    record["write_concern"] = None if concern is None else _write_concern(concern)
    record["max_time_ms"] = fields.integer(b"maxTimeMS")
    record["hint"] = _index(command, fields.get(b"hint"))
    record["comment"] = fields.text(b"comment") if literals else None
    return record


def _write_concern(concern: Document) -> dict[str, Any]:
    """`w` (a number, "majority" or the name of a tag set), `j` and `wtimeout`."""
    fields = find_fields(concern, {b"w", b"j", b"wtimeout"})
    w = fields.get(b"w")
    found = {
        "w": None if w is None else w.text() if w.type == STRING else w.integer(),
        "j": fields.truth(b"j"),
        "wtimeout": fields.integer(b"wtimeout"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _index(command: Document, hint: Element | None) -> str | None:
    """An index by its name, or as one would be named by default: `a_1_b_-1`."""
    keys = command.nested(hint)
    if hint is None or keys is None:
        return None if hint is None else hint.text()
    parts: list[str] = []
    try:
        for element in elements(keys):
            order = element.integer()
            parts += [element.key.decode("utf-8", "replace"), "?" if order is None else str(order)]
            if len(parts) >= _MAX_PARTS:
                break
    except ProtocolError:
        pass
    return "_".join(parts)
