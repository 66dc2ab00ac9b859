"""Runs a client program from a test: started, ready, released, its report read.

with ClientProcess("mongo_find", port=mongod.port, count=10_007) as client:
    ...  # its connections stand; start the tool here to see older connections
    report = client.finish()
"""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.servers.apache_kafka import libraries
from tests.servers.cache import CHECKOUT

Report = dict[str, Any]
TIMEOUT_S = 120.0


class ClientProcess:
    """One client program, connected and waiting. Options are the program's own (`count=7` is `--count 7`)."""

    def __init__(self, program: str, **options: object) -> None:
        self.command = [*_interpreter(program), "--wait"]
        for name, value in options.items():
            self.command += [f"--{name.replace('_', '-')}", str(value)]

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        """Starts the program and returns when it is ready. Raises RuntimeError where it fails before."""
        command = ["setpriv", "--pdeathsig", "KILL", *self.command]
        self._process = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.kill()
            raise RuntimeError(f"failed before it was ready: {' '.join(self.command)}")
        return self

    def finish(self) -> Report:
        """Lets the traffic begin and returns the program's report when it has exited.

        Raises RuntimeError where the program fails, subprocess.TimeoutExpired after two minutes.
        """
        printed, _ = self._process.communicate("go\n", timeout=TIMEOUT_S)
        if self._process.returncode:
            raise RuntimeError(f"failed with {self._process.returncode}: {' '.join(self.command)}")
        report: Report = json.loads(printed)
        return report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def run_client(program: str, **options: object) -> Report:
    """Runs a client program from beginning to end and returns its report. Raises as ClientProcess does."""
    with ClientProcess(program, **options) as client:
        return client.finish()


def _interpreter(program: str) -> list[str]:
    if program == "JavaProduce":
        java = ["java", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", f"{libraries()}/*"]
        return [*java, str(CHECKOUT / "tests/live/clients/JavaProduce.java")]
    return [sys.executable, "-m", f"tests.live.clients.{program}"]
