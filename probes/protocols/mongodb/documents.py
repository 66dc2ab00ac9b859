"""BSON read in place: element by element, as far as the captured bytes go (bsonspec.org, version 1.1).

A document that was cut gives all elements before the cut, and the one that the cut went through, which ends beyond what
is visible. Bytes that cannot be BSON raise ProtocolError. Nothing is decoded that nobody asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import starmap
from struct import Struct
from typing import NamedTuple

from bson import Decimal128

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.wire import INT32, INT64

DOUBLE, STRING, DOCUMENT, ARRAY, BINARY = 0x01, 0x02, 0x03, 0x04, 0x05
UNDEFINED, OBJECT_ID, BOOL, DATE, NULL, REGEX = 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B
DB_POINTER, CODE, SYMBOL, CODE_WITH_SCOPE = 0x0C, 0x0D, 0x0E, 0x0F
INT32_TYPE, TIMESTAMP, INT64_TYPE, DECIMAL128, MAX_KEY, MIN_KEY = 0x10, 0x11, 0x12, 0x13, 0x7F, 0xFF

MIN_DOCUMENT_BYTES = 5  # its length and its closing zero
MAX_FIELDS = 1024  # of a document that are looked at: no command and no answer has as many
_DOUBLE = Struct("<d")
_new_tuple = tuple.__new__

FIXED_BYTES = {
    DOUBLE: 8,
    UNDEFINED: 0,
    OBJECT_ID: 12,
    BOOL: 1,
    DATE: 8,
    NULL: 0,
    INT32_TYPE: 4,
    TIMESTAMP: 8,
    INT64_TYPE: 8,
    DECIMAL128: 16,
    MAX_KEY: 0,
    MIN_KEY: 0,
}
# Types that begin with an int32 length: the least it may be, and what the value has beyond it.
_PREFIXED = {
    STRING: (1, 4),
    DOCUMENT: (MIN_DOCUMENT_BYTES, 0),
    ARRAY: (MIN_DOCUMENT_BYTES, 0),
    BINARY: (0, 5),
    DB_POINTER: (1, 4 + 12),
    CODE: (1, 4),
    SYMBOL: (1, 4),
    CODE_WITH_SCOPE: (4 + 5 + 5, 0),
}
NUMERIC = frozenset({DOUBLE, BOOL, INT32_TYPE, INT64_TYPE, DECIMAL128})
TYPES = frozenset(FIXED_BYTES) | frozenset(_PREFIXED) | {REGEX}


class Element(NamedTuple):
    """One element: its type, its key, and its value: `data` from `start` to `end`, visible up to `stop`."""

    type: int
    key: bytes
    data: bytes
    start: int
    end: int
    stop: int

    @property
    def at(self) -> int:
        """Where the element itself begins: at its type."""
        return self.start - len(self.key) - 2

    @property
    def whole(self) -> bool:
        return self.end <= self.stop

    def text(self) -> str | None:
        """The string that this is; None where it is none or was cut."""
        if self.type != STRING or self.end > self.stop:
            return None
        return self.data[self.start + 4 : self.end - 1].decode("utf-8", "replace")

    def number(self) -> float | None:
        """The number that this is, of any numeric type; None where it is none or was cut."""
        if self.end > self.stop:
            return None
        if self.type == INT32_TYPE:
            return int(INT32.unpack_from(self.data, self.start)[0])
        if self.type == DOUBLE:
            return float(_DOUBLE.unpack_from(self.data, self.start)[0])
        if self.type == INT64_TYPE:
            return int(INT64.unpack_from(self.data, self.start)[0])
        if self.type == BOOL:
            return self.data[self.start]
        if self.type == DECIMAL128:
            return _decimal(self.data[self.start : self.end])
        return None

    def integer(self) -> int | None:
        """The number that this is, without its fraction; None where it is none, was cut or is not finite."""
        value = self.number()
        return None if value is None or value - value != 0 else int(value)

    def truth(self) -> bool | None:
        """What the server takes this for where it asks for a bool; None where it was cut."""
        if self.end > self.stop:
            return None
        value = self.number()
        return self.type not in (NULL, UNDEFINED) if value is None else value != 0


def _decimal(value: bytes) -> float:
    try:
        return float(Decimal128.from_bid(value).to_decimal())
    except (ValueError, ArithmeticError):  # a signalling NaN
        return float("nan")


class Document(NamedTuple):
    """The elements of a document within `data`: from `start`, visible up to `stop`, its closing zero at `end`.

    `rest` is what was captured further on, and its offset in `data`, were that whole: the message's tail.
    """

    data: bytes
    start: int
    stop: int
    end: int
    rest: tuple[int, bytes] | None = None

    @property
    def whole(self) -> bool:
        return self.stop == self.end

    def nested(self, element: Element | None) -> Document | None:
        """The document or array that `element` is, or of it what is visible; None where it is neither."""
        if element is None or element.type not in (DOCUMENT, ARRAY) or element.start + 4 > element.stop:
            return None
        _, _, data, start, end, stop = element
        return Document(data, start + 4, min(end - 1, stop), end - 1, self.rest if data is self.data else None)

    def find_at_end(self, key: bytes, types: Collection[int]) -> Element | None:
        """The element `key`, of one of `types`, where only the end of the document is visible (in `rest`).

        Where an element begins is not known there, and a value may hold any bytes: taken is the one place that reads
        as this element and from which elements go on to exactly the document's end. Two such are as good as none.
        """
        if self.rest is None:
            return None
        offset, data = self.rest
        end = self.end - offset
        if end < 0 or data[end : end + 1] != b"\0":
            return None
        found: Element | None = None
        needle = key + b"\0"
        at = data.find(needle, 1, end)
        for _ in range(_MAX_CANDIDATES):
            if at < 0:
                return found
            if data[at - 1] in types:
                try:
                    first, *_rest = elements(Document(data, at - 1, end, end))
                except ProtocolError:
                    pass
                else:
                    if found is not None:
                        return None
                    found = first
            at = data.find(needle, at + 1, end)
        return None


_MAX_CANDIDATES = 64


def open_document(data: bytes, at: int, limit: int, rest: tuple[int, bytes] | None = None) -> Document:
    """The document at `at`, which has to end by `limit` (the end of what encloses it, be it visible or not)."""
    if at + 4 > len(data):
        if at + MIN_DOCUMENT_BYTES > limit:
            raise ProtocolError("no room for a document")
        return Document(data, at, at, limit)
    (size,) = INT32.unpack_from(data, at)
    if size < MIN_DOCUMENT_BYTES or at + size > limit:
        raise ProtocolError(f"a document of {size} bytes where {limit - at} are left")
    end = at + size - 1
    return Document(data, at + 4, min(end, len(data)), end, rest)


def documents_from(data: bytes, at: int, limit: int) -> Iterator[Document]:
    """The documents that lie one after the other from `at` to `limit`, the last one maybe cut, up to a broken one."""
    while at < len(data):
        try:
            document = open_document(data, at, limit)
        except ProtocolError:
            return
        yield document
        at = document.end + 1


def walk(document: Document) -> Iterator[tuple[int, bytes, bytes, int, int, int]]:
    """The elements of `document` in order, as the fields of `Element`.

    One that was cut is the last, unless its end lies in the document's `rest`: then those after it follow. Raises
    ProtocolError on malformed ones.
    """
    data, at, stop, end, rest = document
    while at < stop:
        type = data[at]
        name_end = data.find(0, at + 1, stop)
        if name_end < 0:
            if stop == end:
                raise ProtocolError("a key without an end")
            return
        start = name_end + 1
        least, beyond = _SIZES[type]
        if least == _IS_FIXED:
            value_end = start + beyond
        elif least == _IS_ODD:
            value_end = _odd_end(data, type, start, stop)
        elif start + 4 > stop:
            value_end = 0
        else:
            (length,) = _int32(data, start)
            if length < least:
                raise ProtocolError(f"a value of {length} bytes")
            value_end = start + length + beyond
        if value_end > end or (not value_end and stop == end):
            raise ProtocolError("an element goes beyond its document")
        yield type, data[at + 1 : name_end], data, start, value_end or stop + 1, stop
        if not value_end:
            return
        at = value_end
        if at > stop and rest is not None and at >= rest[0]:
            offset, data = rest
            at, end = at - offset, end - offset
            stop, rest = min(end, len(data)), None


_IS_FIXED, _IS_ODD = -1, -2
# By type: the least that a value's length may be, and what the value has beyond it; or how long it is.
_SIZES = [
    (_IS_FIXED, FIXED_BYTES[type]) if type in FIXED_BYTES else _PREFIXED.get(type, (_IS_ODD, 0)) for type in range(256)
]
_int32 = INT32.unpack_from


def _odd_end(data: bytes, type: int, start: int, stop: int) -> int:
    """Where a value that is neither of fixed length nor begins with one ends; 0 where its end is not visible."""
    if type != REGEX:
        raise ProtocolError(f"BSON type {type:#x}")
    pattern_end = data.find(0, start, stop)
    options_end = data.find(0, pattern_end + 1, stop) if pattern_end >= 0 else -1
    return options_end + 1


def elements(document: Document) -> Iterator[Element]:
    """The elements of `document` in order; see there for what was cut. Raises ProtocolError on malformed ones."""
    return starmap(Element, walk(document))


def first_element(document: Document) -> Element | None:
    """The first element of `document`; None where there is none, or where it cannot be read."""
    try:
        return next(elements(document), None)
    except ProtocolError:
        return None


class Fields(dict[bytes, Element]):
    """Elements by their key. `complete`: all of the document could be read, so that a key not here is not there.

    `first` is the document's first element, whatever its key; None where there is none.
    """

    __slots__ = ("complete", "first")

    complete: bool
    first: Element | None

    def text(self, key: bytes) -> str | None:
        """The string `key`; None where it is not there, is none, or was cut. Likewise below."""
        element = self.get(key)
        return None if element is None else element.text()

    def integer(self, key: bytes) -> int | None:
        element = self.get(key)
        return None if element is None else element.integer()

    def truth(self, key: bytes) -> bool | None:
        element = self.get(key)
        return None if element is None else element.truth()


def find_fields(document: Document, keys: Collection[bytes]) -> Fields:
    """The first element of each of `keys`, as far as the document can be read."""
    found = Fields()
    found.complete = document.stop == document.end
    found.first = None
    try:
        for number, fields in enumerate(walk(document)):
            if not number:
                found.first = _new_tuple(Element, fields)
            key = fields[1]
            if key in keys and key not in found:
                found[key] = _new_tuple(Element, fields)
            if number == MAX_FIELDS:
                found.complete = False
                break
    except ProtocolError:
        found.complete = False
    return found


# The same grammar as a regular expression: one match in C walks over a dozen elements in the time that Python needs
# for two. It knows values shorter than 128 bytes only; what it does not match is read by `elements`. Each byte string
# has at most one parse, so that backtracking stays linear.
_SHORT = 128


def sized(least: int, beyond: int, closing: bytes = b"") -> bytes:
    """A value with an int32 length from `least` to 127, `beyond` further bytes, and `closing` as the last of them."""
    return (
        b"(?:"
        + b"|".join(
            re.escape(INT32.pack(length)) + b".{%d}" % (length + beyond - len(closing)) + re.escape(closing)
            for length in range(least, _SHORT)
        )
        + b")"
    )


_KEY = rb"[^\x00]*+\x00"
SHORT_STRING = sized(1, 0, b"\0")
SHORT_ELEMENT = (
    rb"(?:[\x01\x09\x11\x12]" + _KEY + rb".{8}"
    rb"|\x10" + _KEY + rb".{4}"
    rb"|\x08" + _KEY + rb"."
    rb"|[\x03\x04]" + _KEY + sized(MIN_DOCUMENT_BYTES, -4, b"\0") + rb"|[\x02\x0d\x0e]" + _KEY + SHORT_STRING
    + rb"|\x05" + _KEY + sized(0, 1)
    + rb"|[\x06\x0a\x7f\xff]" + _KEY
    + rb"|\x07" + _KEY + rb".{12}"
    rb"|\x13" + _KEY + rb".{16}"
    rb"|\x0b" + _KEY * 3 + rb")"
)  # fmt: skip


def others_than(keys: Collection[bytes]) -> bytes:
    """Any number of short elements of which none has one of `keys`."""
    return rb"(?:(?!.(?:" + b"|".join(map(re.escape, keys)) + rb")\x00)" + SHORT_ELEMENT + rb")*"
