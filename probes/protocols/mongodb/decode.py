"""Documents as values that JSON can hold (MongoDB Extended JSON v2, relaxed): slow, for when someone looks.

Of a document that was cut, or that BSON's decoder refuses, every element is given that can be. Of one message no more
is decoded than anybody will read: captured bytes must not choose how long that takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.documents import ARRAY, MIN_DOCUMENT_BYTES, Document, documents_from, elements
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import Message, kept_message, read_name
from probes.protocols.mongodb.replies import (
    OP_REPLY_DOCUMENTS_AT,
    answer_document,
    answers_command,
)
from probes.protocols.mongodb.sections import read_sections
from probes.protocols.mongodb.wire import (
    AFTER_NAMESPACE,
    HEADER_BYTES,
    INT32,
    INT64,
    NAMESPACE_AT,
    OP_COMMAND,
    OP_DELETE,
    OP_GET_MORE,
    OP_INSERT,
    OP_KILL_CURSORS,
    OP_MSG,
    OP_QUERY,
    OP_REPLY,
    OP_UPDATE,
)

_CODEC = CodecOptions(
    document_class=dict,
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_MAX_DEPTH = 64


@dataclass(slots=True)
class Room:
    """How much of a message is still decoded."""

    documents: int = 128
    bytes: int = 16 * 1024
    values: int = 1024

    def first(self, value: Any) -> Any:
        """Of a decoded value as much as there is room for."""
        if isinstance(value, dict):
            return {key: self.first(each) for key, each in value.items() if self.take()}
        if isinstance(value, list):
            return [self.first(each) for each in value if self.take()]
        return value

    def take(self) -> bool:
        """Whether there is room for one more value, which is then taken; below 0 something was left out."""
        self.values -= self.values >= 0
        return self.values >= 0


Decoded = tuple[dict[str, Any], bool]
"""A value for JSON, and whether it is all that was sent."""


def decode_request(request: MongoRequest) -> Decoded | None:
    """What was asked; None where nothing of it was kept."""
    try:
        message = kept_message(request.data)
        if len(message.data) <= HEADER_BYTES:
            return None
        if message.opcode == OP_MSG:
            return _op_msg(message)
        if message.opcode in AFTER_NAMESPACE:
            return _on_namespace(message, command=answers_command(request))
        if message.opcode == OP_KILL_CURSORS:
            ids = message.data[NAMESPACE_AT + 4 :]
            ids = ids[: len(ids) // 8 * 8]
            return {"cursor_ids": [str(id) for (id,) in INT64.iter_unpack(ids)]}, message.whole
        if message.opcode == OP_COMMAND:
            _, at = read_name(message, HEADER_BYTES)
            _, at = read_name(message, at)
            return _all(message, at)
    except ProtocolError:
        pass
    return None


def decode_reply(reply: MongoReply, request: MongoRequest | None) -> Decoded | None:
    """What was answered; None where nothing of it was kept."""
    try:
        message = kept_message(reply.data)
        document = answer_document(message, request)
    except ProtocolError:
        return None
    if document is not None:
        return decode(document)
    if message.opcode == OP_REPLY and len(message.data) > OP_REPLY_DOCUMENTS_AT:
        return _all(message, OP_REPLY_DOCUMENTS_AT)
    return None


def _op_msg(message: Message) -> Decoded | None:
    """The body, the document sequences as its arrays."""
    sections = read_sections(message)
    if sections.body is None or sections.base:
        return None
    room = Room()
    value, complete = decode(sections.body, room)
    for sequence in sections.sequences:
        documents = documents_from(message.data[: sequence.stop], sequence.start, sequence.end)
        decoded, whole = _decoded(documents, room)
        value[sequence.identifier.decode("utf-8", "replace")] = decoded
        complete = complete and whole
    return value, complete and message.whole


_LEGACY_DOCUMENTS = {OP_QUERY: ("query", "fields"), OP_UPDATE: ("selector", "update"), OP_DELETE: ("selector",)}


def _on_namespace(message: Message, *, command: bool) -> Decoded | None:
    """The legacy operations on a collection; of a `command` sent by OP_QUERY its document."""
    _, at = read_name(message, NAMESPACE_AT)
    documents_at = at + AFTER_NAMESPACE[message.opcode]
    if message.opcode == OP_INSERT:
        return _all(message, documents_at)
    if len(message.data) < documents_at:
        return None
    if message.opcode == OP_GET_MORE:
        count, id = INT32.unpack_from(message.data, at)[0], INT64.unpack_from(message.data, at + 4)[0]
        return {"number_to_return": count, "cursor_id": str(id)}, True
    value: dict[str, Any] = {}
    room, complete = Room(), message.whole
    documents = documents_from(message.data, documents_at, message.length)
    for name, document in zip(_LEGACY_DOCUMENTS[message.opcode], documents, strict=False):
        value[name], whole = decode(document, room)
        complete = complete and whole
    return (value.get("query", {}) if command else value), complete


def _all(message: Message, at: int) -> Decoded:
    """The documents from `at` to the message's end."""
    decoded, complete = _decoded(documents_from(message.data, at, message.length), Room())
    return {"documents": decoded}, message.whole and complete


def _decoded(documents: Iterator[Document], room: Room) -> tuple[list[dict[str, Any]], bool]:
    """As many of these documents as there is room for, and whether they are all there, and complete."""
    decoded: list[dict[str, Any]] = []
    complete = True
    for document in documents:
        if min(room.documents, room.bytes, room.values) <= 0:
            return decoded, False
        room.documents -= 1
        value, whole = decode(document, room)
        decoded.append(value)
        complete = complete and whole
    return decoded, complete


def decode(document: Document, room: Room | None = None) -> Decoded:
    """`document` as Extended JSON, and whether it is complete. Of a large one the first bytes."""
    room = room or Room()
    if document.end - document.start > room.bytes:
        document = document._replace(stop=min(document.stop, document.start + room.bytes), rest=None)
    room.bytes -= document.stop - document.start
    values = room.values
    if document.whole:
        try:
            value = bson.decode(document.data[document.start - 4 : document.end + 1], _CODEC)
            return _to_json(room.first(value)), room.values >= 0
        except _UNDECODABLE:
            room.values = values
    try:
        return _to_json(_salvage(document, room, 0)), False
    except _UNDECODABLE:
        return {}, False


# What the decoder and the encoder raise is not stated: a DBRef of the wrong types, a number out of range, deep nesting.
_UNDECODABLE = (Exception,)


def _to_json(value: dict[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))
    return decoded


def _salvage(document: Document, room: Room, depth: int) -> dict[str, Any]:
    """Every element of `document` that can be decoded, one by one."""
    value: dict[str, Any] = {}
    try:
        for element in elements(document):
            if not room.take():
                break
            nested = document.nested(element)
            if nested is not None and depth < _MAX_DEPTH:
                inner = _salvage(nested, room, depth + 1)
                key = element.key.decode("utf-8", "replace")
                value[key] = list(inner.values()) if element.type == ARRAY else inner
            elif nested is None and element.whole:
                single = document.data[element.at : element.end]
                with suppress(*_UNDECODABLE):
                    value |= bson.decode(INT32.pack(len(single) + MIN_DOCUMENT_BYTES) + single + b"\0", _CODEC)
    except ProtocolError:
        pass
    return value
