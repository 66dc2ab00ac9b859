"""What a request asks, without its values: `find orders {created: {$gt: date}, status: str} sort {created: num}`.

In: the bytes that a request kept. Out: a text that is the same for requests that differ in values only, whichever
driver sends them: keys are kept, in order of the alphabet where their order means nothing; values are named by their
type, numbers of any type alike; the equal elements of an array are folded into one; what drivers add by themselves is
left out. Of several writes in one request the first one is taken. "…" stands where the bytes were cut, and where a
document is larger or deeper than anybody reads. "" where nothing of the request is to be seen. Never raises.

Most requests repeat a structure that was seen before: then their types and keys, collected by one regular expression
over BSON's grammar, lead to the text that was made from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.commands import command_of
from probes.protocols.mongodb.documents import (
    BINARY,
    BOOL,
    CODE,
    CODE_WITH_SCOPE,
    DATE,
    DB_POINTER,
    DECIMAL128,
    DOCUMENT,
    DOUBLE,
    INT32_TYPE,
    INT64_TYPE,
    MAX_KEY,
    MIN_KEY,
    NULL,
    OBJECT_ID,
    REGEX,
    SHORT_STRING,
    STRING,
    SYMBOL,
    TIMESTAMP,
    UNDEFINED,
    Document,
    Element,
    documents_from,
    elements,
    find_fields,
    first_element,
    sized,
)
from probes.protocols.mongodb.opened import Message, kept_message, read_name
from probes.protocols.mongodb.sections import FLAGS_AT, SECTIONS_AT, SEQUENCE, read_sections
from probes.protocols.mongodb.wire import (
    AFTER_NAMESPACE,
    CHECKSUM_PRESENT,
    HEADER_BYTES,
    INT32,
    NAMESPACE_AT,
    OP_COMMAND,
    OP_COMPRESSED,
    OP_DELETE,
    OP_GET_MORE,
    OP_INSERT,
    OP_KILL_CURSORS,
    OP_MSG,
    OP_QUERY,
    OP_UPDATE,
)

MAX_TEXT = 512
MAX_ELEMENTS = 512  # of one request
MAX_DEPTH = 12
CUT = "…"

_TYPE_NAMES = {
    DOUBLE: "num",
    INT32_TYPE: "num",
    INT64_TYPE: "num",
    DECIMAL128: "num",
    STRING: "str",
    SYMBOL: "str",
    BINARY: "bin",
    UNDEFINED: "null",
    NULL: "null",
    OBJECT_ID: "oid",
    BOOL: "bool",
    DATE: "date",
    REGEX: "regex",
    DB_POINTER: "ref",
    CODE: "code",
    CODE_WITH_SCOPE: "code",
    TIMESTAMP: "ts",
    MAX_KEY: "max",
    MIN_KEY: "min",
}
# What a command's meaning is made of, in the order in which it is told; the first ones need no name.
_UNNAMED = (b"filter", b"query", b"q", b"$query", b"pipeline", b"documents", b"deletes", b"updates", b"ops")
_NAMED = (
    *(b"u", b"update", b"key", b"fields", b"projection", b"sort", b"orderby", b"$orderby", b"hint", b"let"),
    *(b"arrayFilters", b"indexes"),
)
_PARTS = (*_UNNAMED, *_NAMED)
_ALL_PARTS = frozenset(_PARTS)
_FIRST_ONLY = frozenset({b"documents", b"deletes", b"updates", b"ops"})  # of their elements
_STATEMENTS = frozenset({b"deletes", b"updates"})  # which have parts of their own
_IN_ORDER = frozenset({b"sort", b"orderby", b"$orderby", b"$sort", b"hint", b"key"})
_STAGES = frozenset({b"pipeline", b"u", b"update"})  # arrays of which each element counts
_LEGACY = {OP_INSERT: "insert", OP_UPDATE: "update", OP_DELETE: "delete", OP_QUERY: "query", OP_GET_MORE: "getMore"}


def shape_of(data: bytes) -> str:
    """The shape of the request that kept `data`."""
    if data[12:HEADER_BYTES] == _COMPRESSED:
        try:
            data = kept_message(data).data
        except ProtocolError:
            return ""
    key = _structure(data)
    if key is None:
        return _read(data)
    shape = _known.get(key)
    if shape is None:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        shape = _known[key] = _read(data)
    return shape


_known: dict[bytes, str] = {}
_MAX_KNOWN, _MAX_KEY_BYTES, _MAX_QUICK_BYTES = 4096, 1024, 8192

_KEY = rb"[^\x00]*+\x00"
# A command's first element, whose value counts: it names the collection. Of getMore only its collection does.
_first_match = re.compile(
    rb"(?s)(\x02" + _KEY + SHORT_STRING + rb"|\x10" + _KEY + rb".{4}|\x01" + _KEY + rb".{8})"
    rb"|\x12(getMore\x00).{8}(\x02collection\x00" + SHORT_STRING + rb")"
).match  # fmt: skip
# Found is each element's type and key, and nothing of what is not to be read in this way, to the end.
_structure_of = re.compile(
    rb"(?s)(?=(.[^\x00]*+\x00))(?:\x00"
    rb"|\x03lsid\x00\x1e\x00{3}\x05id\x00\x10\x00{3}\x04.{16}\x00"
    rb"|[\x03\x04]" + _KEY + rb".{4}"
    rb"|\x02" + _KEY + SHORT_STRING
    + rb"|[\x01\x09\x11\x12]" + _KEY + rb".{8}"
    rb"|\x10" + _KEY + rb".{4}"
    rb"|\x08" + _KEY + rb"."
    rb"|\x07" + _KEY + rb".{12}"
    rb"|\x0a" + _KEY
    + rb"|\x05" + _KEY + sized(0, 1) + rb")|.+"
).findall  # fmt: skip
_BODY_AT = SECTIONS_AT + 1
_ELEMENTS_AT = _BODY_AT + 4


def _structure(data: bytes) -> bytes | None:
    """All that the shape of an OP_MSG follows from; None where that takes a closer look."""
    size = len(data)
    if size < _ELEMENTS_AT or data[12:FLAGS_AT] != _MESSAGE or data[FLAGS_AT] & CHECKSUM_PRESENT or data[SECTIONS_AT]:
        return None
    end = _BODY_AT + int.from_bytes(data[_BODY_AT:_ELEMENTS_AT], "little") - 1
    first = _first_match(data, _ELEMENTS_AT, end)
    if first is None or end >= size or end > _MAX_QUICK_BYTES:
        return None
    found = _structure_of(data, first.end(), end)
    sequence = b""
    if end + 1 < size:
        name_at = end + 6
        at = data.find(0, name_at) + 1
        if data[end + 1] != SEQUENCE or not at:
            return None
        document_end = at + int.from_bytes(data[at : at + 4], "little") - 1
        if not at + 3 < document_end < size or document_end - at > _MAX_QUICK_BYTES:
            return None
        sequence = data[name_at:at]
        found += _structure_of(data, at + 4, document_end)
    key = b"".join((*first.groups(b""), sequence, *found))
    return None if b"" in found or len(key) > _MAX_KEY_BYTES else key


_MESSAGE, _COMPRESSED = INT32.pack(OP_MSG), INT32.pack(OP_COMPRESSED)


def _read(data: bytes) -> str:
    try:
        shape = _Reading().of_message(kept_message(data))
    except ProtocolError:
        return ""
    return shape if len(shape) <= MAX_TEXT else shape[: MAX_TEXT - 1] + CUT


class _Reading:
    """One request being read: only so many of its elements."""

    def __init__(self) -> None:
        self._left = MAX_ELEMENTS

    def of_message(self, message: Message) -> str:
        """Raises ProtocolError."""
        if len(message.data) <= HEADER_BYTES:
            return ""
        if message.opcode == OP_MSG:
            return self._op_msg(message)
        if message.opcode in AFTER_NAMESPACE:
            return self._on_namespace(message)
        if message.opcode == OP_COMMAND:
            _, at = read_name(message, HEADER_BYTES)
            name, at = read_name(message, at)
            documents = documents_from(message.data, at, message.length)
            its_own = (each for each in documents if _first_key(each) == name.encode())
            return self._command(next(its_own, None), name)
        return "killCursors" if message.opcode == OP_KILL_CURSORS else ""

    def _op_msg(self, message: Message) -> str:
        sections = read_sections(message)
        if sections.body is None or sections.base:
            return ""
        sequences = {}
        for sequence in sections.sequences[:1]:
            data = message.data[: sequence.stop]
            sequences[sequence.identifier] = next(documents_from(data, sequence.start, sequence.end), None)
        shape = self._command(sections.body, sequences=sequences)
        unseen = not message.whole and sections.body.whole and not sequences
        return f"{shape} {CUT}" if unseen else shape

    def _on_namespace(self, message: Message) -> str:
        """The operations before OP_MSG, told as the commands that came after them."""
        namespace, at = read_name(message, NAMESPACE_AT)
        collection = namespace.partition(".")[2]
        found = list(islice(documents_from(message.data, at + AFTER_NAMESPACE[message.opcode], message.length), 2))
        match message.opcode, found:
            case 2004, [query, *_] if collection == "$cmd":
                inner = query.nested(find_fields(query, {b"$query"}).get(b"$query"))
                return self._command(query if inner is None else inner)
            case 2004, [query, *_]:
                wrapped = find_fields(query, {b"$query"})
                parts = self._parts(query, {}) if wrapped else self._part("", self._document(query))
                return _joined("query", collection, parts)
            case 2001, [selector, change]:
                parts = self._part("", self._document(selector)) + self._part("u", self._document(change))
                return _joined("update", collection, parts)
            case opcode, [document, *_]:
                return _joined(_LEGACY[opcode], collection, self._part("", self._document(document)))
            case opcode, _:
                return _joined(_LEGACY[opcode], collection, [])

    def _command(
        self,
        document: Document | None,
        name: str = "",
        sequences: Mapping[bytes, Document | None] | None = None,
        *,
        explained: bool = False,
    ) -> str:
        """The command that `document` is, if there is one, else the one that is called `name`."""
        first = first_element(document) if document is not None else None
        if document is None or first is None:
            return name
        name = first.key.decode("utf-8", "replace")
        if name.lower() == "explain" and not explained:
            return f"{name} {self._command(document.nested(first), explained=True)}"
        acted_on = find_fields(document, {b"collection"}).get(b"collection") if name.lower() == "getmore" else first
        collection = command_of(name, acted_on.text() if acted_on is not None else None, "").collection
        return _joined(name, collection, self._parts(document, sequences or {}, besides=first.key))

    def _parts(
        self, document: Document, sequences: Mapping[bytes, Document | None], *, besides: bytes = b""
    ) -> list[str]:
        """What a command's or a statement's meaning is made of, `besides` its name."""
        fields = find_fields(document, _ALL_PARTS)
        parts: list[str] = []
        for key in _PARTS:
            name = "" if key in _UNNAMED else key.decode()
            statement = sequences.get(key)
            if key in fields and key != besides and statement is None:
                nested = document.nested(fields[key])
                if nested is None or key not in _FIRST_ONLY or nested.start >= nested.stop:
                    parts += self._part(name, self._value(document, fields[key]))
                    continue
                statement = nested.nested(first_element(nested))
            if statement is not None and key in _STATEMENTS:
                parts += self._parts(statement, {})
            elif statement is not None:
                parts += self._part(name, self._document(statement))
        # Where the cut went through writes of which the first one is there, nothing is missing.
        among_writes = any(key in fields and not fields[key].whole for key in _FIRST_ONLY)
        if not fields.complete and not document.whole and not among_writes and CUT not in "".join(parts):
            parts.append(CUT)
        return parts

    @staticmethod
    def _part(name: str, value: str) -> list[str]:
        """One of them; none where there is nothing in it: some drivers leave it out then, others do not."""
        return [] if value in ("{}", "[]") else [f"{name} {value}" if name else value]

    def _value(self, parent: Document, element: Element, depth: int = 0) -> str:
        nested = parent.nested(element)
        if nested is None:
            return _TYPE_NAMES.get(element.type, CUT)
        if element.type == DOCUMENT:
            return self._document(nested, in_order=element.key in _IN_ORDER, depth=depth)
        return self._array(nested, each=element.key in _STAGES, depth=depth)

    def _document(self, document: Document, *, in_order: bool = False, depth: int = 0) -> str:
        found = [
            (element.key, f"{element.key.decode('utf-8', 'replace')}: {value}")
            for element, value in self._values(document, depth)
        ]
        texts = [text for _, text in (found if in_order else sorted(found))]
        return "{" + ", ".join(self._with_cut(document, texts, depth)) + "}"

    def _array(self, array: Document, *, each: bool, depth: int) -> str:
        """The elements' values: each of them, or those that differ: types by the alphabet, documents as sent."""
        values = [value for _, value in self._values(array, depth)]
        if not each:
            nested = [value for value in dict.fromkeys(values) if value[0] in "{["]
            values = sorted({value for value in values if value[0] not in "{["}) + nested
        return "[" + ", ".join(self._with_cut(array, values, depth)) + "]"

    def _values(self, document: Document, depth: int) -> Iterator[tuple[Element, str]]:
        if depth < MAX_DEPTH:
            for element in elements(document):
                if not self._left:
                    return
                self._left -= 1
                yield element, self._value(document, element, depth + 1)

    def _with_cut(self, document: Document, texts: list[str], depth: int) -> list[str]:
        """Those of a document's elements, and a sign where there were more."""
        cut = not document.whole or not self._left or depth >= MAX_DEPTH
        return [*texts, CUT] if cut and not (texts and texts[-1].endswith(CUT)) else texts


def _first_key(document: Document) -> bytes:
    first = first_element(document)
    return b"" if first is None else first.key


def _joined(name: str, collection: str, parts: list[str]) -> str:
    return " ".join(part for part in (name, collection, *parts) if part)
