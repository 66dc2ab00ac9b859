"""The log: what waits first, newest next; a place that is kept; the way to one request."""

from __future__ import annotations

import pytest

from probes.filters import Term
from probes.records import Status
from probes.store.reader import Reader
from probes.store.view import Is, View, Window
from probes.store.writer import Writer
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS, Traffic
from tests.tui.screen import Stage, check_snapshot, lines, press, staged, text
from tui.screens.requests import RequestsPanel

NOW_NS = START_NS + 60 * SECOND


class Growing:
    """A store that goes on by a second when it is told to."""

    def __init__(self, size: int = 16 << 20, scale: float = 1.0) -> None:
        self._traffic, self.now_ns = Traffic(scale=scale), START_NS
        self._writer = Writer(size, START_NS)
        self.view = Reader(self._writer.fd)
        self.go_on()
        self._writer.facts(self._traffic.facts(self.now_ns))

    def go_on(self) -> int:
        """How many rows are new."""
        self.now_ns += SECOND
        sessions = self._traffic.second(self.now_ns)
        for session in sessions:
            self._writer.session(session)
        self._writer.fold(self.now_ns)
        return len(sessions)

    def wait(self, waiting: bool) -> None:
        self._writer.inflight(self._traffic.waiting(self.now_ns) if waiting else [], self.now_ns)


@pytest.mark.parametrize("size", [(80, 21), (160, 47)])
async def test_the_log(lively: View, size: tuple[int, int]) -> None:
    panel = RequestsPanel()
    async with staged(panel, size) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        await press(pilot)
        check_snapshot(f"requests-{size[0]}", text(stage))


async def test_the_newest_are_followed_until_somebody_reads() -> None:
    growing, panel = Growing(), RequestsPanel()
    async with staged(panel) as (stage, pilot):
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        panel.focus_table()
        await press(pilot)
        before = lines(stage)[2]
        growing.go_on()
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        await press(pilot)
        assert lines(stage)[2] != before
        assert panel.table.newer == 0

        await press(pilot, *["down"] * 5)
        read, key = shown(stage), panel.table.cursor_key
        new = growing.go_on()
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        await press(pilot)
        assert shown(stage) == read
        assert panel.table.cursor_key == key
        assert f"+{new} newer above" in lines(stage)[0]

        await press(pilot, "f")
        assert "newest first" in lines(stage)[0]
        growing.go_on()
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        await press(pilot)
        assert panel.table.newer == 0


async def test_home_is_the_newest_and_end_the_oldest(lively: View) -> None:
    panel = RequestsPanel()
    async with staged(panel) as (_stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, "end")
        assert panel.table.cursor_key == 0
        await press(pilot, "home")
        assert panel.table.cursor_key is None
        assert panel.table.newer == 0


async def test_a_filter_shows_what_fits_and_goes_on_with_it() -> None:
    growing, panel = Growing(), RequestsPanel()
    where = (Is("protocol", "kafka"), Term("status", "=", "oneway"))
    async with staged(panel) as (stage, pilot):
        for _ in range(3):
            growing.go_on()
            panel.show(growing.view, Window.START, where, growing.now_ns)
        await press(pilot)
        fit = growing.view.matching(where).numbers
        assert len(fit) > 10
        assert f"log {len(fit)} of {growing.view.span().next}" in lines(stage)[0]
        assert f"start {len(fit)}" in lines(stage)[0]
        assert all("one-way" in line for line in lines(stage)[2 : 2 + min(len(fit), 18)])
        panel.show(growing.view, Window.START, (Is("operation", "nothing"),), growing.now_ns)
        await press(pilot)
        assert "no request fits" in text(stage)


async def test_rows_that_were_given_up_are_no_longer_counted() -> None:
    growing, panel = Growing(4 << 20, scale=20.0), RequestsPanel()
    where = (Is("protocol", "mongodb"),)
    async with staged(panel) as (stage, pilot):
        while growing.view.span().oldest == 0:
            growing.go_on()
            panel.show(growing.view, Window.START, where, growing.now_ns)
        growing.go_on()
        panel.show(growing.view, Window.START, where, growing.now_ns)
        panel.focus_table()
        await press(pilot, "end")
        fit = growing.view.matching(where).numbers
        assert len(panel.table.rows) == len(fit)
        assert panel.table.cursor_key == fit[0]
        assert "no longer kept" not in text(stage)


async def test_what_waits_leads_and_leaves_room(lively: View) -> None:
    panel = RequestsPanel()
    async with staged(panel, (80, 8)) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot)
        assert [line[12:18].strip() == "⧗" for line in lines(stage)[2:6]] == [True, True, True, False]
        assert "waits 41 s" in lines(stage)[2]
        await press(pilot, "down", "enter")
        assert stage.details == [lively.inflight().rows[0]]
        assert stage.details[0].status is Status.INFLIGHT
        panel.show(lively, Window.M1, (Term("status", "=", "inflight"),), NOW_NS)
        await press(pilot)
        assert "waits" in lines(stage)[4]
        assert lines(stage)[5].strip() == ""


async def test_what_waited_under_the_cursor_stays_when_it_ends() -> None:
    growing, panel = Growing(), RequestsPanel()
    growing.wait(True)
    async with staged(panel) as (stage, pilot):
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        panel.focus_table()
        await press(pilot, "down", "down")
        before = shown(stage)[1]
        assert "waits" in before
        growing.go_on()
        growing.wait(False)
        panel.show(growing.view, Window.M1, (), growing.now_ns)
        await press(pilot)
        after = shown(stage)[1]
        assert "waits no more" in after
        assert after.split("waits")[0] == before.split("waits")[0]
        await press(pilot, "enter")
        assert [row.operation for row in stage.details] == ["Produce"]


async def test_enter_opens_the_row_under_the_cursor(lively: View) -> None:
    panel = RequestsPanel()
    async with staged(panel) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, *["down"] * 5, "enter")
        assert [row.number for row in stage.details] == [lively.span().next - 2]


async def test_rows_that_the_store_gave_up_say_so() -> None:
    class Evicted(Model):
        def pick(self, numbers: object) -> tuple[()]:
            return ()

    model, panel = Evicted(START_NS), RequestsPanel()
    for session in Traffic().second(START_NS + SECOND):
        model.add(session)
    async with staged(panel) as (stage, pilot):
        panel.show(model, Window.M1, (), START_NS + SECOND)
        panel.focus_table()
        await press(pilot, "down", "enter")
        assert "no longer kept" in lines(stage)[2]
        assert stage.details == []


async def test_an_older_view_after_a_newer_one() -> None:
    """A screen that was frozen shows an older log: no row of the newer one may stay."""
    growing, panel = Growing(), RequestsPanel()
    where = (Is("protocol", "mongodb"),)
    async with staged(panel) as (_stage, pilot):
        older = Growing()
        growing.go_on()
        panel.show(growing.view, Window.M1, where, growing.now_ns)
        panel.show(older.view, Window.M1, where, older.now_ns)
        await press(pilot)
        assert len(panel.table.rows) == len(older.view.matching(where).numbers)


def shown(stage: Stage) -> list[str]:
    """The rows on screen, without the scroll bar."""
    return [line[:-1] for line in lines(stage)[2:]]
