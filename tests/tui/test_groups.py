"""What the columns of groups show."""

from __future__ import annotations

from probes.records import Process
from probes.store.view import Group, Groups, Is, Key, Quantiles, Totals, Window
from tests.tui.screen import lines, press, staged
from tui.widgets.groups import (
    ERRORS,
    MAX,
    NOW,
    P50,
    P99,
    RATE,
    WAIT,
    GroupTable,
    Measure,
    key_measure,
    share,
    text_of,
)
from tui.widgets.table import AnyCell, Cell, Column

MS = 1_000_000
NAME = key_measure(0, Column("name", "name", 10))
MEASURES = (NAME, RATE, ERRORS, P50, P99, MAX, WAIT, NOW, share(9))


def groups(*some: Group) -> Groups:
    return Groups(("operation",), Window.S10, 0, 10, 10.0, some)


def cells(group: Group, *measures: Measure) -> list[str]:
    made = [measure.cell(groups(group), group) for measure in measures or MEASURES]
    return [cell.text if isinstance(cell, Cell) else cell for cell in made]


def test_latency_has_its_columns() -> None:
    totals = Totals(120, 100, 25, durations=Quantiles(100, MS, 2 * MS, 48 * MS, 1200 * MS))
    assert cells(Group(("find",), totals, 3)) == ["find", "12.0", "25.0", "1.00", "48.0", "1.20s", "–", "3", "█" * 9]


def test_a_long_poll_has_a_wait_and_no_latency() -> None:
    totals = Totals(10, 10, long_polls=10, waits=Quantiles(10, 480 * MS, 500 * MS, 500 * MS, 500 * MS))
    assert cells(Group(("hello",), totals)) == ["hello", "1.00", "0", "–", "–", "–", "480", "0", "long poll"]


def test_what_only_waits_is_there() -> None:
    assert cells(Group(("aggregate",), Totals(), 2)) == ["aggregate", "0", "–", "–", "–", "–", "–", "2", ""]


def test_keys_as_text() -> None:
    values = (None, "", 9, "find", Process(7, "mongod", "4be1"))
    assert [text_of(value) for value in values] == ["–", "–", "9", "find", "mongod 7"]


async def test_rows_are_sorted_by_what_the_column_means() -> None:
    some = groups(
        Group(("slow",), Totals(1, 1, durations=Quantiles(1, 2, 2, 20 * MS, 2))),
        Group((None,), Totals(3, 3, durations=Quantiles(1, 2, 2, 100 * MS, 2))),
        Group(("polls",), Totals(9, 9, waits=Quantiles(1, 2, 2, 3, 4))),
        Group(("empty",), Totals()),
    )
    table = GroupTable(MEASURES, sort="p99")
    async with staged(table, (80, 8)) as (stage, pilot):
        table.show(some)
        table.focus()
        await press(pilot)
        assert [line.split()[0] for line in lines(stage)[1:5]] == ["–", "slow", "polls", "empty"]
        await press(pilot, "I", "down")
        assert [line.split()[0] for line in lines(stage)[1:5]][2:] == ["slow", "–"]
        for _ in range(4):
            await press(pilot, "less_than_sign")
        assert table.sort_name == "name"
        assert [line.split()[0] for line in lines(stage)[1:5]] == ["empty", "polls", "slow", "–"]
        assert table.where_of(("slow",)) == (Is("operation", "slow"),)


async def test_as_many_groups_as_the_store_can_have() -> None:
    keys: list[Key] = [(f"db.collection{number}",) for number in range(16_384)]
    some = [groups(*(Group(key, Totals(each + number)) for number, key in enumerate(keys))) for each in range(2)]
    shown, sorted_by = set[Key](), list[Key]()

    def cell(all_groups: Groups, group: Group) -> AnyCell:
        shown.add(group.key)
        return NAME.cell(all_groups, group)

    def order(all_groups: Groups, group: Group) -> int:
        sorted_by.append(group.key)
        return group.totals.requests

    table = GroupTable((Measure(NAME.column, cell, order), *MEASURES[1:]), sort="name")
    async with staged(table, (160, 47)) as (_stage, pilot):
        table.focus()
        table.show(some[0])
        await press(pilot, "end")
        shown.clear()
        sorted_by.clear()
        table.show(some[1])
        await press(pilot)
        assert table.cursor_key == keys[0]
        assert len(sorted_by) == len(keys)  # each looked at once
        assert shown == set(keys[: table.page])  # and those on screen only are made into text
