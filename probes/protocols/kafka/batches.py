"""Record batches, as far as their headers tell, and the trace context in the first records' headers.

Message format v2 (KIP-98) and the message sets of v0 and v1 before it. In: bytes, of which any part may be missing.
Out: what is certain. Raises nothing; work is bounded by the bytes, and by MAX_RECORDS where records are read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

# baseOffset int64, batchLength int32, partitionLeaderEpoch int32, magic int8, crc uint32, attributes int16,
# lastOffsetDelta int32, baseTimestamp int64, maxTimestamp int64, producerId int64, producerEpoch int16,
# baseSequence int32, recordsCount int32; batchLength counts what follows it.
_BATCH = Struct(">qiibIhiqqqhii")
# offset int64, size int32, crc int32, magic int8, attributes int8, timestamp int64 (v1 only)
_MESSAGE = {0: Struct(">qiibb"), 1: Struct(">qiibbq")}
_BEFORE_LENGTH = 12
_MAGIC_AT = 16
_COMPRESSION, _TRANSACTIONAL, _CONTROL = 0x07, 0x10, 0x20
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
MAX_RECORDS = 64  # that are read in search of a trace context


class Batches(NamedTuple):
    """What the headers of a partition's batches say; `records` of those seen, which are all of them if `whole`.

    From the first batch: `magic`, `compression`, producer id and epoch (-1 for none), the transactional and the
    control bit, `base_offset`, and the `base_timestamp` (ms since the epoch, -1 for none). `max_timestamp` is of all.
    """

    whole: bool
    batches: int
    records: int
    magic: int
    compression: str
    base_offset: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int = -1
    producer_epoch: int = -1
    transactional: bool = False
    control: bool = False


def batches(data: bytes, start: int, length: int) -> Batches | None:
    """Of the `length` bytes at data[start]; None where not one header is visible.

    The last batch of a Fetch reply may be cut by the broker (its size limit): it then does not count.
    """
    first, batches, records, latest, whole = None, 0, 0, -1, True
    end = start + length
    for each, size in _headers(data, start, end):
        if each is None:
            whole = False
            break
        start += size
        if start > end:
            break
        first = first or each
        batches += 1
        records += each.records
        latest = max(latest, each.max_timestamp)
        whole = whole and each.whole
    return first and first._replace(whole=whole, batches=batches, records=records, max_timestamp=latest)


def _headers(data: bytes, start: int, end: int) -> Iterator[tuple[Batches | None, int]]:
    """Each header and the size of what it begins; None for one that is not visible, or none."""
    while end - start > _MAGIC_AT:
        if start + _MAGIC_AT >= len(data):
            yield None, 0
            return
        magic = data[start + _MAGIC_AT]
        layout = _BATCH if magic == 2 else _MESSAGE.get(magic)
        size = int.from_bytes(data[start + 8 : start + 12], "big", signed=True) + _BEFORE_LENGTH
        if layout is None or size < layout.size or start + layout.size > len(data):
            if layout is None or end - start >= layout.size:  # else the broker cut it
                yield None, 0
            return
        fields = layout.unpack_from(data, start)
        each = _batch(fields) if magic == 2 else _message(fields)
        yield each, size
        if each is None:
            return
        start += size


def _batch(fields: tuple[int, ...]) -> Batches | None:
    offset, _, _, magic, _, attributes, _, base, latest, producer, epoch, _, records = fields
    if records < 0:
        return None
    bits = bool(attributes & _TRANSACTIONAL), bool(attributes & _CONTROL)
    return Batches(True, 1, records, magic, _compression(attributes), offset, base, latest, producer, epoch, *bits)


def _message(fields: tuple[int, ...]) -> Batches:
    """A compressed one holds a set of messages: how many, its header does not say."""
    offset, _, _, magic, attributes, *timestamp = fields
    plain = not attributes & _COMPRESSION
    time = timestamp[0] if timestamp else -1
    return Batches(plain, 1, int(plain), magic, _compression(attributes), offset, time, time)


def _compression(attributes: int) -> str:
    codec = attributes & _COMPRESSION
    return _COMPRESSIONS[codec] if codec < len(_COMPRESSIONS) else f"codec {codec}"


class Trace(NamedTuple):
    """The trace that a record belongs to, and the span that sent it."""

    trace_id: str
    span_id: str


def trace(data: bytes, start: int, length: int) -> Trace | None:
    """The first trace context in the headers of the records of the batch at data[start].

    W3C's traceparent, Zipkin's b3 and X-B3-…, SkyWalking's sw8. None where there is none, or it is not visible.
    """
    summary = batches(data, start, length)
    if summary is None or summary.magic != 2 or summary.compression != "none":
        return None
    size = int.from_bytes(data[start + 8 : start + 12], "big", signed=True) + _BEFORE_LENGTH
    reader = _Records(data, start + _BATCH.size, min(start + size, start + length, len(data)))
    try:
        for _ in range(min(summary.records, MAX_RECORDS)):
            found = _trace_of(reader.headers())
            if found is not None:
                return found
    except IndexError:
        return None
    return None


class _Records:
    """Reads records one after the other. Raises IndexError where the bytes end, or contradict themselves."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data, self.position, self.end = data, position, end

    def headers(self) -> dict[bytes, bytes]:
        """The headers of the next record."""
        end = self.varint() + self.position
        self.take(1)  # attributes
        self.varint()  # timestamp and offset, as differences
        self.varint()
        for _ in ("key", "value"):
            self.take(max(0, self.varint()))
        headers = {}
        for _ in range(min(self.varint(), MAX_RECORDS)):
            name = self.take(self.varint())
            headers[name.lower()] = self.take(max(0, self.varint()))
        if end < self.position:
            raise IndexError
        self.position = end
        return headers

    def varint(self) -> int:
        """A signed varint, zigzag."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise IndexError

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if size < 0 or self.position > self.end:
            raise IndexError
        return self.data[start : self.position]


_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_B3 = re.compile(rb"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-.{1,32})?")
_HEX = re.compile(rb"[0-9a-f]{16}|[0-9a-f]{32}")
_SW8 = re.compile(rb"1-([A-Za-z0-9+/=]{4,340})-([A-Za-z0-9+/=]{4,340})-([0-9]{1,9})(?:-.*)?", re.DOTALL)
_SW8_ID = re.compile(r"[A-Za-z0-9._-]{1,255}")


def _trace_of(headers: dict[bytes, bytes]) -> Trace | None:
    for name, form in ((b"traceparent", _TRACEPARENT), (b"b3", _B3)):
        found = form.fullmatch(headers.get(name, b""))
        if found is not None:
            return Trace(found[1].decode(), found[2].decode())
    trace_id, span_id = (headers.get(name, b"") for name in (b"x-b3-traceid", b"x-b3-spanid"))
    if _HEX.fullmatch(trace_id) and _HEX.fullmatch(span_id):
        return Trace(trace_id.decode(), span_id.decode())
    found = _SW8.fullmatch(headers.get(b"sw8", b""))
    if found is None:
        return None
    try:
        ids = [base64.b64decode(part, validate=True).decode("ascii") for part in found.group(1, 2)]
    except ValueError:
        return None
    if not all(map(_SW8_ID.fullmatch, ids)):
        return None
    return Trace(ids[0], f"{ids[1]}-{found[3].decode()}")
