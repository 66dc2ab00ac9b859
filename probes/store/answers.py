"""Groups, series and heatmaps out of tallies: from numpy's arrays to what a `View` hands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from probes.records import Status
from probes.store.columns import Mask, group, mask
from probes.store.layout import BUCKETS, LONG_BUCKET, STATUSES, TOTALS, Flag, Records
from probes.store.names import NamesReader
from probes.store.sums import Slot
from probes.store.tally import Numbers, Sums, Tally, bands, buckets_of, durations_of, sums
from probes.store.view import NO_VALUES, Condition, Group, Key, Point, Quantiles, Series, Totals

Question: TypeAlias = tuple[tuple[str, ...], tuple[Condition, ...]]  # fields to group by, and conditions

_NOTHING = Totals()
_QUESTIONS = 16  # whose answers are kept
_ERROR, _ONEWAY, _LOST, _DROPPED, _UNPARSED = (
    STATUSES.index(each) for each in (Status.ERROR, Status.ONEWAY, Status.LOST, Status.DROPPED, Status.UNPARSED)
)


class CellGroups(NamedTuple):
    """To which of `keys` each cell belongs, -1 where to none."""

    of_cell: Numbers
    keys: list[Key]


def group_cells(cells: Records, chosen: Mask, present: Numbers, by: Sequence[str], names: NamesReader) -> CellGroups:
    """Those of the cells `present` that are `chosen`, by the fields `by`."""
    present = present[chosen[present]]
    grouping = group(cells[present], by, names)
    of_cell = np.full(len(cells), -1, np.int64)
    of_cell[present] = grouping.of
    return CellGroups(of_cell, grouping.keys)


def group_totals(groups: CellGroups, tally: Tally, cells: Records) -> list[Totals]:
    """What each group adds up to."""
    of_total = groups.of_cell[tally.totals["cell"]]
    of_bucket = groups.of_cell[tally.buckets["key"] // BUCKETS]
    return _totals(sums(len(groups.keys), of_total, tally.totals, of_bucket, tally.buckets, cells))


def rows_as_tally(rows: Records) -> Tally:
    """Rows, each as a cell of its own."""
    replied = (rows["flags"] & Flag.REPLIED) != 0
    durations = np.where(replied, durations_of(rows), 0)
    totals = np.empty(len(rows), TOTALS)
    totals["cell"] = np.arange(len(rows))
    totals["requests"] = 1
    totals["request_bytes"] = rows["request_bytes"]
    totals["reply_bytes"] = np.where(replied, rows["reply_bytes"], 0)
    totals["max_ns"] = durations
    buckets = np.empty(int(replied.sum()), LONG_BUCKET)
    buckets["key"] = np.flatnonzero(replied) * BUCKETS + buckets_of(durations[replied])
    buckets["count"] = 1
    return Tally(totals, buckets)


def with_inflight(keys: Sequence[Key], totals: Sequence[Totals], inflight: Mapping[Key, int]) -> tuple[Group, ...]:
    """Groups, those with most requests first; with those that have nothing but requests in flight."""
    groups = [Group(key, its, inflight.get(key, 0)) for key, its in zip(keys, totals, strict=True)]
    known = set(keys)
    groups += [Group(key, _NOTHING, count) for key, count in inflight.items() if key not in known]
    groups.sort(key=lambda each: (-each.totals.requests, repr(each.key)))
    return tuple(groups)


def count_by_key(rows: Records, by: Sequence[str], names: NamesReader) -> dict[Key, int]:
    """How many rows have each key."""
    grouping = group(rows, by, names)
    return dict(zip(grouping.keys, np.bincount(grouping.of, minlength=len(grouping.keys)).tolist(), strict=True))


class SlotTotals:
    """What each group adds up to in each slot, by what was asked. A slot is added up once, for it never changes.

    The open ten seconds do: they are told apart by their end.
    """

    def __init__(self) -> None:
        self._known: dict[Question, dict[tuple[int, int], dict[Key, Totals]]] = {}
        self._epoch = -1

    def of(
        self, question: Question, slots: Sequence[Slot], cells: Records, names: NamesReader
    ) -> list[dict[Key, Totals]]:
        """The totals of each slot by key."""
        if self._epoch != names.epoch:
            self._known.clear()
            self._epoch = names.epoch
        known = self._known.pop(question, {})
        by, where = question
        chosen = mask(where, cells, names)
        found = {}
        for slot in slots:
            place = (slot.start_ns, slot.end_ns)
            found[place] = known.get(place) or _totals_by_key(slot.tally, cells, chosen, by, names)
        self._known[question] = found
        while len(self._known) > _QUESTIONS:
            del self._known[next(iter(self._known))]
        return [found[slot.start_ns, slot.end_ns] for slot in slots]


def _totals_by_key(
    tally: Tally, cells: Records, chosen: Mask, by: Sequence[str], names: NamesReader
) -> dict[Key, Totals]:
    groups = group_cells(cells, chosen, tally.totals["cell"].astype(np.int64), by, names)
    return dict(zip(groups.keys, group_totals(groups, tally, cells), strict=True))


def series(
    slots: Sequence[Slot | None], totals: Sequence[Mapping[Key, Totals]], step_s: int, end_ns: int
) -> tuple[Series, ...]:
    """Each group over the slots; `totals` are those of the slots that are there."""
    keys = sorted({key for its in totals for key in its}, key=repr)
    found = []
    for key in keys:
        its = iter(totals)
        points = (
            None if slot is None else Point(slot.start_ns, slot.end_ns, next(its).get(key, _NOTHING)) for slot in slots
        )
        found.append(Series(key, step_s, end_ns, tuple(points)))
    return tuple(found)


def heat(chosen: Mask, slots: Sequence[Slot | None], cells: Records) -> tuple[tuple[int, ...] | None, ...]:
    """Durations, without long polls, of the chosen cells: how many of each band, by slot."""
    chosen = chosen & ((cells["flags"] & Flag.LONG_POLL) == 0)
    of_slot, buckets, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for index, slot in enumerate(slots):
        if slot is not None:
            its = slot.tally.buckets
            its = its[chosen[its["key"] // BUCKETS]]
            of_slot.append(np.full(len(its), index, np.int64))
            buckets.append(its["key"].astype(np.int64) % BUCKETS)
            counts.append(its["count"].astype(np.int64))
    rows = bands(len(slots), np.concatenate(of_slot), np.concatenate(buckets), np.concatenate(counts)).tolist()
    return tuple(None if slot is None else tuple(row) for slot, row in zip(slots, rows, strict=True))


def _totals(of: Sums) -> list[Totals]:
    return [
        Totals(
            requests,
            responses,
            status[_ERROR],
            status[_ONEWAY],
            status[_LOST],
            status[_DROPPED],
            status[_UNPARSED],
            long_polls,
            request_bytes,
            reply_bytes,
            Quantiles(*durations) if durations[0] else NO_VALUES,
            Quantiles(*waits) if waits[0] else NO_VALUES,
        )
        if requests
        else _NOTHING
        for requests, responses, long_polls, request_bytes, reply_bytes, status, durations, waits in zip(
            *(column.tolist() for column in of), strict=True
        )
    ]
