"""Log-linear buckets: each value lies in its bucket, and no percentile is off by 5 %."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.store.histogram import Histogram, bucket, lower, middle, percentile

DAY_NS = 86_400 * 10**9
values = st.integers(0, 2**63) | st.integers(0, 5_000)


@given(values)
def test_a_value_lies_in_its_bucket(value: int) -> None:
    assert lower(bucket(value)) <= value < lower(bucket(value) + 1)
    assert abs(middle(bucket(value)) - value) <= 0.032 * value


@given(st.integers(0, 2_000))
def test_buckets_follow_each_other(number: int) -> None:
    assert bucket(lower(number)) == number
    assert bucket(lower(number + 1) - 1) == number


def test_a_day_of_nanoseconds_needs_few_buckets() -> None:
    assert bucket(DAY_NS) == 691


@given(st.lists(values, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_off_by_less_than_five_percent(sample: list[int], share: float) -> None:
    histogram = Histogram()
    for value in sample:
        histogram.add(value)
    exact = sorted(sample)[ceil(share * len(sample)) - 1]
    told = histogram.percentile(share)
    assert told is not None
    assert abs(told - exact) <= 0.05 * exact
    assert told <= max(sample) == histogram.max


@given(st.lists(values), st.lists(values))
def test_merging_is_counting_together(one: list[int], other: list[int]) -> None:
    both, left, right = Histogram(), Histogram(), Histogram()
    for value in one:
        left.add(value)
        both.add(value)
    for value in other:
        right.add(value)
        both.add(value)
    left.merge(right)
    assert (left.counts, left.max) == (both.counts, both.max)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_nothing_has_no_percentile(share: float) -> None:
    assert percentile({}, share) is None
    assert Histogram().percentile(share) is None
