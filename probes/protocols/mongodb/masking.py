"""What of a message may go into a recording: its shape and its names, not what users put into it.

In: a head, and what the parser made of it. Out: the head with every literal overwritten at the same length: all values
of documents but those listed here, which are the protocol's own (names, ids, limits, codes, counts). Keys, types and
lengths stay, so that it is read again as the same message of the same shape. Nothing is raised; what is not understood
becomes zeros.

A compressed message is compressed again, always by zlib, which leaves room: `compression.sealed`. Where there is none,
or it was not inflated, only its header is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from itertools import islice

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.checksums import crc32c, is_intact
from probes.protocols.mongodb.commands import Role
from probes.protocols.mongodb.compression import COMPRESSED_BYTES, sealed
from probes.protocols.mongodb.credentials import SECOND_STORED_CREDENTIAL, SECRET_WORDS, STORED_CREDENTIAL
from probes.protocols.mongodb.documents import (
    ARRAY,
    BINARY,
    CODE,
    CODE_WITH_SCOPE,
    DB_POINTER,
    DOCUMENT,
    FIXED_BYTES,
    MIN_DOCUMENT_BYTES,
    NUMERIC,
    REGEX,
    STRING,
    SYMBOL,
    TIMESTAMP,
    Document,
    Element,
    documents_from,
    elements,
    open_document,
    walk,
)
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.protocols.mongodb.opened import Message, Windows, open_message, read_name
from probes.protocols.mongodb.replies import OP_REPLY_DOCUMENTS_AT, answers_command, last_document
from probes.protocols.mongodb.sections import BODY, SECTIONS_AT, SEQUENCE
from probes.protocols.mongodb.wire import (
    AFTER_NAMESPACE,
    CHECKSUM_BYTES,
    CHECKSUM_PRESENT,
    HEADER_BYTES,
    INT32,
    NAMESPACE_AT,
    OP_COMMAND,
    OP_COMMANDREPLY,
    OP_COMPRESSED,
    OP_GET_MORE,
    OP_KILL_CURSORS,
    OP_MSG,
    OP_QUERY,
    OP_REPLY,
    QUERY_FAILURE,
)
from probes.records import Head, Reply, Request


class Kept(Enum):
    """Which values of a key stay as they are."""

    NUMBER = 0
    ANY = 1


NUMBER, ANY = Kept.NUMBER, Kept.ANY
Rules = dict[bytes, "Kept | Rules"]
"""What stays in a document, by key; in it what stays in a document or array under that key. All else is hidden."""

_NOTHING: Rules = {}
_EACH = b""  # each element of an array
_ITSELF = b"\1"  # where it is neither document nor array
_FIRST = b"\0"  # the first element of a command: no key holds a zero

_CLUSTER_TIME: Rules = {b"clusterTime": NUMBER}
_COMMAND: Rules = {
    **dict.fromkeys(
        (
            *(b"limit", b"skip", b"batchSize", b"singleBatch", b"ordered", b"maxTimeMS", b"maxAwaitTimeMS"),
            *(b"tailable", b"awaitData", b"noCursorTimeout", b"allowDiskUse", b"txnNumber", b"stmtId"),
            *(b"autocommit", b"startTransaction", b"numberToSkip", b"numberToReturn"),
        ),
        NUMBER,
    ),
    b"$db": ANY,
    b"lsid": {b"id": ANY},
    b"$clusterTime": _CLUSTER_TIME,
    b"readConcern": {b"level": ANY, b"afterClusterTime": NUMBER},
    b"writeConcern": {b"w": ANY, b"j": NUMBER, b"wtimeout": NUMBER},
    b"$readPreference": {b"mode": ANY},
    b"cursor": {b"batchSize": NUMBER},
    b"cursors": {_EACH: NUMBER},
    b"client": {
        b"application": {b"name": ANY},
        b"driver": {b"name": ANY, b"version": ANY},
        b"platform": ANY,
        b"os": {b"type": ANY, b"name": ANY, b"architecture": ANY, b"version": ANY},
    },
    b"hint": {_ITSELF: ANY, _EACH: NUMBER},
    b"nsInfo": {_EACH: {b"ns": ANY}},
}
_EXPLAINED: Rules = dict.fromkeys(
    (b"find", b"aggregate", b"count", b"distinct", b"delete", b"update", b"findAndModify", b"mapReduce"), ANY
)
_FAILED_WRITE: Rules = {b"ok": NUMBER, b"index": NUMBER, b"idx": NUMBER, b"code": NUMBER, b"n": NUMBER}
_FAILURE: Rules = {b"code": NUMBER, b"codeName": ANY}
_REPLY: Rules = {
    **_FAILURE,
    **dict.fromkeys(
        (
            *(b"ok", b"n", b"nModified", b"nErrors", b"nInserted", b"nMatched", b"nUpserted", b"nDeleted"),
            *(b"operationTime", b"isWritablePrimary", b"ismaster", b"secondary", b"maxWireVersion", b"connectionId"),
        ),
        NUMBER,
    ),
    b"cursor": {b"id": NUMBER, b"ns": ANY},
    b"cursorsKilled": {_EACH: NUMBER},
    b"cursorsNotFound": {_EACH: NUMBER},
    b"errorLabels": {_EACH: ANY},
    b"writeErrors": {_EACH: _FAILED_WRITE},
    b"writeConcernError": _FAILURE,
    b"lastErrorObject": {b"n": NUMBER, b"updatedExisting": NUMBER},
    b"upserted": {_EACH: {b"index": NUMBER}},
    b"$clusterTime": _CLUSTER_TIME,
}
_BULK_REPLY: Rules = {
    **_REPLY,
    b"cursor": {b"id": NUMBER, b"ns": ANY, b"firstBatch": {_EACH: _FAILED_WRITE}, b"nextBatch": {_EACH: _FAILED_WRITE}},
}
_SEQUENCES: Mapping[bytes, Rules] = {b"nsInfo": {b"ns": ANY}}
_NUMBERS = NUMERIC | {TIMESTAMP}
_NESTING = (DOCUMENT, ARRAY)
_USUAL = (STRING, DOCUMENT, ARRAY)
_PLAIN = frozenset(FIXED_BYTES)  # of which nothing but contents is there
_FLAT = frozenset({Role.PLAIN, Role.FIND, Role.GET_MORE})  # no other command can stand in these
_WITHOUT_CREDENTIALS = _FLAT | {Role.AGGREGATE, Role.ERRORS_ELSEWHERE}
_ZEROS = [bytes(FIXED_BYTES[kind]) if kind in FIXED_BYTES else None for kind in range(256)]
_int32 = INT32.unpack_from
_SECTION_BYTES = 5  # a section's kind and its size, or its document's
_MAX_DEPTH = 100
_OLD_BINARY = 2  # a subtype whose contents begin with their length once more
_ZEROLESS = bytes([0]) + b"x" * 255  # a translation: all but zeros become "x"


def recordable(head: Head, message: Request | Reply | None, request: Request | None, *, literals: bool) -> Head:
    """What may be written of a message; of one that the parser refused (None) its header."""
    asked = message if isinstance(message, MongoRequest) else request if isinstance(request, MongoRequest) else None
    nothing = head._replace(data=head.data[:HEADER_BYTES], tail=b"", windows=())
    if not isinstance(message, MongoRequest | MongoReply):
        return nothing
    if literals:
        kept = _with_literals(head, message, asked)
    else:
        try:
            opened = open_message(head)
        except ProtocolError:
            return nothing
        kept = _Masked(opened).of(message, asked, head)
    if kept.data[HEADER_BYTES:] or int.from_bytes(head.data[12:16], "little") != OP_COMPRESSED:
        return kept
    return kept._replace(data=head.data[:COMPRESSED_BYTES])  # so that it is known how it was compressed


def _with_literals(head: Head, message: MongoRequest | MongoReply, asked: MongoRequest | None) -> Head:
    """What the parser let through, and where it found no credentials what else was captured."""
    others = [other for other in (head.tail, *(window for _, window in head.windows)) if other]
    if len(message.data) < len(head.data) or not _without_credentials(message, asked, others):
        return head._replace(data=message.data, tail=b"", windows=())
    as_sent = len(message.data) in (len(head.data), head.total)
    return head._replace(data=message.data) if as_sent else head


def beside_data(message: Message, parsed: MongoRequest | MongoReply, asked: MongoRequest | None) -> Windows:
    """What may be kept of a message beside the data that its parser let through, as `MongoRequest.windows` are: as it
    was sent where no credentials are about, else masked. `asked` is the request that it is, or answers.
    """
    data, kept = message.data, len(parsed.data)
    if message.compressor or (not message.windows and kept >= len(data)):
        return ()
    if kept >= len(data) and _without_credentials(parsed, asked, [window for _, window in message.windows]):
        as_sent = kept == len(data)
        return message.windows if as_sent else ((HEADER_BYTES, data[HEADER_BYTES:]), *message.windows)
    (_, data), *windows = _Masked(message).pieces(parsed, asked)
    return tuple((start, window) for start, window in [(kept, data[kept:]), *windows] if any(window))


def _without_credentials(
    message: MongoRequest | MongoReply, asked: MongoRequest | None, others: Collection[bytes]
) -> bool:
    """Whether no credentials can be in what was captured of a message beside its head."""
    role = Role.UNSEEN if asked is None else asked.command.role
    if isinstance(message, MongoRequest):
        # What was between the head and the others is not known: it may have called for another role.
        return not others or (role in _FLAT and not any(word in other for other in others for word in SECRET_WORDS))
    stored = (STORED_CREDENTIAL, SECOND_STORED_CREDENTIAL)
    return role in _WITHOUT_CREDENTIALS and not any(word in other for other in others for word in stored)


def _of_command(request: MongoRequest) -> Rules:
    """What stays in a command: its first value where that is a number or says what the command acts on."""
    match request.operation.lower():
        case "getmore":
            return {**_COMMAND, _FIRST: NUMBER, b"collection": ANY}
        case "explain":
            return {**_COMMAND, _FIRST: _EXPLAINED}
    return {**_COMMAND, _FIRST: ANY if request.command.collection else NUMBER}


def _failed(reply: bytes) -> bool:
    """Whether an OP_REPLY to a query says that it failed."""
    return bool(reply[HEADER_BYTES : HEADER_BYTES + 1] and reply[HEADER_BYTES] & QUERY_FAILURE)


def _has_length(document: Document) -> bool:
    """Whether its length is before it: of one that was cut within that nobody knows where it begins."""
    data, start = document.data, document.start
    return start >= 4 and bool(INT32.unpack_from(data, start - 4)[0] == document.end - start + MIN_DOCUMENT_BYTES)


def _is_broken_text(element: Element) -> bool:
    """Whether this is a text that no name can be: what a wrong length took in besides."""
    return element.type == STRING and element.data.find(0, element.start + 4, min(element.end - 1, element.stop)) >= 0


def _overwrite(copied: bytearray, data: bytes, at: int, end: int, depth: int, others: list[Element]) -> None:
    """Overwrites the values of the elements from `at` to `end` in `copied`, a copy of `data`; of seldom types all, and
    tells which. The elements are those that `walk` finds, in half the time: most of a message is such ones.
    """
    if depth > _MAX_DEPTH:
        raise ProtocolError("nested too deep")
    while at < end:
        kind = data[at]
        start = data.find(0, at + 1, end) + 1
        zeros = _ZEROS[kind]
        if zeros is not None and start:
            at = start + len(zeros)
            copied[start:at] = zeros
        elif kind in _USUAL and 0 < start <= end - 4:
            (length,) = _int32(data, start)
            at = start + length + (4 if kind == STRING else 0)
            if length < (1 if kind == STRING else MIN_DOCUMENT_BYTES) or at > end:
                raise ProtocolError("an element goes beyond its document")
            if kind == STRING:
                copied[start + 4 : at - 1] = b"*" * (length - 1)
            else:
                _overwrite(copied, data, start + 4, at - 1, depth + 1, others)
        else:
            element = next(elements(Document(data, at, end, end)))
            at = element.end
            copied[start:at] = bytes(at - start)
            others.append(element)
    if at != end:
        raise ProtocolError("an element goes beyond its document")


class _Masked:
    """A message's pieces as zeros, into which is copied what may stay."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._pieces = [(0, message.data), *message.windows]
        self._clean = [bytearray(len(piece)) for _, piece in self._pieces]
        self._clean_of = {id(piece): clean for (_, piece), clean in zip(self._pieces, self._clean, strict=True)}

    def of(self, message: MongoRequest | MongoReply, asked: MongoRequest | None, head: Head) -> Head:
        """The head, masked."""
        opened = self._message
        (_, data), *others = self.pieces(message, asked)
        if opened.sealed:
            return head._replace(data=data[:HEADER_BYTES], tail=b"", windows=())
        if opened.compressor:
            captured = opened.captured
            if data != opened.data:
                captured = sealed(captured, data[HEADER_BYTES:], total=head.total)
            return head._replace(data=captured, tail=b"", windows=())
        if len(head.data) < len(data) == head.total:  # its tail completed it
            return head._replace(data=data[: len(head.data)], tail=data[len(head.data) :], windows=())
        windows = [(start, window) for start, window in others if any(window)]
        has_tail = windows and windows[-1][0] + len(windows[-1][1]) == head.total
        tail = windows.pop()[1] if has_tail else b""
        return head._replace(data=data, tail=tail, windows=tuple(windows))

    def pieces(self, message: MongoRequest | MongoReply, asked: MongoRequest | None) -> list[tuple[int, bytes]]:
        """The data and the windows, each with its offset, masked."""
        self._copy(self._message.data, 0, HEADER_BYTES)
        try:
            self._body(message, asked)
        except ProtocolError:
            pass  # what was copied until then is all that is understood
        self._checksum()
        return [(start, bytes(clean)) for (start, _), clean in zip(self._pieces, self._clean, strict=True)]

    def _body(self, message: MongoRequest | MongoReply, asked: MongoRequest | None) -> None:
        if isinstance(message, MongoRequest):
            self._request(message)
        else:
            self._reply(asked)

    # The messages by their opcode.

    def _request(self, request: MongoRequest) -> None:
        message = self._message
        data, rules = message.data, _of_command(request)
        if message.opcode == OP_MSG:
            self._sections(rules)
        elif message.opcode in AFTER_NAMESPACE:
            _, at = read_name(message, NAMESPACE_AT)
            at += AFTER_NAMESPACE[message.opcode]
            self._copy(data, HEADER_BYTES, at)
            if message.opcode == OP_QUERY and answers_command(request):
                rules = {**rules, b"$query": rules, b"query": rules}
            else:
                rules = _NOTHING
            if message.opcode != OP_GET_MORE:
                documents = documents_from(data, at, message.length)
                self._documents(islice(documents, 1), rules)
                self._documents(documents, _NOTHING)
        elif message.opcode == OP_KILL_CURSORS:
            self._copy(data, HEADER_BYTES, len(data))
        elif message.opcode == OP_COMMAND:
            _, at = read_name(message, HEADER_BYTES)
            _, at = read_name(message, at)
            self._copy(data, HEADER_BYTES, at)
            self._documents(documents_from(data, at, message.length), rules)

    def _reply(self, asked: MongoRequest | None) -> None:
        message = self._message
        data = message.data
        elsewhere = asked is not None and asked.command.role is Role.ERRORS_ELSEWHERE
        rules = _BULK_REPLY if elsewhere else _REPLY
        if message.opcode == OP_MSG:
            self._sections(rules)
        elif message.opcode == OP_REPLY:
            self._copy(data, HEADER_BYTES, OP_REPLY_DOCUMENTS_AT)
            if asked is None or not answers_command(asked):
                rules = _FAILURE if _failed(data) else _NOTHING
            self._documents(documents_from(data, OP_REPLY_DOCUMENTS_AT, message.length), rules)
        elif message.opcode == OP_COMMANDREPLY:
            self._documents(documents_from(data, HEADER_BYTES, message.length), rules)

    def _sections(self, rules: Rules) -> None:
        """The sections of an OP_MSG, in whatever pieces they lie."""
        message = self._message
        self._copy(message.data, HEADER_BYTES, SECTIONS_AT)
        at = SECTIONS_AT
        while at < message.length and (piece := self._piece(at)) is not None:
            base, data = piece
            here = at - base
            kind = data[here]
            if here + _SECTION_BYTES > len(data):
                if kind in (BODY, SEQUENCE):
                    self._copy(data, here, len(data))
                return
            (size,) = INT32.unpack_from(data, here + 1)
            if kind == BODY:
                self._copy(data, here, here + 1)
                body = open_document(data, here + 1, message.length - base, message.rest(base))
                self._document(body, rules, 0)
                self._end_of(body, rules)
            elif kind == SEQUENCE and size > 0:
                self._sequence(data, here, here + 1 + size)
            else:
                return
            at += 1 + size

    def _sequence(self, data: bytes, at: int, end: int) -> None:
        """The section of kind 1 at `at`: its size and its name stay."""
        stop = min(end, len(data))
        name_end = data.find(0, at + _SECTION_BYTES, stop)
        if name_end < 0:
            name_end = stop
        self._copy(data, at, name_end)
        rules = _SEQUENCES.get(data[at + _SECTION_BYTES : name_end], _NOTHING)
        self._documents(documents_from(data, name_end + 1, end), rules)

    def _checksum(self) -> None:
        """A new one, right if the old one was."""
        message = self._message
        if message.opcode != OP_MSG or not message.whole or message.compressor:
            return
        if len(message.data) > SECTIONS_AT and message.data[HEADER_BYTES] & CHECKSUM_PRESENT:
            checksum = crc32c(bytes(self._clean[0][:-CHECKSUM_BYTES])) ^ (0 if is_intact(message.data) else 0xFFFFFFFF)
            self._write(message.data, len(message.data) - CHECKSUM_BYTES, checksum.to_bytes(CHECKSUM_BYTES, "little"))

    # Documents.

    def _documents(self, documents: Iterable[Document], rules: Rules) -> None:
        for document in documents:
            if document.whole and not rules:
                self._hide_all(document, 0)
            else:
                self._document(document, rules, 0)

    def _document(self, document: Document, rules: Rules, depth: int) -> None:
        """Its length, its keys, its closing zero, which is there already, and of its values what `rules` let stay."""
        if depth > _MAX_DEPTH:
            raise ProtocolError("nested too deep")
        if _has_length(document):
            self._copy(document.data, document.start - 4, document.start)
        if not rules:
            document = self._without_whole_ones(document, depth)
        other, data, at = rules.get(_FIRST), document.data, document.start
        for element in elements(document):
            kind, key, data, start, end, stop = element
            rule = rules.get(key) or rules.get(_EACH) or other
            other, at = None, end
            nested = document.nested(element) if kind in _NESTING else None
            if nested is not None:
                self._copy(data, start - len(key) - 2, start)
                if nested.whole and not isinstance(rule, dict):
                    self._hide_all(nested, depth + 1)
                else:
                    self._document(nested, rule if isinstance(rule, dict) else _NOTHING, depth + 1)
                    self._last_of(nested)
                continue
            if isinstance(rule, dict):
                rule = rule.get(_ITSELF)
            stays = (rule is ANY and not _is_broken_text(element)) or (rule is NUMBER and kind in _NUMBERS)
            self._copy(data, start - len(key) - 2, min(end, stop) if stays else start)
            if not stays and kind not in _PLAIN:
                self._hide(element, depth)
        if data is document.data:
            self._copy(data, at, document.stop)  # the beginning of a key

    def _without_whole_ones(self, document: Document, depth: int) -> Document:
        """Hides the elements of a cut document in which nothing stays, up to the first one that is cut: from there on
        it is returned.
        """
        data, start, stop, end, rest = document
        visible = start
        try:
            for _, _, where, _, element_end, _ in walk(document):
                if where is not data or element_end > stop:
                    break
                visible = element_end
            self._hide_elements(data, start, visible, depth)
        except ProtocolError:
            return document  # one by one they are understood as far as can be
        return Document(data, visible, stop, end, rest)

    def _hide_all(self, document: Document, depth: int) -> None:
        """The same for a whole document in which nothing stays, several times faster: most are such ones."""
        self._copy(document.data, document.start - 4, document.start)
        self._hide_elements(document.data, document.start, document.end, depth)

    def _hide_elements(self, data: bytes, start: int, end: int, depth: int) -> None:
        part = data[start:end]
        copied, others = bytearray(part), list[Element]()
        _overwrite(copied, part, 0, len(part), depth, others)
        self._write(data, start, copied)
        for kind, key, _, begun, ended, _ in others:
            self._hide(Element(kind, key, data, begun + start, ended + start, end), depth)

    def _last_of(self, array: Document) -> None:
        """Of an array that was cut, of which the end is visible, the key and the length of its last document."""
        if array.rest is not None and not array.whole:
            offset, rest = array.rest
            last = last_document(rest, array.end - offset)
            if last is not None:
                self._copy(rest, last.start(), last.end(2))

    def _end_of(self, body: Document, rules: Rules) -> None:
        """What the parsers find at the end of a body of which the elements before it do not tell where it begins."""
        if body.rest is None or any(self._clean_of[id(body.rest[1])]):
            return
        data = body.rest[1]
        for key, types in ((b"$db", {STRING}), (b"ok", NUMERIC), (b"code", NUMERIC)):
            found = body.find_at_end(key, types)
            if found is not None:
                end = body.end - body.rest[0]
                for element in elements(Document(data, found.at, end, end)):
                    self._copy(data, element.at, element.start)
                    if element.key in rules and isinstance(rules[element.key], Kept):
                        self._copy(data, element.start, element.end)

    def _hide(self, element: Element, depth: int) -> None:
        """Copy of a value what is none of its contents."""
        kind, _, data, start, end, stop = element
        end_visible = min(end, stop)
        if kind in (STRING, CODE, SYMBOL, BINARY, DB_POINTER):
            self._copy(data, start, min(start + 4, stop))
        if kind in (STRING, CODE, SYMBOL):
            self._fill(data, start + 4, min(end - 1, stop))
        elif kind == BINARY:
            self._copy(data, start + 4, min(start + 5, stop))
            self._fill(data, start + 5, end_visible)
            if start + 4 < stop and data[start + 4] == _OLD_BINARY and end - start - 9 >= 0 and start + 9 <= stop:
                self._write(data, start + 5, INT32.pack(end - start - 9))
        elif kind == REGEX:
            self._write(data, start, data[start:end_visible].translate(_ZEROLESS))
        elif kind == CODE_WITH_SCOPE:
            self._scoped(element, depth)

    def _scoped(self, element: Element, depth: int) -> None:
        """Code with a scope: its length, a string, a document."""
        _, _, data, start, end, stop = element
        self._copy(data, start, min(start + 8, stop))
        if start + 8 <= stop:
            at = start + 8 + max(1, INT32.unpack_from(data, start + 4)[0])
            self._fill(data, start + 8, min(at - 1, stop))
            if at < stop:
                scope = open_document(data, at, end)
                self._document(scope._replace(stop=min(scope.stop, stop)), _NOTHING, depth + 1)

    # Bytes.

    def _piece(self, at: int) -> tuple[int, bytes] | None:
        """The piece in which offset `at` of the message lies."""
        return next((piece for piece in self._pieces if piece[0] <= at < piece[0] + len(piece[1])), None)

    def _copy(self, data: bytes, start: int, end: int) -> None:
        if start < end:
            these = data[start:end]
            self._clean_of[id(data)][start : start + len(these)] = these

    def _fill(self, data: bytes, start: int, end: int) -> None:
        self._write(data, start, b"*" * (end - start))

    def _write(self, data: bytes, start: int, these: bytes | bytearray) -> None:
        self._clean_of[id(data)][start : start + len(these)] = these
