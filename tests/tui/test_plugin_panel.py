"""The panel of a protocol that only a plugin knows, in the dashboard, where nobody has the plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from probes.records import Address, Connection, Failure, Fault, Process, Reply, Request, Session, Side, Status, Times
from probes.store.reader import Reader
from probes.store.view import Facts, View, Window
from probes.store.writer import Writer
from tests.tui.dashboard import dashboard
from tests.tui.screen import check_snapshot, press, text
from tui.header import Situation, status

SECOND, MS = 1_000_000_000, 1_000_000
START_NS = 1_000 * SECOND
NOW_NS = START_NS + 60 * SECOND
COMMANDS = (("GET", "user:*", ""), ("SET", "user:*", ""), ("LPUSH", "queue", "WRONGTYPE"), ("PING", "", ""))


def session(number: int, protocol: str) -> Session:
    operation, target, error = COMMANDS[number % len(COMMANDS)]
    ends = Address("10.0.0.9", 6379), Address(f"10.0.0.{number % 3}", 50_000)
    connection = Connection(number % 3, Process(812, "redis-server"), *ends, protocol=protocol)
    begun = START_NS + number * SECOND // 4
    failure = Failure(0, error, "Operation against a key", Fault.CLIENT) if error else None
    return Session(
        protocol,
        Status.ERROR if error else Status.OK,
        Side.SERVER,
        connection,
        Request(number, operation, b"*1", target=target, in_order=True, attributes=(("arguments", 1),)),
        Reply(None, b"+OK", failure, attributes=(("type", "simple string"),)),
        Times(begun, begun, begun + MS, begun + MS),
        30,
        5,
    )


@pytest.fixture(scope="module")
def view() -> Iterator[View]:
    writer = Writer(32 << 20, START_NS)
    for second in range(1, 61):
        for number in range((second - 1) * 4, second * 4):
            writer.session(session(number, "redis"))
        writer.fold(START_NS + second * SECOND)
    writer.session(session(240, "lines"))
    writer.fold(NOW_NS)
    writer.facts(Facts(host="db1", protocols=("redis", "lines", "mongodb", "kafka"), started_ns=START_NS))
    yield Reader(writer.fd)
    writer.close()


@pytest.mark.parametrize("key", "otcep")
async def test_what_each_key_shows(view: View, key: str) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "7", key)
        check_snapshot(f"plugin-{key}-80", text(app))


async def test_each_plugin_has_its_panel_one_after_the_other(view: View) -> None:
    async with dashboard(view, NOW_NS, (120, 30)) as (app, pilot):
        for ident in ("plugin-redis", "plugin-lines", "plugin-redis"):
            await press(pilot, "7")
            assert app._panel.ident == ident
        assert "7 redis  7 lines" in text(app).replace("\n", " ")


async def test_the_overview_has_the_protocols_rates_errors_and_durations(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, _):
        (line,) = (each for each in text(app).splitlines() if each.startswith((" redis ", "redis ")))
        assert "25.0" in line  # % errors
        assert "WRONGTYPE" in text(app)


async def test_a_row_leads_to_its_requests_and_these_to_one_with_its_attributes(view: View) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "7", "e", "down", "up", "enter")
        assert app._place.ident == "requests"
        assert "LPUSH" in text(app)
        assert "PING" not in text(app)
        await press(pilot, "enter")
        shown = text(app)
        assert "LPUSH queue" in shown
        assert "arguments" in shown
        assert "simple string" in shown
        assert "Operation against a key" not in shown  # a value may be in it


async def test_a_filter_may_name_the_protocol(view: View) -> None:
    async with dashboard(view, NOW_NS, filter_text="protocol:redis operation:PING") as (app, pilot):
        await press(pilot, "4")
        assert "PING" in text(app)
        assert "LPUSH" not in text(app)


async def test_help_and_palette_know_the_panel(view: View) -> None:
    async with dashboard(view, NOW_NS, (100, 60)) as (app, pilot):
        assert [key.help for key in app.taught] == ["redis", "lines"]
        app.press(app.taught[1])
        await pilot.pause()
        assert app._panel.ident == "plugin-lines"
        await press(pilot, "question_mark")
        assert "On lines" in text(app)
        assert "what fails, by error" in text(app)


def test_the_header_names_a_plugin_that_was_switched_off() -> None:
    facts = Facts(host="db1", ledger={"plugin_redis_overtimes": 3, "plugin_redis_off": 1})
    line = "".join(part.text for part in status(Situation(facts, NOW_NS, Window.M1, 1.0), 120))
    assert "plugin redis: 3 calls over 50 ms" in line
