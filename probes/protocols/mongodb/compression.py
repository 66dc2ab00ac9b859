"""OP_COMPRESSED: the message inside, as far as it can be inflated (MongoDB's "Wire Compression" specification).

In: the head of such a message. Out: the head of the same message as it would have gone uncompressed. Of a cut one zlib
and snappy give what is there, zstd its whole blocks. zstd needs the optional `cramjam`; without it snappy gives the
first bytes only.
"""

from __future__ import annotations

import importlib
import zlib
from struct import Struct
from typing import Any, NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import snappy, zstd
from probes.protocols.mongodb.wire import HEADER, HEADER_BYTES, MAX_MESSAGE_BYTES, OP_COMPRESSED, OPCODE_NAMES

INFLATE_BYTES = 256 * 1024
"""No more than this is inflated of one message: captured bytes must not choose how much memory they take."""

COMPRESSED_BYTES = HEADER_BYTES + 9
COMPRESSED = Struct("<iiB")  # originalOpcode, uncompressedSize (without a header), compressorId
_NOOP, _ZLIB = 0, 2
COMPRESSORS = {_NOOP: "noop", 1: "snappy", _ZLIB: "zlib", 3: "zstd"}


def compressed_sizes(data: bytes) -> tuple[int, int] | None:
    """Length of the whole message that `data` begins as it was sent, and as it would have gone uncompressed.

    None where it was not compressed, or that is not to be seen.
    """
    if len(data) < COMPRESSED_BYTES:
        return None
    length, _, _, opcode = HEADER.unpack_from(data)
    _, size, _ = COMPRESSED.unpack_from(data, HEADER_BYTES)
    return (length, HEADER_BYTES + size) if opcode == OP_COMPRESSED else None


class Inflated(NamedTuple):
    """A message that came compressed. `data` is None where nothing of it could be inflated."""

    compressor: str
    opcode: int
    length: int
    data: bytes | None


def _import_cramjam() -> Any:
    try:
        return importlib.import_module("cramjam")
    except ImportError:
        return None


_cramjam = _import_cramjam()
_UNREADABLE: tuple[type[Exception], ...] = () if _cramjam is None else (_cramjam.DecompressionError,)


def inflate(head: bytes, length: int, request_id: int, response_to: int) -> Inflated:
    """The message inside the compressed one of `length` bytes that `head` begins. Raises ProtocolError."""
    if len(head) < COMPRESSED_BYTES:
        return Inflated("", OP_COMPRESSED, length, None)
    opcode, size, compressor_id = COMPRESSED.unpack_from(head, HEADER_BYTES)
    if opcode not in OPCODE_NAMES or opcode == OP_COMPRESSED or not 0 <= size <= MAX_MESSAGE_BYTES:
        raise ProtocolError("no message can have been compressed to this")
    compressor = COMPRESSORS.get(compressor_id, f"compressor {compressor_id}")
    if compressor == "zlib":
        body, compressor = _zlib(head[COMPRESSED_BYTES:length], min(size, INFLATE_BYTES))
    else:
        body = _inflate_body(compressor, head[COMPRESSED_BYTES:length], size, whole=len(head) >= length)
    inner_length = HEADER_BYTES + size
    if body is None:
        return Inflated(compressor, opcode, inner_length, None)
    return Inflated(
        compressor,
        opcode,
        inner_length,
        HEADER.pack(inner_length, request_id, response_to, opcode) + body,
    )


def _inflate_body(compressor: str, body: bytes, size: int, *, whole: bool) -> bytes | None:
    """The first bytes, at most `size` and at most INFLATE_BYTES, of what `body` holds; None where there are none."""
    bound = min(size, INFLATE_BYTES)
    if compressor == "noop":
        return body[:bound]
    if not bound:
        return None
    try:
        if compressor == "snappy":
            inflated = _snappy(body, size) if whole and size == bound else None
            return snappy.prefix(body, size) if inflated is None else inflated
        if compressor == "zstd" and _cramjam is not None:
            return _zstd(body, size) if whole and size == bound else _zstd_prefix(body, bound)
    except _UNREADABLE:
        pass
    return None


def _zlib(body: bytes, bound: int) -> tuple[bytes | None, str]:
    """At most `bound` bytes of what zlib's stream holds, and by what that was compressed: `sealed` says it behind."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(body, bound) if bound else b""
        if not stream.eof:
            stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error:
        return None, "zlib"
    return inflated or None, COMPRESSORS.get(stream.unused_data[-1], "zlib") if stream.unused_data else "zlib"


def sealed(head: bytes, body: bytes, *, total: int) -> bytes:
    """The compressed message of `total` bytes that `head` begins, with `body` in the place of what was inflated of it.

    It inflates to just as many bytes, and if all of it is here, it is as long as before. Whatever compressed it, zlib
    does now: zeros may follow, and the last byte tells the compressor. Its header alone where that needs more room.
    """
    opcode, size, compressor_id = COMPRESSED.unpack_from(head, HEADER_BYTES)
    header = head[:HEADER_BYTES] + COMPRESSED.pack(opcode, size, _ZLIB)
    room = min(len(head), total) - COMPRESSED_BYTES
    if compressor_id == _NOOP:
        return head[:COMPRESSED_BYTES] + body.ljust(room, b"\0")
    for strategy in _STRATEGIES:  # where one has too little room, another one often has enough
        deflate = zlib.compressobj(9, strategy=strategy)
        packed = deflate.compress(body) + deflate.flush()
        if len(packed) == room and compressor_id == _ZLIB:
            return header + packed
        if len(packed) < room:
            whole = len(head) >= total
            return header + (packed.ljust(room - 1, b"\0") if whole else packed) + bytes([compressor_id])
    return head[:COMPRESSED_BYTES]


_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_RLE)


def _snappy(body: bytes, size: int) -> bytes | None:
    """Snappy's block format, which begins with the length of what it holds."""
    if _cramjam is None or _cramjam.snappy.decompress_raw_len(body) != size:
        return None
    return bytes(_cramjam.snappy.decompress_raw(body))


def _zstd(body: bytes, size: int) -> bytes | None:
    """A zstd frame, which may claim any length: only `size` bytes are set aside for it."""
    inflated = bytearray(size)
    return bytes(inflated) if _cramjam.zstd.decompress_into(body, inflated) == size else None


def _zstd_prefix(body: bytes, bound: int) -> bytes | None:
    """The whole blocks of a frame that was cut, or that holds more than `bound` bytes."""
    frame = zstd.whole_blocks(body, most=INFLATE_BYTES // zstd.MAX_BLOCK_BYTES)
    if frame is None:
        return None
    inflated = bytearray(INFLATE_BYTES)
    length = _cramjam.zstd.decompress_into(frame, inflated)
    return bytes(memoryview(inflated)[: min(length, bound)]) or None
