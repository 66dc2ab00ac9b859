"""What a process gives up, in children that do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from probes import privileges
from tests.on_terminal import CHECKOUT, wait_until_gone

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
NOBODY = 65534


def status_after(*calls: Callable[[], None]) -> dict[str, str]:
    """A child's own status after it made these calls."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            for call in calls:
                call()
            os.write(writer, Path("/proc/self/status").read_bytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        lines = file.read().splitlines()
    os.waitpid(child, 0)
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


@as_root
def test_only_the_kept_capabilities_stay() -> None:
    kept = {privileges.CAP_SYS_PTRACE, privileges.CAP_BPF}
    status = status_after(lambda: privileges.keep_only(kept))
    mask = f"{1 << 19 | 1 << 39:016x}"
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [mask] * 3
    assert [status[name] for name in ("CapInh", "CapAmb")] == ["0" * 16] * 2
    assert status["NoNewPrivs"] == "1"


def test_without_any_capability_there_is_none_to_lose() -> None:
    status = status_after(privileges.keep_only, privileges.keep_only)
    assert [status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == ["0" * 16] * 4


@as_root
def test_another_user_has_the_groups_of_that_user_and_nothing_of_root() -> None:
    status = status_after(lambda: privileges.become(NOBODY, NOBODY))
    assert status["Uid"].split() == status["Gid"].split() == [str(NOBODY)] * 4
    assert status["Groups"] == str(NOBODY)
    assert status["CapEff"] == status["CapPrm"] == "0" * 16


def test_a_child_dies_with_its_parent() -> None:
    program = """
import os, signal, time
from probes import privileges
parent = os.getpid()
child = os.fork()
if not child:
    privileges.die_with(parent, signal.SIGKILL)
    print(os.getpid(), flush=True)
    time.sleep(60)
os.waitpid(child, 0)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert wait_until_gone([child], 5.0) == []


def test_a_child_whose_parent_has_died_already_dies_at_once() -> None:
    child = os.fork()
    if not child:
        privileges.die_with(1 << 22, signal.SIGKILL)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_child_ranks_behind_others() -> None:
    def rank() -> None:
        privileges.die_first()
        privileges.run_last()
        raise SystemExit((Path("/proc/self/oom_score_adj").read_text(), os.nice(0)) != ("900\n", max(5, nice)))

    nice = os.nice(0)
    child = os.fork()
    if not child:
        try:
            rank()
        except SystemExit as end:
            os._exit(bool(end.code))
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
