"""A front end's end of the store: a `View` of shared memory that another process writes, or wrote before it died."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from probes.records import Session
from probes.store import memory
from probes.store.answers import (
    CellGroups,
    SlotTotals,
    count_by_key,
    group_cells,
    group_totals,
    heat,
    rows_as_tally,
    series,
    with_inflight,
)
from probes.store.columns import NotOfCellsError, asks_for, group, mask
from probes.store.facts import loads_facts
from probes.store.layout import INFLIGHT_HEADER, ROW, At, Records, counters, inflight_bytes, records
from probes.store.log import LogReader, fields_of
from probes.store.names import NamesReader
from probes.store.rings import settle
from probes.store.sums import Slot, Sums, SumsReader
from probes.store.tally import BANDS_NS
from probes.store.view import (
    Condition,
    Exchange,
    Facts,
    Groups,
    Heatmap,
    InFlight,
    Key,
    Matches,
    Row,
    Series,
    Span,
    StoreUse,
    Window,
)

T = TypeVar("T")

_HEADER_OF_INFLIGHT = Struct("<qqq")
_TRIES = 3


class Reader:
    """Reads the store behind `fd`, which stays the caller's. Raises UnknownStoreError, OSError.

    One thread at a time: what was read is remembered.
    """

    def __init__(self, fd: int) -> None:
        self._layout, self._memory = memory.attach(fd)
        self._header = counters(self._memory)
        self._names = NamesReader(self._memory, self._header, self._layout)
        self._log = LogReader(self._memory, self._header, self._layout, self._names)
        self._sums = SumsReader(self._memory, self._header, self._layout)
        self._slot_totals = SlotTotals()
        self._facts: tuple[int, Facts] = (0, Facts())

    def facts(self) -> Facts:
        offset, bound = self._layout.facts
        while (count := self._header[At.FACTS]) != self._facts[0]:
            start = offset + count % 2 * bound
            size = int.from_bytes(self._memory[start : start + 8], "little")
            raw = self._memory[start + 8 : start + 8 + min(size, bound - 8)]
            settle()
            if self._header[At.FACTS] == count:
                self._facts = (count, loads_facts(raw) if raw else Facts())
        return self._facts[1]

    def use(self) -> StoreUse:
        header, layout = self._header, self._layout
        refused = {table: header[At.REFUSED + index] for index, table in enumerate(layout.names)}
        refused |= {"cell": header[At.REFUSED_CELLS], "slot": header[At.SQUEEZED]}
        rings = (
            (At.DETAILS_NEXT, layout.details),
            (At.SHARED_NEXT, layout.shared),
            (At.FINE_NEXT, layout.fine),
            (At.COARSE_NEXT, layout.coarse),
        )
        kept = self._log.span()
        rows = kept.next - kept.oldest
        unused = sum(max(0, size - header[at]) for at, (_, size) in rings)
        unused += (self._log.bound - rows) * ROW.itemsize
        return StoreUse(
            size_bytes=layout.size,
            used_bytes=layout.size - unused,
            rows=rows,
            rows_bound=self._log.bound,
            log_since_ns=kept.since_ns,
            heads_since=self._log.heads_since(),
            cells=header[At.CELLS],
            cells_bound=layout.cells[1],
            overflowed={table: count for table, count in refused.items() if count},
        )

    def heartbeat_ns(self) -> int:
        return self._header[At.HEARTBEAT_NS]

    def groups(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> Groups:
        return self._settled(lambda: self._groups(by, window, where))

    def baseline(self, by: Sequence[str], where: Sequence[Condition] = ()) -> Groups:
        def answer() -> Groups:
            sums = self._sums.read()
            return self._grouped(by, Window.M15, where, sums, sums.before_last_minute(), {})

        return self._settled(answer)

    def series(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> tuple[Series, ...]:
        def answer() -> tuple[Series, ...]:
            sums = self._sums.read()
            step_s, slots = sums.steps(window)
            there = [slot for slot in slots if slot is not None]
            totals = self._slot_totals.of((tuple(by), tuple(where)), there, sums.cells, self._names)
            return series(slots, totals, step_s, sums.folded_ns)

        return self._settled(answer)

    def heatmap(self, window: Window, where: Sequence[Condition] = ()) -> Heatmap:
        sums = self._sums.read()
        step_s, slots = sums.steps(window)
        counts = heat(mask(where, sums.cells, self._names), slots, sums.cells)
        return Heatmap(step_s, sums.folded_ns, BANDS_NS, counts)

    def inflight(self, where: Sequence[Condition] = ()) -> InFlight:
        taken_ns, total, waiting = self._waiting()
        if where:
            waiting = self._fitting(waiting, where)
            total = len(waiting)
        return InFlight(taken_ns, total, tuple(self._log.row(-1, fields_of(row)) for row in waiting))

    def span(self) -> Span:
        return self._log.span()

    def rows(self, first: int, count: int) -> tuple[Row, ...]:
        first = max(first, self._log.oldest)
        return self.pick(np.arange(first, max(first, min(first + count, self._log.next))))

    def pick(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Row, ...]:
        copied = self._log.copies(np.asarray(numbers, np.int64))
        rows = [self._log.row(number, fields) for number, fields in copied]
        # A row that is gone by now may have been given a name that is another's.
        oldest = self._log.oldest
        return tuple(row for row in rows if row.number >= oldest)

    def matching(self, where: Sequence[Condition], first: int = 0) -> Matches:
        end = self._log.next
        numbers, looked_at = self._log.matching(where, first)
        oldest = self._log.oldest
        return Matches(numbers[(numbers >= oldest) & (numbers < end)], max(looked_at, oldest), end)

    def session(self, row: Row) -> Session | None:
        if row.number >= 0:
            for _, fields in self._log.copies(np.array([row.number])):
                session = self._log.session(fields)
                return session if self._log.oldest <= row.number else None
            return None
        for waiting in self._waiting()[2]:
            fields = fields_of(waiting)
            if self._log.row(-1, fields).key == row.key:
                return self._log.session(fields)
        return None

    def exchanges(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Exchange]:
        return self._log.exchanges(np.asarray(numbers, np.int64))

    def _groups(self, by: Sequence[str], window: Window, where: Sequence[Condition]) -> Groups:
        waiting = self._fitting(self._waiting()[2], where, by)
        inflight = count_by_key(waiting, by, self._names)
        sums = self._sums.read()
        try:
            return self._grouped(by, window, where, sums, sums.within(window), inflight)
        except NotOfCellsError:
            return self._grouped_from_log(by, window, where, sums, inflight)

    def _grouped(
        self,
        by: Sequence[str],
        window: Window,
        where: Sequence[Condition],
        sums: Sums,
        slots: Sequence[Slot],
        inflight: Mapping[Key, int],
    ) -> Groups:
        chosen = mask(where, sums.cells, self._names)
        tally = self._sums.merged(slots)
        groups = group_cells(sums.cells, chosen, tally.totals["cell"].astype(np.int64), by, self._names)
        start_ns, end_ns = (slots[0].start_ns, slots[-1].end_ns) if slots else (sums.begun_ns, sums.begun_ns)
        return Groups(
            tuple(by),
            window,
            start_ns,
            end_ns,
            (end_ns - start_ns) / 1e9,
            with_inflight(groups.keys, group_totals(groups, tally, sums.cells), inflight),
        )

    def _grouped_from_log(
        self, by: Sequence[str], window: Window, where: Sequence[Condition], sums: Sums, inflight: Mapping[Key, int]
    ) -> Groups:
        end_ns = self._header[At.HEARTBEAT_NS]
        kept = self._log.span()
        start_ns = kept.since_ns if kept.oldest else sums.begun_ns
        if window is not Window.START:
            start_ns = max(start_ns, end_ns - window * 1_000_000_000)
        rows = self._log.fitting(where, start_ns, shapes="shape" in by or asks_for("shape", where))
        grouping = group(rows, by, self._names)
        groups = CellGroups(grouping.of, grouping.keys)
        return Groups(
            tuple(by),
            window,
            start_ns,
            end_ns,
            max(0.0, (end_ns - start_ns) / 1e9),
            with_inflight(grouping.keys, group_totals(groups, rows_as_tally(rows), rows), inflight),
            from_log=True,
        )

    def _fitting(self, waiting: Records, where: Sequence[Condition], by: Sequence[str] = ()) -> Records:
        """The requests in flight that fit, with their shapes where those are asked for."""
        if "shape" in by or asks_for("shape", where):
            waiting = self._log.with_shapes(waiting)
        return waiting[mask(where, waiting, self._names)]

    def _waiting(self) -> tuple[int, int, Records]:
        """When it was taken, how many waited, and the oldest of them."""
        offset, bound = self._layout.inflight
        size = inflight_bytes(bound)
        while True:
            count = self._header[At.INFLIGHT]
            start = offset + count % 2 * size
            taken_ns, total, kept = _HEADER_OF_INFLIGHT.unpack_from(self._memory, start)
            rows = records(self._memory, ROW, start + INFLIGHT_HEADER, max(0, min(kept, bound))).copy()
            settle()
            if self._header[At.INFLIGHT] == count:
                return taken_ns, total, rows

    def _settled(self, answer: Callable[[], T]) -> T:
        """`answer`, asked again where numbers came to mean other names meanwhile."""
        for _ in range(_TRIES):
            epoch = self._names.epoch
            given = answer()
            if self._names.epoch == epoch:
                break
        return given
