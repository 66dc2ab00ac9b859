"""What every message is asked for at capture time, as one compiled function per (api_key, version, direction).

In: a head's bytes, the offset after the header's client id (request) or correlation id (response), and the windows of
the message. Out: the fields of `RequestFacts` or `ReplyFacts`. Raises nothing: where the bytes end, what was read until
then is the answer, and `cut` says whether something that matters was missing.

The full walk in `walk.py` is the measure of these functions, and more than ten times slower.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from struct import Struct, error
from typing import Any

from probes.protocols.kafka import table
from probes.protocols.kafka.plan_source import EACH, FORM, source_of
from probes.protocols.kafka.table import Direction
from probes.protocols.kafka.walk import Windows

Plan = Callable[[bytes, int, Windows], tuple[Any, ...]]
"""(head, offset, windows) -> the fields of RequestFacts or ReplyFacts, as a plain tuple."""


def plan(api_key: int, version: int, direction: Direction) -> Plan | None:
    """The compiled function, None where the table has no such API or version."""
    return _compiled(api_key, version, direction, positions=False)


def positions(api_key: int, version: int, direction: Direction) -> Plan | None:
    """Likewise, of the function that gives `parts` too: for messages about partitions of topics."""
    return _compiled(api_key, version, direction, positions=True)


@cache
def _compiled(api_key: int, version: int, direction: Direction, *, positions: bool) -> Plan | None:
    layout = table.layout(api_key, version, direction)
    api = table.api(api_key)
    if layout is None or api is None:
        return None
    source = source_of(layout, api.header_tags(version, direction), api_key, direction, positions=positions)
    names: dict[str, Any] = {**_UNPACKERS, "error": error, "uvarint": uvarint, "tags": _tags, "beyond": _beyond}
    for form in set(re.findall(rf"\b{FORM}(\w+)", source)):
        names[FORM + form] = Struct(f">{form}").unpack_from
    for form in set(re.findall(rf"\b{EACH}(\w+)", source)):
        names[EACH + form] = Struct(f">{form}").iter_unpack
    exec(source, names)  # noqa: S102 - the source is made of the table's facts only
    compiled: Plan = names["read"]
    return compiled


def uvarint(data: bytes, position: int, first: int) -> tuple[int, int]:
    """The rest of an unsigned varint whose first byte, `first`, has its high bit set. (value, position after it)"""
    value, shift = first & 0x7F, 7
    while shift < 35:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise IndexError  # no varint of the protocol is longer


def _tags(data: bytes, position: int, count: int) -> int:
    """The position after a tag section whose count began with the byte `count`."""
    if count > 0x7F:
        count, position = uvarint(data, position, count)
    for _ in range(count):
        for _ in ("tag", "size"):
            size = data[position]
            position += 1
            if size > 0x7F:
                size, position = uvarint(data, position, size)
        position += size
    return position


def _beyond(position: int, windows: Windows) -> tuple[bytes, int, int]:
    """The window that holds `position` of the message, its start, and the index in it. Raises IndexError."""
    for start, window in windows:
        if start <= position < start + len(window):
            return window, start, position - start
    raise IndexError


_UNPACKERS = {
    "int8": Struct(">b").unpack_from,
    "int16": Struct(">h").unpack_from,
    "int32": Struct(">i").unpack_from,
}
