"""Sums over time: what each cell counted in each second of the last minute, each ten of a quarter, and since the start.

A slot stands for one second (or ten) of the clock and covers what was counted from the fold before it to its own; a
second without a fold is a gap. All of this changes during a fold only, between two steps of a counter that is odd
meanwhile: readers copy, and try again if it has moved.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from probes.store.layout import (
    BUCKET,
    BUCKETS,
    COARSE_SECONDS,
    COARSE_SLOTS,
    FINE_SLOTS,
    LONG_BUCKET,
    SLOT,
    TOTALS,
    At,
    Layout,
    Records,
    records,
)
from probes.store.rings import ByteRing, settle
from probes.store.tally import EMPTY, Numbers, Tally, merge, moved, rarest, short, tally

SECOND = 1_000_000_000
_SLOTS_THAT_FIT = 16  # at least: none takes more than this part of its ring


class Slots:
    """The writer's end; it begins to count at `now_ns`. `other` gives the cell that takes over for one without room."""

    def __init__(
        self, memory: mmap.mmap, header: memoryview, layout: Layout, now_ns: int, other: Callable[[int], int]
    ) -> None:
        self._header = header
        self._other = other
        self._fine = _Directory(memory, header, layout.fine_slots, FINE_SLOTS, layout.fine, At.FINE_NEXT)
        self._coarse = _Directory(memory, header, layout.coarse_slots, COARSE_SLOTS, layout.coarse, At.COARSE_NEXT)
        cells = layout.cells[1]
        self._bases = [
            (
                records(memory, TOTALS, offset, cells),
                records(memory, LONG_BUCKET, offset + cells * TOTALS.itemsize, layout.base_buckets),
            )
            for offset in layout.bases
        ]
        self._base = merge([])
        self._start_ns = now_ns  # of the slot that is open
        self._partial: list[Tally] = []  # what it counted
        self._ten: list[Tally] = []  # the slots since the last ten
        self._ten_start_ns = self._ten_end_ns = now_ns
        self._last = 0  # the newest slot's number
        header[At.STARTED_NS] = header[At.FOLDED_NS] = header[At.BASE_START_NS] = header[At.BASE_END_NS] = now_ns

    def due(self, now_ns: int) -> bool:
        """Whether a second of the clock is over."""
        return now_ns // SECOND > self._start_ns // SECOND

    def add(self, rows: Records) -> None:
        """Count rows in the slot that is open."""
        if len(rows):
            self._partial.append(tally(rows))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Readers wait meanwhile."""
        self._header[At.FOLDS] += 1
        settle()
        try:
            yield
        finally:
            settle()
            self._header[At.FOLDS] += 1

    def has_begun(self, now_ns: int) -> bool:
        """Whether the slot that is open covers any time yet."""
        return now_ns > self._start_ns

    def close(self, now_ns: int, *, early: bool = False) -> tuple[int, Numbers]:
        """Publish the slot that is open: its number and its cells. Within `changing`.

        `early`: its second is not over, and it is the last one.
        """
        number = now_ns // SECOND - (not early)
        whole = self._squeezed(merge(self._partial), self._fine.room)
        if self._ten and self._last // COARSE_SECONDS != number // COARSE_SECONDS:
            self._close_ten()
        self._fine.put(number, self._start_ns, now_ns, whole)
        self._ten.append(whole)
        self._partial, self._start_ns, self._ten_end_ns, self._last = [], now_ns, now_ns, number
        if number % COARSE_SECONDS == COARSE_SECONDS - 1:
            self._close_ten()
        self._header[At.LAST_SLOT] = number + 1
        self._header[At.FOLDED_NS] = now_ns
        return number, whole.totals["cell"].astype(np.int64)

    def hand_over(self, heirs: Numbers) -> None:
        """Move the sums since the start from each cell to its heir. Within `changing`."""
        self._publish_base(moved(self._base, heirs))

    def _close_ten(self) -> None:
        ten = merge(self._ten)
        self._coarse.put(
            self._last // COARSE_SECONDS, self._ten_start_ns, self._ten_end_ns, self._squeezed(ten, self._coarse.room)
        )
        self._ten, self._ten_start_ns = [], self._ten_end_ns
        self._publish_base(merge([self._base, ten]))
        self._header[At.BASE_SLOT] = self._last + 1
        self._header[At.BASE_END_NS] = self._ten_end_ns

    def _publish_base(self, base: Tally) -> None:
        totals, buckets = base
        heirs = self._heirs(Tally(EMPTY.totals, buckets), LONG_BUCKET.itemsize * len(self._bases[0][1]), LONG_BUCKET)
        if heirs is not None:
            buckets = moved(Tally(EMPTY.totals, buckets), heirs).buckets
        self._base = Tally(totals, buckets)
        count = self._header[At.BASES] + 1
        its_totals, its_buckets = self._bases[count % 2]
        its_totals["requests"] = 0
        its_totals[totals["cell"]] = totals
        its_buckets[: len(buckets)] = buckets
        self._header[At.BASE_BUCKETS] = len(buckets)
        self._header[At.BASES] = count

    def _squeezed(self, whole: Tally, room: int) -> Tally:
        """`whole` in `room` bytes at most: where that is too few, rare cells are counted as their "other" cells."""
        heirs = self._heirs(whole, room, BUCKET)
        if heirs is not None:
            self._header[At.SQUEEZED] += 1
            whole = moved(whole, heirs)
        return short(whole)

    def _heirs(self, of: Tally, room: int, bucket: np.dtype[np.void]) -> Numbers | None:
        cells = rarest(of, room, bucket.itemsize)
        if not len(cells):
            return None
        heirs = np.arange(max(cells.max(), of.buckets["key"].max(initial=0) // BUCKETS) + 1, dtype=np.int64)
        heirs[cells] = [self._other(int(cell)) for cell in cells]
        return heirs


class _Directory:
    """A ring of slots' sums, and where each slot lies in it."""

    def __init__(
        self, memory: mmap.mmap, header: memoryview, offset: int, count: int, place: tuple[int, int], next_at: At
    ) -> None:
        self._slots = records(memory, SLOT, offset, count)
        self._slots["number"] = -1
        self._ring = ByteRing(memory, header, place, next_at)
        self.room = place[1] // _SLOTS_THAT_FIT

    def put(self, number: int, start_ns: int, end_ns: int, of: Tally) -> None:
        position = self._ring.append(of.totals.tobytes() + of.buckets.tobytes())
        slot = self._slots[number % len(self._slots)]
        slot["number"] = -1
        slot["start_ns"], slot["end_ns"], slot["position"] = start_ns, end_ns, position
        slot["totals"], slot["buckets"] = len(of.totals), len(of.buckets)
        slot["number"] = number
