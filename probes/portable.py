"""What only Linux has, and what does for it elsewhere: captures can be read and shown on any Unix."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection

LINUX = sys.platform == "linux"
_LOOK_EVERY_S = 0.05


def channel() -> tuple[socket.socket, socket.socket]:
    """Two ends of a unix socket on which small messages come as they were sent."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if LINUX else socket.SOCK_STREAM)


def anonymous_file(name: str) -> int:
    """A descriptor of a file in no directory; on Linux it needs no disk."""
    if LINUX:
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def next_signal(numbers: Collection[int], timeout_s: float) -> int | None:
    """One of these signals, all of which are blocked; None where none comes within that time."""
    if LINUX:
        found = signal.sigtimedwait(numbers, timeout_s)
        return None if found is None else found.si_signo
    until = time.monotonic() + timeout_s
    while not (came := signal.sigpending() & set(numbers)):
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_EVERY_S)
    return signal.sigwait(came)


def signal_when_left(end: socket.socket) -> None:
    """From now on SIGIO tells this process that the other end of this channel has been closed."""
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)


def is_left(end: socket.socket) -> bool:
    """Whether the other end of a channel on which it never sends has been closed."""
    return bool(select.select([end], [], [], 0)[0])


def wait_for_orphanage(parent: int) -> None:
    """Returns when `parent`, whose child this process is, has ended."""
    if LINUX:
        select.select([os.pidfd_open(parent)], [], [])
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
