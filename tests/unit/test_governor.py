"""When the tool leaves things off, and when it takes them up again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from probes.governor import Governor, Level

SECOND = 1_000_000_000


class Run:
    """A governor with a bound of 50 % that is asked each second."""

    def __init__(self, bound: float = 50.0, highest: Level = Level.COUNTING) -> None:
        self.governor = Governor(bound, highest)
        self.seconds = self.cpu_ns = 0

    def use(self, percent: float, seconds: int) -> list[Level]:
        """The levels of each second during which so much CPU is used."""
        levels = []
        for _ in range(seconds):
            self.seconds += 1
            self.cpu_ns += int(percent * SECOND / 100)
            levels.append(self.governor.sample(self.seconds * SECOND, self.cpu_ns))
        return levels


def test_what_stays_below_the_bound_leaves_nothing_off() -> None:
    assert set(Run().use(49.9, 600)) == {Level.NOTHING}


def test_each_step_has_five_seconds_to_show_its_effect() -> None:
    levels = Run().use(80, 30)
    assert [levels.count(level) for level in Level] == [5, 5, 5, 15]


def test_one_busy_second_is_not_five() -> None:
    run = Run()
    run.use(10, 10)
    assert set(run.use(100, 2) + run.use(10, 10)) == {Level.NOTHING}


def test_a_step_that_suffices_is_the_last_one() -> None:
    run = Run()
    run.use(80, 6)
    assert set(run.use(40, 600)) == {Level.SHORT_HEADS}


def test_it_goes_down_a_step_at_a_time_where_much_less_is_used() -> None:
    run = Run()
    run.use(80, 16)
    assert run.governor.level is Level.COUNTING
    levels = run.use(5, 120)
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] is Level.NOTHING
    assert all(levels.count(level) >= 10 for level in Level)


def test_going_down_too_early_makes_the_next_try_later() -> None:
    run = Run()
    run.use(80, 6)
    waits = []
    for _ in range(4):
        levels = run.use(10, 400)
        waits.append(levels.count(Level.SHORT_HEADS))
        assert levels[-1] is Level.NOTHING
        run.use(80, 6)
        assert run.governor.level is Level.SHORT_HEADS
    assert waits == sorted(waits)
    assert waits[3] > 4 * waits[0]


def test_without_a_bound_and_at_the_highest_level() -> None:
    assert set(Run(bound=0).use(100, 60)) == {Level.NOTHING}
    assert max(Run(highest=Level.SHORT_HEADS).use(100, 60)) is Level.SHORT_HEADS


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), max_size=30))
def test_levels_change_by_one_and_never_faster_than_the_window(load: list[tuple[int, int]]) -> None:
    run = Run()
    levels = [level for percent, seconds in load for level in run.use(percent, seconds)]
    changes = [at for at in range(1, len(levels)) if levels[at] != levels[at - 1]]
    assert all(abs(levels[at] - levels[at - 1]) == 1 for at in changes)
    assert all(later - earlier >= 5 for earlier, later in pairwise(changes))
