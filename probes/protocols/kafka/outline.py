"""What of record batches is no user's: their headers, the records' own numbers, their headers' keys, trace contexts.

In: bytes, of which any part may be missing. Out: places. Raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAGIC_AT, _BEFORE_LENGTH = 16, 12
_HEADER_BYTES = {0: 18, 1: 26, 2: 61}  # by magic; `batches` has their fields
_CHECKSUM_AT = {0: 12, 1: 12, 2: 17}
_ATTRIBUTES_AT = 22  # the low byte
_COMPRESSION = 0x07

# A trace context's headers, as far as they are ids.
_TRACES = {
    b"traceparent": re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"),
    b"b3": re.compile(rb"(?:[0-9a-f]{16}|[0-9a-f]{32})-[0-9a-f]{16}(?:-[01d])?(?:-[0-9a-f]{16})?$"),
    b"x-b3-traceid": re.compile(rb"(?:[0-9a-f]{16}|[0-9a-f]{32})$"),
    b"x-b3-spanid": re.compile(rb"[0-9a-f]{16}$"),
    b"sw8": re.compile(rb"1-[A-Za-z0-9+/=]{4,340}-[A-Za-z0-9+/=]{4,340}-[0-9]{1,9}(?:-|$)"),
}

Places = Iterator[tuple[int, int]]


def outline(data: bytes, start: int, length: int) -> Places:
    """Where the `length` bytes of batches at data[start] have what nobody put into them, as [start, end).

    Without the checksums, which tell of the contents. Of a compressed batch the header alone.
    """
    end = start + length
    while end - start > _MAGIC_AT and start + _MAGIC_AT < len(data):
        magic = data[start + _MAGIC_AT]
        size = int.from_bytes(data[start + 8 : start + 12], "big", signed=True) + _BEFORE_LENGTH
        header = _HEADER_BYTES.get(magic)
        if header is None or size < header:
            return
        checksum = start + _CHECKSUM_AT[magic]
        yield start, checksum
        yield checksum + 4, start + header
        if magic == 2 and start + header <= len(data) and not data[start + _ATTRIBUTES_AT] & _COMPRESSION:
            yield from _records(data, start + header, min(start + size, end, len(data)))
        start += size


def _records(data: bytes, at: int, end: int) -> Places:
    """What is to be kept of the records from `at` to `end`, the last of them maybe cut.

    Record: length varint, attributes int8, timestampDelta varlong, offsetDelta varint, key and value each with a
    varint length, the headers' count varint, of each header key and value likewise (varints are zigzag).
    """
    try:
        while at < end:
            first = at
            _, at = _varint(data, at, end)
            _, at = _varint(data, at + 1, end)
            _, at = _varint(data, at, end)
            for _ in ("key", "value"):
                size, at = _varint(data, at, end)
                yield first, at
                at = first = at + max(size, 0)
            count, at = _varint(data, at, end)
            for _ in range(count):
                size, key_at = _varint(data, at, end)
                key = data[key_at : key_at + max(size, 0)]
                size, at = _varint(data, key_at + len(key), end)
                yield first, at
                value = data[at : min(at + max(size, 0), end)]
                trace = _TRACES.get(key.lower())
                found = trace.match(value) if trace is not None and len(value) == size else None
                if found is not None:
                    yield at, at + found.end()
                at = first = at + max(size, 0)
            yield first, at
    except IndexError:
        return


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint, and the offset after it. Raises IndexError where it does not end before `end`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value >> 1 ^ -(value & 1), at
    raise IndexError
