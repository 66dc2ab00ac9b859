"""The first bytes of what snappy's block format holds, whether or not the rest is there (google/snappy's format).

In: compressed bytes, maybe cut. Out: as many of the bytes that they stand for as can be told, up to a bound: this is
Python, and slow. Nothing where the bytes are no snappy. Never raises.
"""

from __future__ import annotations

PREFIX_BYTES = 4096
_MAX_LENGTH_BYTES = 5  # of the varint that tells the length of all


def prefix(body: bytes, size: int) -> bytes | None:
    """At most `PREFIX_BYTES` of the `size` bytes that `body` holds; None where there are none."""
    at = _after_length(body, size)
    if at is None:
        return None
    out = bytearray()
    bound, end = min(size, PREFIX_BYTES), len(body)
    while at < end and len(out) < bound:
        tag = body[at]
        at += 1
        kind = tag & 3
        if kind == 0:  # a literal: its length in the tag, or in the one to four bytes behind it
            length = tag >> 2
            if length >= 60:
                more = length - 59
                if at + more > end:
                    break
                length = int.from_bytes(body[at : at + more], "little")
                at += more
            out += body[at : at + min(length + 1, bound)]
            at += length + 1
            continue
        if kind == 1:  # a copy of 4 to 11 bytes, with an offset of 11 bits
            length, more = (tag >> 2 & 7) + 4, 1
        else:  # a copy of 1 to 64 bytes, with an offset of 16 or 32 bits
            length, more = (tag >> 2) + 1, 2 if kind == 2 else 4
        if at + more > end:
            break
        offset = int.from_bytes(body[at : at + more], "little")
        offset += (tag >> 5) << 8 if kind == 1 else 0
        at += more
        if not 0 < offset <= len(out):
            return None
        start = len(out) - offset
        out += (out[start:] * (length // offset + 1))[:length] if offset < length else out[start : start + length]
    return bytes(out[:bound]) or None


def _after_length(body: bytes, size: int) -> int | None:
    """Where the elements begin; None where the length that stands before them is not `size`."""
    length = 0
    for at, byte in enumerate(body[:_MAX_LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return at + 1 if length == size else None
    return None
