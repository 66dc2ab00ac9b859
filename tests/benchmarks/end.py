"""From the end of a dashboard, in each way that it may come, to the last probe and the last process, beside traffic."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pymongo

from tests.benchmarks.load import Load
from tests.benchmarks.measure import table
from tests.live import probes_of
from tests.on_terminal import OnTerminal, named, wait_until_gone
from tests.servers import Mongod

ROUNDS = 3
_PATIENCE_S = 30.0

WAYS: dict[str, Callable[[OnTerminal], None]] = {
    "q": lambda terminal: terminal.press("q"),
    "SIGTERM": lambda terminal: os.kill(terminal.pid, signal.SIGTERM),
    "terminal closed": OnTerminal.close,
    "kill -9 of the parent": lambda terminal: os.kill(terminal.pid, signal.SIGKILL),
    "kill -9 of the collector": lambda terminal: os.kill(named(terminal.pid, "probes.daemon"), signal.SIGKILL),
    "kill -9 of the screen": lambda terminal: os.kill(named(terminal.pid, "tui.process"), signal.SIGKILL),
}


def main(rounds: int = ROUNDS) -> str:
    rows = []
    with Mongod() as mongod:
        with pymongo.MongoClient[dict[str, int]]("127.0.0.1", mongod.port) as client:
            client["bench"]["orders"].insert_one({"_id": 1, "quantity": 3})
        with Load(mongod.port, connections=1):
            for name, way in WAYS.items():
                took = [_end(way) for _ in range(rounds)]
                probes, processes = (max(each) for each in zip(*took, strict=True))
                rows.append((name, f"no probe after {probes:.2f}, no process after {processes:.2f}"))
    return table(f"End beside one busy connection, seconds, the longest of {rounds}", rows)


def _end(way: Callable[[OnTerminal], None]) -> tuple[float, float]:
    with OnTerminal([sys.executable, "-m", "tui.main"]) as terminal:
        terminal.until(b"Overview")
        collector, screen = named(terminal.pid, "probes.daemon"), named(terminal.pid, "tui.process")
        probes = probes_of.programs(collector)
        began = time.monotonic()
        way(terminal)
        assert not probes_of.left(probes, _PATIENCE_S)
        without_probes = time.monotonic() - began
        if way is WAYS["kill -9 of the collector"]:
            terminal.press("q")  # what was captured may be looked at for as long as one likes
        assert not wait_until_gone([terminal.pid, collector, screen], _PATIENCE_S)
        return without_probes, time.monotonic() - began
