"""Runs `l7top requests` beside a workload and hands back what it printed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Any, Self

Record = dict[str, Any]
READY = "l7top: capturing"
TIMEOUT_S = 60


class Requests:
    """`l7top requests` with more arguments; probes are attached on entry. `stop` ends it and returns the records."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "probes.cli", "requests", "--ledger", "--inflight", *arguments]
        self._narration: list[str] = []
        self._ready = threading.Event()
        self.ledger: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.PIPE, text=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        if not self._ready.wait(TIMEOUT_S) or self._process.poll() is not None:
            self._process.kill()
            raise RuntimeError(f"l7top did not start: {self._narration}")
        return self

    def stop(self) -> list[Record]:
        """Ends the capture; its records in the order in which they were printed. `ledger` is set."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(TIMEOUT_S)
        self._listener.join(TIMEOUT_S)
        if code:
            raise RuntimeError(f"l7top ended with {code}: {self._narration}")
        self.ledger = next(json.loads(line) for line in reversed(self._narration) if line.startswith("{"))
        self._output.seek(0)
        return [json.loads(line) for line in self._output]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._narration.append(line)
                if line.startswith(READY):
                    self._ready.set()
        self._ready.set()


def of_process(records: list[Record], pid: int) -> list[Record]:
    """Those records of which one end is in the process."""
    ends = ("client_process", "server_process")
    return [r for r in records if any(r.get(end, {}).get("pid") == pid for end in ends)]
