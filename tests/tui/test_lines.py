"""A line in fewer cells than it needs."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tui.widgets.lines import Part, fitted

LINE = (
    Part(" cursors  "),
    Part("12 open", "loud"),
    Part(", oldest 2m11: find shop.audit by billing"),
    Part("  exhausted 1.43k"),
    Part("  killed 31"),
)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (100, " cursors  12 open, oldest 2m11: find shop.audit by billing  exhausted 1.43k  killed 31"),
        (80, " cursors  12 open, oldest 2m11: find shop.audit by …  exhausted 1.43k  killed 31"),
        (69, " cursors  12 open, oldest 2m11: find sho…  exhausted 1.43k  killed 31"),
        (68, " cursors  12 open, oldest 2m11: find shop.audit by…  exhausted 1.43k"),
        (57, " cursors  12 open, oldest 2m11: find shop.audit by billi…"),
        (40, " cursors  12 open"),
        (16, " cursors  "),
    ],
)
def test_a_text_yields_and_then_parts_go_whole(width: int, shown: str) -> None:
    text = "".join(part.text for part in fitted(LINE, width, yields=2))
    assert text == shown
    assert cell_len(text) <= width
