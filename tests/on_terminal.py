"""Runs a command on a terminal of its own, as a login would, and follows what it shows and what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

CHECKOUT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 30.0
_ON_AT_FIRST = (7, 25)  # line wrap, the cursor


class OnTerminal:
    """The command runs under a shell that leads the terminal's session. `pid` is the command's, not the shell's."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
        self._size = size
        self._environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        self.shown = b""

    def __enter__(self) -> Self:
        self.terminal, theirs = pty.openpty()
        self.is_open = True
        self.resize(*self._size)
        self._settings = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            self._command,
            cwd=CHECKOUT,
            env={**os.environ, **self._environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.pid = self._first_child()
        return self

    def _first_child(self) -> int:
        while True:
            for pid in descendants(self.process.pid):
                return pid
            if self.process.poll() is not None:
                raise RuntimeError(f"the shell ended with {self.process.returncode}")
            time.sleep(0.005)

    def until(self, wanted: bytes, timeout_s: float = TIMEOUT_S, *, after: int = 0) -> bytes:
        """Reads until this was shown, `after` so many bytes; all that was shown so far. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while wanted not in self.shown[after:]:
            if time.monotonic() > deadline or not self.read(0.1):
                raise TimeoutError(f"{wanted!r} was not shown: {self.shown[-2000:]!r}")
        return self.shown

    def read(self, wait_s: float) -> bool:
        """Takes what comes within that time; False where nothing can come any more."""
        if select.select([self.terminal], [], [], wait_s)[0]:
            try:
                self.shown += os.read(self.terminal, 65536)
            except OSError:
                return False
        return True

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def end(self, timeout_s: float = TIMEOUT_S) -> int:
        """Waits for the shell's end, while the terminal goes on taking what it writes; its exit code."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"it has not ended: {self.shown[-2000:]!r}")
            if not self.is_open or not self.read(0.02):
                time.sleep(0.02)
        return self.process.returncode

    def changed(self) -> list[str]:
        """What is not as it was before the command: settings, and private modes that were switched and not back."""
        while select.select([self.terminal], [], [], 0.05)[0] and self.read(0):
            pass
        changed = [] if termios.tcgetattr(self.terminal) == self._settings else ["settings"]
        on: set[int] = set()
        for numbers, switch in re.findall(rb"\x1b\[\?([0-9;]+)([hl])", self.shown):
            for mode in map(int, numbers.split(b";")):
                (on.add if (switch == b"h") != (mode in _ON_AT_FIRST) else on.discard)(mode)
        return changed + [f"mode {mode}" for mode in sorted(on)]

    def close(self) -> None:
        """Closes the terminal, as a lost connection does."""
        if self.is_open:
            self.is_open = False
            os.close(self.terminal)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.close()


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process has started, and those of these: pid and command line."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()
                found.update(descendants(int(child)))
    return found


def named(pid: int, what: str) -> int:
    """The descendant whose command line holds `what`."""
    return next(child for child, command in descendants(pid).items() if what in command)


def is_alive(pid: int) -> bool:
    """Whether a process runs under this id: a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until_gone(pids: Sequence[int], timeout_s: float) -> list[int]:
    """Waits until these processes have ended; those that have not."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
