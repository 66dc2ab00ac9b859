"""What was captured reaches the terminal as text, in its own cells, on every screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App
from wcwidth import wcswidth

from probes.outputs.escape import UNSAFE
from probes.protocols.mongodb import MongoDB
from probes.records import Address, Connection, Failure, Process, Reply, Request, Session, Side, Status, Times
from probes.store.view import Facts, Window
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS
from tests.tui.screen import lines, press, segments, staged
from tests.unit.test_escape import HOSTILE
from tui import glyphs
from tui.panel import Panel
from tui.screens.detail import DetailPanel
from tui.screens.kafka import KafkaPanel
from tui.screens.mongodb import MongoDBPanel
from tui.screens.requests import RequestsPanel

NOW_NS = START_NS + SECOND
CORPUS = [
    *(text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text) for text, _ in HOSTILE),
    "\x1b]52;c;" + "A" * 1000 + "\x1b\\",
    "\x1b[31mred\x1b[0m \x1b[?1049l",
    "[link=https://example.org]here[/link] [@click=app.quit]quit[/]",
    "\u2067\u202eRTL \u05d0\u05d1\u05d2",
    "👨\u200d👩\u200d👧 ❤️ 🇩🇪",
    "क्षि 한글 ﷽ 𝍠",
    "x" * 100_000,
    "漢" * 100_000,
    "\u202e" * 100_000,
    "a\u0301" * 50_000,
]


@dataclass(slots=True)
class Named(Request):
    """A request whose every text is what somebody else wrote."""

    name: str = ""

    @property
    def application(self) -> str:
        return self.name

    @property
    def opcode_name(self) -> str:
        return self.name


class Talkative(MongoDB):
    """A protocol whose record is full of it."""

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        text = session.request.target if session.request is not None else ""
        nested = {text: text, "list": [{text: [text, {text: None}]}]}
        return {"error": text, "request": nested, "response": nested, text: nested, "driver": text}


def model_of(texts: Sequence[str]) -> Model:
    """Sessions of both protocols, and one in flight, for each text."""
    model, waiting = Model(START_NS), []
    for number, text in enumerate(texts):
        process = Process(number, text, text)
        for protocol in ("mongodb", "kafka"):
            connection = Connection(number, process, Address("10.0.0.9", 1), Address(text, 2), 0, protocol)
            for operation in (text, "find", "OffsetCommit"):
                data = text.encode("utf-8", "replace")[:99]
                request = Named(number, operation, data, None, text, (text,), name=text)
                reply = Reply(number, b"\x1b[2J" * 9, Failure(1, text, text))
                times = Times(START_NS, START_NS + 1, START_NS + 2, START_NS + 3)
                model.add(Session(protocol, Status.ERROR, Side.SERVER, connection, request, reply, times, 9, 9))
        times = Times(START_NS - number, START_NS)
        waiting.append(Session("kafka", Status.INFLIGHT, Side.SERVER, connection, request, None, times, 9))
    model.fold(NOW_NS)
    model.set_inflight(waiting, NOW_NS)
    model.set_facts(Facts(host=texts[0]))
    return model


def check(app: App[Any], width: int) -> None:
    """Only harmless text is on the screen, in lines of just this width."""
    for line in segments(app):
        for segment in line:
            assert not UNSAFE.search(segment.text), segment
            assert segment.control is None
            assert segment.style is None or segment.style.link is None
    for line_text in lines(app):
        assert cell_len(line_text) == width
        assert wcswidth(line_text) == width


@pytest.fixture(scope="module")
def hostile() -> Model:
    return model_of(CORPUS)


SIZES = [(80, 110), (200, 110)]  # high enough for a row of each text
PANELS: list[tuple[type[Panel], str]] = [(MongoDBPanel, "ocnaep"), (KafkaPanel, "vtgcep"), (RequestsPanel, "")]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("panel_type", "keys"), PANELS)
async def test_only_text_in_its_own_cells_reaches_the_screen(
    hostile: Model, panel_type: type[Panel], keys: str, size: tuple[int, int]
) -> None:
    panel = panel_type()
    async with staged(panel, size) as (stage, pilot):
        panel.show(hostile, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot)
        check(stage, size[0])
        for key in (*keys, "down", "end"):
            await press(pilot, key)
            check(stage, size[0])
        await press(pilot, "enter")
        assert len(stage.drills) + len(stage.details) == 1


@pytest.mark.parametrize("size", SIZES)
async def test_so_it_is_with_one_request(hostile: Model, size: tuple[int, int]) -> None:
    panel = DetailPanel({"mongodb": Talkative(), "kafka": Talkative()}, literals=True)
    async with staged(panel, size) as (stage, pilot):
        panel.focus_table()
        for row in (*hostile.rows(0, hostile.span().next)[::6], *hostile.inflight().rows[::3]):
            panel.open(hostile, row)
            await pilot.pause()
            check(stage, size[0])


@pytest.mark.parametrize("panel_type", [panel_type for panel_type, _ in PANELS])
async def test_without_utf8_only_ascii_reaches_the_screen(hostile: Model, panel_type: type[Panel]) -> None:
    glyphs.use(glyphs.ASCII)
    panel = panel_type()
    async with staged(panel, (200, 110)) as (stage, pilot):
        panel.show(hostile, Window.M1, (), NOW_NS)
        await press(pilot)
        check(stage, 200)
        assert "".join(lines(stage)).isascii()


async def test_what_is_copied_holds_nothing_that_a_terminal_obeys(hostile: Model) -> None:
    panel = DetailPanel({"mongodb": Talkative()}, literals=True)
    async with staged(panel) as (stage, pilot):
        panel.focus_table()
        for row in hostile.rows(0, hostile.span().next)[::6]:
            panel.open(hostile, row)
            panel.action_copy()
            await pilot.pause()
            assert stage.clipboard.endswith("}\n")
            assert not UNSAFE.search(stage.clipboard[:-1])
            check(stage, 80)
