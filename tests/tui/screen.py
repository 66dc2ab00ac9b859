"""What a test sees of the screen: its text, its segments, and whether it still looks as it did."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from probes.store.view import Row
from tui.panel import Detail, Drill, Where
from tui.theme import THEME

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "L7TOP_UPDATE_SNAPSHOTS"


class Stage(App[None]):
    """One widget alone on the screen, and what it asks the app for."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.theme = THEME.name
        self.widget = widget
        self.drills: list[Where] = []
        self.details: list[Row] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_drill(self, message: Drill) -> None:
        self.drills.append(message.where)

    def on_detail(self, message: Detail) -> None:
        self.details.append(message.row)


@asynccontextmanager
async def staged(widget: Widget, size: tuple[int, int] = (80, 21)) -> Any:
    """The stage with `widget` on it, and its pilot. 21 lines are what the frame leaves of 24."""
    stage = Stage(widget)
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        yield stage, pilot


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def segments(app: App[Any]) -> Iterator[list[Segment]]:
    """The lines of the screen, as they go to the terminal."""
    for line in app.screen._compositor.render_strips():
        yield [segment for segment in line if segment.text]


def lines(app: App[Any]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in segments(app)]


def text(app: App[Any]) -> str:
    """The screen without what is blank at the right."""
    return "\n".join(line.rstrip() for line in lines(app)) + "\n"


def check_snapshot(name: str, shown: str) -> None:
    """`shown` is what `snapshots/NAME.txt` says. `L7TOP_UPDATE_SNAPSHOTS=1` writes it anew: look at the difference."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get(UPDATE) == "1":
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
