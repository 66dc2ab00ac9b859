"""The command line as a process among others: pipes that close, signals, terminals, missing privileges."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from probes.exit_codes import ExitCode

HERE = Path(__file__).parents[2]
CAPTURING = b"l7top: capturing mongodb and kafka requests of this host\n"


def start(
    *words: str, scene: str = "", stdout: int | None = subprocess.PIPE, without: Sequence[str] = (), **environment: str
) -> subprocess.Popen[bytes]:
    """l7top as a process, with the fake collector where a scene is named; `without` is a command that starts it."""
    module = "tests.unit.fake_collector" if scene else "probes.cli"
    return subprocess.Popen(
        [*without, sys.executable, "-m", module, *words],
        cwd=HERE,
        env={**os.environ, "SCENE": scene, **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Exit code, the rest of stdout, stderr."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def until_capturing(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    assert process.stderr.readline() == CAPTURING


def test_a_reader_that_has_enough_ends_the_capture_silently() -> None:
    process = start("requests", scene="endless")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["operation"] == "find"
    process.stdout.close()
    assert process.wait(timeout=10) == ExitCode.OK
    assert process.stderr is not None
    assert process.stderr.read() == CAPTURING


def test_a_reader_that_has_gone_is_noticed_without_anything_to_write() -> None:
    process = start("requests", scene="one")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=10) == ExitCode.OK


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_capture_cleanly(number: signal.Signals) -> None:
    process = start("requests", scene="endless")
    until_capturing(process)
    time.sleep(0.2)
    process.send_signal(number)
    code, out, err = end(process)
    assert (code, err) == (ExitCode.OK, b"")
    assert out.endswith(b"}\n")
    assert all(json.loads(line) for line in out.splitlines())


def test_a_signal_ends_stat_with_what_there_is() -> None:
    process = start("stat", "--json", "--for", "1h", scene="samples")
    until_capturing(process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, out, _ = end(process)
    assert code == ExitCode.OK
    assert 0 < json.loads(out)["window_s"] < 30


def test_losses_go_to_stderr_as_one_line() -> None:
    code, out, err = end(start("requests", "--for", "50ms", scene="losses"))
    assert (code, out) == (ExitCode.OK, b"")
    assert err == CAPTURING + b"l7top: lost on this host: ring_full 3, unparsed 2\n"


def test_lines_reach_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = start("requests", "--count", "1", scene="one", stdout=theirs)
    os.close(theirs)
    code, _, _ = end(process)
    with os.fdopen(ours, "rb") as terminal:
        assert json.loads(terminal.readline())["operation"] == "find"
    assert code == ExitCode.OK


def test_a_terminal_gets_a_table_of_its_width() -> None:
    ours, theirs = pty.openpty()
    process = start("stat", "--for", "50ms", scene="samples", stdout=theirs, COLUMNS="80")
    os.close(theirs)
    code, _, _ = end(process)
    lines = os.read(ours, 4000).decode().splitlines()
    os.close(ours)
    assert code == ExitCode.OK
    assert len(lines) > 3
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    "words", [("requests", "--for", "50ms"), ("stat", "--for", "50ms"), ("doctor",), ("--help",), ("stat", "--help")]
)
def test_a_full_disk_is_one_sentence(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        code, _, err = end(start(*words, scene="samples", stdout=full.fileno()))
    assert code == ExitCode.OUTPUT
    assert err.removeprefix(CAPTURING) == b"l7top: stdout cannot be written: No space left on device\n"


def test_a_closed_stdout_is_one_sentence() -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh"]
    code, _, err = end(start("requests", "--for", "50ms", scene="samples", without=shell))
    assert code == ExitCode.OUTPUT
    assert err == b"l7top: stdout is closed: there is nowhere to write to\n"


def test_a_closed_stderr_is_no_reason_to_fail() -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh"]
    code, out, _ = end(start("requests", "--for", "50ms", scene="one", without=shell))
    assert code == ExitCode.OK
    assert json.loads(out)["operation"] == "find"


def test_a_locale_without_utf8_is_no_reason_to_fail() -> None:
    code, out, err = end(start("stat", "--for", "50ms", scene="samples", PYTHONIOENCODING="ascii"))
    assert (code, err) == (ExitCode.OK, CAPTURING)
    assert out.isascii()
    assert end(start("requests", "--help", PYTHONIOENCODING="ascii"))[0] == ExitCode.OK


def test_without_privileges_one_sentence_says_what_to_run() -> None:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    assert not drop or shutil.which("setpriv")
    for words in (("requests",), ("stat",), ()):
        code, out, err = end(start(*words, without=drop))
        assert (code, out) == (ExitCode.PRIVILEGES, b"")
        assert err.startswith(b"l7top: cannot capture: privileges: ")
        assert b"; to mend it: " in err
        assert err.count(b"\n") == 1
    code, out, err = end(start("doctor", without=drop))
    assert (code, err) == (ExitCode.PRIVILEGES, b"")
    assert b"a live capture cannot run" in out


def test_nothing_of_the_screen_is_imported() -> None:
    code = (
        "import sys, probes.cli; sys.exit(any(name.split('.')[0] in ('tui', 'textual', 'bcc') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE, check=False).returncode == 0
