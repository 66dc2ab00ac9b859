"""`python -m tests.demo`, as root: opens the dashboard on real traffic; where there is no terminal, reports on it."""

# ruff: noqa: E402 - what takes a moment to import is imported once Ctrl-C is no traceback any more

from __future__ import annotations

import os
import signal

signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import subprocess
import sys
from collections.abc import Sequence

from probes import cli
from probes.background import how
from probes.exit_codes import ExitCode, Refusal
from probes.headless import narrate
from tests.demo import report
from tests.demo.traffic import traffic
from tui.main import on_terminal

REPORT_S = 10.0


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    return cli.guarded(_run)


def _run() -> ExitCode:
    if os.geteuid():
        raise Refusal("the demo needs root: sudo make demo", ExitCode.PRIVILEGES)
    narrate("demo: starting mongod, a Kafka broker and their clients …")
    with traffic() as jobs:
        if on_terminal():
            code = _dashboard(sys.argv[1:])
        else:
            narrate(f"demo: {REPORT_S:.0f} s of it …")
            print(report.capture(REPORT_S), flush=True)
            code = ExitCode.OK
        for complaint in filter(None, (job.complaint() for job in jobs)):
            raise Refusal(f"demo: {complaint}", ExitCode.INTERNAL)
    return code


def _dashboard(words: Sequence[str]) -> ExitCode:
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tui.main", *words]
    with subprocess.Popen(command) as dashboard:
        try:
            code = dashboard.wait()
        except BaseException:
            dashboard.terminate()  # and it leaves nothing
            raise
    if code < 0:
        raise Refusal(f"demo: the dashboard ended {how(code)}", ExitCode.INTERNAL)
    return ExitCode(code)


if __name__ == "__main__":
    sys.exit(main())
