"""Requests, of every opcode and however little of them is visible.

In: a message that a client sent, as far as it was captured. Out: a `MongoRequest`, its data without credentials. A
field that was cut away is missing, and the request says it is truncated. Raises ProtocolError where not even the
operation is to be seen, or where the bytes are no request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.commands import Command, Role, command_of, on_namespace
from probes.protocols.mongodb.credentials import SPECULATIVE, redact, suspected
from probes.protocols.mongodb.cursors import WaitingCursors
from probes.protocols.mongodb.documents import (
    STRING,
    Document,
    Element,
    Fields,
    find_fields,
    first_element,
    open_document,
)
from probes.protocols.mongodb.messages import Client, Memory, MongoRequest
from probes.protocols.mongodb.opened import Message, read_name
from probes.protocols.mongodb.sections import BODY, SECTIONS_AT, Sections, read_sections
from probes.protocols.mongodb.wire import (
    AFTER_NAMESPACE,
    AWAIT_DATA,
    HEADER_BYTES,
    INT32,
    INT64,
    MORE_TO_COME,
    NAMESPACE_AT,
    OP_COMMAND,
    OP_DELETE,
    OP_DEPRECATED_MSG,
    OP_GET_MORE,
    OP_INSERT,
    OP_KILL_CURSORS,
    OP_MSG,
    OP_QUERY,
    OP_RESERVED,
    OP_UPDATE,
)

LEGACY_NAMES = {
    OP_UPDATE: "update",
    OP_INSERT: "insert",
    OP_QUERY: "query",
    OP_GET_MORE: "getMore",
    OP_DELETE: "delete",
    OP_KILL_CURSORS: "killCursors",
    OP_DEPRECATED_MSG: "msg",
    OP_RESERVED: "reserved",
}
_MAY_CARRY = (Role.CARRIER, Role.ERRORS_ELSEWHERE)  # bulkWrite is one of the latter
_UNANSWERED = frozenset({OP_UPDATE, OP_INSERT, OP_DELETE, OP_KILL_CURSORS, OP_RESERVED})

# What a document sequence is named after says which command it belongs to.
_SEQUENCE_COMMANDS = {
    b"documents": "insert",
    b"updates": "update",
    b"deletes": "delete",
    b"ops": "bulkWrite",
    b"nsInfo": "bulkWrite",
}
_FIELDS = frozenset(
    {
        b"$db",
        b"$query",
        b"collection",
        b"maxTimeMS",
        b"maxAwaitTimeMS",
        b"tailable",
        b"awaitData",
        b"pipeline",
        b"client",
    }
)


class _Body(NamedTuple):
    """A command's document, read: its first element, and those of the others that matter."""

    document: Document
    first: Element
    fields: Fields

    @property
    def name(self) -> str:
        return self.first.key.decode("utf-8", "replace")


def read_request(message: Message, memory: Memory, waiting: WaitingCursors) -> MongoRequest:
    """The request that `message` is. Raises ProtocolError."""
    if message.sealed:
        request = _request(message, on_namespace("compressed", "", "", Role.UNSEEN))
    elif message.opcode == OP_MSG:
        request = _op_msg(message, memory, waiting)
    elif message.opcode == OP_QUERY:
        request = _op_query(message, memory, waiting)
    elif message.opcode == OP_COMMAND:
        request = _op_command(message)
    elif message.opcode in LEGACY_NAMES:
        request = _legacy(message, waiting)
    else:
        raise ProtocolError(f"opcode {message.opcode} asks for nothing")
    if request.command.role is Role.UNSEEN:
        request.data = message.bare
    elif message.compressor:
        # Compressed bytes cannot be overwritten in part.
        clean = request.data == message.data and request.command.role is not Role.SECRET
        request.data = message.captured if clean else message.bare
    request.client = memory.client
    request.plain = request.command.role in (Role.PLAIN, Role.FIND, Role.AGGREGATE) and not request.waits
    return request


def _request(message: Message, command: Command) -> MongoRequest:
    """A request of which no more than this is known: truncated, and only its header kept."""
    return MongoRequest(
        message.id,
        command.name,
        message.data[:HEADER_BYTES],
        target=command.target,
        targets=command.targets,
        expects_reply=message.opcode not in _UNANSWERED,
        truncated=True,
        opcode=message.opcode,
        command=command,
        compressor=message.compressor,
    )


# OP_MSG


def _op_msg(message: Message, memory: Memory, waiting: WaitingCursors) -> MongoRequest:
    sections = read_sections(message)
    body = _read_body(sections.body) if sections.body is not None else None
    if body is None:
        request = _op_msg_without_body(message, sections)
    else:
        command = suspected(_command(body, _database(body)), message.data)
        request = _request(message, command)
        request.truncated = not body.fields.complete
        request.data = _clean(message, command, sections)
        _note(request, body, memory, waiting)
    request.flags = sections.flags
    request.expects_reply = not sections.flags & MORE_TO_COME
    return request


def _op_msg_without_body(message: Message, sections: Sections) -> MongoRequest:
    """The documents came first and the body was not captured: it might say anything, so nothing is kept of them."""
    if not sections.sequences:
        raise ProtocolError("no command to be seen")
    name = _SEQUENCE_COMMANDS.get(sections.sequences[0].identifier, "unknown")
    return _request(message, on_namespace(name, "", "", Role.UNSEEN))


def _read_body(document: Document) -> _Body | None:
    """None where no command's name is visible."""
    fields = find_fields(document, _FIELDS)
    return _Body(document, fields.first, fields) if fields.first is not None and fields.first.key else None


def _database(body: _Body) -> str:
    """`$db`; "" where it is not to be seen."""
    element = body.fields.get(b"$db")
    if element is None and not body.fields.complete:
        element = body.document.find_at_end(b"$db", {STRING})
    return (element.text() if element is not None else None) or ""


def _command(body: _Body, database: str) -> Command:
    name = body.name
    acted_on = body.fields.get(b"collection") if name.lower() == "getmore" else body.first
    command = command_of(name, acted_on.text() if acted_on is not None else None, database)
    seen = body.fields.complete if acted_on is None else acted_on.whole
    return command if seen or command.role in (Role.SECRET, Role.HELLO) else _unseen(command)


def _unseen(command: Command) -> Command:
    """`command` where it was cut before what it acts on."""
    return command._replace(target="", targets=(), role=Role.UNSEEN)


def _clean(message: Message, command: Command, sections: Sections) -> bytes:
    """What may be kept of the head."""
    data = message.data
    if command.role is Role.SECRET or _authenticates(command, data):
        if sections.sequences or sections.token_at is not None or sections.base:
            return data[:HEADER_BYTES]
        return redact(data, [sections.body] if sections.body else [])
    if command.role in _MAY_CARRY:
        if sections.token_at is not None or sections.base:
            return data[:HEADER_BYTES]
        return redact(data, _documents(data, sections), within=True)
    if sections.token_at is not None:
        return data[: max(HEADER_BYTES, sections.token_at)]
    body = sections.body
    return _body_first(data, body) if sections.base and body is not None and body.whole else data


def _body_first(data: bytes, body: Document) -> bytes:
    """The head with a body that lies further on before all else: sections may stand in any order, and it says most."""
    section = bytes([BODY]) + body.data[body.start - 4 : body.end + 1]
    return data[:SECTIONS_AT] + section + data[SECTIONS_AT:]


def _documents(data: bytes, sections: Sections) -> Iterator[Document]:
    """All that are visible in the head. Raises ProtocolError."""
    if sections.body is not None:
        yield sections.body
    for sequence in sections.sequences:
        at = sequence.start
        while at < min(sequence.stop, len(data)):
            document = open_document(data, at, sequence.end)
            yield document
            at = document.end + 1


def _authenticates(command: Command, data: bytes) -> bool:
    return command.role is Role.HELLO and SPECULATIVE in data


def _note(request: MongoRequest, body: _Body, memory: Memory, waiting: WaitingCursors) -> None:
    """What a command's further fields say about this request, its cursor and its client."""
    fields = body.fields
    if request.command.role is Role.HELLO:
        # The server answers when its topology changes, at the latest after this time.
        request.long_poll = b"maxAwaitTimeMS" in fields
        memory.client = _client(body) or memory.client
    elif body.name.lower() == "getmore":
        request.cursor_id = body.first.integer()
        # The server takes maxTimeMS only for a cursor that waits for data.
        request.long_poll = b"maxTimeMS" in fields or request.cursor_id in waiting
    else:
        request.waits = _opens_waiting_cursor(body)


def _opens_waiting_cursor(body: _Body) -> bool:
    if body.fields.truth(b"tailable") and body.fields.truth(b"awaitData"):
        return True
    pipeline = body.document.nested(body.fields.get(b"pipeline"))
    if pipeline is None:
        return False
    stage = pipeline.nested(first_element(pipeline))
    operator = first_element(stage) if stage is not None else None
    return operator is not None and operator.key == b"$changeStream"


def _client(body: _Body) -> Client | None:
    """A hello's `client` (MongoDB's "Handshake" specification)."""
    client = body.document.nested(body.fields.get(b"client"))
    if client is None:
        return None
    parts = find_fields(client, {b"application", b"driver", b"platform", b"os"})
    application = client.nested(parts.get(b"application"))
    driver = client.nested(parts.get(b"driver"))
    system = _texts(client.nested(parts.get(b"os")), b"name", b"architecture")
    platform = ", ".join(text for text in (parts.text(b"platform"), system) if text)
    return Client(_texts(application, b"name"), _texts(driver, b"name", b"version"), platform)


def _texts(document: Document | None, *keys: bytes) -> str:
    """Their strings. A library on top of a driver may put its own name behind the driver's, after a bar."""
    if document is None:
        return ""
    fields = find_fields(document, keys)
    texts = (fields.text(key) or "" for key in keys)
    return " ".join(text for text in (text.strip("|") for text in texts) if text)


# The opcodes before OP_MSG


def _int(data: bytes, at: int) -> int | None:
    return int(INT32.unpack_from(data, at)[0]) if at + 4 <= len(data) else None


def _op_query(message: Message, memory: Memory, waiting: WaitingCursors) -> MongoRequest:
    data = message.data
    namespace, at = read_name(message, NAMESPACE_AT)
    if not namespace:
        raise ProtocolError("cut before the namespace")
    flags = _int(data, HEADER_BYTES) or 0
    database, _, collection = namespace.partition(".")
    document = open_document(data, at + AFTER_NAMESPACE[OP_QUERY], message.length)
    if collection != "$cmd":
        request = _request(message, on_namespace(LEGACY_NAMES[OP_QUERY], database, collection))
        request.waits = bool(flags & AWAIT_DATA)
        request.data = data if request.command.role is Role.PLAIN else data[:HEADER_BYTES]
        request.truncated = not message.whole
    else:
        body = _unwrapped(_read_body(document))
        if body is None:
            raise ProtocolError("no command to be seen")
        command = suspected(_command(body, database), data)
        request = _request(message, command)
        request.truncated = not body.fields.complete
        if command.role is Role.SECRET or command.role in _MAY_CARRY or _authenticates(command, data):
            data = redact(data[: document.end + 1], [document], within=command.role in _MAY_CARRY)
        request.data = data
        _note(request, body, memory, waiting)
    request.flags = flags
    return request


def _unwrapped(body: _Body | None) -> _Body | None:
    """The command within `{$query: command, $readPreference: …}`, as mongos is sent it, in any order."""
    if body is None or not (body.first.key.startswith(b"$") or body.first.key == b"query"):
        return body
    wrapped = body.fields.get(b"$query", body.first)
    inner = body.document.nested(wrapped) if wrapped.key in (b"$query", b"query") else None
    return _read_body(inner) if inner is not None else None


def _op_command(message: Message) -> MongoRequest:
    """OP_COMMAND: database and command as C strings, then the command's documents (its arguments second, or first)."""
    database, at = read_name(message, HEADER_BYTES)
    name, at = read_name(message, at)
    if not name:
        raise ProtocolError("cut before the command's name")
    arguments: Element | None = None
    while arguments is None and at < message.length:
        document = open_document(message.data, at, message.length)
        first = first_element(document)
        arguments = first if first is not None and first.key == name.encode() else None
        at = document.end + 1
    command = command_of(name, arguments.text() if arguments is not None else None, database)
    command = suspected(command, message.data)
    seen = arguments.whole if arguments is not None else message.whole
    request = _request(message, command if seen or command.role is Role.SECRET else _unseen(command))
    if request.command.role not in (Role.SECRET, Role.HELLO, *_MAY_CARRY):
        request.data = message.data
    request.truncated = not message.whole
    return request


def _legacy(message: Message, waiting: WaitingCursors) -> MongoRequest:
    """The operations without a command, of which nothing but the namespace is read."""
    data, opcode = message.data, message.opcode
    namespace, at = read_name(message, NAMESPACE_AT) if opcode in AFTER_NAMESPACE else ("", HEADER_BYTES)
    database, _, collection = namespace.partition(".")
    request = _request(message, on_namespace(LEGACY_NAMES[opcode], database, collection))
    if request.command.role is Role.PLAIN and (namespace or opcode == OP_KILL_CURSORS):
        request.data = data
    request.truncated = not message.whole
    if opcode == OP_INSERT:
        request.flags = _int(data, HEADER_BYTES) or 0
    elif opcode in (OP_UPDATE, OP_DELETE):
        request.flags = _int(data, at) or 0
    elif opcode == OP_GET_MORE and at + 12 <= len(data):
        request.cursor_id = int(INT64.unpack_from(data, at + 4)[0])
        request.long_poll = request.cursor_id in waiting
    return request
