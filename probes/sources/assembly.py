"""Joins the pieces that the kernel tells of one message to its head.

In: records of the ring buffer (`layout.HEAD`). Out: one `Head` per message, once its last byte went by. A message whose
end was lost on the way comes out when the next one of its direction begins; one whose beginning was lost does not come
out at all: the jump in the numbers tells.
"""

from __future__ import annotations

from probes.records import Framing, Head

MOST_WINDOWS = 256  # of one message; what comes after them is not kept


class Assembly:
    """The messages of one direction of one connection of which not all pieces are there yet: at most one."""

    __slots__ = ("_data", "_first_ns", "_number", "_total", "_windows")

    def __init__(self, number: int, first_ns: int, total: int, data: bytes) -> None:
        self._number = number
        self._first_ns = first_ns
        self._total = total
        self._data = data
        self._windows: list[tuple[int, bytes]] = []

    @property
    def last(self) -> bytes:
        """The last piece, with all that it is right behind of."""
        return self._windows[-1][1] if self._windows else self._data

    def add(self, number: int, offset: int, data: bytes) -> bool:
        """Whether the piece belongs to this message."""
        if number != self._number:
            return False
        start, last = self._windows[-1] if self._windows else (0, self._data)
        if offset != start + len(last):
            if data and len(self._windows) < MOST_WINDOWS:
                self._windows.append((offset, data))
        elif self._windows:
            self._windows[-1] = start, last + data
        else:
            self._data += data
        return True

    def head(self, outbound: bool, last_ns: int, tail: bytes, framing: int) -> Head:
        """The message's head; `last_ns` is 0 where its end is not known."""
        return Head(
            outbound,
            self._number,
            self._first_ns,
            last_ns or self._first_ns,
            self._total,
            self._data,
            tail,
            tuple(self._windows),
            Framing(framing),
        )
