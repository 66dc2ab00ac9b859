import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.store.view import Heatmap
from tests.tui.screen import press, staged, text
from tui import glyphs
from tui.widgets.graph import AreaGraph, HeatMap, area, resample, sparkline

ALPHABETS = (glyphs.BRAILLE, glyphs.BLOCK, glyphs.ASCII_GRAPH)


def test_graphs_start_at_zero_and_gaps_are_gaps() -> None:
    assert sparkline([0, 50, None, 100], 4) == "▁▄ █"
    assert sparkline([0, 50, None, 100], 4, top=200) == "▁▂ ▄"
    assert sparkline([], 4) == "    "
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline([0, 50, None, 100], 4, alphabet=glyphs.ASCII_GRAPH) == "_- #"


def test_several_values_in_a_cell_are_their_largest() -> None:
    assert resample([1, 9, None, 2, None, None], 3) == [9, 2, None]
    assert resample([1, 2], 4) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("alphabet", "drawn"),
    [
        (glyphs.BRAILLE, ["   ⣿", "⣀⣿ ⣿"]),
        (glyphs.BLOCK, ["   █", "▁█ █"]),
        (glyphs.ASCII_GRAPH, ["   #", "__ #"]),
    ],
)
def test_an_area_from_zero(alphabet: str, drawn: list[str]) -> None:
    assert area([0, 50, None, 100], 4, 2, alphabet=alphabet) == drawn


@given(st.lists(st.none() | st.floats(0, 1e12)), st.integers(1, 30), st.integers(1, 6), st.sampled_from(ALPHABETS))
def test_a_graph_has_the_size_it_was_given(values: list[float | None], width: int, height: int, alphabet: str) -> None:
    assert len(sparkline(values, width, alphabet=alphabet)) == width
    drawn = area(values, width, height, alphabet=alphabet)
    assert [len(line) for line in drawn] == [width] * height


async def test_an_area_graph_names_its_top() -> None:
    graph = AreaGraph()
    async with staged(graph, (20, 5)) as (stage, pilot):
        graph.show("req/s", [0, 120])
        await press(pilot)
        assert text(stage).splitlines()[0] == "req/s        max 120"
        assert text(stage).splitlines()[-1] == "⣀" * 10 + "⣿" * 10
        graph.show("req/s", [0, None])
        await press(pilot)
        assert text(stage).splitlines()[0] == "req/s          max 0"
        graph.show("req/s", [None])
        await press(pilot)
        assert text(stage).splitlines()[0] == "req/s          max –"


async def test_a_heatmap_has_the_slowest_on_top_and_leaves_gaps() -> None:
    counts = ((0, 8, 0, 0), None, (0, 8, 0, 1), (0, 0, 0, 0))
    heatmap = Heatmap(1, 0, (10**6, 10**7, 10**8, 10**9), counts)
    widget = HeatMap()
    async with staged(widget, (12, 4)) as (stage, pilot):
        widget.styles.height = 4
        await press(pilot)
        widget.show("latency", heatmap)
        await press(pilot)
        assert text(stage).splitlines()[0] == "latency"
        assert "1.00s ┤  ▒" in text(stage)
        assert "10.0ms ┤█ █" in text(stage)


async def test_a_heatmap_without_a_value_says_so() -> None:
    widget = HeatMap()
    async with staged(widget, (60, 4)) as (stage, pilot):
        widget.show("latency", Heatmap(1, 0, (1, 10), ((0, 0), None)))
        await press(pilot)
        assert "no answer in this window" in text(stage)
