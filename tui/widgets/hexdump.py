"""Bytes as `hexdump -C` shows them."""

from __future__ import annotations


def hexdump(data: bytes, per_line: int = 16) -> dict[str, str]:
    """The lines by their offset: hex digits, then what is printable ASCII."""
    lines = {}
    for offset in range(0, len(data), per_line):
        part = data[offset : offset + per_line]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines[f"{offset:04x}"] = f"{part.hex(' '):<{3 * per_line - 1}}  {text}"
    return lines
