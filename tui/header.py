"""Line 1: where and when one is, and whether the picture is complete. Line 2: the screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from probes.options import LIVE
from probes.outputs.losses import losses, plugin_troubles
from probes.store.view import Facts, Window
from tui.text import safe
from tui.widgets.lines import Part, TextLines
from tui.widgets.numbers import count, exact, of_day

HANGS_AFTER_NS = 2_000_000_000  # without a sign of life of the collector's
_LEAST_HOST = 4


@dataclass(frozen=True, slots=True)
class Situation:
    """What line 1 says. Times are of CLOCK_MONOTONIC, ns; `frozen_ns` is 0 while the screen is live.

    `rates_ns` is as of when a frozen screen's rates are, `cut` how many rows lack a field because a head was cut.
    """

    facts: Facts
    now_ns: int
    window: Window
    interval_s: float
    cut: int = 0
    frozen_ns: int = 0
    rates_ns: int = 0
    new_rows: int = 0
    heartbeat_ns: int = 0
    collector_runs: bool = True
    behind: bool = False  # the terminal does not keep up, frames are left out
    recording: bool = False

    @property
    def is_stale(self) -> bool:
        """Whether the collector has given no sign of life for too long."""
        return self.heartbeat_ns > 0 and self.now_ns - self.heartbeat_ns > HANGS_AFTER_NS

    def clock(self, ns: int) -> str:
        """The time of day of `ns`, as the operator's clock shows it."""
        return of_day(ns + self.facts.wall_offset_ns, digits=0)


def status(now: Situation, width: int) -> list[Part]:
    """Line 1 within `width` cells. Where there is little room the least important goes first, the host is cut last."""
    facts = now.facts
    source = "" if facts.source in ("", "live") else f" {facts.source}"
    name = safe(f"{facts.host}{source}", 120)
    right = _right(now)
    middle = [Part(*each) for each in _middle(now)]
    for gap, dropped in ((3, 0), (2, 0), (1, 0), (1, 1), (1, 2), (1, 3)):
        shown = [part for rank, part in right if rank >= dropped]
        taken = sum(cell_len(part.text) for part in middle) + sum(cell_len(part.text) + gap for part in shown)
        left = width - taken - len(" l7top ") - gap
        if cell_len(name) <= left:
            break
    name = safe(name, max(left, _LEAST_HOST))
    slack = max(0, left - cell_len(name))
    parts = [Part(" l7top ", "title"), Part(name, "loud"), Part(" " * (gap + slack // 2)), *middle]
    parts.append(Part(" " * (slack - slack // 2)))
    for part in shown:
        parts += [Part(" " * gap), part]
    return parts


def _middle(now: Situation) -> list[tuple[str, str]]:
    if now.facts.ended:
        return [(f"CAPTURE ENDED: {safe(now.facts.ended, 40)}", "warn")]
    if now.is_stale:
        what = "HANGS" if now.collector_runs else "DEAD"
        return [(f"COLLECTOR {what} since {now.clock(now.heartbeat_ns)} (what it captured stays)", "bad cursor")]
    if now.frozen_ns:
        later = f", rates {now.clock(now.rates_ns)}" if now.rates_ns - now.frozen_ns > 1_000_000_000 else ""
        return [
            (f"FROZEN {now.clock(now.frozen_ns)}{later}", "warn cursor"),
            (f" +{_number(now.new_rows)} new", "warn"),
        ]
    if now.facts.playing:
        share = "" if now.facts.progress is None else f" {now.facts.progress:.0%}"
        state = {"max": "READING", "paused": "PAUSED", "seeking": "SEEKING"}.get(now.facts.playing)
        style = "warn" if now.facts.playing in ("paused", "seeking") else "good"
        return [(f"{state or f'PLAYING {now.facts.playing}'} ", style), (now.clock(now.now_ns), "loud"), (share, "")]
    return [("LIVE " if now.facts.source in (LIVE, "stdin") else "READING ", "good"), (now.clock(now.now_ns), "loud")]


def _right(now: Situation) -> list[tuple[int, Part]]:
    """The parts at the right, each with its rank: those of the lowest go first where there is no room."""
    facts = now.facts
    lost = sum(losses(facts.ledger).values())
    parts = [
        (1, Part(f"window {now.window.label}")),
        (0, Part(f"every {now.interval_s:g}s", "quiet")),
        (3, Part(f"lost {_number(lost)}", "bad" if lost else "quiet")),
        (2, Part(f"cut {_number(now.cut)}", "quiet")),
        (1, Part(f"cpu {facts.cpu_percent:.0f}%", "warn" if facts.cpu_percent >= 50 else "")),
    ]
    for name, what in plugin_troubles(facts.ledger).items():
        parts.insert(0, (2, Part(safe(f"plugin {name}: {what}", 40), "bad")))
    if facts.degradation:
        parts.insert(2, (2, Part(safe(facts.degradation, 20), "warn")))
    if now.recording:
        parts.insert(0, (3, Part("REC", "bad")))
    if now.behind:
        parts.insert(2, (2, Part("slow terminal", "warn")))
    return parts


def _number(number: int) -> str:
    return exact(number) if number < 100_000 else count(number)


class Header(TextLines):
    """Both lines; drawn again only where their text has changed."""

    DEFAULT_CSS = "Header { height: 2; }"

    def __init__(self, tabs: Sequence[tuple[int, str, str]]) -> None:
        """`tabs` are the screens' number keys, idents and titles."""
        super().__init__(id="header")
        self._tabs = tabs
        self._active = ""
        self._now: Situation | None = None

    def tell(self, now: Situation, active: str) -> None:
        """Say this; `active` is the ident of the shown screen."""
        self._now, self._active = now, active
        self.show([status(now, self.size.width), self._second()])

    def on_resize(self) -> None:
        if self._now is not None:
            self.tell(self._now, self._active)

    def _second(self) -> list[Part]:
        parts, taken = [], 0
        for number, ident, title in self._tabs:
            if taken + len(title) + 4 > self.size.width:
                break
            mark = " cursor" if ident == self._active else ""
            parts += [Part(f" {number} ", f"key{mark}"), Part(f"{title} ", f"loud{mark}" if mark else "")]
            taken += len(title) + 4
        left = self.size.width - taken - len("? help ")
        if left > 0:
            parts += [Part(" " * left), Part("?", "key"), Part(" help ")]
        return parts
