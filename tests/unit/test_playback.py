"""How far a capture is to be read, as keys and the clock say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.options import LIVE, STDIN, CaptureOptions
from probes.playback import FOREVER_NS, Command, Order, Playback, is_played

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


class Clock:
    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def __call__(self) -> int:
        return self.ns


def test_as_fast_as_it_can_be_read_there_is_no_limit() -> None:
    playback = Playback(0.0)
    assert playback.limit_ns(BEGIN) == FOREVER_NS
    assert playback.told(BEGIN) == "max"


def test_at_a_speed_its_time_goes_on_with_the_clock() -> None:
    clock = Clock()
    playback = Playback(2.0, clock)
    assert playback.limit_ns(BEGIN) == BEGIN
    clock.ns += 3 * SECOND
    assert playback.limit_ns(BEGIN) == BEGIN + 6 * SECOND
    assert playback.told(BEGIN) == "2x"


def test_where_it_is_paused_it_stands_still_and_goes_on_from_there() -> None:
    clock = Clock()
    playback = Playback(1.0, clock)
    playback.limit_ns(BEGIN)
    assert not playback.take(Command(Order.PAUSE), BEGIN + SECOND)
    clock.ns += 60 * SECOND
    assert playback.limit_ns(BEGIN + SECOND) == BEGIN + SECOND
    assert playback.told(BEGIN + SECOND) == "paused"
    playback.take(Command(Order.PAUSE), BEGIN + SECOND)
    clock.ns += SECOND
    assert playback.limit_ns(BEGIN + SECOND) == BEGIN + 2 * SECOND


def test_the_pace_changes_by_turns_and_ends_a_pause() -> None:
    playback = Playback(0.0, Clock())
    playback.take(Command(Order.PAUSE), BEGIN)
    told = []
    for _ in range(3):
        playback.take(Command(Order.PACE), BEGIN)
        told.append(playback.told(BEGIN))
    assert told == ["1x", "max", "1x"]


def test_on_is_read_as_fast_as_can_be_then_it_goes_on_as_it_did() -> None:
    clock = Clock()
    playback = Playback(1.0, clock)
    playback.limit_ns(BEGIN)
    for _ in range(2):
        assert not playback.take(Command(Order.SEEK, 10), BEGIN)
    clock.ns += SECOND
    assert playback.limit_ns(BEGIN + SECOND) == BEGIN + 20 * SECOND
    assert playback.told(BEGIN + SECOND) == "seeking"
    assert playback.limit_ns(BEGIN + 20 * SECOND) == BEGIN + 20 * SECOND
    clock.ns += SECOND
    assert playback.limit_ns(BEGIN + 20 * SECOND) == BEGIN + 21 * SECOND
    assert playback.told(BEGIN + 20 * SECOND) == "1x"


@pytest.mark.parametrize(("speed", "told"), [(1.0, "1x"), (0.0, "paused")])
def test_back_is_read_again_up_to_there(speed: float, told: str) -> None:
    """At its end it would be at once, were it not paused there."""
    playback = Playback(speed, Clock())
    playback.limit_ns(BEGIN)
    assert playback.take(Command(Order.SEEK, -10), BEGIN + 30 * SECOND)
    assert playback.limit_ns(BEGIN) == BEGIN + 20 * SECOND
    assert playback.told(BEGIN) == "seeking"
    assert playback.limit_ns(BEGIN + 20 * SECOND) == BEGIN + 20 * SECOND
    assert playback.told(BEGIN + 20 * SECOND) == told


def test_back_before_its_beginning_is_its_beginning() -> None:
    playback = Playback(1.0, Clock())
    playback.limit_ns(BEGIN)
    assert playback.take(Command(Order.SEEK, -60), BEGIN + SECOND)
    assert playback.limit_ns(BEGIN) == BEGIN
    assert playback.told(BEGIN) == "1x"


def test_beyond_its_end_is_its_end() -> None:
    playback = Playback(1.0, Clock())
    playback.limit_ns(BEGIN)
    playback.take(Command(Order.SEEK, 600), BEGIN)
    playback.over(BEGIN + 30 * SECOND)
    assert playback.take(Command(Order.SEEK, -10), BEGIN + 30 * SECOND)
    assert playback.limit_ns(BEGIN) == BEGIN + 20 * SECOND


@given(st.sampled_from(Order), st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_command_comes_as_it_was_sent(order: Order, value: int) -> None:
    assert Command.read(Command(order, value).pack()) == Command(order, value)


@given(st.binary(max_size=12))
def test_whatever_else_comes_is_no_command(data: bytes) -> None:
    command = Command.read(data)
    assert command is None or command.pack() == data


def test_only_files_are_played(tmp_path: object) -> None:
    played = [is_played(CaptureOptions(source=source)) for source in (__file__, str(tmp_path), LIVE, STDIN, "/none")]
    assert played == [True, False, False, False, False]
