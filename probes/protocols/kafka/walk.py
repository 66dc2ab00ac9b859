"""Read a message body that may be cut anywhere: what is complete comes out, nothing wrong does.

In: a `Layout`, the bytes of a message's head (and the windows kept of its middle), its true length. Out: a `Walk` with
the fields as a dict of plain values and what ended the reading. Raises nothing. A declared length or count is held
against what is left of the whole message before anything is taken or allocated; at most `MAX_ELEMENTS` array elements
are made of one message.

Kafka protocol guide, "Protocol Primitive Types"; KIP-482 (compact types, tagged fields); KIP-893 (nullable structs).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from probes.protocols.kafka.table import FIXED_SIZES, Field, Layout

MAX_ELEMENTS = 1_800  # so many take less than 10 ms and 1 MiB

Windows = tuple[tuple[int, bytes], ...]


class Ending(IntEnum):
    """Why a walk ended."""

    WHOLE = 0  # every field was read
    CUT = 1  # the captured bytes end
    FULL = 2  # MAX_ELEMENTS were made
    MALFORMED = 3  # the bytes contradict the layout or the message's length


class Blob(NamedTuple):
    """Where a value of type bytes or records lies in the message; its bytes need not have been captured."""

    start: int
    length: int


class Walk(NamedTuple):
    message: dict[str, Any]
    ending: Ending
    end: int  # offset in the message after the last byte read
    found: list[tuple[int, int]]  # [start, end) of the fields asked for
    unknown_tags: int


class _StoppedError(Exception):
    def __init__(self, ending: Ending) -> None:
        self.ending = ending


_NUMBERS: dict[str, Callable[[bytes, int], tuple[Any, ...]]] = {
    "bool": Struct(">?").unpack_from,
    "int8": Struct(">b").unpack_from,
    "int16": Struct(">h").unpack_from,
    "uint16": Struct(">H").unpack_from,
    "int32": Struct(">i").unpack_from,
    "uint32": Struct(">I").unpack_from,
    "int64": Struct(">q").unpack_from,
    "float64": Struct(">d").unpack_from,
}


def uuid_text(raw: bytes) -> str:
    """A UUID as Kafka's own tools print it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes behind `uuid_text`."""
    return base64.urlsafe_b64decode(text + "==")


def walk(
    layout: Layout,
    data: bytes,
    start: int,
    total: int,
    windows: Windows = (),
    wanted: Iterable[str] = (),
    header_tags: bool = False,
) -> Walk:
    """Read the body at offset `start` of a message of `total` bytes, its length prefix included.

    `header_tags`: the tags of a flexible header are still to come before the body.
    `found` lists the places of all fields whose name is in `wanted`; of one that is cut, the place that it would have.
    """
    reader = _Reader(data, start, total, windows, frozenset(wanted))
    message: dict[str, Any] = {}
    ending = Ending.WHOLE
    try:
        if header_tags:
            reader.tags({}, {})
        reader.struct(layout, message)
    except _StoppedError as stopped:
        ending = stopped.ending
    return Walk(message, ending, reader.position, reader.found, reader.unknown_tags)


class _Reader:
    """A position in a message. All positions are offsets from the message's first byte."""

    __slots__ = ("budget", "found", "piece", "piece_start", "position", "total", "unknown_tags", "wanted", "windows")

    def __init__(self, data: bytes, position: int, total: int, windows: Windows, wanted: frozenset[str]) -> None:
        self.piece, self.piece_start = data, 0
        self.position = position
        self.total = max(total, len(data))
        self.windows = windows
        self.wanted = wanted
        self.found: list[tuple[int, int]] = []
        self.budget = MAX_ELEMENTS
        self.unknown_tags = 0

    def struct(self, layout: Layout, into: dict[str, Any]) -> None:
        for field in layout.fields:
            self.field(field, layout.flexible, into)
        if layout.flexible:
            self.tags(layout.tagged, into)

    def field(self, field: Field, flexible: bool, into: dict[str, Any]) -> None:
        if field.array:
            self.array(field, flexible, into)
        elif field.struct is not None:
            if field.nullable and self.number("int8") < 0:
                into[field.name] = None
            else:
                self.nested(field.struct, lambda value: into.__setitem__(field.name, value))
        elif field.name in self.wanted:
            into[field.name] = self.wanted_value(field.type, flexible)
        else:
            into[field.name] = self.value(field.type, flexible)

    def array(self, field: Field, flexible: bool, into: dict[str, Any]) -> None:
        count = self.length(flexible, "int32")
        if count < 0:
            into[field.name] = None
            return
        if count > self.total - self.position:  # every element takes a byte at least
            raise _StoppedError(Ending.MALFORMED)
        elements: list[Any] = []
        into[field.name] = elements
        for _ in range(count):
            if not self.budget:
                raise _StoppedError(Ending.FULL)
            self.budget -= 1
            if field.struct is not None:
                self.nested(field.struct, elements.append)
            else:
                elements.append(self.value(field.type, flexible))

    def nested(self, layout: Layout, keep: Callable[[dict[str, Any]], None]) -> None:
        """Read a struct; one that is cut is kept if any of its fields is complete."""
        value: dict[str, Any] = {}
        try:
            self.struct(layout, value)
        except _StoppedError:
            if value:
                keep(value)
            raise
        keep(value)

    def tags(self, known: dict[int, Field], into: dict[str, Any]) -> None:
        for _ in range(self.uvarint()):
            tag, size = self.uvarint(), self.uvarint()
            end = self.position + size
            if end > self.total:
                raise _StoppedError(Ending.MALFORMED)
            if tag in known:
                self.field(known[tag], True, into)
                if self.position > end:
                    raise _StoppedError(Ending.MALFORMED)
            else:
                self.unknown_tags += 1
            self.skip(end - self.position)

    def value(self, kind: str, flexible: bool) -> Any:
        if kind in _NUMBERS:
            return self.number(kind)
        if kind == "uuid":
            return uuid_text(self.take(16))
        length = self.length(flexible, "int16" if kind == "string" else "int32")
        if length < 0:
            return None
        if kind == "string":
            return self.take(length).decode("utf-8", "replace")
        blob = Blob(self.position, length)
        self.skip(length)
        return blob

    def wanted_value(self, kind: str, flexible: bool) -> Any:
        """Like `value` for a type with a length; its place is noted even where the value itself is cut."""
        start = self.position
        length = self.length(flexible, "int16" if kind == "string" else "int32")
        self.found.append((self.position, self.position + max(length, 0)))
        self.position = start
        return self.value(kind, flexible)

    def length(self, flexible: bool, kind: str) -> int:
        """A declared length or count, -1 for null. Bounded by the message only where it is taken or skipped."""
        length: int = self.uvarint() - 1 if flexible else self.number(kind)
        if length < -1:
            raise _StoppedError(Ending.MALFORMED)
        return length

    def number(self, kind: str) -> Any:
        at = self.at(FIXED_SIZES[kind])
        return _NUMBERS[kind](self.piece, at)[0]

    def uvarint(self) -> int:
        result = 0
        for shift in range(0, 35, 7):
            byte = self.piece[self.at(1)]
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
        raise _StoppedError(Ending.MALFORMED)

    def take(self, size: int) -> bytes:
        at = self.at(size)
        return self.piece[at : at + size]

    def at(self, size: int) -> int:
        """The index in the piece of the next `size` bytes, which are then behind the position."""
        at = self.position - self.piece_start
        if at + size > len(self.piece):
            if self.position + size > self.total:
                raise _StoppedError(Ending.MALFORMED)
            raise _StoppedError(Ending.CUT)
        self.position += size
        return at

    def skip(self, size: int) -> None:
        """Move on over bytes that need not have been captured, into the next window where there is one."""
        self.position += size
        if self.position > self.total:
            raise _StoppedError(Ending.MALFORMED)
        if self.position > self.piece_start + len(self.piece):
            for start, window in self.windows:
                if start <= self.position < start + len(window):
                    self.piece, self.piece_start = window, start
                    break


class Trace(NamedTuple):
    """Where a message has what is no literal, as [start, end), and its fields of type records, as they came."""

    kept: list[tuple[int, int]]
    records: list[Blob]


def trace(
    layout: Layout,
    data: bytes,
    start: int,
    total: int,
    windows: Windows,
    kept_texts: Callable[[Field], bool],
    header_tags: bool = False,
) -> Trace:
    """What `walk` reads: numbers, ids and lengths, and of the texts those of the fields that `kept_texts` names."""
    tracer = _Tracer(data, start, total, windows, kept_texts)
    try:
        if header_tags:
            tracer.tags({}, {})
        tracer.struct(layout, {})
    except _StoppedError:
        pass
    return Trace(tracer.kept, tracer.records)


class _Tracer(_Reader):
    __slots__ = ("kept", "kept_texts", "records", "text_is_kept")

    def __init__(
        self, data: bytes, position: int, total: int, windows: Windows, kept_texts: Callable[[Field], bool]
    ) -> None:
        super().__init__(data, position, total, windows, frozenset())
        self.kept: list[tuple[int, int]] = []
        self.records: list[Blob] = []
        self.kept_texts = kept_texts
        self.text_is_kept = False

    def field(self, field: Field, flexible: bool, into: dict[str, Any]) -> None:
        self.text_is_kept = self.kept_texts(field)
        super().field(field, flexible, into)

    def value(self, kind: str, flexible: bool) -> Any:
        value = super().value(kind, flexible)
        if kind == "records" and isinstance(value, Blob):
            self.records.append(value)
        if kind == "string" and value and not self.text_is_kept:
            self.kept.pop()  # its bytes were the last that were read
        return value

    def at(self, size: int) -> int:
        at = super().at(size)
        self.kept.append((self.position - size, self.position))
        return at
