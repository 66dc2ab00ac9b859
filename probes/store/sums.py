"""A reader's end of the sums over time: copies that belong together, kept until the next fold."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from probes.store.layout import (
    BUCKET,
    CELL,
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
from probes.store.rings import ByteRingReader, settle
from probes.store.tally import Tally, merge
from probes.store.view import Window

T = TypeVar("T")

_PATIENCE_S = 0.5  # a fold takes some milliseconds of CPU: a reader that has nothing yet waits so long for its end
_FOR_EVER_S = 2.0  # one that lasts for so long will never end
_QUARTER_TENS = 90
_TENS_KEPT = 4  # sums of many of them: of a quarter of an hour, of the one before the last minute


class Slot(NamedTuple):
    """What was counted from `start_ns` to `end_ns`, which stands for second (or ten) `number`."""

    number: int
    start_ns: int
    end_ns: int
    tally: Tally


class Sums(NamedTuple):
    """All sums, as of one fold. `fine` and `coarse` slots by number; `cells` are what their tallies are about.

    `last` is the number of the newest fine slot, -1 for none. `base` holds everything before fine slot `base_slot`.
    """

    folds: int
    last: int
    begun_ns: int
    folded_ns: int
    cells: Records
    fine: dict[int, Slot]
    coarse: dict[int, Slot]
    base: Slot
    base_slot: int

    def within(self, window: Window) -> list[Slot]:
        """The slots of a window, oldest first, without gaps."""
        if window is Window.START:
            return [self.base, *self._open_ten()] if self.base.end_ns > self.base.start_ns else self._open_ten()
        if window is Window.M15:
            closed = (self.last + 1) // COARSE_SECONDS
            return [*_some(self.coarse, closed - _QUARTER_TENS, closed), *self._open_ten()]
        return _some(self.fine, self.last + 1 - window, self.last + 1)

    def before_last_minute(self) -> list[Slot]:
        """The quarter of an hour before it, in tens of seconds."""
        end = (self.last + 1 - Window.M1) // COARSE_SECONDS
        return _some(self.coarse, end - _QUARTER_TENS, end)

    def steps(self, window: Window) -> tuple[int, list[Slot | None]]:
        """Seconds to a step, and the slots of a series with its gaps."""
        if self.last < 0:
            return 1, []
        if 0 < window <= Window.M1:
            return 1, [self.fine.get(number) for number in range(self.last + 1 - window, self.last + 1)]
        newest = self.last // COARSE_SECONDS
        slots = [self.coarse.get(number) for number in range(newest + 1 - _QUARTER_TENS, newest + 1)]
        ten = self._open_ten()
        if ten:
            slots[-1] = Slot(newest, ten[0].start_ns, ten[-1].end_ns, merge([slot.tally for slot in ten]))
        return COARSE_SECONDS, slots

    def _open_ten(self) -> list[Slot]:
        """The fine slots that are in no coarse one and not in the base."""
        return _some(self.fine, self.base_slot, self.last + 1)


def _some(slots: dict[int, Slot], first: int, end: int) -> list[Slot]:
    return [slots[number] for number in range(max(first, min(slots, default=end)), end) if number in slots]


class SumsReader:
    """Copies the sums once a fold, and adds them up once a window."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout) -> None:
        self._header = header
        self._fine = _DirectoryReader(memory, header, layout.fine_slots, FINE_SLOTS, layout.fine, At.FINE_NEXT)
        self._coarse = _DirectoryReader(
            memory, header, layout.coarse_slots, COARSE_SLOTS, layout.coarse, At.COARSE_NEXT
        )
        count = layout.cells[1]
        self._cells = records(memory, CELL, *layout.cells)
        self._bases = [
            (
                records(memory, TOTALS, offset, count),
                records(memory, LONG_BUCKET, offset + count * TOTALS.itemsize, layout.base_buckets),
            )
            for offset in layout.bases
        ]
        self._base: tuple[int, Slot] | None = None
        self._sums: Sums | None = None
        self._fold_seen = (0, 0.0)  # its count, and since when it has been going on
        self._merged: dict[tuple[int, int, int], Tally] = {}
        self._tens: dict[tuple[int, int, int], Tally] = {}

    def read(self) -> Sums:
        """The sums as of the last fold that is over. Waits only where nothing was read before."""
        folds = self._header[At.FOLDS]
        if self._sums is not None and (self._sums.folds == folds or self._is_folding(folds)):
            return self._sums
        self._sums = self._consistently(self._read, 0.0 if self._sums is not None else _PATIENCE_S)
        self._merged.clear()
        return self._sums

    def _is_folding(self, folds: int) -> bool:
        """Whether the writer is in the middle of a fold: on a host short of CPU for long, but not for ever."""
        if self._fold_seen[0] != folds:
            self._fold_seen = folds, time.monotonic()
        return folds % 2 == 1 and time.monotonic() - self._fold_seen[1] < _FOR_EVER_S

    def merged(self, slots: Sequence[Slot]) -> Tally:
        """The tallies of slots of the last `read` added up; those of tens of seconds once for many folds."""
        if not slots:
            return merge([])
        key = (slots[0].start_ns, slots[-1].end_ns, len(slots))
        if key not in self._merged:
            is_ten = [self._coarse.slots.get(slot.number) is slot for slot in slots]
            tens = [slot for slot, its in zip(slots, is_ten, strict=True) if its]
            rest = [slot.tally for slot, its in zip(slots, is_ten, strict=True) if not its]
            self._merged[key] = merge([self._merged_tens(tens), *rest]) if tens else merge(rest)
        return self._merged[key]

    def _merged_tens(self, slots: Sequence[Slot]) -> Tally:
        key = (slots[0].number, slots[-1].number, len(slots))
        if key not in self._tens:
            if len(self._tens) >= _TENS_KEPT:
                self._tens.clear()
            self._tens[key] = merge([slot.tally for slot in slots])
        return self._tens[key]

    def _read(self) -> Sums:
        header = self._header
        return Sums(
            folds=header[At.FOLDS],
            last=header[At.LAST_SLOT] - 1,
            begun_ns=header[At.STARTED_NS],
            folded_ns=header[At.FOLDED_NS],
            cells=self._cells[: header[At.CELLS]].copy(),
            fine=self._fine.read(),
            coarse=self._coarse.read(),
            base=self._read_base(),
            base_slot=header[At.BASE_SLOT],
        )

    def _read_base(self) -> Slot:
        header = self._header
        if self._base is None or self._base[0] != header[At.BASES]:
            totals, buckets = self._bases[header[At.BASES] % 2]
            count = min(header[At.BASE_BUCKETS], len(buckets))
            tally = Tally(totals[totals["requests"] > 0], buckets[:count].copy())
            slot = Slot(-1, header[At.BASE_START_NS], header[At.BASE_END_NS], tally)
            self._base = (header[At.BASES], slot)
        return self._base[1]

    def _consistently(self, read: Callable[[], T], patience_s: float) -> T:
        """What `read` copies while no fold is going on; after a while whatever there is: the writer died in a fold."""
        deadline = time.monotonic() + patience_s
        while True:
            folds = self._header[At.FOLDS]
            late = time.monotonic() >= deadline
            if folds % 2 == 0 or late:
                settle()
                copied = read()
                settle()
                if late or self._header[At.FOLDS] == folds:
                    return copied
            else:
                time.sleep(0.0005)


class _DirectoryReader:
    """A ring of slots. A slot never changes once it is there, so each is copied once."""

    def __init__(
        self, memory: mmap.mmap, header: memoryview, offset: int, count: int, place: tuple[int, int], next_at: At
    ) -> None:
        self._directory = records(memory, SLOT, offset, count)
        self._ring = ByteRingReader(memory, header, place, next_at)
        self.slots: dict[int, Slot] = {}

    def read(self) -> dict[int, Slot]:
        """The slots that are there, by number, ascending."""
        known, self.slots = self.slots, {}
        for number, start_ns, end_ns, position, totals, buckets in sorted(self._directory.tolist()):
            if number >= 0:
                slot = known.get(number) or self._copy(number, start_ns, end_ns, position, totals, buckets)
                if slot is not None:
                    self.slots[number] = slot
        return self.slots

    def _copy(self, number: int, start_ns: int, end_ns: int, position: int, totals: int, buckets: int) -> Slot | None:
        split = totals * TOTALS.itemsize
        raw = self._ring.read(position, split + buckets * BUCKET.itemsize)
        if raw is None:
            return None
        tally = Tally(np.frombuffer(raw, TOTALS, totals), np.frombuffer(raw, BUCKET, buckets, split))
        return Slot(number, start_ns, end_ns, tally)
