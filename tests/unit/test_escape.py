"""Captured text never reaches a terminal as anything but text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.outputs.escape import UNSAFE, cells, printable
from tests.effort import lines_run

HOSTILE = [
    ("[/x] [bold]m[/]", "[/x] [bold]m[/]"),  # markup is text: what draws must not interpret it
    ("\x1b[2J", "\\x1b[2J"),
    ("\x1b]52;c;cm0gLXJm\x07", "\\x1b]52;c;cm0gLXJm\\x07"),  # writes the clipboard
    ("\x9b31m", "\\x9b31m"),  # an 8-bit CSI
    ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
    ("nul\x00", "nul\\x00"),
    ("\u202eevil\u202c", "\\u202eevil\\u202c"),
    ("line\u2028sep", "line\\u2028sep"),
    ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
    ("\U000e0041", "\\U000e0041"),
    ("\ud800", "\\ud800"),
    (b"caf\xc3\xa9 \xff", "café \\xff"),
    ("漢字", "漢字"),
    ("e\u0301", "e\u0301"),
    ("\u0301x", "x"),  # a mark would stand on the cell before
    ("z" + "\u0301" * 40, "z\u0301\u0301"),
    ("", ""),
]


@pytest.mark.parametrize(("captured", "shown"), HOSTILE)
def test_hostile_text_is_shown_as_text(captured: str | bytes, shown: str) -> None:
    assert printable(captured) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("orders", 6, "orders"),
        ("orders", 5, "orde…"),
        ("漢字漢字", 5, "漢字…"),
        ("漢字漢字", 4, "漢…"),  # half a character cannot be shown
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("\x1b\x1b", 4, "\\x1…"),
        ("orders", 0, ""),
        ("a" + "\u0301" * 10_000 + "b", 5, "a\u0301\u0301…"),  # something was left out, so it says so
    ],
)
def test_text_is_cut_to_the_cells_there_are(text: str, width: int, shown: str) -> None:
    assert printable(text, width) == shown


def test_a_huge_text_costs_no_more_than_what_is_shown_of_it() -> None:
    long, huge = "\u202e" * 1_000, "\u202e" * 100_000
    assert cells(printable(huge, 40)) == 40
    assert lines_run(lambda: printable(huge, 40)) == lines_run(lambda: printable(long, 40))


@given(st.text() | st.binary(), st.none() | st.integers(0, 50))
def test_whatever_comes_is_harmless_encodable_and_fits(captured: str | bytes, width: int | None) -> None:
    shown = printable(captured, width)
    assert not UNSAFE.search(shown)
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in shown)
    shown.encode()
    assert width is None or cells(shown) <= width
    assert printable(shown) == shown
