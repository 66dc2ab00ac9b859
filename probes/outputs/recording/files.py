"""The files of a recording: opened with the rights of whoever asked for it, rotated, and whole whatever happens."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from probes.exit_codes import ExitCode, Refusal
from probes.outputs.recording.pcapng import whole_blocks

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600


class RecordingEndedError(Exception):
    """Nothing more can be written. What was is kept; the message is a sentence."""


class Rotation(NamedTuple):
    """When to begin the next file, and how many to keep; None is never, and all."""

    size_bytes: int | None = None
    seconds: float | None = None
    keep: int | None = None

    @property
    def is_wanted(self) -> bool:
        return self.size_bytes is not None or self.seconds is not None


NO_ROTATION = Rotation()


class Files:
    """The file at `path`; with a rotation `path` with _00001, _00002, … before its suffix, one after the other.

    Each is new: what exists is neither overwritten nor followed. Raises Refusal where the first cannot be opened.
    """

    def __init__(self, path: Path, rotation: Rotation = NO_ROTATION) -> None:
        self._path, self._rotation = path, rotation
        self._kept: deque[Path] = deque()
        self._count = self._size = 0
        self._began_s: float | None = None
        try:
            self._fd = self._open()
        except OSError as error:
            raise Refusal(f"{self.name} cannot be created: {_why(error)}", ExitCode.OUTPUT) from error

    @property
    def name(self) -> str:
        """The file that is being written."""
        return str(self._kept[-1])

    def is_full(self, more_bytes: int, now_s: float) -> bool:
        """Whether the next file is due before `more_bytes` are written at `now_s`."""
        size_bytes, seconds, _ = self._rotation
        if self._began_s is None:
            self._began_s = now_s
        long_enough = seconds is not None and now_s - self._began_s >= seconds
        return long_enough or (size_bytes is not None and self._size + more_bytes > size_bytes)

    def rotate(self, now_s: float) -> None:
        """Begins the next file, and removes the oldest where there are more than to be kept."""
        self.close()
        try:
            self._fd = self._open()
            while self._rotation.keep is not None and len(self._kept) > self._rotation.keep:
                with as_invoker(), contextlib.suppress(FileNotFoundError):
                    self._kept[0].unlink()
                self._kept.popleft()
        except OSError as error:
            raise RecordingEndedError(f"the recording ended: {self.name}: {_why(error)}") from error
        self._size, self._began_s = 0, now_s

    def write(self, data: bytes | bytearray) -> None:
        """Writes `data`, which consists of whole blocks: of those that find no room none is left in part."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            self._size += whole_blocks(data, written)
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise RecordingEndedError(f"the recording ended: {self.name}: {_why(error)}") from error
        self._size += written

    def close(self) -> None:
        """Closes the file that is being written."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open(self) -> int:
        self._count += 1
        path = self._path
        if self._rotation.is_wanted:
            path = path.with_name(f"{path.stem}_{self._count:05}{path.suffix}")
        self._kept.append(path)
        return create(path)


def create(path: Path) -> int:
    """The descriptor of a new file, which belongs to whoever called sudo. Raises OSError."""
    with as_invoker():
        return os.open(path, _FLAGS, _MODE)


@contextlib.contextmanager
def as_invoker() -> Iterator[None]:
    """What is opened within is opened with the rights of whoever called sudo, and belongs to them."""
    uid, gid = int(os.environ.get("SUDO_UID", 0)), int(os.environ.get("SUDO_GID", 0))
    if os.geteuid() or not uid:
        yield
        return
    groups = os.getgroups()
    os.setgroups(_groups(uid, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
