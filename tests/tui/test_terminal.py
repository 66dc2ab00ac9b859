"""The dashboard on a real (pseudo-)terminal: how much it sends, how it leaves, what a terminal without UTF-8 gets."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tests.tui.pty_session import PtySession, pty_session
from tui.terminal import Defaults, Encodable, encoding

PREVIEW = ("-m", "tests.tui.preview", "--scale", "0.3")
MOST_BYTES = 8192  # a refresh
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l")  # the other buffer, the cursor, no paste reports
BLACK = Color(0, 0, 0)


def wait(session: PtySession, seconds: float = 15.0) -> int | None:
    """The exit code, once it has ended."""
    until = time.monotonic() + seconds
    while session.process.poll() is None and time.monotonic() < until:
        session.read(0.1)
    session.read(0.2)
    return session.process.returncode


def test_a_still_screen_sends_nothing_and_a_moving_one_little() -> None:
    with pty_session([*PREVIEW, "--still"]) as session:
        assert session.read_until("WHAT CHANGED", 60)
        session.read(2)
        assert session.read(3) == b""
    with pty_session(PREVIEW) as session:
        assert session.read_until("WHAT CHANGED", 60)
        for key in "12345":
            session.press(key)
            session.read(3)  # that screen, once
            sent = session.read(3)
            assert 0 < len(sent) < 3 * MOST_BYTES
        session.press(" ")
        assert session.read_until("FROZEN")
        session.read(2)
        assert len(session.read(3)) < 3 * 300  # "+N new", nothing else


def test_it_leaves_the_terminal_as_it_was() -> None:
    for leave in ("q", "\x03", signal.SIGTERM, signal.SIGHUP):
        with pty_session([*PREVIEW, "--seconds", "3"]) as session:
            assert session.read_until("WHAT CHANGED", 60)
            if isinstance(leave, str):
                session.press(leave)
            else:
                os.kill(session.process.pid, leave)
            assert wait(session) == 0
            assert all(sequence in session.received for sequence in RESTORED)


def test_a_bug_ends_it_with_a_sentence_and_a_restored_terminal(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        "import sys\n"
        "from tests.tui.preview import Moving\n"
        "from tui import app\n"
        "moving = Moving(3)\n"
        "moving.view.baseline = None\n"
        "sys.exit(app.run(moving.view, protocols={}, clock=moving.clock))\n"
    )
    with pty_session([str(script)], environment={"PYTHONPATH": "."}) as session:
        assert wait(session, 60) == 70
        assert all(sequence in session.received for sequence in RESTORED)
        assert "the screen ended by a bug: TypeError" in session.text
        assert "Traceback" not in session.text


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"LANG": "de_DE.ISO-8859-1"}, {"L7TOP_ASCII": "1"}])
def test_a_terminal_without_utf8_gets_ascii(environment: dict[str, str]) -> None:
    with pty_session(PREVIEW, environment=environment) as session:
        assert session.read_until("WHAT CHANGED", 60)
        for key in "2?\x1b":
            session.press(key)
            session.read(1.5)
        assert session.received.isascii()


def test_without_colours_meaning_is_left() -> None:
    with pty_session(PREVIEW, environment={"NO_COLOR": "1"}) as session:
        assert session.read_until("WHAT CHANGED", 60)
        session.read(1)
        assert b"\x1b[1;36m" not in session.received
        styles = {word for found in re.findall(rb"\x1b\[([0-9;]*)m", session.received) for word in found.split(b";")}
        assert styles - {b"", b"39", b"49"} == {b"0", b"1", b"2", b"4", b"7"}  # bold, dim, underlined, reversed
        assert "✗" in session.text


@pytest.mark.parametrize(
    ("environ", "charset"),
    [
        ({}, "utf-8"),
        ({"LANG": "C.UTF-8"}, "utf-8"),
        ({"LANG": "en_US.utf8"}, "utf-8"),
        ({"LANG": "C"}, "ascii"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "ascii"),  # Python's own doing
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, "ascii"),
        ({"LC_CTYPE": "de_DE.ISO-8859-1", "LANG": "de_DE.UTF-8"}, "iso8859-1"),
        ({"LANG": "de_DE@euro"}, "utf-8"),
        ({"LANG": "xx.nonsense"}, "utf-8"),
    ],
)
def test_the_encoding_is_what_the_operator_says(environ: dict[str, str], charset: str) -> None:
    assert encoding(environ) == charset


def test_what_cannot_be_encoded_keeps_its_cells() -> None:
    ((text, *_),) = Encodable("ascii").apply([Segment("a漢é█")], BLACK)
    assert text == "a????"
    ((text, *_),) = Encodable("iso8859-1").apply([Segment("é█")], BLACK)
    assert text == "é?"


def test_default_colours_are_not_said() -> None:
    default = Style.parse("default on default")
    merged = Defaults().apply([Segment("a", default), Segment("b", default + Style(bold=True)), Segment("c")], BLACK)
    assert [(segment.text, segment.style) for segment in merged] == [
        ("a", Style()),
        ("b", Style(bold=True)),
        ("c", None),
    ]
    (kept,) = Defaults().apply([Segment("x", Style.parse("red on default"))], BLACK)
    assert kept.style == Style.parse("red")
