"""Which BPF programs a process holds, and which of them the kernel still has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import time
from collections.abc import Iterable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_PROG_GET_FD_BY_ID = 13


def programs(pid: int) -> set[int]:
    """The ids of the programs that a process has descriptors of."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            facts = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
            if "prog_id" in facts:
                found.add(int(facts["prog_id"]))
    return found


def left(ids: Iterable[int], timeout_s: float) -> set[int]:
    """Those of the programs that are still there after that time; returns as soon as there is none."""
    deadline = time.monotonic() + timeout_s
    while (there := {id for id in ids if _exists(id)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return there


def _exists(id: int) -> bool:
    attr = ctypes.create_string_buffer(struct.pack("=III", id, 0, 0), 120)
    fd = _LIBC.syscall(_BPF, _PROG_GET_FD_BY_ID, attr, ctypes.c_uint(120))
    if fd < 0:
        return False
    os.close(fd)
    return True
