"""The cells of RED: what is told apart. A bounded table of them in shared memory.

A cell is a combination of names and facts (`layout.CELL`). Where the table is full, cells that were idle for longer
than any window give way: what they counted since the start goes to the "other" cell of their operation, and so do
sessions that find no place at all. An operation's "other" cell gives way to its protocol's in the same way.
"""

from __future__ import annotations

import mmap
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from probes.store.layout import CELL, KEY_FORMAT, NO_VERSION, At, Layout, records
from probes.store.names import OTHER_NUMBER
from probes.store.tally import Numbers

KEY = Struct(f"<{KEY_FORMAT}")
IDLE_SLOTS = 1060  # seconds without a session after which no window shows a cell
_PART_FOR_OTHERS = 16  # one of so many is kept for the "other" cells

_NAMES = frozenset({"operation", "target", "error", "client_host", "application", "protocol"})
# What "other" cells still tell apart, and how many places are then kept for those that tell apart less. The last ones
# are no more than there are combinations of status and flags.
_LEVELS = (
    (frozenset({"operation", "protocol", "status", "flags"}), 96),
    (frozenset({"protocol", "status", "flags"}), 32),
    (frozenset({"status", "flags"}), 0),
)


class Cells:
    """The writer's end. A cell's key is its record packed by `KEY`."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout) -> None:
        offset, self.bound = layout.cells
        self.table = records(memory, CELL, offset, self.bound)
        self._header = header
        self._numbers: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._free: list[int] = []
        self._others = max(self.bound // _PART_FOR_OTHERS, 2 * _LEVELS[0][1])
        self.last_used = np.zeros(self.bound, np.int64)  # the number of the newest slot with a session of it

    @property
    def room(self) -> int:
        """How many more ordinary cells find a place."""
        return self.bound - self._others - len(self._numbers)

    def __len__(self) -> int:
        return len(self._keys)

    def number(self, key: bytes) -> int:
        """The number of the cell with this key; that of the "other" cell of its operation where there is no room."""
        number = self._numbers.get(key)
        if number is not None:
            return number
        if self.room > 0:
            return self._new(key)
        self._header[At.REFUSED_CELLS] += 1
        return self._other_of(key)

    def other(self, number: int) -> int:
        """The cell that takes over for this one where there is no room."""
        return self._other_of(self._keys[number])

    def used_names(self, column: str, quota: int) -> NDArray[np.bool_]:
        """Which numbers of names occur in a column."""
        used = np.zeros(quota, np.bool_)
        used[self.table[column][list(self._numbers.values())]] = True
        return used

    def retire(self, slot: int) -> Numbers | None:
        """Free the cells idle for so long that no window before slot `slot` shows them, at most half of all.

        Returns by cell the one that takes over what it counted since the start, most often itself; None if none is.
        """
        before = slot - IDLE_SLOTS
        idle = [
            (_without(key, _LEVELS[0][0]) == key, int(self.last_used[number]), number, key)
            for key, number in self._numbers.items()
            if self.last_used[number] < before and _without(key, _LEVELS[1][0]) != key
        ]
        idle.sort()  # "other" cells last: they may become heirs, and are then no longer idle
        heirs = np.arange(self.bound)
        for *_, number, key in idle[: self.bound // 2]:
            if self.last_used[number] < before:
                heir = heirs[number] = self._other_of(key)
                self.last_used[heir] = slot
                del self._numbers[key]
                self._free.append(number)
        return heirs if idle else None

    def _other_of(self, key: bytes) -> int:
        """The "other" cell of a cell's operation, else of its protocol, else of everything."""
        for kept, reserved in _LEVELS:
            other = _without(key, kept)
            number = self._numbers.get(other)
            if number is not None and other != key:
                return number
            if number is None and len(self._numbers) < self.bound - reserved:
                return self._new(other)
        return self._numbers[other]

    def _new(self, key: bytes) -> int:
        if self._free:
            number = self._free.pop()
            self._keys[number] = key
        else:
            number = len(self._keys)
            self._keys.append(key)
        self.table[number] = KEY.unpack(key)
        self._header[At.CELLS] = len(self._keys)
        self._numbers[key] = number
        return number


def _without(key: bytes, kept: frozenset[str]) -> bytes:
    """The key of the cell that tells nothing apart but what is `kept`."""
    values = []
    for name, value in zip(CELL.names or (), KEY.unpack(key), strict=True):
        if name not in kept:
            value = NO_VERSION if name == "version" else OTHER_NUMBER if value and name in _NAMES else 0
        values.append(value)
    return KEY.pack(*values)
