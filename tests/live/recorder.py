"""Runs `l7top record` beside a workload."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.tool import READY, TIMEOUT_S


class Record:
    """`l7top record PATH` with more arguments, attached on entry. `stop` ends it and returns its exit code."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "probes.cli", "record", str(path), *arguments]
        self.narration = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        while (line := self._process.stderr.readline()) and not line.startswith(READY):
            self.narration += line
        if not line:
            raise RuntimeError(f"l7top did not start: {self.narration}")
        return self

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        _, rest = self._process.communicate(timeout=TIMEOUT_S)
        self.narration += rest
        return self._process.returncode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
