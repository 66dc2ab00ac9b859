"""The dashboard's processes on this kernel: what each may do, and that no probe stays whatever dies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from probes import privileges
from probes.exit_codes import ExitCode
from tests.live import probes_of
from tests.on_terminal import OnTerminal, descendants, is_alive, named, wait_until_gone

pytestmark = pytest.mark.live

NOBODY = 65534
SOON_S = 2.0  # DESIGN: no probe after this time
BUSY_S = 5.0  # and some more for a machine that has other things to do


@dataclass(frozen=True, slots=True)
class Running:
    """A dashboard whose probes are attached and whose screen is open."""

    terminal: OnTerminal
    parent: int
    collector: int
    screen: int
    probes: frozenset[int]

    @property
    def pids(self) -> list[int]:
        return [self.parent, self.collector, self.screen]

    def left(self) -> object:
        """What is there that should not be; falsy where there is nothing."""
        there = probes_of.left(self.probes, SOON_S + BUSY_S) or wait_until_gone(self.pids, BUSY_S)
        return there or (self.terminal.is_open and self.terminal.changed())


@pytest.fixture
def l7top() -> Iterator[Running]:
    environment = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
    with OnTerminal([sys.executable, "-m", "tui.main"], environment=environment) as terminal:
        terminal.until(b"Overview")
        collector, screen = named(terminal.pid, "probes.daemon"), named(terminal.pid, "tui.process")
        probes = frozenset(probes_of.programs(collector))
        assert len(probes) >= 5
        yield Running(terminal, terminal.pid, collector, screen, probes)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def autogroup_nice(pid: int) -> int:
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


def test_each_process_may_do_what_it_needs_and_the_screen_outlives_the_collector(l7top: Running) -> None:
    assert {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in l7top.pids} == {"900\n"}
    # Where all CPUs are taken, none may fall behind or keep somebody waiting; the operator's shell is as it was.
    assert [os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK for pid in l7top.pids] == [os.SCHED_RR, 0, 0]
    assert [autogroup_nice(pid) for pid in l7top.pids] == [0, -20, -20]

    of_collector = status(l7top.collector)
    needed = {privileges.CAP_SYS_PTRACE, privileges.CAP_DAC_READ_SEARCH, privileges.CAP_BPF}
    assert int(of_collector["CapEff"], 16) & ~sum(1 << capability for capability in needed) == 0
    assert of_collector["NoNewPrivs"] == "1"
    assert of_collector["Threads"] == "1"  # any other would have kept its capabilities

    of_screen = status(l7top.screen)
    assert of_screen["Uid"].split() == [str(NOBODY)] * 4
    assert of_screen["Gid"].split() == [str(NOBODY)] * 4
    assert {of_screen[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert of_screen["NoNewPrivs"] == "1"
    for pid in (l7top.parent, l7top.screen):
        assert probes_of.programs(pid) == set()

    os.kill(l7top.collector, signal.SIGKILL)
    assert probes_of.left(l7top.probes, SOON_S + BUSY_S) == set()
    shown = len(l7top.terminal.shown)
    l7top.terminal.until(b"COLLECTOR DEAD", after=shown)
    l7top.terminal.press("6")
    l7top.terminal.until(b"messages", after=shown)
    assert is_alive(l7top.screen)
    l7top.terminal.press("q")
    assert l7top.terminal.end() == ExitCode.INTERNAL
    assert l7top.terminal.shown.endswith(b"l7top: the collector had ended: by SIGKILL\r\n")
    assert not l7top.left()


def test_sigterm_leaves_nothing(l7top: Running) -> None:
    os.kill(l7top.parent, signal.SIGTERM)
    assert l7top.terminal.end() == ExitCode.OK
    assert not l7top.left()


@pytest.mark.parametrize("whom", ["parent", "screen"])
def test_a_killed_process_leaves_nothing(l7top: Running, whom: str) -> None:
    os.kill(getattr(l7top, whom), signal.SIGKILL)
    assert l7top.terminal.end() != ExitCode.OK
    assert not l7top.left()


def test_a_resized_terminal_is_filled(l7top: Running) -> None:
    shown = len(l7top.terminal.shown)
    l7top.terminal.resize(101, 30)
    l7top.terminal.until(b"\x1b[30;1H", after=shown)  # the last line, where before there was none


def test_a_closed_terminal_leaves_nothing(l7top: Running) -> None:
    l7top.terminal.close()
    assert not l7top.left()


def test_probes_that_are_being_attached_leave_nothing() -> None:
    # Nothing else is compiled with this size, and here it is never finished: so there is no image of it to start from.
    with OnTerminal([sys.executable, "-m", "tui.main", "--head-bytes", "4321"]) as terminal:
        while "probes.kernel.compiler" not in " ".join((found := descendants(terminal.pid)).values()):
            assert terminal.read(0.01)
            assert b"Overview" not in terminal.shown
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.end()
        assert wait_until_gone(list(found), SOON_S + BUSY_S) == []
        assert not terminal.changed()
