"""Reads a BPF ring buffer through its mapped memory, a batch at a time.

Layout (kernel/bpf/ringbuf.c): a consumer page, a producer page, then the data pages mapped twice in a row, so that no
record is ever split. A record begins with an 8-byte header: its length with a busy and a discard bit, and its page.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence

_BATCH = 1 << 16  # bytes
_BUSY, _LENGTH = 1 << 31, (1 << 30) - 1  # between them: discarded


class Ring:
    """`size` is the ring's data size in bytes."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = size
        self._data_at = page
        self._consumer_page = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._pages = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        # One aligned 8-byte item is one store. struct.pack_into is none: the kernel would see a position of 0.
        self._consumer = memoryview(self._consumer_page).cast("Q")
        self._producer = memoryview(self._pages)[:8].cast("Q")
        self._headers = memoryview(self._pages)[page:].cast("I")

    def drain(self, take: Callable[[mmap.mmap, Sequence[int]], None], most: int = 8192) -> int:
        """Hands the waiting records to `take(memory, offsets)`, in batches; how many there were, at most about `most`.

        The memory is the kernel's again after the call: `take` copies what it keeps.
        """
        first, size, mask, headers = self._data_at + 8, self.size, self.size - 1, self._headers
        position, end = self._consumer[0], self._producer[0]
        records, busy = 0, False
        while position < end and records < most and not busy:
            places: list[int] = []
            append, at = places.append, position & mask
            until = min(at + min(end - position, _BATCH), size)
            position -= at
            while at < until:
                header = headers[at >> 2]
                if header <= _LENGTH:
                    append(first + at)
                elif header & _BUSY:
                    busy = True  # a program is just writing it
                    break
                else:
                    header &= _LENGTH
                at += header + 15 & ~7  # its own eight bytes, and up to a multiple of eight
            position += at
            take(self._pages, places)
            records += len(places)
            self._consumer[0] = position  # room for the programs as soon as may be
        return records

    @property
    def waiting_bytes(self) -> int:
        return int(self._producer[0] - self._consumer[0])

    def close(self) -> None:
        self._consumer.release()
        self._producer.release()
        self._headers.release()
        self._consumer_page.close()
        self._pages.close()
