"""The dashboard on captures: from a file, and from a stream on stdin with the keys from the terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.captures.test_command import capture
from tests.on_terminal import CHECKOUT, OnTerminal
from tests.tui.pty_session import pty_session

REQUESTS = "4"


def test_a_file_is_shown_in_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(31))
    with pty_session(["-m", "tui.main", "--from", str(path)], columns=120) as screen:
        assert screen.read_until("CAPTURE ENDED: all of it was read")
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
