"""What a packet of a recording says beside its bytes (`probes.sources.marks`), from pcapng's options."""

from __future__ import annotations

from typing import NamedTuple, Self

from probes.sources.captures.container import options
from probes.sources.marks import ConnectionMark

_COMMENT, _FLAGS = 1, 2
_DIRECTION, _OUTBOUND = 3, 2


class RecordedPacket(NamedTuple):
    """`outbound`: the interface's process sent it. `mark` begins a connection, and tells of it."""

    outbound: bool
    mark: ConnectionMark | None

    @classmethod
    def of(cls, raw: bytes, order: str) -> Self:
        outbound, mark = False, None
        for code, value in options(raw, order):
            if code == _FLAGS and len(value) == 4:
                flags = int.from_bytes(value, "little" if order == "<" else "big")
                outbound = flags & _DIRECTION == _OUTBOUND
            elif code == _COMMENT and mark is None:
                mark = ConnectionMark.read(value.decode(errors="replace"))
        return cls(outbound, mark)
