"""Where everything lies in the shared memory, computed from its size alone, and the fixed records in it.

Writer and readers agree by this module only. The first page holds counters, each an aligned item of 8 bytes that is
read and written whole; the regions follow.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.records import Side, Status

Records = NDArray[np.void]

MAGIC = 0x6C37_746F_7001  # "l7top", and the version of this layout
PAGE = mmap.PAGESIZE
MIN_BYTES = 4 << 20

FINE_SLOTS = 64  # of a second
COARSE_SLOTS = 104  # of ten seconds
COARSE_SECONDS = 10

STATUSES = tuple(Status)
SIDES = tuple(Side)

NO_VERSION = -0x8000


class Flag(IntFlag):
    """What a row says in one bit. A cell has those of `OF_CELL`."""

    LONG_POLL = 1
    REPLIED = 2
    HAS_REQUEST = 4
    EXPECTS_REPLY = 8
    REQUEST_CUT = 16
    REPLY_CUT = 32
    HAS_REPLY = 64  # it was parsed
    HAS_REPLY_ID = 128


OF_CELL = Flag.LONG_POLL | Flag.REPLIED

# What rows and cells have in common, so that filters and groups read either. Names are numbers in the tables below.
_KEY = [
    ("operation", "<u2"),
    ("target", "<u2"),
    ("error", "<u2"),
    ("client_host", "<u2"),
    ("server_host", "<u2"),
    ("client_process", "<u2"),
    ("server_process", "<u2"),
    ("application", "<u2"),
    ("version", "<i2"),
    ("server_port", "<u2"),
    ("protocol", "u1"),
    ("opcode", "u1"),
    ("status", "u1"),
    ("side", "u1"),
    ("flags", "u1"),
]
KEY_FORMAT = "HHHHHHHHhHBBBBB"
KEY_BYTES = 25

CELL = np.dtype(_KEY)

ROW = np.dtype(
    [
        ("request_first", "<i8"),
        ("request_last", "<i8"),
        ("reply_first", "<i8"),
        ("reply_last", "<i8"),
        ("request_id", "<i8"),
        ("reply_id", "<i8"),
        ("connection", "<u8"),
        ("details", "<u8"),  # position in the ring of details
        ("details_bytes", "<u4"),
        ("request_head", "<u4"),  # bytes of the request's head, in them
        ("request_bytes", "<u4"),
        ("reply_bytes", "<u4"),
        ("cell", "<u2"),
        ("targets", "<u2"),  # all of them, where there are several
        ("client_port", "<u2"),
        *_KEY,
        ("", "V1"),
    ]
)
ROW_FORMAT = f"<qqqqqqQQIIIIHHH{KEY_BYTES}sx"

# What one cell adds up to in one slot, and how often a duration of a bucket: key = cell * BUCKETS + bucket.
TOTALS = np.dtype(
    [
        ("cell", "<u8"),
        ("requests", "<u8"),
        ("request_bytes", "<u8"),
        ("reply_bytes", "<u8"),
        ("max_ns", "<u8"),
    ]
)
BUCKET = np.dtype([("key", "<u4"), ("count", "<u4")])
LONG_BUCKET = np.dtype([("key", "<u8"), ("count", "<u8")])  # since the start
BUCKETS = 1024

SLOT = np.dtype(
    [
        ("number", "<i8"),  # of its second or ten seconds; -1 for none
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("position", "<u8"),  # in the ring of slots: totals, then buckets
        ("totals", "<u8"),  # how many
        ("buckets", "<u8"),
    ]
)

NAME_BYTES = 256
NAME = np.dtype([("length", "<u2"), ("text", f"V{NAME_BYTES - 2}")])
# The tables of names, how many each holds at the default size, and how many at least.
NAME_QUOTAS = {
    "protocol": (64, 16),
    "opcode": (128, 32),
    "operation": (2048, 64),
    "target": (16384, 128),
    "targets": (4096, 64),
    "error": (2048, 64),
    "host": (16384, 128),
    "process": (4096, 64),
    "application": (4096, 64),
}
_DEFAULT_BYTES = 256 << 20


class At(IntEnum):
    """The counters of the first page."""

    MAGIC = 0
    SIZE = 1
    HEARTBEAT_NS = 2
    STARTED_NS = 3
    ROWS_NEXT = 4  # rows before this are committed …
    ROWS_OLDEST = 5  # … and from this on not overwritten
    DETAILS_NEXT = 6  # bytes, likewise
    DETAILS_OLDEST = 7
    SHARED_NEXT = 8
    SHARED_OLDEST = 9
    FINE_NEXT = 10
    FINE_OLDEST = 11
    COARSE_NEXT = 12
    COARSE_OLDEST = 13
    FOLDS = 14  # odd while slots, sums or cells are being changed
    CELLS = 15  # cells before this are committed
    FOLDED_NS = 16
    LAST_SLOT = 17  # number of the newest fine slot + 1, 0 for none
    BASES = 18  # how often the sums since the start were written: odd ones are the second
    BASE_SLOT = 19  # they hold all fine slots before this number
    BASE_START_NS = 20
    BASE_END_NS = 21
    BASE_BUCKETS = 22  # how many
    INFLIGHT = 23  # how often it was written: odd numbers lie in the second buffer
    FACTS = 24  # likewise
    NAMES_EPOCH = 26  # grows when a number comes to mean another name
    NAMES = 32  # per table: numbers before this are committed
    REFUSED = 48  # per table: how many names found no place …
    REFUSED_CELLS = 62  # … how many cells …
    SQUEEZED = 63  # … and how many slots had none for all their cells


@dataclass(frozen=True, slots=True)
class Layout:
    """Regions by their offset, and how many records each has. `size` is all of it, bytes."""

    size: int
    names: dict[str, tuple[int, int]]  # offset and quota, by table
    cells: tuple[int, int]
    bases: tuple[int, int]  # offset of the first; totals of all cells, then buckets; the second one follows
    base_buckets: int
    fine_slots: int
    coarse_slots: int
    fine: tuple[int, int]
    coarse: tuple[int, int]
    inflight: tuple[int, int]  # offset of the first buffer and rows in each
    facts: tuple[int, int]  # likewise, bytes
    shared: tuple[int, int]
    rows: tuple[int, int]
    details: tuple[int, int]

    @classmethod
    def of(cls, size: int) -> Layout:
        """The layout of a store of `size` bytes, which is rounded down to whole pages. Raises ValueError."""
        size -= size % PAGE
        if size < MIN_BYTES:
            raise ValueError(f"a store needs {MIN_BYTES >> 20} MiB at least")
        share = min(1.0, size / _DEFAULT_BYTES)
        at = PAGE

        def region(length: int) -> int:
            nonlocal at
            start, at = at, at + length + -length % 64
            return start

        def scaled(default: int, least: int) -> int:
            return max(least, int(default * share))

        names = {}
        for table, quota in NAME_QUOTAS.items():
            count = scaled(*quota)
            names[table] = (region(count * NAME_BYTES), count)
        cells = scaled(16384, 512)
        cells_at = region(cells * CELL.itemsize)
        base_buckets = 16 * cells
        base = cells * TOTALS.itemsize + base_buckets * LONG_BUCKET.itemsize
        bases_at, second = region(base), region(base)
        inflight, facts = scaled(4096, 64), scaled(128 << 10, 16 << 10)
        fine, coarse, shared = size // 24, size // 12, size // 64
        fixed = {
            "fine_slots": region(FINE_SLOTS * SLOT.itemsize),
            "coarse_slots": region(COARSE_SLOTS * SLOT.itemsize),
            "fine": (region(fine), fine),
            "coarse": (region(coarse), coarse),
            "inflight": (region(2 * inflight_bytes(inflight)), inflight),
            "facts": (region(2 * facts), facts),
            "shared": (region(shared), shared),
        }
        rows = (size - at) * 55 // 100 // ROW.itemsize
        rows_at = region(rows * ROW.itemsize)
        details = size - at - 64
        return cls(
            size=size,
            names=names,
            cells=(cells_at, cells),
            bases=(bases_at, second),
            base_buckets=base_buckets,
            rows=(rows_at, rows),
            details=(region(details), details),
            **fixed,  # type: ignore[arg-type]
        )


INFLIGHT_HEADER = 32  # bytes: when taken, ns; how many in all; how many here


def inflight_bytes(rows: int) -> int:
    """Bytes of one buffer of requests in flight."""
    return INFLIGHT_HEADER + rows * ROW.itemsize


def counters(memory: mmap.mmap) -> memoryview:
    """The counters of the first page, to be read and written one at a time."""
    return memoryview(memory)[:PAGE].cast("Q")


def records(memory: Any, dtype: np.dtype[np.void], offset: int, count: int) -> Records:
    """`count` records of the mapping, without copying."""
    return np.frombuffer(memory, dtype, count, offset)
