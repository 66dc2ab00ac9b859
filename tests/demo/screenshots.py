"""`python -m tests.demo.screenshots DIRECTORY`, as root: pictures of every screen on the demo's traffic.

The app runs without a terminal of its own, on the store of a real capture; Textual writes SVG, rsvg-convert makes PNG
of it.
"""

from __future__ import annotations

import asyncio
import html
import re
import subprocess
import sys
import time
from pathlib import Path

from textual.pilot import Pilot

from probes import cli
from probes.background import Background
from probes.exit_codes import ExitCode
from probes.headless import narrate
from probes.options import CaptureOptions
from probes.outputs.escape import char_cells
from probes.protocols.chosen import known_protocols
from probes.store.reader import Reader
from tests.demo.mongodb import CAMPAIGN_AFTER_S
from tests.demo.traffic import traffic
from tui import glyphs
from tui.app import Dashboard

SIZES = {"80x24": (80, 24), "160x50": (160, 50)}
SCREENS = {  # name: the keys that lead there
    "overview": "1",
    "mongodb": "2",
    "kafka": "3",
    "requests": "4",
    "request": "4 up up up enter",
    "connections": "5",
    "capture": "6",
}
WATCHED_S = CAMPAIGN_AFTER_S + 45  # long enough for something to have changed
_SETTLED_S = 2.5
_TEXT = re.compile(
    r'<text class="(?P<style>[^"]*)" x="(?P<x>[^"]*)"(?P<rest> y="[^"]*") textLength="(?P<length>[^"]*)"[^>]*>'
    r"(?P<text>[^<]*)</text>"
)
_FILL_CELLS = ("font-size: 20px", "font-size: 20.33px")  # so that a character is as wide as Textual's cell of 12.2


def main() -> int:
    return cli.guarded(lambda: _run(Path(sys.argv[1])))


def _run(directory: Path) -> ExitCode:
    narrate("screenshots: starting mongod, a Kafka broker and their clients …")
    with traffic(), Background(CaptureOptions()) as background:
        narrate(f"screenshots: watching them for {WATCHED_S:.0f} s …")
        time.sleep(WATCHED_S)
        for name, size in SIZES.items():
            asyncio.run(_photograph(Reader(background.store), size, directory, name))
    for picture in sorted(directory.glob("*.svg")):
        cells = _TEXT.sub(_cell_by_cell, picture.read_text()).replace(*_FILL_CELLS)
        subprocess.run(["rsvg-convert", "-o", picture.with_suffix(".png")], input=cells.encode(), check=True)
        narrate(f"screenshots: {picture} and .png")
    return ExitCode.OK


def _cell_by_cell(found: re.Match[str]) -> str:
    """A text as one text for each character: rsvg-convert knows no textLength, and signs of other fonts are wider."""
    text = html.unescape(found["text"])
    wide = float(found["length"]) / sum(map(char_cells, text))
    at, cells = float(found["x"]), []
    for char in text:
        cells.append(f'<text class="{found["style"]}" x="{at:.1f}"{found["rest"]}>{html.escape(char)}</text>')
        at += wide * char_cells(char)
    return "".join(cells)


async def _photograph(view: Reader, size: tuple[int, int], directory: Path, suffix: str) -> None:
    glyphs.use(glyphs.suitable("utf-8", {}))
    app = Dashboard(view, protocols=known_protocols())
    async with app.run_test(size=size) as pilot:
        for screen, keys in SCREENS.items():
            await _go(pilot, keys)
            (directory / f"{screen}-{suffix}.svg").write_text(app.export_screenshot(title=" "))


async def _go(pilot: Pilot[None], keys: str) -> None:
    await pilot.press(*keys.split())
    await pilot.pause(_SETTLED_S)


if __name__ == "__main__":
    sys.exit(main())
