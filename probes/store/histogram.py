"""Durations by size: log-linear buckets, 16 to each doubling, so that any value is known to within 3.2 %.

Bucket b holds the whole numbers from `lower(b)` to before `lower(b + 1)`: those below 32 have one each, a day in
nanoseconds lies in bucket 691.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil

SUB_BUCKETS = 16  # to each doubling
_BITS = SUB_BUCKETS.bit_length()


def bucket(value: int) -> int:
    """The bucket of a whole number that is not negative."""
    shift = value.bit_length() - _BITS
    return value if shift <= 0 else shift * SUB_BUCKETS + (value >> shift)


def lower(bucket: int) -> int:
    """The smallest value in a bucket."""
    if bucket < 2 * SUB_BUCKETS:
        return bucket
    shift = bucket // SUB_BUCKETS - 1
    return (bucket - shift * SUB_BUCKETS) << shift


def middle(bucket: int) -> int:
    """The value that stands for all in a bucket."""
    return (lower(bucket) + lower(bucket + 1) - 1) // 2


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """The value below or at which `share` (0 to 1) of the counted values lie; None where there are none."""
    left = ceil(sum(counts.values()) * share)
    if not counts:
        return None
    for each in sorted(counts):
        left -= counts[each]
        if left <= 0:
            break
    return middle(each)


class Histogram:
    """Counted values, sparse, and the largest of them exactly."""

    __slots__ = ("counts", "max")

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.max = 0

    def add(self, value: int) -> None:
        """Count a value; one below 0 as 0."""
        self.add_all((value,))

    def add_all(self, values: Sequence[int]) -> None:
        """Count values, of which there is one at least; those below 0 as 0."""
        counts = self.counts
        for value in values:
            if value < 0:
                value = 0
            shift = value.bit_length() - _BITS  # bucket(), in place: this is done for each session
            counts[value if shift <= 0 else shift * SUB_BUCKETS + (value >> shift)] += 1
        self.max = max(self.max, max(values))

    def merge(self, other: Histogram) -> None:
        for at, count in other.counts.items():
            self.counts[at] += count
        self.max = max(self.max, other.max)

    def percentile(self, share: float) -> int | None:
        """As `percentile`, and never more than the largest value."""
        value = percentile(self.counts, share)
        return None if value is None else min(value, self.max)
