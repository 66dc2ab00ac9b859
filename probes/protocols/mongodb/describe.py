"""A session's own part of the record, read when someone looks from what its request and its reply keep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.checksums import is_intact
from probes.protocols.mongodb.commands import Role
from probes.protocols.mongodb.compression import compressed_sizes
from probes.protocols.mongodb.decode import decode_reply, decode_request
from probes.protocols.mongodb.documents import Document, Fields, elements, find_fields
from probes.protocols.mongodb.errors import code_name
from probes.protocols.mongodb.failures import WriteError, all_errors
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import kept_message
from probes.protocols.mongodb.options import options_of
from probes.protocols.mongodb.replies import (
    OF_ANSWER,
    OP_REPLY_DOCUMENTS_AT,
    OP_REPLY_HEADER,
    Batch,
    Result,
    answer_document,
    answers_command,
    plain_result,
    result_of,
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
    answer = _answer_of(reply, request) if reply is not None else None
    if answer is not None:
        record |= answer.result
    if request is not None and request.cursor_id is not None:
        record.setdefault("cursor_id", str(request.cursor_id))
    record["compressor"] = (request.compressor if request else "") or (reply.compressor if reply else "")
    if record["compressor"]:
        record |= _uncompressed_bytes(request, reply)
    if request is not None:
        record |= options_of(request.data, literals=literals)
        record["request_flags"] = flag_names(request.opcode, request.flags)
    if reply is not None:
        record["response_flags"] = flag_names(reply.opcode, reply.flags)
    if (request is not None and _is_continued(request)) or (reply is not None and reply.continues):
        record["exhaust"] = True
    if request is not None and request.client is not None:
        record |= request.client._asdict()
    if answer is not None:
        record["errors"] = answer.errors
        record["error_labels"] = answer.labels
    if request is not None and request.command.role not in _OVERWRITTEN:
        parts = (("request", request), ("response", reply))
        record["wrong_checksums"] = [name for name, part in parts if part is not None and _is_damaged(part)]
    if reply is not None and reply.failure is not None:
        code, message = reply.failure.code, reply.failure.message
        record["error"] = message if literals else _ERROR_TEXTS.masked(code, message)
    if literals:
        record |= _decoded(request, reply)
    return {name: value for name, value in record.items() if value != "" and (value or name not in _ABSENT_WHERE_EMPTY)}


_ABSENT_WHERE_EMPTY = frozenset({"errors", "error_labels", "wrong_checksums"})
_MAX_LABELS = 16
_OVERWRITTEN = frozenset(
    {Role.SECRET, Role.HELLO, Role.UNSEEN, Role.CARRIER}
)  # whose bytes may not be those that were sent


def _is_continued(request: MongoRequest) -> bool:
    """Whether this stands for the request that an exhaust reply goes on from: its id is that reply's."""
    _, id, _, _ = HEADER.unpack_from(request.data)
    return bool(request.id != id)


def _uncompressed_bytes(request: MongoRequest | None, reply: MongoReply | None) -> dict[str, Any]:
    record = {}
    for name, part in (("request_uncompressed_bytes", request), ("response_uncompressed_bytes", reply)):
        sizes = compressed_sizes(part.data) if part is not None and part.compressor else None
        if sizes is not None:
            record[name] = sizes[1]
    return record


class _Answer(NamedTuple):
    """What a reply tells: n, nreturned and the cursor, as mongod's log names them; what failed; labels of errors."""

    result: dict[str, Any]
    errors: Sequence[dict[str, Any]] = ()
    labels: Sequence[str] = ()


def _answer_of(reply: MongoReply, request: MongoRequest | None) -> _Answer:
    plain = plain_result(reply.data)
    if plain is not None:
        return _Answer(_told(plain, reply))
    try:
        message = kept_message(reply.data)
        document = answer_document(message, request)
    except ProtocolError:
        return _Answer(_told(Result(), reply))
    if document is not None:
        fields = find_fields(document, OF_ANSWER)
        told = _told(result_of(document, fields), reply)
        return _Answer(told, _errors(document, fields), _labels(document, fields))
    if _counts_documents(reply, request) and len(message.data) >= OP_REPLY_DOCUMENTS_AT:
        returned = OP_REPLY_HEADER.unpack_from(message.data, HEADER_BYTES)[3]
        return _Answer(_told(Result(batch=Batch(returned, exact=True)), reply))
    return _Answer(_told(Result(), reply))


def _told(result: Result, reply: MongoReply) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if result.n is not None:
        told["n"] = result.n
    if reply.returned is not None:
        told["nreturned"] = reply.returned
    elif result.batch is not None:
        told["nreturned" if result.batch.exact else "nreturned_at_least"] = result.batch.documents
    id = result.cursor_id if reply.cursor_id is None else reply.cursor_id
    if id is not None:
        told["cursor_id"] = str(id)
    return told


def _counts_documents(reply: MongoReply, request: MongoRequest | None) -> bool:
    """Whether numberReturned counts what was asked for, not the one answer of a command."""
    return reply.opcode == OP_REPLY and request is not None and not answers_command(request)


def _errors(document: Document, fields: Fields) -> list[dict[str, Any]]:
    """The single writes that failed, and the write concern."""
    errors = []
    for error in all_errors(document, fields):
        entry: dict[str, Any] = {}
        if isinstance(error, WriteError):
            entry = {} if error.place is None else {"index": error.place}
            errors.append(entry | {"code": error.code, "name": code_name(error.code or 0)})
        else:
            errors.append({"code": error.code, "name": error.name, "write_concern": True})
    return errors


def _labels(document: Document, fields: Fields) -> list[str]:
    """What the server says of an error's nature: whether to try again."""
    labels = document.nested(fields.get(b"errorLabels"))
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
