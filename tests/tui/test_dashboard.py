"""Every key of the frame, and the screens that it shows."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
from textual.command import CommandPalette

from probes.records import Process
from probes.store.view import Facts, ProcessFacts, View, Visibility, Window
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS, WALL_OFFSET_NS
from tests.store.test_changes import finds
from tests.tui.dashboard import dashboard
from tests.tui.preview import Moving
from tests.tui.screen import check_snapshot, lines, press, text
from tests.unit.test_record_readme import table
from tui.app import Dashboard
from tui.bindings import TABLE, rows
from tui.help import HelpScreen
from tui.prompt import FilterInput
from tui.screens.capture import MEANINGS
from tui.screens.mongodb import MongoDBPanel
from tui.widgets.table import LineTable

SECONDS = 150
NOW_NS = START_NS + SECONDS * SECOND
SIZES = ((80, 24), (160, 50))


@pytest.fixture(scope="module")
def view() -> View:
    return Moving(SECONDS, still=True).view


class _Process:
    """A process whose figures are the same on every machine."""

    def __init__(self, pid: int | None = None) -> None:
        pass

    def status(self) -> str:
        return psutil.STATUS_RUNNING

    def cpu_percent(self) -> float:
        return 0.9

    def memory_info(self) -> _Process:
        return self

    rss = 48 << 20


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.capture.psutil.Process", _Process)


@pytest.fixture
def moving() -> Moving:
    return Moving(SECONDS)


def where(app: Dashboard) -> str:
    """The shown panel."""
    (shown,) = [panel for panel in app.query("ContentSwitcher > *") if panel.display]
    return str(shown.id)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("key", "ident"), [("1", "overview"), ("5", "connections"), ("6", "capture")])
async def test_screens(view: View, key: str, ident: str, size: tuple[int, int]) -> None:
    async with dashboard(view, NOW_NS, size) as (app, pilot):
        await press(pilot, key)
        assert where(app) == ident
        shown = text(app)
        assert all(len(line) == size[0] for line in lines(app))
        check_snapshot(f"{ident}-{size[0]}", shown)


@pytest.mark.parametrize(
    ("key", "ident"),
    [(str(n), i) for n, i in enumerate(("overview", "mongodb", "kafka", "requests", "connections", "capture"), 1)],
)
async def test_number_keys_lead_to_the_screens_and_esc_never_quits(view: View, key: str, ident: str) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, key)
        assert where(app) == ident
        assert isinstance(app.focused, LineTable)
        await press(pilot, "escape", "escape", "escape")
        assert where(app) == ident
        assert app.is_running


async def test_a_row_leads_to_its_requests_one_request_and_back(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "enter")
        assert where(app) == "requests"
        assert "protocol=mongodb" in text(app)
        await press(pilot, "down", "down", "enter")
        assert where(app) == "detail"
        assert " 4 Requests " in lines(app)[1]
        await press(pilot, "escape")
        assert where(app) == "requests"
        assert "protocol=mongodb" in text(app)
        await press(pilot, "escape")
        assert where(app) == "overview"
        assert "protocol=mongodb" not in text(app)


async def test_what_hangs_leads_to_that_request(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        app.query_one("#hanging", LineTable).focus()
        await press(pilot, "enter")
        assert where(app) == "detail"
        assert "aggregate shop.lines" in text(app)


@pytest.mark.parametrize("table", ["changes", "slowest", "failing", "overview-processes"])
async def test_a_row_of_the_overview_leads_to_requests_that_there_are(view: View, table: str) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        app.query_one(f"#{table}", LineTable).focus()
        await press(pilot, "enter")
        assert where(app) == "requests"
        conditions = app._place.drill
        assert conditions
        assert len(view.matching(conditions).numbers)


async def test_a_new_shape_leads_to_its_requests() -> None:
    model = finds(SECONDS, since_s=110)
    async with dashboard(model, NOW_NS) as (app, pilot):
        app.query_one("#changes", LineTable).focus()
        (line,) = [each for each in lines(app) if "find orders {$where: str}" in each]
        assert "★" in line
        assert "0 → 1" in line
        await press(pilot, "enter")
        assert where(app) == "requests"
        assert {row.operation for row in model.pick(model.matching(app._place.drill).numbers)} == {"find"}


async def test_a_row_of_connections_and_of_capture_lead_to_requests(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "5", "down", "enter")
        assert where(app) == "requests"
        assert len(view.matching(app._place.drill).numbers)
        await press(pilot, "5", "tab", "enter")
        assert where(app) == "requests"
        assert "server_process=mongod 712" in text(app)
        await press(pilot, "6", "end", "enter")
        assert where(app) == "capture"
        await press(pilot, "home", "down", "enter")
        assert where(app) == "requests"


async def test_tab_goes_through_the_sections(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        seen = []
        for _ in range(7):
            assert app.focused is not None
            seen.append(app.focused.id)
            await press(pilot, "tab")
        assert seen == ["red", "changes", "slowest", "hanging", "failing", "overview-processes", "overview-unseen"]


async def test_the_window_is_asked_and_shown(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        for label in ("15m", "start", "1s", "10s", "1m"):
            await press(pilot, "w")
            assert f"window {label} " in lines(app)[0]
        await press(pilot, "W")
        assert "window 10s " in lines(app)[0]
        rate = view.groups(("protocol",), Window.S10).groups[0].totals.requests / 10
        assert f"{rate:.0f}" in lines(app)[3]


async def test_the_interval_grows_and_shrinks_within_bounds(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "plus")
        assert "every 2s" in lines(app)[0]
        await press(pilot, "minus", "minus", "minus", "minus")
        assert "every 0.5s" in lines(app)[0]
        await press(pilot, *["plus"] * 9)
        assert "every 30s" in lines(app)[0]


async def test_sorting(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "5")
        table = app.query_one("#peers", LineTable)
        before = table.sort_name
        await press(pilot, "greater_than_sign")
        assert table.sort_name != before
        await press(pilot, "less_than_sign")
        assert table.sort_name == before
        await press(pilot, "I")
        assert not table.descending
        await press(pilot, "s")
        assert table.sort_name != before


async def test_a_filter_holds_on_all_screens_until_esc(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "slash")
        assert isinstance(app.focused, FilterInput)
        assert "enter apply" in lines(app)[-1]
        await press(pilot, *"protocol:kafka", "enter")
        assert "MongoDB" not in "\n".join(lines(app)[2:5])
        assert "/ protocol:kafka" in text(app)
        await press(pilot, "5")
        assert ":27017" not in text(app)
        await press(pilot, "escape")
        assert ":27017" in text(app)
        assert "/ protocol:kafka" not in text(app)


async def test_a_chosen_row_that_does_not_fit_a_new_filter_goes(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "2", "down")
        table = app.query_one(MongoDBPanel).table
        assert table.cursor_row is not None
        chosen = str(table.cursor_row.key)
        operation = "insert" if "find" in chosen else "find"
        await press(pilot, "slash", *f"operation:{operation}", "enter")
        assert table.cursor_row is None
        await press(pilot, "down")
        assert table.cursor_row is not None
        assert operation in str(table.cursor_row.key)
        assert chosen not in {str(row.key) for row in table.rows}


async def test_what_is_wrong_with_a_filter_is_said_under_it(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "slash", *"colour:red")
        assert "there is no field 'colour'" in lines(app)[-2]
        await press(pilot, "enter")
        assert isinstance(app.focused, FilterInput)
        assert "MongoDB" in lines(app)[3]
        await press(pilot, "escape")
        assert where(app) == "overview"
        assert "colour" not in text(app)
        await press(pilot, "slash", *"q")
        assert app.is_running


async def test_a_filter_that_only_the_log_answers(view: View) -> None:
    async with dashboard(view, NOW_NS, filter_text="duration>20ms") as (app, pilot):
        assert "MongoDB" in lines(app)[3]
        for key in "23456":
            await press(pilot, key)
            assert "/ duration>20ms" in text(app)


async def test_frozen_is_still_and_counts_what_is_new(moving: Moving) -> None:
    async with dashboard(moving.view, moving.clock) as (app, pilot):
        await press(pilot, "space")
        assert "FROZEN " in lines(app)[0]
        before = lines(app)[2:]
        seen = {}
        for key in "2345":
            await press(pilot, key)
            seen[key] = lines(app)[2:]
        await press(pilot, "1")
        moving.skip(5)
        app._tick()
        await press(pilot)
        assert " new" in lines(app)[0]
        assert " +0 new" not in lines(app)[0]
        assert ", rates" not in lines(app)[0]
        assert lines(app)[2:] == before
        for key, then in seen.items():
            await press(pilot, key)
            assert lines(app)[2:] == then
        await press(pilot, "w")
        assert ", rates" in lines(app)[0]  # nobody had asked for that window when it froze
        await press(pilot, "space")
        assert "LIVE " in lines(app)[0]
        assert lines(app)[2:] != before


async def test_all_screens_have_asked_what_they_show_by_when_they_freeze(moving: Moving) -> None:
    async with dashboard(moving.view, moving.clock) as (app, pilot):
        await press(pilot, "space")
        frozen = app._frozen
        assert frozen is not None
        for key in "234561":
            await press(pilot, key)
            app._tick()
            await press(pilot)
            assert frozen.asked_ns == frozen.frozen_ns, key


async def test_a_frozen_screen_keeps_its_numbers_when_resized(moving: Moving) -> None:
    async with dashboard(moving.view, moving.clock) as (app, pilot):
        await press(pilot, "space")
        before = text(app)
        moving.skip(5)
        await pilot.resize_terminal(160, 50)
        await press(pilot)
        await pilot.resize_terminal(80, 24)
        await press(pilot)
        assert text(app).splitlines()[2:] == before.splitlines()[2:]


async def test_it_moves_by_itself(moving: Moving) -> None:
    async with dashboard(moving.view, moving.clock) as (app, pilot):
        before = text(app)
        moving.skip(3)
        for _ in range(100):  # once a second, where the machine has the time for it
            await pilot.pause(0.2)
            if text(app) != before:
                break
        assert text(app) != before


async def test_help_tells_every_key_of_the_table(view: View) -> None:
    async with dashboard(view, NOW_NS, (100, 90)) as (app, pilot):
        for number, ident in (("1", "overview"), ("4", "requests")):
            await press(pilot, number, "question_mark")
            assert isinstance(app.screen, HelpScreen)
            shown = text(app)
            for key in rows(ident, "table", "filter", "app"):
                assert any(key.help in line and key.shown in line for line in shown.splitlines()), key
            await press(pilot, "escape")
            assert where(app) == ident


async def test_the_palette_does_what_a_key_does(view: View) -> None:
    for opens in ("colon", "ctrl+p"):
        async with dashboard(view, NOW_NS) as (app, pilot):
            await press(pilot, opens)
            assert isinstance(app.screen, CommandPalette)
            await press(pilot, *"longer window")
            await pilot.pause(0.5)
            await press(pilot, "down", "enter")
            await pilot.pause(0.2)
            assert "window 15m" in lines(app)[0]


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quitting(view: View, key: str) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, key)
        assert app._exit


async def test_ctrl_c_leaves_while_a_filter_is_written(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "slash", "a", "ctrl+c")
        assert app._exit


async def test_a_dead_collector_is_told_and_what_it_captured_stays(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    for runs, word in ((False, "DEAD"), (True, "HANGS")):
        monkeypatch.setattr("tui.app._runs", lambda pid, runs=runs: runs)
        async with dashboard(view, NOW_NS + 3 * SECOND) as (app, pilot):
            assert f"COLLECTOR {word} since 08:19:11 (what it captured stays)" in lines(app)[0]
            assert "MongoDB" in lines(app)[3]
            await press(pilot, "4", "down", "enter")
            assert where(app) == "detail"


async def test_no_baseline_no_news() -> None:
    still = Moving(12, still=True)
    async with dashboard(still.view, START_NS + 12 * SECOND) as (app, _):
        assert "no baseline yet, started 12 s ago" in text(app)


async def test_an_empty_screen_says_why_per_process() -> None:
    model = Model(START_NS)
    since = START_NS + 30 * SECOND
    facts = Facts(
        host="db1",
        started_ns=START_NS,
        wall_offset_ns=WALL_OFFSET_NS,
        processes=(
            ProcessFacts(Process(712, "mongod"), Visibility.IDLE, since_ns=since, listens=(27017,), connections=3),
            ProcessFacts(Process(903, "java"), Visibility.TLS, "Java's own", listens=(9093,), connections=61),
            ProcessFacts(Process(1180, "node"), Visibility.UNCONNECTED),
            ProcessFacts(Process(1181, "app"), Visibility.UNRECOGNISED, connections=1),
            ProcessFacts(Process(1182, "db"), Visibility.UNTRACED, "io_uring", connections=2),
        ),
    )
    model.set_facts(facts)
    model.fold(since)
    for size in SIZES:
        async with dashboard(model, since, size) as (app, pilot):
            check_snapshot(f"overview-quiet-{size[0]}", text(app))
            for key in "23456":
                await press(pilot, key)
            assert app.is_running
    model.set_facts(replace(facts, ended="the ring is gone", degradation="sampled 1:8"))
    async with dashboard(model, since) as (app, _):
        assert "CAPTURE ENDED: the ring is gone" in lines(app)[0]
        assert "sampled 1:8" in lines(app)[0]


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (40, 10), (20, 5), (300, 80)])
async def test_no_size_breaks_it(view: View, size: tuple[int, int]) -> None:
    async with dashboard(view, NOW_NS, size) as (app, pilot):
        for key in ("1", "2", "3", "4", "5", "6", "question_mark", "escape", "slash", "x", "escape"):
            await press(pilot, key)
            assert all(len(line) == size[0] for line in lines(app))


def test_every_key_is_in_the_table_once_per_place() -> None:
    for place in {key.where for key in TABLE}:
        keys = [name for key in rows(place) for name in key.keys.split(",")]
        assert len(keys) == len(set(keys))
    assert len({key.id for key in TABLE}) == len(TABLE)


async def test_keys_are_offered_where_they_do_something(view: View) -> None:
    async with dashboard(view, NOW_NS, (120, 24)) as (app, pilot):
        for keys, expected in ((("2",), "enter requests  s sort"), (("4",), "enter open"), (("enter",), "enter fold")):
            await press(pilot, *keys)
            last = lines(app)[-1]
            assert expected in last
            assert ("s sort" in last) is (keys == ("2",))
            await press(pilot, "down")


@pytest.mark.parametrize("width", [80, 100, 120, 150, 160])
async def test_titles_of_graphs_are_whole(view: View, width: int) -> None:
    async with dashboard(view, NOW_NS, (width, 40)) as (app, pilot):
        await pilot.pause()
        titles = [line for line in lines(app) if " max " in line]
        assert sum(line.count(" max ") for line in titles) == 6
        assert not any("…" in line for line in titles)


def test_whatever_the_ledger_counts_is_explained() -> None:
    counted = [*table("Losses", "Cause"), *table("Losses", "Counter")]
    assert [each for each in counted if each not in MEANINGS and not each.startswith("plugin_")] == [
        "ignored_connections"  # no messages, and no loss
    ]


async def test_of_a_file_nothing_is_said_of_the_kernel(view: View) -> None:
    model = Model(START_NS)
    model.set_facts(replace(view.facts(), source="a.pcap", ring_bytes=0, kernel_cpu_percent=None))
    async with dashboard(model, NOW_NS, (120, 40)) as (app, pilot):
        await press(pilot, "6")
        shown = text(app)
        assert "kernel" not in shown
        assert "ring" not in shown
