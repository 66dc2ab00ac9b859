"""A zstd frame made of the whole blocks of one that was cut (RFC 8878, section 3.1.1).

In: a frame's first bytes. Out: a frame that a decoder takes, with fewer blocks and without what was said of the whole:
its length and checksum. None where not even one block is whole, or where the bytes are no frame.
"""

from __future__ import annotations

MAX_BLOCK_BYTES = 128 * 1024  # that one block may hold
_MAGIC = b"\x28\xb5\x2f\xfd"
_HEADER = _MAGIC + b"\x00\x40"  # a window of 256 KiB, and no more is said
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE, _RESERVED = 1, 3


def whole_blocks(frame: bytes, most: int) -> bytes | None:
    """A frame of the first blocks that are whole, `most` of them at most."""
    if not frame.startswith(_MAGIC) or len(frame) < 6:
        return None
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    size_bytes = _CONTENT_SIZE_BYTES[descriptor >> 6] or single_segment
    first = at = 5 + (1 - single_segment) + _DICTIONARY_ID_BYTES[descriptor & 3] + size_bytes
    last = None
    for _ in range(most):
        header = int.from_bytes(frame[at : at + 3], "little")
        kind = header >> 1 & 3
        end = at + 3 + (1 if kind == _RLE else header >> 3)
        if at + 3 > len(frame) or end > len(frame) or kind == _RESERVED:
            break
        last, at = at, end
        if header & 1:
            break
    if last is None:
        return None
    blocks = bytearray(frame[first:at])
    blocks[last - first] |= 1  # no block follows
    return _HEADER + bytes(blocks)
