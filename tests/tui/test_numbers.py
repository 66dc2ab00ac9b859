import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui import glyphs
from tui.widgets import numbers

S = 1_000_000_000


@pytest.mark.parametrize(
    ("ns", "shown"),
    [(None, "–"), (0, "0"), (100, "<.01"), (84_000, "0.08"), (1_230_000, "1.23"), (48_200_000, "48.2"),
     (210 * 10**6, "210"), (S, "1.00s"), (35 * S, "35.0s"), (700 * S, "12m")],
)  # fmt: skip
def test_a_duration_in_a_column_of_milliseconds(ns: int | None, shown: str) -> None:
    assert numbers.ms(ns) == shown


@pytest.mark.parametrize(
    ("ns", "shown"),
    [(0, "0.0 s"), (300_000_000, "0.3 s"), (9_960_000_000, "10 s"), (59_700_000_000, "1m00"), (61 * S, "1m01"),
     (3599 * S, "59m59"), (3661 * S, "1h01"), (90_000 * S, "1d01")],
)  # fmt: skip
def test_an_age(ns: int, shown: str) -> None:
    assert numbers.age(ns) == shown


def test_other_measures() -> None:
    assert [numbers.rate(each) for each in (0, 0.001, 0.04, 310, 4100)] == ["0", "<.01", "0.04", "310", "4.10k"]
    assert [numbers.percent(each) for each in (None, 0, 0.793, 1)] == ["–", "0", "79.3", "100"]
    assert [numbers.size(each) for each in (None, 0, 212, 44_100, 2e9)] == ["?", "0 B", "212 B", "44.1 kB", "2.00 GB"]
    assert [numbers.duration(each) for each in (None, 1, 12_345, 48_200_000, 1_240_000_000, 400 * S)] == [
        "–", "1 ns", "12.3 µs", "48.2 ms", "1.24 s", "6m40",
    ]  # fmt: skip
    assert [numbers.count(each) for each in (0, 999, 12_400)] == ["0", "999", "12.4k"]
    assert numbers.exact(8_412_004) == "8,412,004"
    assert numbers.at_least("12") == "≥ 12"
    assert numbers.of_day(50_531 * S + 910_000_000) == "14:02:11.91"
    assert numbers.of_day(50_531 * S, digits=0) == "14:02:11"


def test_a_bar_is_empty_only_for_nothing() -> None:
    assert numbers.bar(0, 6) == ""
    assert numbers.bar(0.001, 6) == "▏"
    assert numbers.bar(0.5, 6) == "███"
    assert numbers.bar(7, 6) == "██████"
    glyphs.use(glyphs.ASCII)
    assert numbers.bar(0.5, 6) == "###"
    assert numbers.bar(0.001, 6) == "#"


@given(st.integers(0, 2**62))
def test_columns_are_wide_enough(number: int) -> None:
    assert len(numbers.rate(number / 1e6)) <= 5
    assert len(numbers.age(min(number, 9999 * 86_400 * S))) <= 7
    assert len(numbers.ms(min(number, 999 * 60 * S))) <= 5


@pytest.mark.parametrize(
    ("encoding", "environ", "chosen"),
    [
        ("UTF-8", {}, glyphs.UNICODE),
        ("utf8", {"TERM": "xterm-256color"}, glyphs.UNICODE),
        ("ISO-8859-1", {}, glyphs.ASCII),
        ("ANSI_X3.4-1968", {}, glyphs.ASCII),
        ("UTF-8", {"L7TOP_ASCII": "1"}, glyphs.ASCII),
        ("UTF-8", {"TERM": "linux"}, glyphs.ASCII),
    ],
)
def test_the_terminal_decides_the_signs(encoding: str, environ: dict[str, str], chosen: glyphs.Glyphs) -> None:
    assert glyphs.suitable(encoding, environ) is chosen


def test_every_sign_has_an_ascii_twin_of_one_cell() -> None:
    for name in glyphs.Glyphs.__slots__:
        sign, twin = getattr(glyphs.UNICODE, name), getattr(glyphs.ASCII, name)
        if name not in ("unicode", "graph", "bar_parts"):
            assert len(sign) == len(twin) == 1, name
            assert twin.isascii(), name
