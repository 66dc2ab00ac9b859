"""Names as small numbers: tables in shared memory, each with a quota.

Number 0 is "", number 1 is "other": what found no place. A number is given to another name only after no row, no cell
and no request in flight uses it; readers then notice by the epoch.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probes.store.layout import NAME, NAME_BYTES, At, Layout, Records, records
from probes.store.view import OTHER

NONE_NUMBER, OTHER_NUMBER = 0, 1
MAX_TEXT = NAME_BYTES - 2
_ELLIPSIS = "…"


def cut(text: str) -> str:
    """`text` as it is kept: no longer than `MAX_TEXT` bytes of UTF-8."""
    if len(text) <= MAX_TEXT // 4:
        return text
    raw = text[:MAX_TEXT].encode("utf-8", "surrogatepass")
    if len(raw) <= MAX_TEXT and len(text) <= MAX_TEXT:
        return text
    raw = raw[: MAX_TEXT - len(_ELLIPSIS.encode())]
    while raw and raw[-1] & 0xC0 == 0x80:
        raw = raw[:-1]  # back to the first byte of the last character, which goes too
    if raw and raw[-1] & 0x80:
        raw = raw[:-1]
    return raw.decode("utf-8", "surrogatepass") + _ELLIPSIS


class Names:
    """The writer's end of one table."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout, table: str) -> None:
        offset, self.quota = layout.names[table]
        index = list(layout.names).index(table)
        self._records = records(memory, NAME, offset, self.quota)
        self._header = header
        self._next_at, self._refused_at = At.NAMES + index, At.REFUSED + index
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._next = 0
        for text in ("", OTHER):
            self.number(text)

    def number(self, text: str) -> int:
        """The number of `text`, which is cut where it is too long."""
        number = self._numbers.get(text)
        return self._new(cut(text)) if number is None else number

    @property
    def room(self) -> int:
        """How many more names find a place."""
        return self.quota - len(self._numbers)

    def free(self, used: NDArray[np.bool_]) -> None:
        """Forget the names whose number is not `used`."""
        unused = [(text, number) for text, number in self._numbers.items() if number > 1 and not used[number]]
        for text, number in unused:
            del self._numbers[text]
            self._free.append(number)

    def _new(self, text: str) -> int:
        if text in self._numbers:
            return self._numbers[text]
        if self._free:
            number = self._free.pop()
            self._header[At.NAMES_EPOCH] += 1
        elif self._next < self.quota:
            number = self._next
            self._next += 1
        else:
            self._header[self._refused_at] += 1
            return OTHER_NUMBER
        raw = text.encode("utf-8", "surrogatepass")
        self._records[number] = (len(raw), raw)
        self._header[self._next_at] = self._next
        self._numbers[text] = number
        return number


class NamesReader:
    """A reader's end of all tables."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout) -> None:
        self._header = header
        self._tables = {
            table: (records(memory, NAME, offset, quota), At.NAMES + index)
            for index, (table, (offset, quota)) in enumerate(layout.names.items())
        }
        self._known: dict[str, list[str]] = {}
        self._own: dict[str, list[str]] = {}
        self._epoch = -1

    @property
    def epoch(self) -> int:
        """Grows when a number comes to mean another name."""
        return self._header[At.NAMES_EPOCH]

    def add(self, table: str, texts: list[str]) -> None:
        """A table of the reader's own, to which it may append."""
        self._own[table] = texts

    def all(self, table: str) -> list[str]:
        """The names of a table, by number."""
        if table in self._own:
            return self._own[table]
        if self._epoch != self.epoch:
            self._epoch = self.epoch
            self._known = {}
        known = self._known.setdefault(table, [])
        entries, next_at = self._tables[table]
        count = min(self._header[next_at], len(entries))
        if len(known) < count:
            known.extend(_texts(entries[len(known) : count]))
        return known

    def text(self, table: str, number: int) -> str:
        """One name; "?" for a number that no name has."""
        names = self.all(table)
        return names[number] if number < len(names) else "?"


def _texts(entries: Records) -> Iterator[str]:
    raw = entries.tobytes()
    for start in range(0, len(raw), NAME_BYTES):
        length = int.from_bytes(raw[start : start + 2], "little")
        text = raw[start + 2 : start + 2 + length]
        try:
            yield text.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # it was being overwritten: no row that is kept has this number
            yield "?"
