"""A session's own part of the record, read when someone looks from what its request and its reply keep."""

from __future__ import annotations

from itertools import islice
from typing import Any

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.checksums import is_intact
from probes.protocols.mongodb.commands import Role
from probes.protocols.mongodb.compression import compressed_sizes
from probes.protocols.mongodb.decode import decode_reply, decode_request
from probes.protocols.mongodb.documents import Document, elements, find_fields
from probes.protocols.mongodb.errors import code_name
from probes.protocols.mongodb.failures import WriteError, all_errors
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import Message, kept_message
from probes.protocols.mongodb.options import options_of
from probes.protocols.mongodb.replies import (
    OP_REPLY_DOCUMENTS_AT,
    OP_REPLY_HEADER,
    answer_document,
    answers_command,
    batch_of,
    cursor_id,
)
from probes.protocols.mongodb.wire import (
    CHECKSUM_PRESENT,
    HEADER,
    HEADER_BYTES,
    OP_MSG,
    OP_REPLY,
    OPCODE_NAMES,
    flag_names,
)
from probes.protocols.texts import KnownTexts
from probes.records import Session

_ERROR_TEXTS = KnownTexts.load(__package__)


def describe(session: Session, *, literals: bool) -> dict[str, Any]:
    """The object `mongodb` of the record; beside it `error`, and with `literals` `request` and `response`.

    Where one of those two is not all that was sent, `request_cut` or `response_cut` is true.
    """
    request = session.request if isinstance(session.request, MongoRequest) else None
    reply = session.reply if isinstance(session.reply, MongoReply) else None
    record: dict[str, Any] = {}
    if request is not None:
        record["opcode"] = request.opcode
        record["opcode_name"] = OPCODE_NAMES[request.opcode]
    if reply is not None:
        record["response_opcode"] = reply.opcode
    if request is not None:
        record |= {"database": request.command.database, "collection": request.command.collection}
        record["shape"] = request.shape
    if reply is not None:
        record |= _result(reply, request)
    if request is not None and request.cursor_id is not None:
        record["cursor_id"] = str(request.cursor_id)
    record["compressor"] = (request.compressor if request else "") or (reply.compressor if reply else "")
    for name, part in (("request_uncompressed_bytes", request), ("response_uncompressed_bytes", reply)):
        sizes = compressed_sizes(part.data) if part is not None and part.compressor else None
        if sizes is not None:
            record[name] = sizes[1]
    if request is not None:
        record |= options_of(request.data, literals=literals)
        record["request_flags"] = flag_names(request.opcode, request.flags)
    if reply is not None:
        record["response_flags"] = flag_names(reply.opcode, reply.flags)
    if (request is not None and _is_continued(request)) or (reply is not None and reply.continues):
        record["exhaust"] = True
    if request is not None and request.client is not None:
        record |= request.client._asdict()
    if reply is not None and (errors := _errors(reply, request)):
        record["errors"] = errors
    if reply is not None:
        record["error_labels"] = _labels(reply, request)
    if request is not None and request.command.role not in _OVERWRITTEN:
        parts = (("request", request), ("response", reply))
        record["wrong_checksums"] = [name for name, part in parts if part is not None and _is_damaged(part)]
    if reply is not None and reply.failure is not None:
        code, message = reply.failure.code, reply.failure.message
        record["error"] = message if literals else _ERROR_TEXTS.masked(code, message)
    if literals:
        record |= _decoded(request, reply)
    return {name: value for name, value in record.items() if value != "" and (value or name not in _ABSENT_WHERE_EMPTY)}


_ABSENT_WHERE_EMPTY = frozenset({"error_labels", "wrong_checksums"})
_MAX_LABELS = 16
_OVERWRITTEN = frozenset(
    {Role.SECRET, Role.HELLO, Role.UNSEEN, Role.CARRIER}
)  # whose bytes may not be those that were sent


def _is_continued(request: MongoRequest) -> bool:
    """Whether this stands for the request that an exhaust reply goes on from: its id is that reply's."""
    _, id, _, _ = HEADER.unpack_from(request.data)
    return bool(request.id != id)


def _answer(reply: MongoReply, request: MongoRequest | None) -> tuple[Message | None, Document | None]:
    try:
        message = kept_message(reply.data)
        return message, answer_document(message, request)
    except ProtocolError:
        return None, None


def _result(reply: MongoReply, request: MongoRequest | None) -> dict[str, Any]:
    """n, nreturned and the cursor, as mongod's log names them."""
    result: dict[str, Any] = {}
    message, document = _answer(reply, request)
    cursor = reply.cursor_id
    if document is not None:
        fields = find_fields(document, {b"n", b"lastErrorObject", b"cursor"})
        n = fields.integer(b"n")
        last_error = document.nested(fields.get(b"lastErrorObject"))  # of findAndModify
        if n is None and last_error is not None:
            n = find_fields(last_error, {b"n"}).integer(b"n")
        if n is not None:
            result["n"] = n
        opened = document.nested(fields.get(b"cursor"))
        batch = batch_of(opened) if opened is not None else None
        if batch is not None:
            result["nreturned" if batch.exact else "nreturned_at_least"] = batch.documents
        cursor = cursor_id(opened) if cursor is None else cursor
    elif message is not None and _counts_documents(reply, request) and len(message.data) >= OP_REPLY_DOCUMENTS_AT:
        result["nreturned"] = OP_REPLY_HEADER.unpack_from(message.data, HEADER_BYTES)[3]
    if cursor is not None:
        result["cursor_id"] = str(cursor)
    return result


def _counts_documents(reply: MongoReply, request: MongoRequest | None) -> bool:
    """Whether numberReturned counts what was asked for, not the one answer of a command."""
    return reply.opcode == OP_REPLY and request is not None and not answers_command(request)


def _errors(reply: MongoReply, request: MongoRequest | None) -> list[dict[str, Any]]:
    """The single writes that failed, and the write concern."""
    _, document = _answer(reply, request)
    if document is None:
        return []
    errors = []
    for error in all_errors(document):
        entry: dict[str, Any] = {}
        if isinstance(error, WriteError):
            entry = {} if error.place is None else {"index": error.place}
            errors.append(entry | {"code": error.code, "name": code_name(error.code or 0)})
        else:
            errors.append({"code": error.code, "name": error.name, "write_concern": True})
    return errors


def _labels(reply: MongoReply, request: MongoRequest | None) -> list[str]:
    """What the server says of an error's nature: whether to try again."""
    _, document = _answer(reply, request) if b"errorLabels\0" in reply.data or reply.compressor else (None, None)
    labels = None if document is None else document.nested(find_fields(document, {b"errorLabels"}).get(b"errorLabels"))
    if labels is None:
        return []
    try:
        return [text for each in islice(elements(labels), _MAX_LABELS) if (text := each.text())]
    except ProtocolError:
        return []


def _is_damaged(part: MongoRequest | MongoReply) -> bool:
    """Whether the checksum of a message that was seen whole says so."""
    if part.opcode != OP_MSG or not part.flags & CHECKSUM_PRESENT or part.compressor:
        return False
    return int.from_bytes(part.data[:4], "little") == len(part.data) and not is_intact(part.data)


def _decoded(request: MongoRequest | None, reply: MongoReply | None) -> dict[str, Any]:
    record: dict[str, Any] = {}
    asked = decode_request(request) if request is not None else None
    answered = decode_reply(reply, request) if reply is not None else None
    for name, decoded in (("request", asked), ("response", answered)):
        if decoded is not None:
            record[name], complete = decoded
            if not complete:
                record[f"{name}_cut"] = True
    return record
