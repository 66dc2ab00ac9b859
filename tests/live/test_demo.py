"""`make demo` with a terminal and without one: the traffic is seen, and nothing stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from tests.live import probes_of
from tests.on_terminal import CHECKOUT, OnTerminal, descendants, named, wait_until_gone

pytestmark = pytest.mark.live

DEMO = [sys.executable, "-m", "tests.demo"]
TIMEOUT_S = 90.0
LOOKED_AT_S = 5.0
SOON_S = 10.0
NUMBER = r"\d[\d.]*[kM]?"


def mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the demo is started with; all its files have to be gone afterwards, and no mount may have stayed."""
    before = mounts()
    yield {"TMPDIR": str(tmp_path)}
    deadline = time.monotonic() + SOON_S
    while (files := list(tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files == []
    assert mounts() == before


def test_without_a_terminal_it_reports(environment: dict[str, str]) -> None:
    demo = subprocess.Popen(
        DEMO,
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started: dict[int, str] = {}
    watched = threading.Thread(target=lambda: watch(demo, started), daemon=True)
    watched.start()
    out, err = demo.communicate(timeout=TIMEOUT_S)
    watched.join()
    assert demo.returncode == 0, err
    for protocol in ("mongodb", "kafka"):
        facts = re.search(rf"^{protocol}: ({NUMBER}) requests/s, ({NUMBER})% errors, p99 ({NUMBER}) ms$", out, re.M)
        assert facts is not None, out
        assert all(float(number) > 0 for number in facts.groups()), out
    assert re.search(rf"^  slowest: \w+ [\w.]+, p99 {NUMBER} m?s$", out, re.M)
    assert re.search(r"^  failing: insert shop\.orders, DuplicateKey ", out, re.M)
    assert re.search(r"^  failing: CreateTopics_v\d+ orders, TOPIC_ALREADY_EXISTS ", out, re.M)
    assert re.search(r"^  hanging: update shop\.accounts, for ", out, re.M)
    assert re.search(r"^mongodb +getMore +– +shop\.audit .* 1$", out, re.M)
    assert {"mongod", "tansu"} <= {Path(command.split()[0]).name for command in started.values()}
    assert wait_until_gone(list(started), SOON_S) == []


def watch(process: subprocess.Popen[str], started: dict[int, str]) -> None:
    """Notes every process that this one starts."""
    while process.poll() is None:
        started.update((pid, command) for pid, command in descendants(process.pid).items() if command)  # else a zombie
        time.sleep(0.2)


def test_on_a_terminal_the_fifth_second_shows_what_matters_and_closing_it_ends_all(
    environment: dict[str, str],
) -> None:
    with OnTerminal(DEMO, environment=environment) as terminal:
        terminal.until(b"Overview", TIMEOUT_S)
        opened = time.monotonic()
        while time.monotonic() < opened + LOOKED_AT_S:
            assert terminal.read(0.1)
        screen = pyte.Screen(80, 24)
        pyte.ByteStream(screen).feed(terminal.shown)
        text = "\n".join(screen.display)
        for protocol in ("MongoDB", "Kafka"):
            assert re.search(rf"^ ?{protocol} +{NUMBER} +\S+ +✗ +{NUMBER} .* {NUMBER}", text, re.M), text
        assert re.search(r"(aggregate|find|update) shop\.\w+ +[\d.]+", text), text
        probes = probes_of.programs(named(terminal.pid, "probes.daemon"))
        pids = list(descendants(terminal.pid))
        terminal.close()
        assert probes_of.left(probes, SOON_S) == set()
        assert wait_until_gone([terminal.pid, *pids], SOON_S) == []


def test_killed_it_leaves_neither_files_nor_processes(environment: dict[str, str], tmp_path: Path) -> None:
    with OnTerminal(DEMO, environment=environment) as terminal:
        terminal.until(b"Overview", TIMEOUT_S)
        pids = list(descendants(terminal.pid))
        assert len(list(tmp_path.iterdir())) >= 2
        os.kill(terminal.pid, signal.SIGKILL)
        assert wait_until_gone([terminal.pid, *pids], SOON_S) == []
