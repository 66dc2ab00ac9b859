"""Tracepoints: their ids and field offsets, from tracefs, which is mounted in a private namespace where it is not."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 16384, 1 << 18
_FIELD = re.compile(r"field:(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);")


def find() -> Path | None:
    """Where tracefs is mounted and readable, if it is."""
    return next((place for place in PLACES if (place / "events").is_dir()), None)


def mount_privately() -> Path:
    """Tracefs, mounted for this process alone if it is mounted nowhere. Raises OSError.

    Leaves the process in a mount namespace of its own: nobody else sees the mount, and it ends with the process.
    """
    place = find()
    if place is not None:
        return place
    place = PLACES[0]
    _check(_LIBC.unshare(_CLONE_NEWNS))
    _check(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    _check(_LIBC.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None))
    return place


def tracepoint_id(root: Path, name: str) -> int:
    """The id of `category:event`. Raises FileNotFoundError where the kernel has no such tracepoint."""
    return int((root / "events" / name.replace(":", "/") / "id").read_text())


def field_offsets(root: Path, name: str) -> dict[str, int]:
    """Byte offsets of a tracepoint's fields in its context. Raises FileNotFoundError as `tracepoint_id` does."""
    text = (root / "events" / name.replace(":", "/") / "format").read_text()
    offsets = {}
    for match in _FIELD.finditer(text):
        field = match["declaration"].split()[-1].split("[")[0].lstrip("*")
        offsets[field] = int(match["offset"])
    return offsets


def _check(result: int) -> None:
    if result:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
