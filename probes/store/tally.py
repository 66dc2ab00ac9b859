"""Counting with numpy: rows into totals and buckets per cell, these added up, and what they say of durations.

Durations fall into the buckets of `histogram`, the same log-linear ones, so that any is known to within 3.2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.store.histogram import SUB_BUCKETS, middle
from probes.store.layout import BUCKET, BUCKETS, LONG_BUCKET, STATUSES, TOTALS, Flag, Records

Numbers = NDArray[np.int64]

_BITS = SUB_BUCKETS.bit_length()
_MAX_DURATION = (1 << 53) - 1  # ns, 104 days: to this a float is exact
_MIDDLES = np.array([middle(bucket) for bucket in range(BUCKETS - SUB_BUCKETS)], np.float64)

BANDS_NS = tuple(round(10 ** (3 + band / 4)) for band in range(32))
"""Where the bands of a heatmap begin: four to each factor of ten, from 1 µs on; the first takes what is shorter."""

_BAND_OF_BUCKET = np.maximum(np.searchsorted(np.array(BANDS_NS), _MIDDLES, "right") - 1, 0)


class Tally(NamedTuple):
    """What some rows add up to: totals (TOTALS) and durations (BUCKET or LONG_BUCKET), each sorted, by cell."""

    totals: Records
    buckets: Records


EMPTY = Tally(np.empty(0, TOTALS), np.empty(0, BUCKET))


def durations_of(rows: Records) -> Numbers:
    """First byte of the reply minus last byte of the request, ns; only of rows that were replied to is it one."""
    waited = np.asarray(rows["reply_first"] - rows["request_last"], np.int64)
    np.clip(waited, 0, _MAX_DURATION, out=waited)
    return waited


def buckets_of(durations: Numbers) -> Numbers:
    """The bucket of each duration, ns."""
    _, bits = np.frexp(durations.astype(np.float64))
    shift: Numbers = np.maximum(bits.astype(np.int64) - _BITS, 0)
    return shift * SUB_BUCKETS + (durations >> shift)


def tally(rows: Records) -> Tally:
    """`rows` by their cells."""
    cells = rows["cell"].astype(np.int64)
    replied = (rows["flags"] & Flag.REPLIED) != 0
    durations = durations_of(rows)[replied]
    count = int(cells.max(initial=-1)) + 1
    requests = np.bincount(cells, minlength=count)
    longest = np.zeros(count, np.int64)
    np.maximum.at(longest, cells[replied], durations)
    present = np.flatnonzero(requests)
    totals = np.empty(len(present), TOTALS)
    totals["cell"] = present
    totals["requests"] = requests[present]
    totals["request_bytes"] = np.bincount(cells, rows["request_bytes"], count)[present]
    totals["reply_bytes"] = np.bincount(cells[replied], rows["reply_bytes"][replied], count)[present]
    totals["max_ns"] = longest[present]
    return Tally(totals, _counted(cells[replied] * BUCKETS + buckets_of(durations)))


def _counted(keys: Numbers) -> Records:
    keys = np.sort(keys)
    starts = _starts(keys) if len(keys) else keys
    buckets = np.empty(len(starts), BUCKET)
    buckets["key"], buckets["count"] = keys[starts], np.diff(starts, append=len(keys))
    return buckets


def merge(tallies: Sequence[Tally]) -> Tally:
    """The sum of tallies, its buckets as LONG_BUCKET."""
    totals = _sum_totals(np.concatenate([each.totals for each in tallies] or [EMPTY.totals]))
    keys, counts = (
        np.concatenate([each.buckets[name] for each in tallies] or [EMPTY.buckets[name]]).astype(np.int64)
        for name in ("key", "count")
    )
    keys, counts = sum_by_key(keys, counts)
    buckets = np.empty(len(keys), LONG_BUCKET)
    buckets["key"], buckets["count"] = keys, counts
    return Tally(totals, buckets)


def short(of: Tally) -> Tally:
    """With its buckets as BUCKET, as slots have them."""
    buckets = np.empty(len(of.buckets), BUCKET)
    buckets["key"], buckets["count"] = of.buckets["key"], np.minimum(of.buckets["count"], (1 << 32) - 1)
    return Tally(of.totals, buckets)


def moved(of: Tally, heirs: Numbers) -> Tally:
    """With what each cell counted given to its heir, by the cell's number; beyond `heirs` cells keep their own."""

    def heir(cells: Numbers) -> Numbers:
        return np.where(cells < len(heirs), heirs[np.minimum(cells, len(heirs) - 1)], cells)

    totals, buckets = of.totals.copy(), of.buckets.copy()
    keys = buckets["key"].astype(np.int64)
    totals["cell"] = heir(totals["cell"].astype(np.int64))
    buckets["key"] = heir(keys // BUCKETS) * BUCKETS + keys % BUCKETS
    return merge([Tally(totals, buckets)])


def rarest(of: Tally, room: int, bucket_bytes: int) -> Numbers:
    """The cells without which `of` takes three quarters of `room` bytes at most; none where all of it finds room."""
    cells, their_size = of.totals["cell"].astype(np.int64), TOTALS.itemsize
    keys = of.buckets["key"].astype(np.int64) // BUCKETS
    count = int(max(cells.max(initial=-1), keys.max(initial=-1))) + 1
    bytes_of = np.bincount(keys, minlength=count) * bucket_bytes + np.bincount(cells, minlength=count) * their_size
    if bytes_of.sum() <= room:
        return np.empty(0, np.int64)
    seen = np.bincount(cells, of.totals["requests"], count) + np.bincount(keys, of.buckets["count"], count)
    frequent_first = np.argsort(-seen, kind="stable")
    beyond = np.cumsum(bytes_of[frequent_first]) > room * 3 // 4
    chosen: Numbers = frequent_first[beyond & (bytes_of[frequent_first] > 0)]
    return chosen


def sum_by_key(keys: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Each key once, ascending, with the sum of its counts."""
    if not len(keys):
        return keys, counts
    if keys.max() < 4 * len(keys):  # an array with an item for each key beats sorting
        # A float adds up whole numbers exactly to 2^53.
        summed = np.bincount(keys, counts)
        keys = np.flatnonzero(summed)
        return keys, summed[keys].astype(np.int64)
    order = np.argsort(keys)
    keys = keys[order]
    starts = _starts(keys)
    return keys[starts], np.add.reduceat(counts[order], starts)


def _starts(ordered: NDArray[Any]) -> NDArray[np.intp]:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def _sum_totals(totals: Records) -> Records:
    if not len(totals):
        return totals
    totals = totals[np.argsort(totals["cell"], kind="stable")]
    starts = _starts(totals["cell"])
    summed = np.empty(len(starts), TOTALS)
    summed["cell"] = totals["cell"][starts]
    for name in ("requests", "request_bytes", "reply_bytes"):
        summed[name] = np.add.reduceat(totals[name], starts)
    summed["max_ns"] = np.maximum.reduceat(totals["max_ns"], starts)
    return summed


class Sums(NamedTuple):
    """Sums by group, one item each. `status[group, status]` are requests; quantiles have five columns.

    The columns of `durations` and `waits` are count, p50, p90, p99 and max, ns.
    """

    requests: Numbers
    responses: Numbers
    long_polls: Numbers
    request_bytes: Numbers
    reply_bytes: Numbers
    status: Numbers
    durations: Numbers
    waits: Numbers


def sums(groups: int, of_total: Numbers, totals: Records, of_bucket: Numbers, buckets: Records, cells: Records) -> Sums:
    """Totals and buckets by group: `of_total` and `of_bucket` say to which of `groups` each item belongs, -1 to none.

    `cells` are the records of all cells.
    """
    chosen = of_total >= 0
    totals, group = totals[chosen], of_total[chosen]
    cell = cells[totals["cell"]]
    replied = (cell["flags"] & Flag.REPLIED) != 0
    waits = (cell["flags"] & Flag.LONG_POLL) != 0

    def added(what: NDArray[Any], where: Any = slice(None)) -> Numbers:
        return np.bincount(group[where], what[where], groups).astype(np.int64)

    requests = totals["requests"]
    by_status = np.bincount(group * len(STATUSES) + cell["status"], requests, groups * len(STATUSES))
    chosen = of_bucket >= 0
    buckets, bucket_group = buckets[chosen], of_bucket[chosen]
    keys = buckets["key"].astype(np.int64)
    waited = (cells["flags"][keys // BUCKETS] & Flag.LONG_POLL) != 0
    maxima = np.zeros((2, groups), np.int64)
    np.maximum.at(maxima, (waits.astype(np.intp), group), totals["max_ns"].astype(np.int64))
    durations, polls = (
        _quantiles(groups, bucket_group[part], keys[part] % BUCKETS, buckets["count"][part], maximum)
        for part, maximum in ((~waited, maxima[0]), (waited, maxima[1]))
    )
    return Sums(
        added(requests),
        added(requests, replied),
        added(requests, replied & waits),
        added(totals["request_bytes"]),
        added(totals["reply_bytes"]),
        by_status.astype(np.int64).reshape(groups, len(STATUSES)),
        durations,
        polls,
    )


def _quantiles(groups: int, group: Numbers, bucket: Numbers, count: NDArray[Any], maximum: Numbers) -> Numbers:
    result = np.zeros((groups, 5), np.int64)
    if not len(group):
        return result
    keys, counts = sum_by_key(group * BUCKETS + bucket, count.astype(np.int64))
    upto = np.cumsum(counts)
    last = np.append(_starts(keys // BUCKETS)[1:], len(keys)) - 1
    present = keys[last] // BUCKETS
    before = np.concatenate(([0], upto[last][:-1]))
    number = upto[last] - before
    result[present, 0] = number
    for column, share in ((1, 0.5), (2, 0.9), (3, 0.99)):
        at = np.searchsorted(upto, before + np.ceil(number * share).astype(np.int64), "left")
        value = _MIDDLES[keys[at] % BUCKETS].astype(np.int64)
        result[present, column] = np.minimum(value, maximum[present])
    result[present, 4] = maximum[present]
    return result


def bands(slots: int, slot: Numbers, bucket: Numbers, count: NDArray[Any]) -> Numbers:
    """How many durations fell into each band of each slot."""
    width = len(BANDS_NS)
    return (
        np.bincount(slot * width + _BAND_OF_BUCKET[bucket], count, slots * width).astype(np.int64).reshape(slots, width)
    )
