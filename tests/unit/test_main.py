"""Which of dashboard and command line `l7top` is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from probes import cli
from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions
from probes.records import Side
from tests.on_terminal import CHECKOUT, OnTerminal
from tui import launch, main


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the dashboard and the command line were called with; there is a terminal."""
    calls: list[tuple[Any, ...]] = []

    def dashboard(options: CaptureOptions, filter_text: str) -> ExitCode:
        calls.append(("dashboard", options, filter_text))
        return ExitCode.OK

    def command_line(words: Sequence[str]) -> int:
        calls.append(("command line", list(words)))
        return 0

    monkeypatch.setattr(launch, "run", dashboard)
    monkeypatch.setattr(cli, "main", command_line)
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setenv("TERM", "xterm")
    return calls


def test_bare_on_a_terminal_it_is_the_dashboard(calls: list[tuple[Any, ...]]) -> None:
    assert main.main([]) == 0
    assert calls == [("dashboard", CaptureOptions(), "")]


def test_its_options_and_its_filter_reach_the_dashboard(calls: list[tuple[Any, ...]]) -> None:
    words = ["--side", "server", "status:error", "--memory", "64M", "--literals", "protocol:kafka"]
    assert main.main(words) == 0
    options = CaptureOptions(side=Side.SERVER, memory=64 << 20, literals=True)
    assert calls == [("dashboard", options, "status:error protocol:kafka")]


def test_ports_add_up() -> None:
    options, _ = cli.dashboard(["--ports", "mongodb=1,2", "--ports", "kafka=9092", "--ports", "mongodb=3"])
    assert options.ports == (("mongodb", (1, 2, 3)), ("kafka", (9092,)))


def test_a_filter_alone_is_the_dashboards(calls: list[tuple[Any, ...]]) -> None:
    assert main.main(["status:error", "--side", "server", "duration>50ms"]) == 0
    assert calls == [("dashboard", CaptureOptions(side=Side.SERVER), "status:error duration>50ms")]


@pytest.mark.parametrize("words", [["stat"], ["requests", "status:error"], ["--version"], ["-h"], ["nonsense"]])
def test_a_command_is_none_of_its_business(calls: list[tuple[Any, ...]], words: list[str]) -> None:
    main.main(words)
    assert calls == [("command line", words)]


@pytest.mark.parametrize("fd", [0, 1])
def test_without_a_terminal_there_is_no_screen(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, fd: int
) -> None:
    monkeypatch.setattr(os, "isatty", lambda asked: asked != fd)
    main.main([])
    assert calls == [("command line", [])]


def test_a_dumb_terminal_is_none(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    main.main(["--side", "client"])
    assert calls == [("command line", ["--side", "client"])]


@pytest.mark.parametrize("words", [["--memory", "1M"], ["--memory", "much"], ["--for", "10s"], ["x:y", "--literals"]])
def test_what_the_dashboard_does_not_understand_is_a_sentence(words: list[str]) -> None:
    with pytest.raises(Refusal) as refusal:
        cli.dashboard(words)
    assert refusal.value.exit_code is ExitCode.USAGE


def test_only_the_screen_imports_textual() -> None:
    code = "import sys, tui.launch, probes.daemon, probes.feeding; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False).returncode == 0


def test_without_privileges_the_terminal_gets_a_sentence_and_no_screen(tmp_path: Path) -> None:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    with OnTerminal([*drop, sys.executable, "-m", "tui.main"]) as terminal:
        assert terminal.end() == ExitCode.PRIVILEGES
        assert b"l7top: cannot capture: privileges: " in terminal.shown
        assert terminal.changed() == []
        assert b"\x1b" not in terminal.shown


_INTERRUPTED_WHERE = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
from tui.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["requests", "stat", "doctor"])
@pytest.mark.parametrize("module", ["probes.cli", "probes.doctor", "probes.filters", "probes.store.red"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(command: str, module: str) -> None:
    process = [sys.executable, "-c", _INTERRUPTED_WHERE, module, command]
    ended = subprocess.run(process, cwd=CHECKOUT, capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (ExitCode.INTERRUPTED, b"", b"")
