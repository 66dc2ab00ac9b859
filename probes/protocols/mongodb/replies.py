"""Replies: what they say went wrong, and which cursor they open.

In: a message that a server sent, as far as it was captured, and the request it answers where that was seen. Out: a
`MongoReply`, its data without credentials. Errors stand at the beginning of a reply, so a cut one shows them; one that
shows neither `ok` nor an error is a success, and truncated. Raises ProtocolError where the bytes are no reply.
"""

from __future__ import annotations

import re
from itertools import islice
from struct import Struct
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.commands import Role
from probes.protocols.mongodb.credentials import SECRET_WORDS, SPECULATIVE, STORED_CREDENTIAL, redact
from probes.protocols.mongodb.cursors import WaitingCursors
from probes.protocols.mongodb.documents import (
    INT64_TYPE,
    MIN_DOCUMENT_BYTES,
    Document,
    Fields,
    documents_from,
    find_fields,
    others_than,
    walk,
)
from probes.protocols.mongodb.errors import CURSOR_NOT_FOUND_CODE, failure_of
from probes.protocols.mongodb.failures import (
    FIELDS,
    OF_ERRORS,
    read_failure,
    read_failure_elsewhere,
    read_ok,
    status_of,
)
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import Message
from probes.protocols.mongodb.sections import SECTIONS_AT, only_body, read_sections
from probes.protocols.mongodb.wire import (
    CURSOR_NOT_FOUND,
    EXHAUST,
    HEADER_BYTES,
    INT32,
    MORE_TO_COME,
    OP_COMMAND,
    OP_COMMANDREPLY,
    OP_MSG,
    OP_QUERY,
    OP_REPLY,
    QUERY_FAILURE,
    REPLY_OPCODES,
)
from probes.records import Failure

OP_REPLY_HEADER = Struct("<iqii")  # responseFlags, cursorID, startingFrom, numberReturned
OP_REPLY_DOCUMENTS_AT = HEADER_BYTES + OP_REPLY_HEADER.size


def read_reply(message: Message, request: MongoRequest | None, waiting: WaitingCursors) -> MongoReply:
    """The reply that `message` is. Raises ProtocolError."""
    reply = MongoReply(
        message.id,
        message.bare,
        truncated=True,
        opcode=message.opcode,
        compressor=message.compressor,
    )
    if message.sealed:
        return reply
    if message.opcode not in REPLY_OPCODES:
        raise ProtocolError(f"opcode {message.opcode} answers nothing")
    if message.opcode == OP_MSG:
        _op_msg(reply, message, request)
    elif message.opcode == OP_REPLY:
        _op_reply(reply, message, request)
    else:
        _op_commandreply(reply, message, request)
    if message.compressor:
        # Compressed bytes cannot be overwritten in part.
        clean = reply.data == message.data and (request is None or request.command.role is not Role.SECRET)
        reply.data = message.captured if clean else message.bare
    if reply.data == message.bare:
        reply.truncated = True  # what the record would read from it is not there
    if request is not None:
        _remember(request, reply, waiting)
    return reply


def _remember(request: MongoRequest, reply: MongoReply, waiting: WaitingCursors) -> None:
    if request.waits and reply.cursor_id:
        waiting.add(reply.cursor_id)
    elif request.cursor_id is not None and (reply.failure is not None or reply.cursor_id == 0):
        waiting.discard(request.cursor_id)


def _secret(request: MongoRequest | None, data: bytes) -> bool:
    """Whether there may be credentials in a reply to `request`."""
    role = Role.UNSEEN if request is None else request.command.role
    if role is Role.HELLO:
        return SPECULATIVE in data
    if role is Role.SECRET or STORED_CREDENTIAL in data:
        return True
    return role in (Role.UNSEEN, Role.CARRIER) and any(word in data for word in SECRET_WORDS)


def _op_msg(reply: MongoReply, message: Message, request: MongoRequest | None) -> None:
    sections = read_sections(message)
    reply.flags = sections.flags
    reply.continues = bool(sections.flags & MORE_TO_COME)
    if sections.body is None or sections.base:
        return  # servers put the body first
    _read_command_reply(reply, sections.body, request)
    data = message.data if sections.token_at is None else message.data[: sections.token_at]
    if not _secret(request, data):
        reply.data = data
    elif not sections.sequences and sections.token_at is None:
        reply.data = redact(data, [sections.body])


def _op_reply(reply: MongoReply, message: Message, request: MongoRequest | None) -> None:
    data = message.data
    if len(data) < OP_REPLY_DOCUMENTS_AT:
        return
    reply.flags, cursor_id, _, _ = OP_REPLY_HEADER.unpack_from(data, HEADER_BYTES)
    documents = list(islice(documents_from(data, OP_REPLY_DOCUMENTS_AT, message.length), 1))
    command = request is not None and answers_command(request)
    reply.truncated = command and not documents
    if reply.flags & CURSOR_NOT_FOUND:
        reply.failure = failure_of(CURSOR_NOT_FOUND_CODE)
    elif reply.flags & QUERY_FAILURE:
        reply.failure, complete = _query_failure(documents)
        reply.truncated = not complete
    elif not command:
        reply.cursor_id = cursor_id  # a command's is in its document
    elif documents:
        _read_command_reply(reply, documents[0], request)
    if request is not None and request.opcode == OP_QUERY and request.flags & EXHAUST:
        reply.continues = bool(reply.cursor_id)
    if _secret(request, data):
        data = redact(data, documents_from(data, OP_REPLY_DOCUMENTS_AT, message.length))
    reply.data = data


def _query_failure(documents: list[Document]) -> tuple[Failure, bool]:
    """The failure that the one document of a reply with QueryFailure set tells of, and whether it is complete."""
    if not documents:
        return failure_of(0), False
    fields = find_fields(documents[0], {b"$err", b"code", b"codeName"})
    return status_of(fields, b"$err"), fields.complete


def _op_commandreply(reply: MongoReply, message: Message, request: MongoRequest | None) -> None:
    document = answer_document(message, request)
    if document is not None:
        _read_command_reply(reply, document, request)
    documents = documents_from(message.data, HEADER_BYTES, message.length)
    reply.data = redact(message.data, documents) if _secret(request, message.data) else message.data


def answer_document(message: Message, request: MongoRequest | None) -> Document | None:
    """The document in which the reply `message` answers a command; None where there is none. Raises ProtocolError."""
    if message.opcode == OP_MSG:
        sections = read_sections(message)
        return None if sections.base else sections.body
    if message.opcode == OP_REPLY:
        documents = documents_from(message.data, OP_REPLY_DOCUMENTS_AT, message.length)
        return next(documents, None) if request is not None and answers_command(request) else None
    if message.opcode == OP_COMMANDREPLY:  # the reply and its metadata, in either order
        documents = documents_from(message.data, HEADER_BYTES, message.length)
        return next((document for document in documents if find_fields(document, {b"ok"})), None)
    return None


def answers_command(request: MongoRequest) -> bool:
    """Whether an OP_REPLY to `request` is a command's answer; else its documents are a collection's."""
    return request.opcode == OP_COMMAND or (request.opcode == OP_QUERY and request.operation != "query")


def _read_command_reply(reply: MongoReply, document: Document, request: MongoRequest | None) -> None:
    fields = find_fields(document, FIELDS | {b"cursor"})
    ok = read_ok(document, fields)
    reply.truncated = not fields.complete or ok is None
    reply.failure = read_failure(document, fields, ok)
    if reply.failure is None and request is not None and request.command.role is Role.ERRORS_ELSEWHERE:
        reply.failure = read_failure_elsewhere(document)
    cursor = document.nested(fields.get(b"cursor"))
    if cursor is not None:
        of_cursor = find_fields(cursor, OF_CURSOR)
        reply.cursor_id = cursor_id(cursor, of_cursor)
        batch = next((cursor.nested(of_cursor[name]) for name in _BATCHES & of_cursor.keys()), None)
        if batch is not None and not batch.whole and batch.rest is not None:
            offset, rest = batch.rest
            reply.returned = _documents_until(rest, batch.end - offset)


_cursor_match = re.compile(rb"(?s)\x03cursor\x00.{4}\x04(?:first|next)Batch\x00").match
_CURSOR_AT = SECTIONS_AT + 1 + INT32.size
_ID = b"\x12id\x00"
_ID_ELEMENT = Struct("<4sq")


def cursor_id_behind_batch(data: bytes, rest: bytes, base: int) -> int | None:
    """The id of the cursor with which the reply `data` begins: behind its batch, in `rest` at offset `base`.

    None where it is not there: then nothing is known.
    """
    return _id_at(rest, _batch_end(data, base))


def behind_batch(data: bytes, rest: bytes, base: int) -> tuple[int | None, int | None]:
    """That id, and how many documents the reply `data` begins to tell, where the last of them is in `rest` likewise."""
    at = _batch_end(data, base)
    return _id_at(rest, at), _documents_until(rest, at - 1)


def _id_at(rest: bytes, at: int) -> int | None:
    if not 0 <= at <= len(rest) - _ID_ELEMENT.size:
        return None
    key, id = _ID_ELEMENT.unpack_from(rest, at)
    return int(id) if key == _ID else None


def _batch_end(data: bytes, base: int) -> int:
    """Where the batch with which the reply `data` begins ends, from `base` on; below 0 where that is not known."""
    match = _cursor_match(data, _CURSOR_AT)
    if match is None or match.end() + 4 > len(data):
        return -1
    return match.end() + int(INT32.unpack_from(data, match.end())[0]) - base


_documents_in = re.compile(rb"(?s)\x03(0|[1-9][0-9]{0,6})\x00(?=(.{4}))").finditer


def _documents_until(rest: bytes, end: int) -> int | None:
    """How many documents an array has that ends at `end` in `rest`: what the key of its last one says."""
    last = last_document(rest, end)
    return None if last is None else int(last[1]) + 1


def last_document(rest: bytes, end: int) -> re.Match[bytes] | None:
    """Type and key of the last document of an array that ends at `end` in `rest`, before the document's length.

    Where that begins is not known: taken is the one place that reads as a document that ends there, as none does but an
    array's last. Two such are as good as none.
    """
    if not 0 < end < len(rest):
        return None
    last = [each for each in _documents_in(rest, 0, end) if each.end() + int.from_bytes(each[2], "little") == end]
    return last[0] if len(last) == 1 else None


_MAX_DOCUMENTS = 8192
_BATCHES = frozenset({b"firstBatch", b"nextBatch"})
OF_CURSOR = _BATCHES | {b"id"}
"""What is read of the field `cursor` of a reply."""


class Batch(NamedTuple):
    """How many documents a reply holds; where it is not `exact`, so many are there in full."""

    documents: int
    exact: bool


def batch_of(cursor: Document, fields: Fields) -> Batch | None:
    """The batch in the field `cursor` of a reply, `OF_CURSOR`; None where there is none, or where it is broken."""
    for name, element in fields.items():
        batch = cursor.nested(element) if name in _BATCHES else None
        if batch is not None:
            return _batch(batch)
    return None


class Result(NamedTuple):
    """What a command's answer gives. What is None is not there, or not to be seen."""

    n: int | None = None
    batch: Batch | None = None
    cursor_id: int | None = None


_OF_RESULT = frozenset({b"n", b"lastErrorObject", b"cursor"})
OF_ANSWER = _OF_RESULT | OF_ERRORS | {b"errorLabels"}
"""What is read of an answer beside `FIELDS`."""
_plain_cursor_match = re.compile(rb"(?s)\x03cursor\x00(.{4})\x04(?:first|next)Batch\x00(?=(.{4}))").match
_plain_id_match = re.compile(rb"(?s)\x12id\x00(.{8})" + others_than(OF_CURSOR)).fullmatch
_plain_answer_match = re.compile(
    rb"(?s)" + others_than(OF_ANSWER) + rb"(?:\x10n\x00(.{4}))?" + others_than(OF_ANSWER)
).fullmatch  # fmt: skip


def plain_result(data: bytes) -> Result | None:
    """The result in the answer that kept `data`, where it is whole and tells of nothing else, as most do: a cursor at
    its beginning, `n`. None where that takes a closer look.
    """
    body = only_body(data)
    if body is None or not body.whole:
        return None
    at, batch, id = body.start, None, None
    cursor = _plain_cursor_match(data, at, body.stop)
    if cursor is not None:
        batch_end = cursor.end() + int.from_bytes(cursor[2], "little")
        at = cursor.start(1) + int.from_bytes(cursor[1], "little")
        if not cursor.end() + MIN_DOCUMENT_BYTES <= batch_end < at <= body.stop:
            return None
        found = _plain_id_match(data, batch_end, at - 1)
        batch = _batch(Document(data, cursor.end() + 4, batch_end - 1, batch_end - 1))
        if found is None or batch is None:
            return None
        id = int.from_bytes(found[1], "little", signed=True)
    answer = _plain_answer_match(data, at, body.stop)
    if answer is None:
        return None
    return Result(int.from_bytes(answer[1], "little", signed=True) if answer[1] is not None else None, batch, id)


def result_of(answer: Document, fields: Fields) -> Result:
    """The result in a command's answer, of which `fields` are `OF_ANSWER`."""
    n = fields.integer(b"n")
    last_error = answer.nested(fields.get(b"lastErrorObject"))  # of findAndModify
    if n is None and last_error is not None:
        n = find_fields(last_error, {b"n"}).integer(b"n")
    cursor = answer.nested(fields.get(b"cursor"))
    if cursor is None:
        return Result(n)
    of_cursor = find_fields(cursor, OF_CURSOR)
    return Result(n, batch_of(cursor, of_cursor), cursor_id(cursor, of_cursor))


def _batch(batch: Document) -> Batch | None:
    """None where it is broken."""
    try:
        whole = [end <= stop for *_, end, stop in islice(walk(batch), _MAX_DOCUMENTS)]
    except ProtocolError:
        return None
    return Batch(sum(whole), batch.whole and len(whole) < _MAX_DOCUMENTS)


def cursor_id(cursor: Document, fields: Fields) -> int | None:
    """The id in the field `cursor` of a reply, `OF_CURSOR`."""
    id = fields.get(b"id")
    if id is None and not fields.complete:
        id = cursor.find_at_end(b"id", {INT64_TYPE})
    return None if id is None else id.integer()
