"""The live table: columns that fit, a cursor on a key, and repaints of nothing but what changed."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from rich.cells import cell_len
from textual.strip import Strip

from tests.effort import lines_run
from tests.tui.screen import Stage, lines, press, segments, staged, text
from tui.widgets.lines import LineWidget
from tui.widgets.table import AnyCell, Cell, Column, LineRow, LineTable, place

COLUMNS = (
    Column("name", "name", 8, flexible=True),
    Column("rate", "req/s", 6, right=True),
    Column("more", "more", 10, priority=1),
)


def rows(*names: str) -> list[LineRow]:
    return [LineRow(name, (name, str(10 * index), Cell("x", "bad"))) for index, name in enumerate(names)]


class Heard(Stage):
    """Also remembers what the table says."""

    def __init__(self, table: LineTable) -> None:
        super().__init__(table)
        self.said: list[tuple[str, Hashable]] = []

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        self.said.append(("chosen", message.key))

    def on_line_table_highlighted(self, message: LineTable.Highlighted) -> None:
        self.said.append(("highlighted", message.key))

    def on_line_table_sorted(self, message: LineTable.Sorted) -> None:
        self.said.append((message.control.sort_name, message.control.descending))


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (5, [("name", 0, 5)]),
        (14, [("name", 0, 14)]),  # no number without a name
        (15, [("name", 0, 8), ("rate", 9, 6)]),
        (25, [("name", 0, 18), ("rate", 19, 6)]),
        (26, [("name", 0, 8), ("rate", 9, 6), ("more", 16, 10)]),
        (40, [("name", 0, 22), ("rate", 23, 6), ("more", 30, 10)]),
    ],
)
def test_columns_come_and_go_with_the_width(width: int, shown: list[tuple[str, int, int]]) -> None:
    assert [(COLUMNS[each.column].name, each.x, each.width) for each in place(COLUMNS, width)] == shown


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, [("sign", 0, 1), ("group", 2, 17), ("topic", 20, 16), ("rate", 37, 6), ("lag", 44, 7), ("more", 52, 8)]),
        (50, [("sign", 0, 1), ("group", 2, 16), ("topic", 19, 16), ("rate", 36, 6), ("lag", 43, 7)]),
        (39, [("sign", 0, 1), ("group", 2, 8), ("topic", 11, 13), ("rate", 25, 6), ("lag", 32, 7)]),
        (33, [("sign", 0, 1), ("group", 2, 8), ("topic", 11, 15), ("rate", 27, 6)]),
        (20, [("sign", 0, 1), ("group", 2, 8), ("topic", 11, 9)]),
        (18, [("group", 0, 8), ("topic", 9, 9)]),
        (12, [("group", 0, 12)]),
    ],
)
def test_names_shrink_to_eight_cells_and_then_numbers_go(width: int, shown: list[tuple[str, int, int]]) -> None:
    columns = (
        Column("sign", "", 1),
        Column("group", "group", 12, flexible=True),
        Column("topic", "topic", 16, flexible=True),
        Column("rate", "req/s", 6, right=True),
        Column("lag", "lag", 7, right=True),
        Column("more", "more", 8, priority=1),
    )
    assert [(columns[each.column].name, each.x, each.width) for each in place(columns, width)] == shown


def test_a_flexible_column_takes_no_more_than_its_most() -> None:
    columns = (Column("name", "name", 8, flexible=True, most=12), Column("rate", "req/s", 6))
    assert [each.width for each in place(columns, 60)] == [12, 6]


async def test_the_head_has_the_titles_and_the_sort_mark() -> None:
    table = LineTable(COLUMNS, sort="rate", empty="nothing there")
    async with staged(table, (30, 4)) as (stage, pilot):
        assert text(stage) == "name         req/s▾ more\nnothing there\n\n\n"
        table.set_rows(rows("a", "b"))
        await press(pilot, "I")
        assert text(stage) == "name         req/s▴ more\na                 0 x\nb                10 x\n\n"


async def test_the_cursor_stays_on_its_row() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (30, 5)) as (stage, pilot):
        table.focus()
        table.set_rows(rows("a", "b", "c"))
        assert table.cursor_key is None
        await press(pilot, "down", "down")
        assert table.cursor_key == "b"
        table.set_rows(rows("c", "a", "b"))
        await press(pilot)
        assert table.cursor_row is not None
        assert table.cursor_row.key == "b"
        assert reversed_lines(stage) == [3]


async def test_a_row_that_vanishes_under_the_cursor_stays_until_the_cursor_leaves() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (30, 6)) as (stage, pilot):
        table.focus()
        table.set_rows(rows("a", "b", "c"))
        await press(pilot, "down", "down")
        table.set_rows(rows("a", "c", "d"))
        await press(pilot)
        assert [line.split()[0] for line in lines(stage)[1:5]] == ["a", "b", "c", "d"]
        assert table.cursor_row is not None
        assert table.cursor_row.key == "b"
        table.set_rows(rows("a", "b", "c"))  # and if it comes back, it is the same row
        await press(pilot)
        assert [line.split()[0] for line in lines(stage)[1:4]] == ["a", "b", "c"]
        table.set_rows(rows("a", "c", "d"))
        await press(pilot, "down")
        assert table.cursor_key == "c"
        assert [line.split()[0] for line in lines(stage)[1:4]] == ["a", "c", "d"]
        table.set_rows(())
        await press(pilot)
        assert lines(stage)[1].split()[0] == "c"
        await press(pilot, "up")
        assert table.cursor_key == "c"


async def test_the_view_goes_along_with_the_cursor_and_else_the_top_stays() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (30, 5)) as (stage, pilot):
        table.focus()
        table.set_rows(rows(*"abcdefgh"))
        table.set_rows(rows(*"hgfedcba"))
        await press(pilot)
        assert lines(stage)[1].startswith("h")
        await press(pilot, "down")
        table.set_rows(rows(*"abcdefgh"))
        await press(pilot)
        assert lines(stage)[reversed_lines(stage)[0]].startswith("h")


async def test_keys_move_through_many_rows() -> None:
    table = LineTable(COLUMNS)

    def at() -> Hashable:
        return table.cursor_key

    async with staged(table, (30, 11)) as (stage, pilot):
        table.focus()
        table.set_rows([LineRow(number, (str(number), "0", "")) for number in range(100_000)])
        await press(pilot, "end")
        assert at() == 99_999
        assert lines(stage)[10].startswith("99999")
        assert lines(stage)[10].endswith("▐")
        await press(pilot, "pageup")
        assert at() == 99_989
        await press(pilot, "home")
        assert at() == 0
        await press(pilot, "pagedown", "j", "k")
        assert at() == 10
        assert table.move_to(50_000)
        assert not table.move_to("nobody")
        assert at() == 50_000
        table.clear_cursor()
        await press(pilot)
        assert lines(stage)[1].startswith("0 ")


async def test_messages() -> None:
    table = LineTable(COLUMNS, sort="rate")
    stage = Heard(table)
    async with stage.run_test(size=(30, 5)) as pilot:
        table.focus()
        table.set_rows(rows("a", "b"))
        await press(pilot, "enter", "down", "enter")
        assert stage.said == [("highlighted", "a"), ("chosen", "a"), ("highlighted", "b"), ("chosen", "b")]
        stage.said.clear()
        await press(pilot, "s", "s", "less_than_sign", "greater_than_sign", "greater_than_sign", "I")
        assert stage.said == [
            ("more", False),
            ("name", False),
            ("rate", True),
            ("more", False),
            ("more", True),
        ]
        stage.said.clear()
        await pilot.click(LineTable, offset=(2, 2))
        await pilot.click(LineTable, offset=(2, 0))
        await pilot.pause()
        assert table.cursor_key == "b"
        assert stage.said == [("name", False)]


async def test_nothing_is_repainted_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LineTable(COLUMNS)
    painted: list[int] = []
    async with staged(table, (30, 6)) as (_stage, pilot):
        table.set_rows(rows("a", "b", "c"))
        await press(pilot)
        paint = LineWidget.render_line

        def watched(self: LineWidget, y: int) -> Strip:
            painted.append(y)
            return paint(self, y)

        monkeypatch.setattr(LineWidget, "render_line", watched)
        table.set_rows(rows("a", "b", "c"))
        await press(pilot)
        assert painted == []
        table.set_rows([*rows("a"), LineRow("b", ("b", "7", "x")), *rows("a", "b", "c")[2:]])
        await press(pilot)
        assert painted == [2]
        painted.clear()
        table.set_rows(rows("a", "b"))
        await press(pilot)
        assert painted == [2, 3]


class _Watched:
    """A row that tells when its cells are wanted."""

    hint = ""

    def __init__(self, key: int, drawn: set[int]) -> None:
        self.key = key
        self._drawn = drawn

    @property
    def cells(self) -> tuple[AnyCell, ...]:
        self._drawn.add(self.key)
        return str(self.key), "0", ""


async def test_hundred_thousand_rows_cost_a_page() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (80, 40)) as (_stage, pilot):
        drawn = set[int]()
        many = [_Watched(number, drawn) for number in range(100_000)]
        assert lines_run(lambda: table.set_rows(many)) < len(many)
        await press(pilot)
        assert drawn == set(range(table.page))


async def test_wide_text_breaks_no_column() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (30, 8)) as (stage, pilot):
        names = ("漢字漢字漢字漢字漢字", "e\u0301" * 30, "[/x]", "❤️", "क्षि", "한")
        table.set_rows([LineRow(name, (name, "12", "x")) for name in names])
        await press(pilot)
        for line in lines(stage)[1 : len(names) + 1]:
            before, _, _ = line.partition("    12 x")
            assert cell_len(before) == 13


async def test_a_smaller_screen_keeps_the_cursor_on_it() -> None:
    table = LineTable(COLUMNS)
    async with staged(table, (30, 20)) as (stage, pilot):
        table.focus()
        table.set_rows(rows(*map(str, range(100))))
        await press(pilot, "pagedown", "pagedown")
        await pilot.resize_terminal(20, 6)
        await press(pilot)
        assert reversed_lines(stage) == [5]
        assert len(text(stage).splitlines()) == 6


def reversed_lines(stage: Stage) -> list[int]:
    """The lines with the cursor."""
    return [
        y for y, line in enumerate(segments(stage)) if any(segment.style and segment.style.reverse for segment in line)
    ]
