"""Commands that differ from one seen before in nothing but values, as most of a driver's do.

A layout is what such messages have in common: every byte of opcode, flags and document but those of values, so all of
its types, keys and lengths, and the values that name what the command acts on. One unpacking in C sets these bytes
apart, one comparison says whether they are the same. What is not known, or not worth knowing, is None.

A layout is made once the same beginning has come again unrecognised, and ever more seldom where that does not help:
traffic that never repeats itself costs little more than without all this. Nothing here grows without bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct, error
from typing import Generic, TypeVar

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.documents import (
    ARRAY,
    BINARY,
    BOOL,
    CODE,
    DOCUMENT,
    FIXED_BYTES,
    STRING,
    SYMBOL,
    Document,
    open_document,
    walk,
)
from probes.protocols.mongodb.sections import SECTIONS_AT
from probes.protocols.mongodb.wire import OPCODE_AT

_DOCUMENT_AT = SECTIONS_AT + 1
_BEGINNING = slice(OPCODE_AT, OPCODE_AT + 32)  # to the middle of a collection's name, and before any other value
_KEPT = frozenset({b"$db", b"collection"})

MAX_DOCUMENT_BYTES = 1024
_MAX_VALUES = 32  # past that the grammar is as fast
_MAX_DEPTH = 8
_MAX_BEGINNINGS = 1024
_MAX_LAYOUTS = 2  # of one beginning
_MAX_PATIENCE = 256

T = TypeVar("T")


class _Known(Generic[T]):
    """What is known of the messages with one beginning."""

    __slots__ = ("hits", "layouts", "misses", "patience")

    def __init__(self) -> None:
        self.layouts: tuple[tuple[Callable[[bytes, int], tuple[bytes, ...]], tuple[bytes, ...], T], ...] = ()
        self.hits = self.misses = 0  # since the layouts last changed
        self.patience = 2  # misses after which they change again


class Layouts(Generic[T]):
    """The layouts, found again by how a message begins, with what was read of such messages."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known[T]] = {}

    def find(self, data: bytes) -> T | None:
        """What was read of messages like this one."""
        known = self._known.get(data[_BEGINNING])
        if known is None:
            return None
        try:
            for shared, its_own, read in known.layouts:
                if shared(data, OPCODE_AT) == its_own:
                    known.hits += 1
                    return read
        except error:  # the document was cut
            pass
        return None

    def missed(self, data: bytes, end: int, read: T) -> None:
        """This was read of a message that is not known, with a document that ends at `end`: others may be like it."""
        beginning = data[_BEGINNING]
        known = self._known.get(beginning)
        if known is None:
            if len(self._known) >= _MAX_BEGINNINGS:
                self._known.clear()
            known = self._known[beginning] = _Known()
        known.misses += 1
        if known.misses < known.patience:
            return
        shared = _shared(data, end) if known.hits >= known.misses or not known.layouts else None
        if shared is None:
            known.layouts = ()  # they are of no use
        else:
            layout = shared.unpack_from, shared.unpack_from(data, OPCODE_AT), read
            known.layouts = (layout, *known.layouts)[:_MAX_LAYOUTS]
        known.hits, known.misses, known.patience = 0, 0, min(known.patience * 2, _MAX_PATIENCE)


def _shared(data: bytes, end: int) -> Struct | None:
    """What of a message with one document that ends at `end` others have in common with it, from its opcode on."""
    if end > MAX_DOCUMENT_BYTES:
        return None
    try:
        values = list(_values(open_document(data, _DOCUMENT_AT, end), 0))
    except ProtocolError:
        return None
    if len(values) > _MAX_VALUES:
        return None
    format, at = "<", OPCODE_AT
    for start, stop in values:
        format += f"{start - at}s{stop - start}x"
        at = stop
    return Struct(f"{format}{end - at}s")


def _values(document: Document, depth: int) -> Iterator[tuple[int, int]]:
    """Where in a document values stand that say nothing of the command, and hold nothing of BSON's grammar."""
    for number, (type, key, data, start, end, _) in enumerate(walk(document)):
        if type in (DOCUMENT, ARRAY):
            if depth < _MAX_DEPTH:
                yield from _values(Document(data, start + 4, end - 1, end - 1), depth + 1)
            continue
        if type == BOOL or (not depth and (not number or key in _KEPT)):
            continue  # a driver's are nearly always the same, and each place less saves time
        if type in (STRING, CODE, SYMBOL):
            start, end = start + 4, end - 1
        elif type == BINARY:
            start += 5
        elif type not in FIXED_BYTES:
            continue
        if start < end:
            yield start, end
