"""`l7top report` tells of this moment's traffic what matters, as Markdown without anybody's values."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live.test_recording import SECRET, work
from tests.live.tool import READY, TIMEOUT_S
from tests.servers import Mongod

pytestmark = pytest.mark.live


def test_the_report_names_what_ran_and_what_failed(mongod: Mongod) -> None:
    command = [sys.executable, "-m", "probes.cli", "report", "--for", "5s", "target:recorded*"]
    tool = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert tool.stderr is not None
    assert tool.stderr.readline().startswith(READY)
    work(mongod, "")
    report, narration = tool.communicate(timeout=TIMEOUT_S)

    assert tool.returncode == 0, narration
    assert "recorded.orders` |" in report.partition("## Slowest\n")[2].partition("##")[0]
    assert "| `insert recorded.orders` | `DuplicateKey` |" in report
    assert f"`mongod {mongod.pid}`" in report
    assert SECRET not in report
