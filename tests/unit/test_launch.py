"""The dashboard's parent, with stand-ins for the collector and the screen, on a real terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from probes.exit_codes import ExitCode
from tests.on_terminal import CHECKOUT, OnTerminal, descendants, is_alive, named, wait_until_gone
from tests.unit.fake_processes import SHOWN

SOON_S = 5.0  # seconds, on a busy machine


@pytest.fixture
def l7top(request: pytest.FixtureRequest) -> Iterator[OnTerminal]:
    """The parent with a collector and a screen that behave as the test's parameters say."""
    collector, screen = getattr(request, "param", ("", ""))
    command = [sys.executable, "-m", "tests.unit.fake_processes", "parent", collector, screen]
    with OnTerminal(command, environment={"PYTHONPATH": str(CHECKOUT)}) as terminal:
        yield terminal


def leaves_nothing(l7top: OnTerminal, pids: list[int]) -> bool:
    """Whether all processes end soon and the terminal is as it was."""
    return wait_until_gone(pids, SOON_S) == [] and l7top.changed() == []


def started(l7top: OnTerminal) -> list[int]:
    """The processes, once the screen shows what it should."""
    l7top.until(SHOWN)
    assert l7top.changed() == ["settings", "mode 25", "mode 1049"]
    return [l7top.pid, *descendants(l7top.pid)]


def test_the_screen_opens_after_the_collector_and_leaving_it_ends_both(l7top: OnTerminal) -> None:
    pids = started(l7top)
    assert l7top.shown.startswith("l7top: attaching probes …\r\n".encode())
    assert len(pids) == 3
    l7top.press("q")
    assert l7top.end() == ExitCode.OK
    assert leaves_nothing(l7top, pids)
    assert l7top.shown.endswith(b"\x1b[?1049l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_all(l7top: OnTerminal, number: signal.Signals) -> None:
    pids = started(l7top)
    os.kill(l7top.pid, number)
    assert l7top.end(SOON_S) == ExitCode.OK
    assert leaves_nothing(l7top, pids)


@pytest.mark.parametrize("l7top", [("clings", "clings")], indirect=True)
def test_who_does_not_listen_is_killed(l7top: OnTerminal) -> None:
    pids = started(l7top)
    os.kill(l7top.pid, signal.SIGTERM)
    assert l7top.end(3 * SOON_S) == ExitCode.OK
    assert leaves_nothing(l7top, pids)


def test_the_terminal_is_restored_when_the_screen_is_killed(l7top: OnTerminal) -> None:
    pids = started(l7top)
    os.kill(named(l7top.pid, " screen"), signal.SIGKILL)
    assert l7top.end() == ExitCode.INTERNAL
    assert l7top.shown.endswith(b"l7top: the screen ended by SIGKILL\r\n")
    assert leaves_nothing(l7top, pids)


def test_the_screen_stays_when_the_collector_is_killed(l7top: OnTerminal) -> None:
    pids = started(l7top)
    collector, screen = (named(l7top.pid, f" {role}") for role in ("collector", "screen"))
    os.kill(collector, signal.SIGKILL)
    assert wait_until_gone([collector], SOON_S) == []
    time.sleep(0.7)
    assert is_alive(screen)
    assert is_alive(l7top.pid)
    l7top.press("q")
    assert l7top.end() == ExitCode.INTERNAL
    assert l7top.shown.endswith(b"l7top: the collector had ended: by SIGKILL\r\n")
    assert leaves_nothing(l7top, pids)


@pytest.mark.parametrize("l7top", [("fails", "")], indirect=True)
def test_what_ended_the_collector_is_told_when_the_screen_is_left(l7top: OnTerminal) -> None:
    pids = started(l7top)
    time.sleep(0.6)
    l7top.press("q")
    assert l7top.end() == ExitCode.INTERNAL
    assert b"l7top: the collector had ended: internal error: ValueError: it was too much" in l7top.shown
    assert leaves_nothing(l7top, pids)


def test_all_end_when_the_parent_is_killed(l7top: OnTerminal) -> None:
    pids = started(l7top)
    os.kill(l7top.pid, signal.SIGKILL)
    l7top.end()
    assert leaves_nothing(l7top, pids)


def test_all_end_when_the_terminal_is_closed(l7top: OnTerminal) -> None:
    pids = started(l7top)
    l7top.close()
    assert wait_until_gone(pids, SOON_S) == []


@pytest.mark.parametrize(
    ("l7top", "code", "sentence"),
    [
        (("refuses", ""), ExitCode.KERNEL, b"l7top: no probes today\r\n"),
        (("breaks", ""), ExitCode.INTERNAL, b"l7top: the collector ended by SIGSEGV before it began\r\n"),
    ],
    indirect=["l7top"],
)
def test_a_collector_that_cannot_begin_is_a_sentence(l7top: OnTerminal, code: ExitCode, sentence: bytes) -> None:
    assert l7top.end() == code
    assert l7top.shown.endswith(sentence)
    assert b"\x1b" not in l7top.shown
    assert l7top.changed() == []


@pytest.mark.parametrize("l7top", [("attaches for ever", "")], indirect=True)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGKILL, 128 + signal.SIGKILL),
    ],
)
def test_it_can_be_ended_while_the_probes_are_attached(l7top: OnTerminal, number: signal.Signals, code: int) -> None:
    l7top.until(b"attaching")
    while not (pids := list(descendants(l7top.pid))):
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(l7top.pid, number)
    assert l7top.end() == code
    assert leaves_nothing(l7top, pids)
