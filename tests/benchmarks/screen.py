"""The dashboard on a terminal of 80 x 24 beside a mongod under load: bytes a refresh, keys to screen, memory.

A key's time is from the press to the arrival of what only the screen it asks for shows. Both ways lead through the
kernel's own workers, which on a host without an idle CPU may wait for long: so there is a row for that, too.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import sys
import time

import psutil
import pymongo

from probes import privileges
from tests.benchmarks.load import Load
from tests.benchmarks.measure import Spread, table
from tests.on_terminal import OnTerminal, descendants
from tests.servers import Mongod

ROUNDS = 20
RATE = 10_000  # requests a second
TOGETHER = 8  # requests that a client sends at once: cheaper for the host, which is to have a CPU idle now and then
REFRESHES = 5  # seconds that a screen is watched
SHOWS = {
    "1": b"WHAT CHANGED",
    "2": b"command",
    "3": b"API",
    "4": b"newest first",
    "5": b"role",
    "6": b"told apart",
}
_SEED = 7


def main(rounds: int = ROUNDS) -> str:
    with Mongod() as mongod:
        with pymongo.MongoClient[dict[str, int]]("127.0.0.1", mongod.port) as client:
            client["bench"]["orders"].insert_one({"_id": 1, "quantity": 3})
        crowded, keys = _beside(mongod.port, None, max(1, rounds // 2), "no CPU idle")
        rows, more = _beside(mongod.port, RATE, rounds, f"{RATE:,} asked for", together=TOGETHER, watched=True)
    return table(f"The dashboard beside a busy mongod, {keys} and {more} keys", crowded + rows)


def _beside(
    port: int, rate: float | None, rounds: int, what: str, *, together: int = 1, watched: bool = False
) -> tuple[list[tuple[str, str]], int]:
    """The rows of a dashboard beside that load, and how many keys were pressed for them."""
    randomly = random.Random(_SEED)
    with Load(port, connections=2, rate=rate, together=together) as load:
        _stand_aside()
        with OnTerminal([sys.executable, "-m", "tui.main"]) as terminal:
            terminal.until(b"WHAT CHANGED")
            _read(terminal, 3)
            began, before = time.monotonic(), load.done()
            psutil.cpu_percent()
            keys, shown = [], "1"
            for _ in range(rounds * len(SHOWS)):
                shown = randomly.choice([key for key in SHOWS if key != shown])
                keys.append(_press(terminal, shown))
                _read(terminal, randomly.uniform(0.3, 0.9))
            asked = (load.done() - before) / (time.monotonic() - began)
            rows = [
                (f"requests/s, {what}", f"{asked:.0f}"),
                (f"CPUs taken, {what}, %", f"{psutil.cpu_percent():.0f}"),
                (f"key to screen, {what}, ms", _tail(keys)),
            ]
            if watched:
                rows += _watched(terminal, shown)
            terminal.press("q")
            terminal.end()
    return rows, len(keys)


def _watched(terminal: OnTerminal, shown: str) -> list[tuple[str, str]]:
    """What each screen sends, and what the processes take."""
    rows = []
    for key in SHOWS:
        if key != shown:
            _press(terminal, key)
        shown = key
        _read(terminal, 1.5)
        sent = len(terminal.shown)
        _read(terminal, REFRESHES)
        rows.append((f"bytes a second, screen {key}", f"{(len(terminal.shown) - sent) / REFRESHES:.0f}"))
    terminal.press(" ")
    _read(terminal, 2)
    return rows + [(f"memory, {name}, MB (RSS / not shared)", memory) for name, memory in _memory(terminal.pid)]


def _stand_aside() -> None:
    """Leaves the session of the load, which may take all CPUs: a key is not to wait for its reader."""
    with contextlib.suppress(PermissionError):  # started by a shell's own hand
        os.setsid()
        privileges.run_beside_others()


def _press(terminal: OnTerminal, key: str) -> float:
    """Milliseconds until the screen of `key`, which is not there yet, is."""
    after = len(terminal.shown)
    began = time.perf_counter()
    terminal.press(key)
    terminal.until(SHOWS[key], after=after)
    return (time.perf_counter() - began) * 1e3


def _read(terminal: OnTerminal, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        terminal.read(left)


def _tail(values: list[float]) -> str:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{Spread.of(values).show(0)}, p99 {p99:.0f}, most {ordered[-1]:.0f}, mean {statistics.mean(values):.0f}"


def _memory(pid: int) -> list[tuple[str, str]]:
    """Of the parent and its two children."""
    found = []
    for each in (pid, *descendants(pid)):
        command = " ".join(psutil.Process(each).cmdline())
        name = "collector" if "daemon" in command else "screen" if "process" in command else "parent"
        memory = psutil.Process(each).memory_full_info()
        found.append((name, f"{memory.rss / 1e6:.0f} / {memory.uss / 1e6:.0f}"))
    return found
