"""Captures are read and shown without Linux; what needs it says so, and names them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from probes.exit_codes import ExitCode
from tests.captures.test_command import COUNT, capture
from tests.on_terminal import CHECKOUT
from tests.tui.pty_session import pty_session

ELSEWHERE = ("-m", "tests.captures.elsewhere")


def test_requests_of_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture())
    command = [sys.executable, *ELSEWHERE, "probes.cli", "requests", "--from", str(path)]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=60, check=True)
    assert [json.loads(line)["operation"] for line in result.stdout.splitlines()] == ["find"] * COUNT


def test_the_dashboard_on_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(31))
    arguments = [*ELSEWHERE, "dashboard", "--from", str(path)]
    with pty_session(arguments, columns=120, environment={"PYTHONPATH": str(CHECKOUT)}) as screen:
        assert screen.read_until("CAPTURE ENDED: all of it was read"), screen.text
        screen.press("4")
        assert screen.read_until("22:13:20.06")
        screen.press("q")
        assert screen.process.wait(20) == ExitCode.OK


def test_a_live_capture_names_the_way_that_needs_nothing() -> None:
    command = [sys.executable, *ELSEWHERE, "probes.cli", "requests"]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == ExitCode.KERNEL
    assert result.stderr.startswith(
        "l7top: cannot capture: Darwin is no Linux; a capture needs none of it: ssh -n HOST "
    )
    assert result.stderr.endswith(" | l7top --from -\n")
