"""Where a capture's bytes come from: a file, or a stream that somebody else writes at this moment."""

from __future__ import annotations

import os
import select
import stat

from probes.exit_codes import ExitCode, Refusal
from probes.options import STDIN

_CHUNK = 1 << 18
_LEAST_CHUNK, _PARTS = 1 << 10, 256


class Reading:
    """`name` is for sentences. `size` is the file's, None where a stream is read, whose end nobody knows."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        mode = os.fstat(fd)
        self.size = mode.st_size if stat.S_ISREG(mode.st_mode) else None
        self.done = 0  # bytes read
        self._chunk = _CHUNK

    @property
    def is_file(self) -> bool:
        return self.size is not None

    def wait(self, timeout_s: float) -> None:
        """Returns when there is something to read, at the latest after that time."""
        if not self.is_file:
            select.select([self._fd], [], [], timeout_s)

    def read(self) -> bytes | None:
        """The next bytes, b"" at the end, None where there are none yet. Raises Refusal."""
        if not self.is_file and not select.select([self._fd], [], [], 0)[0]:
            return None
        try:
            data = os.read(self._fd, self._chunk)
        except OSError as error:
            raise Refusal(f"{self.name} cannot be read: {error.strerror}", ExitCode.SOURCE) from error
        self.done += len(data)
        return data

    def again(self) -> Reading:
        """The same file from its beginning, in parts so small that `done` tells the place. One at a time is read."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        reading = Reading(self.name, os.dup(self._fd))
        reading._chunk = max(_LEAST_CHUNK, min((self.size or 0) // _PARTS, _CHUNK))
        return reading

    def close(self) -> None:
        os.close(self._fd)


def open_reading(source: str) -> Reading:
    """What `--from SOURCE` names: a path, or "-". Raises Refusal."""
    if source == STDIN:
        if os.isatty(0):
            raise Refusal("--from - reads a capture from stdin, which is a terminal", ExitCode.SOURCE)
        return Reading("stdin", os.dup(0))
    try:
        return Reading(source, os.open(source, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise Refusal(f"{source} cannot be opened: {error.strerror}", ExitCode.SOURCE) from error
