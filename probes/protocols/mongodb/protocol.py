"""The protocol as the rest of the program meets it, and the short way for what most messages are.

Most requests are an OP_MSG with one section, a command on a collection in a short document; most replies are `ok: 1`.
Each of these is recognised from its first byte on by one regular expression over BSON's grammar, several times faster
than Python walks over it; and requests like those before them (`layouts`) faster still. What does not match takes the
long way (`requests`, `replies`), which reads everything. Bytes are searched by `find`: `in` takes them for a number
first, which costs more than the search.
"""

from __future__ import annotations

import re
from struct import Struct, error, pack
from typing import Any, TypeAlias

from probes.protocols.interface import ProtocolError, WireProtocol
from probes.protocols.mongodb.commands import Command, Role, command_of
from probes.protocols.mongodb.credentials import (
    MERGE_CURSORS,
    OPLOG,
    SECOND_STORED_CREDENTIAL,
    STORED_CREDENTIAL,
    SYSTEM_COLLECTION,
)
from probes.protocols.mongodb.cursors import WaitingCursors
from probes.protocols.mongodb.describe import describe
from probes.protocols.mongodb.documents import INT64_TYPE, MIN_DOCUMENT_BYTES, SHORT_ELEMENT, SHORT_STRING
from probes.protocols.mongodb.identify import identify
from probes.protocols.mongodb.layouts import Layouts
from probes.protocols.mongodb.masking import beside_data, recordable
from probes.protocols.mongodb.messages import Memory, MongoReply, MongoRequest
from probes.protocols.mongodb.opened import Windows, open_message
from probes.protocols.mongodb.replies import behind_batch, read_reply
from probes.protocols.mongodb.requests import read_request
from probes.protocols.mongodb.sections import BODY, SECTIONS_AT, SEQUENCE
from probes.protocols.mongodb.wire import (
    CHECKSUM_PRESENT,
    INT32,
    INT64,
    MORE_TO_COME,
    OP_COMPRESSED,
    OP_MSG,
    OPCODE_AT,
    REPLY_OPCODES,
    UNKNOWN_REQUIRED,
)
from probes.records import Connection, Head, Reply, Request, Session, Verdict

_new = object.__new__
_length_and_id = Struct("<ii").unpack_from
_body = Struct("<iIBi").unpack_from  # opcode, flagBits, the first section's kind, and the length of its document
# Of a reply length and requestID, these but for the document's length in one piece, that, and how the document begins.
_start_of_reply = Struct("<ii4x9si8si").unpack_from
_PLAIN = pack("<iIB", OP_MSG, 0, BODY)
_answer = Struct("<ii").unpack_from  # responseTo, opCode
_RESPONSE_TO_AT = 8
_int32 = INT32.unpack_from
_int64 = INT64.unpack_from
_DOCUMENT_AT = SECTIONS_AT + 1
_ELEMENTS_AT = _DOCUMENT_AT + INT32.size
_LONG_WAY_FLAGS = UNKNOWN_REQUIRED | CHECKSUM_PRESENT

_NAME = rb"([^\x00]{1,64})\x00"
_command_match = re.compile(
    rb"(?s)(?:\x02" + _NAME + rb"(" + SHORT_STRING + rb")"
    rb"|\x10" + _NAME + rb".{4}"
    rb"|\x12getMore\x00.{8}\x02collection\x00(" + SHORT_STRING + rb")"
    rb"|\x01" + _NAME + rb".{8})" + SHORT_ELEMENT + rb"*?\x02\$db\x00(" + SHORT_STRING + rb")"
).match  # fmt: skip
_CURSOR_ID_AT = _ELEMENTS_AT + len(b"\x12getMore\x00")
# What in a command with this role tells that it is not one of the usual kind.
_LONG_WAY_WORDS: dict[Role, tuple[bytes, ...]] = {
    Role.PLAIN: (),
    Role.FIND: (b"awaitData\x00",),
    Role.AGGREGATE: (b"$changeStream\x00", MERGE_CURSORS, SYSTEM_COLLECTION, OPLOG),
    Role.GET_MORE: (b"maxTimeMS\x00",),
}

_OK = b"\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f"
_OK_AND_NO_MORE = _OK + b"\x00"
_ok_match = re.compile(rb"(?s)" + SHORT_ELEMENT + rb"*?" + re.escape(_OK)).match
_CURSOR = b"\x03cursor\x00"
_CURSOR_AT = _ELEMENTS_AT + len(_CURSOR)
_WRITE_ERRORS = b"\x04writeErrors\x00"
_WRITE_CONCERN_ERROR = b"\x03writeConcernError\x00"
_WRITE = b"write"  # what both have in common: one search instead of two

_SHORT_BYTES = 8 * 1024  # what is longer, but for a cursor's batch, is not of the usual kind
_MAX_COMMANDS = 4096

# What is known of a request of the usual kind: where its body ends, its flags, its command and three fields of that,
# words that must not be in it, and its shape.
_Usual: TypeAlias = tuple[int, int, Command, str, str, tuple[str, ...], tuple[bytes, ...], list[str]]


class MongoDB(WireProtocol):
    """MongoDB's wire protocol, of every version."""

    name = "mongodb"
    framing = "mongodb"
    confirms_alone = True  # a request read whole has its length, opcode, flags and a document to its last byte right

    def __init__(self) -> None:
        self._waiting = WaitingCursors()
        self._commands: dict[tuple[bytes | None, ...], Command] = {}
        self._layouts: Layouts[_Usual] = Layouts()

    def memory(self, connection: Connection) -> Memory:
        """A new memory of one connection: what its client said of itself."""
        return Memory()

    def identify(self, data: bytes, total: int) -> Verdict:
        """What the head `data` of a message of `total` bytes is."""
        return identify(data, total)

    def request(self, head: Head, memory: Any) -> Request:
        """The request that `head` begins. Raises ProtocolError."""
        request = self._short_request(head.data, memory)
        if request is not None:
            return request
        message = open_message(head)
        request = self._short_request(message.data, memory) if message.compressor else None
        if request is None:
            request = read_request(message, memory, self._waiting)
            request.windows = beside_data(message, request, request)
            return request
        request.data, request.compressor = message.captured, message.compressor
        return request

    def _short_request(self, data: bytes, memory: Memory) -> MongoRequest | None:
        """The request where it is one of the usual kind, with a body that is all there."""
        cursor_id = None
        usual = self._layouts.find(data)
        if usual is None:
            usual = self._recognised(data)
            if usual is None:
                return None
            if usual[2].role is Role.GET_MORE:
                cursor_id = int(_int64(data, _CURSOR_ID_AT)[0])
                if cursor_id in self._waiting:
                    return None
        end, flags, command, name, target, targets, words, shape = usual
        for word in words:
            if data.find(word) >= 0:
                return None
        length, id = _length_and_id(data)
        if end != length:
            try:
                if data[end] != SEQUENCE or end + 1 + _int32(data, end + 1)[0] != length:
                    return None  # there is more than one document sequence
            except (error, IndexError):
                return None
        request = _new(MongoRequest)  # field by field, in less than half of the time
        request.id = id
        request.operation = name
        request.data = data
        request.version = None
        request.target = target
        request.targets = targets
        request.expects_reply = not flags & MORE_TO_COME
        request.long_poll = False
        request.flags = flags
        request.command = command
        request.client = memory.client
        request.plain = True
        request.cursor_id = cursor_id
        if end == length:
            request.its_shape = shape
        return request

    def _recognised(self, data: bytes) -> _Usual | None:
        """What the grammar says of a request with a body that is all there, where it is one of the usual kind."""
        try:
            opcode, flags, kind, size = _body(data, OPCODE_AT)
        except error:
            return None
        end = size + _DOCUMENT_AT
        if opcode != OP_MSG or kind != BODY or flags & _LONG_WAY_FLAGS or end > len(data) or size > _SHORT_BYTES:
            return None
        match = _command_match(data, _ELEMENTS_AT, end - 1)
        if match is None:
            return None
        names = match.groups()
        command = self._commands.get(names) or self._learn(names)
        name, _, _, target, targets, role = command
        words = _LONG_WAY_WORDS.get(role)
        if words is None or (role is Role.GET_MORE and data[_ELEMENTS_AT] != INT64_TYPE):
            return None
        for word in words:
            if data.find(word) >= 0:
                return None
        # A layout's keys are known; of an aggregation values count as well.
        usual: _Usual = end, flags, command, name, target, targets, words if role is Role.AGGREGATE else (), []
        if role is not Role.GET_MORE:
            self._layouts.missed(data, end, usual)
        return usual

    def _learn(self, names: tuple[bytes | None, ...]) -> Command:
        """The command whose names a match found, remembered."""
        string_first, value, int_first, collection, double_first, database = names
        name = string_first or int_first or double_first or b"getMore"
        command = command_of(name.decode("utf-8", "replace"), _string(value or collection), _string(database) or "")
        if len(self._commands) >= _MAX_COMMANDS:
            self._commands.clear()
        self._commands[names] = command
        return command

    def reply_to(self, head: Head, memory: Any = None) -> int:
        """The requestID that the reply answers. Raises ProtocolError."""
        try:
            response_to, opcode = _answer(head.data, _RESPONSE_TO_AT)
        except error as short:
            raise ProtocolError("the head is shorter than a message header") from short
        if opcode != OP_MSG and opcode not in REPLY_OPCODES and opcode != OP_COMPRESSED:
            raise ProtocolError(f"opcode {opcode} answers nothing")
        return response_to  # type: ignore[no-any-return]

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        """The reply that `head` begins. Raises ProtocolError."""
        known = request if isinstance(request, MongoRequest) else None
        if known is not None and known.plain:
            reply = _short_reply(head.data, head)
            if reply is not None:
                return reply
        message = open_message(head)
        reply = _short_reply(message.data, None) if known is not None and known.plain and message.compressor else None
        if reply is None:
            reply = read_reply(message, known, self._waiting)
            reply.windows = beside_data(message, reply, known)
            return reply
        reply.data, reply.compressor = message.captured, message.compressor
        return reply

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        """The session record's object `mongodb`; and `error`, `request`, `response`, which are no part of it."""
        return describe(session, literals=literals)

    def recordable(
        self, head: Head, message: Request | Reply | None, request: Request | None, *, literals: bool
    ) -> Head:
        """What may be written of a message that was parsed as `message`, or refused (None)."""
        return recordable(head, message, request, literals=literals)


def _short_reply(data: bytes, head: Head | None) -> MongoReply | None:
    """The reply where it is one of the usual kind, `ok: 1` and no errors, and that is to be seen.

    What was not captured in `data` may be in the `head`.
    """
    try:
        length, id, kind, size, first, first_bytes = _start_of_reply(data)
    except error:
        return None
    if kind != _PLAIN or size + _DOCUMENT_AT != length:
        return None
    at = _ELEMENTS_AT
    if first == _CURSOR:
        # The one long element of a good answer: step over it.
        at = _CURSOR_AT + first_bytes
        if first_bytes < MIN_DOCUMENT_BYTES:
            return None
    if length - at > _SHORT_BYTES:
        return None
    cursor_id = returned = None
    windows: Windows = ()
    cut = len(data) != length
    if not cut:
        answer = data[at:]
    else:
        if at <= len(data) or (head is not None and head.windows):
            return None
        # What follows the cursor is in the tail, or nowhere.
        tail = b"" if head is None else head.tail
        base = length - len(tail)
        if (at < base and tail) or base <= len(data):
            return None
        cursor_id, returned = behind_batch(data, tail, base)
        windows = ((base, tail),) if tail else ()
        answer = tail[at - base :] if tail else _OK_AND_NO_MORE
        if tail.find(STORED_CREDENTIAL) >= 0 or tail.find(SECOND_STORED_CREDENTIAL) >= 0:
            return None
    if answer != _OK_AND_NO_MORE:
        if not answer.startswith(_OK, 0, -1) and _ok_match(answer, 0, len(answer) - 1) is None:
            return None
        if answer.find(_WRITE) >= 0 and (_WRITE_ERRORS in answer or _WRITE_CONCERN_ERROR in answer):
            return None
    if data.find(STORED_CREDENTIAL) >= 0:
        return None
    reply = _new(MongoReply)
    reply.id = id
    reply.data = data
    reply.failure = None
    reply.continues = False
    if cut:
        reply.truncated, reply.cursor_id, reply.returned, reply.windows = True, cursor_id, returned, windows
    return reply


def _string(value: bytes | None) -> str | None:
    """A BSON string's text."""
    return None if value is None else value[4:-1].decode("utf-8", "replace")
