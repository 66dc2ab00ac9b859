"""Memory that one process writes and others can only read: a memfd, sealed before anybody else holds it."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile

from probes.portable import LINUX
from probes.store.layout import MAGIC, At, Layout, counters

_SEAL_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of linux/fcntl.h, since Linux 5.1; not in Python's fcntl
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW if LINUX else 0


class UnknownStoreError(ValueError):
    """What was handed over is no store, or one of another version of this program."""


def create(layout: Layout) -> tuple[int, mmap.mmap]:
    """A descriptor to hand out, which can only be read, and the writer's own mapping.

    What holds without the seal (before Linux 5.1) is that the descriptor was opened for reading and that only its
    owner may open the file again.
    """
    if not LINUX:
        return _create_elsewhere(layout)
    writable = os.memfd_create("l7top", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(writable, 0o600)
        os.ftruncate(writable, layout.size)
        memory = mmap.mmap(writable, layout.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        try:
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS | _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)
        except OSError:
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
        readable = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)
    _begin(memory, layout)
    return readable, memory


def _create_elsewhere(layout: Layout) -> tuple[int, mmap.mmap]:
    """The same without seals: a file that is in no directory any more."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(layout.size)
        memory = mmap.mmap(file.fileno(), layout.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        readable = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC)
    _begin(memory, layout)
    return readable, memory


def _begin(memory: mmap.mmap, layout: Layout) -> None:
    header = counters(memory)
    header[At.SIZE] = layout.size
    header[At.MAGIC] = MAGIC
    header.release()


def attach(fd: int) -> tuple[Layout, mmap.mmap]:
    """The store behind the descriptor, for reading. Raises UnknownStoreError, OSError."""
    size = os.fstat(fd).st_size
    if size < mmap.PAGESIZE:
        raise UnknownStoreError("this is no store of l7top")
    memory = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
    header = counters(memory)
    known = header[At.MAGIC] == MAGIC and header[At.SIZE] == size
    header.release()
    if not known:
        memory.close()
        raise UnknownStoreError("this is no store of l7top, or one of another version")
    return Layout.of(size), memory
