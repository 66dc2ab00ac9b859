"""Rings in shared memory: one writer appends, readers copy and then look whether what they copied was still theirs.

A position only grows. What is before `oldest` may be overwritten at any moment, so the writer publishes a new `oldest`
before it writes there, generously, to do it seldom; a reader checks it after it has copied. On x86 stores are seen in
the order in which they were made; elsewhere a system call on either side has to stand between them.
"""

from __future__ import annotations

import mmap
import os
import platform
import time

from probes.store.layout import At

_system_call = getattr(os, "sched_yield", lambda: time.sleep(0))
_IN_ORDER = platform.machine() in ("x86_64", "AMD64", "i686")


def settle() -> None:
    """All that was stored before is seen before all that is stored after."""
    if not _IN_ORDER:
        _system_call()


class ByteRing:
    """The writer's end of a ring of bytes, whose positions are in the counters `next_at` and `next_at + 1`."""

    def __init__(self, memory: mmap.mmap, header: memoryview, place: tuple[int, int], next_at: At) -> None:
        offset, self.size = place
        self._bytes = memoryview(memory)[offset : offset + self.size]
        self._header = header
        self._next_at, self._oldest_at = next_at, next_at + 1
        self.next = self.oldest = 0

    def append(self, data: bytes) -> int:
        """Where `data`, which is no longer than half the ring, now lies."""
        position, size = self.next, self.size
        end = position + len(data)
        if end - self.oldest > size:
            self.oldest = end - size + size // 64
            self._header[self._oldest_at] = self.oldest
            settle()
        start = position % size
        fits = size - start
        if len(data) <= fits:
            self._bytes[start : start + len(data)] = data
        else:
            self._bytes[start:] = data[:fits]
            self._bytes[: len(data) - fits] = data[fits:]
        self.next = end
        settle()
        self._header[self._next_at] = end
        return position


class ByteRingReader:
    """A reader's end."""

    def __init__(self, memory: mmap.mmap, header: memoryview, place: tuple[int, int], next_at: At) -> None:
        offset, self._size = place
        self._bytes = memoryview(memory)[offset : offset + self._size]
        self._header = header
        self._next_at, self._oldest_at = next_at, next_at + 1

    def has(self, position: int, length: int) -> bool:
        return self._header[self._oldest_at] <= position and position + length <= self._header[self._next_at]

    def read(self, position: int, length: int) -> bytes | None:
        """`length` bytes from `position` on; None where they are gone."""
        if length > self._size or not self.has(position, length):
            return None
        start = position % self._size
        data = bytes(self._bytes[start : start + length])
        data += bytes(self._bytes[: length - len(data)])
        settle()
        return data if self.has(position, length) else None
