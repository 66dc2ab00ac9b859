"""What a saturated mongod keeps of its throughput beside `l7top stat`, and beside tcpdump, in interleaved windows.

Each round measures: nothing, l7top, nothing, tcpdump. A window's ratio is to the mean of the two windows of nothing
of its round; the null ratio is of those two. All run on the same cores: what a tool computes costs throughput too.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pymongo

from tests.benchmarks.load import Load
from tests.benchmarks.measure import Spread, cpu_seconds, table
from tests.servers import Mongod

ROUNDS = 20
WINDOW_S = 2.0
SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Window:
    """Operations per second, CPU seconds of the mongod per operation, and of the tool per operation."""

    rate: float
    server_us: float
    tool_us: float


def measure(load: Load, server: int, tool: int | None) -> Window:
    time.sleep(SETTLE_S)
    began, operations = time.monotonic(), load.done()
    server_cpu = cpu_seconds(server)
    tool_cpu = cpu_seconds(tool) if tool else 0.0
    time.sleep(WINDOW_S)
    operations = load.done() - operations
    server_cpu = cpu_seconds(server) - server_cpu
    tool_cpu = cpu_seconds(tool) - tool_cpu if tool else 0.0
    seconds = time.monotonic() - began
    return Window(operations / seconds, server_cpu / operations * 1e6, tool_cpu / operations * 1e6)


@contextmanager
def tool(command: list[str], ready: Callable[[str], bool]) -> Iterator[int]:
    """Runs the command until the end of the block; entered once a line of its stderr says that it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        if not any(ready(line) for line in iter(process.stderr.readline, "")):
            raise RuntimeError(f"ended early: {' '.join(command)}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def l7top(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "probes.cli", "stat", "--for", "1h", *arguments]


def main(rounds: int = ROUNDS) -> str:
    windows: defaultdict[str, list[Window]] = defaultdict(list)
    tcpdump = ["tcpdump", "-i", "lo", "-w", "/dev/null"]
    with Mongod() as mongod:
        with pymongo.MongoClient[dict[str, int]]("127.0.0.1", mongod.port) as client:
            client["bench"]["orders"].insert_one({"_id": 1, "quantity": 3})
        with Load(mongod.port) as load:
            measure(load, mongod.pid, None)  # caches, CPU frequency
            for number in range(rounds):
                windows["before"].append(measure(load, mongod.pid, None))
                with tool(l7top(), lambda line: "capturing" in line) as pid:
                    windows["l7top"].append(measure(load, mongod.pid, pid))
                windows["after"].append(measure(load, mongod.pid, None))
                with tool(tcpdump, lambda line: "listening" in line) as pid:
                    windows["tcpdump"].append(measure(load, mongod.pid, pid))
                print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return report(windows)


def report(windows: dict[str, list[Window]]) -> str:
    before, after = windows["before"], windows["after"]
    nothing = [(a.rate + b.rate) / 2 for a, b in zip(before, after, strict=True)]
    nothing_us = [(a.server_us + b.server_us) / 2 for a, b in zip(before, after, strict=True)]
    rows = [("operations/s, nothing", Spread.of(nothing).show(0))]
    rows.append(("kept, null pair", Spread.of([a.rate / b.rate for a, b in zip(after, before, strict=True)]).show()))
    for name in ("l7top", "tcpdump"):
        kept = [w.rate / n for w, n in zip(windows[name], nothing, strict=True)]
        added = [w.server_us - n for w, n in zip(windows[name], nothing_us, strict=True)]
        rows += [
            (f"kept, {name}", Spread.of(kept).show()),
            (f"CPU added to mongod, {name}, µs/operation", Spread.of(added).show(1)),
            (f"CPU of {name} itself, µs/operation", Spread.of([w.tool_us for w in windows[name]]).show(1)),
        ]
    null = [a.server_us - b.server_us for a, b in zip(after, before, strict=True)]
    rows.append(("CPU added to mongod, null pair, µs/operation", Spread.of(null).show(1)))
    return table(f"A saturated mongod, {len(before)} rounds of {WINDOW_S:g} s windows, median [quartiles]", rows)
