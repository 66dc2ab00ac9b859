"""The shapes of the log's requests: read from their heads by who asks for them, never by the collector.

A shape that was read is remembered as a number for its row, so that a question that is asked again costs new rows only.
What one question may read is bounded by time, newest rows first: others are `UNKNOWN` until there was time for them.
"""

from __future__ import annotations

import time

import numpy as np

from probes.store.details import DetailsReader
from probes.store.layout import ROW, Records
from probes.store.names import NamesReader
from probes.store.tally import Numbers
from probes.store.view import OTHER, UNKNOWN

SHAPED = np.dtype([*((name, ROW[name]) for name in ROW.names or ()), ("shape", "<u2")])
"""A row with the number of its shape."""

TABLE = "shape"
UNREAD, _GONE, _OTHER = 0, 1, 2  # numbers of shapes that are none
_MAX_SHAPES = 4096
_BLOCK = 256  # rows between two looks at the clock


class Shapes:
    """What was read of a log of `bound` rows. `names` comes to know the shapes' texts by their numbers."""

    def __init__(self, details: DetailsReader, names: NamesReader, bound: int) -> None:
        self._details = details
        self._texts = [UNKNOWN, UNKNOWN, OTHER]
        names.add(TABLE, self._texts)
        self._number_of = {OTHER: _OTHER}
        self._read = np.zeros(bound, np.uint16)  # by row
        self._next = 0  # rows from this one on have not been seen

    def of(self, numbers: Numbers, rows: Records, next_row: int, budget_s: float) -> Records:
        """Copies of rows, by their numbers, with their shapes; `next_row` is the number after the log's last row."""
        self._forget(next_row)
        place = numbers % len(self._read)
        known = self._read[place]
        unread = np.flatnonzero(known == UNREAD)[::-1]
        until = time.perf_counter() + budget_s
        for start in range(0, len(unread), _BLOCK):
            block = unread[start : start + _BLOCK]
            known[block] = self.read(rows[block])
            if time.perf_counter() > until:
                break
        kept = numbers >= next_row - len(self._read)  # no other row has taken their place
        self._read[place[kept]] = known[kept]
        return shaped(rows, known)

    def read(self, rows: Records) -> list[int]:
        """The numbers of these rows' shapes, whatever is remembered."""
        columns = (rows[name].tolist() for name in ("details", "details_bytes", "request_head"))
        return [self._number(*place) for place in zip(*columns, strict=True)]

    def _forget(self, next_row: int) -> None:
        """Rows that came since took the places of others."""
        bound = len(self._read)
        if next_row - self._next >= bound:
            self._read[:] = UNREAD
        else:
            self._read[np.arange(self._next, next_row) % bound] = UNREAD
        self._next = max(self._next, next_row)

    def _number(self, position: int, size: int, head_size: int) -> int:
        read = self._details.read(position, size)
        if read is None:
            return _GONE
        shared, _, heads = read
        text = "" if shared.request is None else shared.request.shape_of(heads[:head_size])
        number = self._number_of.get(text)
        if number is None:
            if len(self._texts) >= _MAX_SHAPES:
                return _OTHER
            number = self._number_of[text] = len(self._texts)
            self._texts.append(text)
        return number


def shaped(rows: Records, numbers: object) -> Records:
    """Copies of `rows` with the numbers of their shapes."""
    copies = np.empty(len(rows), SHAPED)
    for name in ROW.names or ():
        copies[name] = rows[name]
    copies["shape"] = numbers
    return copies
