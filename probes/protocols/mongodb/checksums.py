"""The checksum at the end of an OP_MSG: CRC-32C of all bytes before it (MongoDB's "OP_MSG" specification)."""

from __future__ import annotations

from probes.protocols.mongodb.wire import CHECKSUM_BYTES

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`, slowly: 16 KiB take about a millisecond."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = crc >> 8 ^ table[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF


def is_intact(message: bytes) -> bool:
    """Whether a whole message that ends in a checksum is what was sent."""
    return crc32c(message[:-CHECKSUM_BYTES]) == int.from_bytes(message[-CHECKSUM_BYTES:], "little")
