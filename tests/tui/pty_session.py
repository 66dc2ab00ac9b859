"""A program on a pseudo-terminal of its own: what it sends, and what a terminal then shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

import pyte

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class PtySession:
    """`read` takes what came; `screen` is what stands on the terminal after that."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, columns: int, rows: int) -> None:
        self.process = process
        self.received = b""
        self._master = master
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def read(self, seconds: float) -> bytes:
        """What the program sends in that time, or until it has ended."""
        taken, until = b"", time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left)[0]:
                break
            try:
                data = os.read(self._master, 65536)
            except OSError:  # its end of the terminal is closed
                break
            if not data:
                break
            taken += data
            self._stream.feed(data)
        self.received += taken
        return taken

    def read_until(self, text: str, seconds: float = 20.0) -> bool:
        """Whether `text` came to stand on the screen in that time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if text in self.text:
                return True
            self.read(0.1)
        return text in self.text

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@contextlib.contextmanager
def pty_session(
    arguments: Sequence[str],
    *,
    columns: int = 80,
    rows: int = 24,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] = REPOSITORY,
) -> Iterator[PtySession]:
    """`python ARGUMENTS` in `folder`, on a terminal of that size; ended at the end."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color", "TZ": "UTC", "LANG": "C.UTF-8", **(environment or {})},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield PtySession(process, master, columns, rows)
    finally:
        process.kill()
        process.wait()
        os.close(master)
