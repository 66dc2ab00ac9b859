"""The dashboard on captures: from a file, and from a stream on stdin with the keys from the terminal."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.captures.test_command import capture
from tests.on_terminal import CHECKOUT, OnTerminal
from tests.tui.pty_session import PtySession, pty_session

MONGODB, REQUESTS = "2", "4"
PAUSE, PACE, BACK, ON, MINUTE_BACK, MINUTE_ON = "P", "X", "[", "]", "{", "}"
SECONDS = {BACK: -10, ON: 10, MINUTE_BACK: -60, MINUTE_ON: 60}
LAST = "22:15:23"


def seconds(time_of_day: str) -> int:
    hours, minutes, seconds = map(int, time_of_day.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def position(screen: PtySession) -> int:
    """Where the header says that a paused capture is, s."""
    match = re.search(r"PAUSED (\d\d:\d\d:\d\d)", screen.text)
    return seconds(match[1]) if match else -1


def newest(screen: PtySession) -> int:
    """When the newest request that is shown ended, s."""
    return max(map(seconds, re.findall(r"(?m)^\W*(\d\d:\d\d:\d\d)\.\d", screen.text)), default=-1)


def shows_all_until(screen: PtySession, at: int) -> bool:
    """Whether it is paused there, and the newest request is the last one before it."""
    return position(screen) == at and at - newest(screen) in range(4)


def until(screen: PtySession, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, screen.text
        screen.read(0.1)


def test_a_file_is_shown_in_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(31))
    with pty_session(["-m", "tui.main", "--from", str(path)], columns=120) as screen:
        assert screen.read_until("CAPTURE ENDED: all of it was read")
        screen.press(MONGODB)
        until(screen, lambda: any(line.startswith("find ") for line in screen.lines))  # though it lasts but 0.07 s
        screen.press(REQUESTS)
        assert screen.read_until("22:13:20.06")  # the last reply's request
        assert "find" in screen.text
        screen.press("q")
        assert screen.process.wait(20) == 0


def test_a_file_that_is_cut_is_shown_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(31)[:-5])
    with pty_session(["-m", "tui.main", "--from", str(path)], columns=120) as screen:
        assert screen.read_until("CAPTURE ENDED: it is cut off in the middle")


def test_a_stream_is_shown_as_it_comes_and_keys_come_from_the_terminal(tmp_path: Path) -> None:
    """The stream comes in two parts, between which a key is pressed."""
    whole, gate = capture(31), tmp_path / "gate"
    for name, part in (("first", whole[:2000]), ("second", whole[2000:])):
        (tmp_path / name).write_bytes(part)
    writer = f"cat {tmp_path}/first; until [ -e {gate} ]; do sleep 0.05; done; cat {tmp_path}/second; sleep 60"
    command = f"({writer}) | {shlex.quote(sys.executable)} -m tui.main --from -"
    with OnTerminal(["sh", "-c", command], environment={"PYTHONPATH": str(CHECKOUT), "TZ": "UTC"}) as terminal:
        terminal.until(b"LIVE ")
        terminal.press(REQUESTS)
        terminal.until(b"newest first")
        shown = len(terminal.shown)
        gate.touch()
        terminal.until(b"22:13:20.06", after=shown)
        terminal.press("q")
        terminal.until(b"\x1b[?1049l", after=shown)
        assert terminal.changed() == []


def test_a_file_is_paused_and_moved_about_in(tmp_path: Path) -> None:
    """A request each 2 s from 22:13:23 on, the last one at 22:15:23."""
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(61, step_ns=1_000_000_000))
    with pty_session(["-m", "tui.main", "--from", str(path), "--speed", "1x"], columns=120) as screen:
        assert screen.read_until("PLAYING 1x 22:13:2")
        screen.press(REQUESTS)
        until(screen, lambda: newest(screen) > 0)
        screen.press(PAUSE)
        assert screen.read_until("PAUSED 22:13:2")
        for key, then in ((ON, "22:13:3"), (MINUTE_ON, "22:14:"), (BACK, "22:14:"), (MINUTE_BACK, "22:13:2")):
            paused_at = position(screen)
            screen.press(key)
            assert screen.read_until(f"PAUSED {then}")
            until(screen, partial(shows_all_until, screen, paused_at + SECONDS[key]))
        screen.press(PACE)
        assert screen.read_until("CAPTURE ENDED: all of it was read")
        until(screen, lambda: newest(screen) == seconds(LAST))
        screen.press(BACK)
        assert screen.read_until("PAUSED 22:15:1")
        until(screen, lambda: shows_all_until(screen, position(screen)))
        screen.press("q")
        assert screen.process.wait(20) == 0
