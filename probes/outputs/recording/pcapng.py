"""The blocks of a pcapng file that a recording consists of (draft-ietf-opsawg-pcapng), as bytes; little-endian."""

from __future__ import annotations

from struct import Struct, pack, unpack_from

LINKTYPE_RAW = 101  # packets begin with their IPv4 or IPv6 header
INBOUND, OUTBOUND = 1, 2  # epb_flags

_MAX_TEXT_BYTES = 4096

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_END_OF_OPTIONS = bytes(4)
_COMMENT, _APPLICATION, _NAME, _DESCRIPTION, _TIME_RESOLUTION = 1, 4, 2, 3, 9
_NANOSECONDS = b"\x09"
_PACKET_HEAD = Struct("<IIIIIII")  # type, length, interface, time (high, low), captured, on the wire
_PACKET_FLAGS = Struct("<HHI")
_FLAGS = 2


def section(application: str, comment: str) -> bytes:
    """The block that every file begins with."""
    head = pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(_SECTION, head + _options((_COMMENT, _text(comment)), (_APPLICATION, _text(application))))


def interface(name: str, description: str) -> bytes:
    """The next interface: they are numbered from 0 in the order in which they come."""
    options = (_NAME, _text(name)), (_DESCRIPTION, _text(description)), (_TIME_RESOLUTION, _NANOSECONDS)
    return _block(_INTERFACE, pack("<HHI", LINKTYPE_RAW, 0, 0) + _options(*options))


def packet(interface: int, time_ns: int, captured: bytes, length: int, direction: int, comment: str = "") -> bytes:
    """A packet of `length` bytes, of which `captured` are there; `time_ns` since the epoch."""
    options = _PACKET_FLAGS.pack(_FLAGS, 4, direction)
    options += _options((_COMMENT, _text(comment))) if comment else _END_OF_OPTIONS
    padding = -len(captured) % 4
    size = _PACKET_HEAD.size + len(captured) + padding + len(options) + 4
    high, low = time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF
    head = _PACKET_HEAD.pack(_PACKET, size, interface, high, low, len(captured), length)
    return b"".join((head, captured, bytes(padding), options, size.to_bytes(4, "little")))


def whole_blocks(data: bytes | bytearray, most: int) -> int:
    """How many of the first `most` bytes of `data`, which consists of blocks, are whole blocks."""
    end = 0
    while end + 8 <= most:
        (size,) = unpack_from("<I", data, end + 4)
        if end + size > most:
            break
        end += size
    return end


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return pack("<II", kind, size) + body + pack("<I", size)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(_option(code, value) for code, value in options) + _END_OF_OPTIONS


def _option(code: int, value: bytes) -> bytes:
    return pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:_MAX_TEXT_BYTES]
