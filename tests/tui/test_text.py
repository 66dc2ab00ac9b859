from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcswidth

from probes.outputs.escape import UNSAFE
from tests.effort import lines_run
from tests.unit.test_escape import HOSTILE
from tui import glyphs
from tui.text import fit, safe, wrapped


@given(st.text() | st.sampled_from([str(text) for text, _ in HOSTILE]), st.integers(1, 40))
def test_text_takes_the_cells_it_was_given_whoever_counts(text: str, width: int) -> None:
    shown = fit(text, width)
    assert cell_len(shown) == width
    assert not UNSAFE.search(shown)


@pytest.mark.parametrize(
    "text", ["漢字漢字", "e\u0301e\u0301", "❤️❤️", "🇩🇪", "한글", "क्षि", "\U0001f468\u200d\U0001f469", "𝍠"]
)
def test_a_terminal_and_we_agree_on_what_is_wide(text: str) -> None:
    for width in range(1, 20):
        assert wcswidth(fit(text, width)) == width


def test_without_utf8_only_ascii_is_shown() -> None:
    glyphs.use(glyphs.ASCII)
    assert safe("漢é\x1b", 40) == "\\u6f22\\xe9\\x1b"
    assert safe("x" * 50, 8) == "xxxxxxx~"


def test_a_long_text_on_several_lines() -> None:
    assert wrapped("abcdefgh", 3, 9) == ["abc", "def", "gh"]
    assert wrapped("漢字漢字", 3, 9) == ["漢", "字", "漢", "字"]
    assert wrapped("abcdefgh", 3, 2) == ["abc", "de…"]
    assert wrapped("", 3, 2) == [""]


def test_a_huge_name_costs_no_more_than_what_is_shown_of_it() -> None:
    for char in ("a", "漢", "\u202e", "\x1b"):
        long, huge = char * 1_000, char * 100_000
        assert cell_len(fit(huge, 40)) == 40  # and what is remembered of characters is remembered now
        assert lines_run(partial(fit, huge, 40)) == lines_run(partial(fit, long, 40))
