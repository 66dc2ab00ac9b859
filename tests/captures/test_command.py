"""`l7top requests` and `l7top stat` on captures, as commands."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probes.exit_codes import ExitCode
from tests.captures.writing import BEGIN_NS, STEP_NS, Wire, pcap
from tests.framing import messages as m

HERE = Path(__file__).parents[2]
COUNT = 7


def capture(count: int = COUNT, *, step_ns: int = STEP_NS) -> bytes:
    """So many finds, each answered after a step."""
    wire = Wire(step_ns=step_ns)
    wire.open()
    for n in range(count):
        wire.send(True, m.op_msg(100 + n))
        wire.send(False, m.op_msg(7000 + n, answers=100 + n))
    wire.close()
    return pcap(wire.packets)


def l7top(*words: str, stdin: bytes = b"", unprivileged: bool = True) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, records, narration; without any capability."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if unprivileged and os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "probes.cli", *words]
    result = subprocess.run(command, cwd=HERE, input=stdin, capture_output=True, timeout=60, check=False)
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b"{")]
    return result.returncode, records, result.stderr.decode().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "a.pcap"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_sessions_are_told_with_the_times_of_the_capture(path: Path, source: str, compressed: bool) -> None:
    data = gzip.compress(capture()) if compressed else capture()
    path.write_bytes(data)
    name, stdin = ("stdin", data) if source == "stdin" else (str(path), b"")
    code, records, said = l7top("requests", "--from", "-" if stdin else name, stdin=stdin)
    assert (code, said) == (ExitCode.OK, [f"l7top: capturing mongodb and kafka requests of {name}"])
    assert [record["request_id"] for record in records] == list(range(100, 100 + COUNT))
    first = records[0]
    assert first["time"] == "2023-11-14T22:13:20.003000Z"
    assert first["time_us"] == (BEGIN_NS + 3 * STEP_NS) // 1000
    assert (first["status"], first["target"], first["duration_ns"]) == ("ok", "shop.orders", STEP_NS)
    assert (first["client"], first["server"], first["seen_from"]) == ("10.0.0.1:40000", "10.0.0.2:27017", "server")


def test_a_file_counts_for_as_long_as_it_lasted(path: Path) -> None:
    path.write_bytes(capture(1001))
    code, (result,), _ = l7top("stat", "--json", "--from", str(path))
    assert code == ExitCode.OK
    assert result["window_s"] == pytest.approx((2 * 1001 + 5) * STEP_NS / 1e9, abs=0.001)
    (group,) = result["groups"]
    assert (group["requests"], group["p50_ns"]) == (1001, pytest.approx(STEP_NS, rel=0.05))
    assert result["capture"]["packets"] == 2 * 1001 + 6


def test_a_file_that_is_cut_tells_what_comes_before_and_says_so(path: Path) -> None:
    whole = capture()
    for data in (whole[:-10], gzip.compress(whole)[:-10]):
        path.write_bytes(data)
        code, records, said = l7top("requests", "--ledger", "--from", str(path))
        assert code == ExitCode.DAMAGED
        assert len(records) == COUNT
        assert json.loads(said[-2])["capture_damaged"] == 1
        assert said[-1] == f"l7top: {path} is cut off in the middle: what comes before was told"


def test_a_file_that_is_damaged_tells_what_comes_before_and_says_so(path: Path) -> None:
    whole = capture()
    path.write_bytes(whole[:-200] + b"\xff" * 200)  # in the middle of a packet
    code, records, said = l7top("requests", "--from", str(path))
    assert code == ExitCode.DAMAGED
    assert len(records) >= COUNT - 3
    assert said[-1].startswith(f"l7top: {path} is damaged: it holds a packet of 429")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"GIF89a and so on", "is neither pcap nor pcapng"),
        (gzip.compress(b"no capture at all"), "is neither pcap nor pcapng"),
        (b"\x1f\x8b nothing that gzip made", "is damaged: Error -3 while decompressing data"),
        (None, "cannot be opened: No such file or directory"),
    ],
)
def test_what_is_no_capture_is_one_sentence(path: Path, data: bytes | None, sentence: str) -> None:
    if data is not None:
        path.write_bytes(data)
    for command in ("requests", "stat"):
        code, records, said = l7top(command, "--from", str(path))
        assert (code, records) == (ExitCode.SOURCE, [])
        assert said[-1].startswith(f"l7top: {path} {sentence}")


def test_a_directory_is_no_capture(path: Path) -> None:
    code, _, said = l7top("requests", "--from", str(path.parent))
    assert (code, said[-1]) == (ExitCode.SOURCE, f"l7top: {path.parent} cannot be read: Is a directory")


def test_a_terminal_is_no_capture() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "probes.cli", "requests", "--from", "-"]
    result = subprocess.run(command, cwd=HERE, stdin=theirs, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert result.returncode == ExitCode.SOURCE
    assert result.stderr == b"l7top: --from - reads a capture from stdin, which is a terminal\n"


def test_protocols_and_filters_hold_for_captures(path: Path) -> None:
    path.write_bytes(capture())
    assert l7top("requests", "--protocols", "kafka", "--from", str(path))[1] == []
    assert len(l7top("requests", "--count", "2", "--from", str(path), "operation:find")[1]) == 2


def test_a_capture_on_stdin_is_told_as_it_comes() -> None:
    command = [sys.executable, "-m", "probes.cli", "requests", "--from", "-"]
    whole = capture()
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(whole[:-400])
        assert json.loads(process.stdout.readline())["request_id"] == 100  # while the stream goes on
        process.stdin.write(whole[-400:])
        process.stdin.close()
        assert process.stdout.read().count(b"\n") == COUNT - 1
        assert process.wait(30) == ExitCode.OK
