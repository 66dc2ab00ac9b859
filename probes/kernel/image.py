"""The compiled program as data: what a start without the compiler needs.

Compiling takes seconds, and more of them on a host that is short of CPU. What came out is the same as long as source,
knobs and tracepoint formats are: it is kept, and brought into the kernel again in milliseconds.

What is kept is run by root, so it is read only from a directory and a file that root owns and nobody else may write.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import platform
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from probes.kernel import bpf

PLACE = Path("/var/cache/l7top")
_KEPT = 8  # images: one for each choice of options
_INSTRUCTION = 8
_LOAD_64, _PSEUDO_MAP_FD = 0x18, 1  # an instruction that holds a map's descriptor


class MapImage(NamedTuple):
    """A map as bpf(2) creates it; sizes in bytes."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class ProgramImage(NamedTuple):
    """A program of BPF_PROG_TYPE `type`; `code` is base64, `uses` says which map each reference is to."""

    name: str
    type: int
    code: str
    uses: tuple[tuple[int, str], ...]  # (offset of the instruction in bytes, map)


class Image(NamedTuple):
    """All maps and programs. `tails` are the entries of the map of that name."""

    maps: tuple[MapImage, ...]
    programs: tuple[ProgramImage, ...]
    tails: tuple[str, ...]


def of_map(name: str, fd: int) -> MapImage:
    """What an existing map is like."""
    facts = bpf.fdinfo(fd)
    return MapImage(
        name,
        int(facts["map_type"]),
        int(facts["key_size"]),
        int(facts["value_size"]),
        int(facts["max_entries"]),
        int(facts["map_flags"], 0),
    )


def of_program(name: str, type: int, code: bytes, maps: dict[int, str]) -> ProgramImage:
    """A program by its instructions; `maps` are the names of the descriptors in them."""
    uses = []
    for offset in range(0, len(code), _INSTRUCTION):
        if code[offset] == _LOAD_64 and code[offset + 1] >> 4 == _PSEUDO_MAP_FD:
            fd = int.from_bytes(code[offset + 4 : offset + 8], sys.byteorder)
            uses.append((offset, maps[fd]))
    return ProgramImage(name, type, base64.b64encode(code).decode(), tuple(uses))


def bring_in(image: Image) -> tuple[dict[str, int], dict[str, int]]:
    """Creates the maps and loads the programs: their descriptors by name. Raises OSError where the kernel refuses."""
    maps: dict[str, int] = {}
    programs: dict[str, int] = {}
    try:
        for one in image.maps:
            maps[one.name] = bpf.create_map(*one[1:])
        for program in image.programs:
            code = bytearray(base64.b64decode(program.code))
            for offset, used in program.uses:
                code[offset + 4 : offset + 8] = maps[used].to_bytes(4, sys.byteorder)
            programs[program.name] = bpf.load_program(program.type, bytes(code))
        tails = bpf.Map(maps["tails"])
        for index, name in enumerate(image.tails):
            tails.update(index.to_bytes(4, sys.byteorder), programs[name].to_bytes(4, sys.byteorder))
    except OSError:
        for fd in (*maps.values(), *programs.values()):
            os.close(fd)
        raise
    return maps, programs


def key(source: str) -> str:
    """What an image of this C source is kept under."""
    return hashlib.sha256("\0".join((source, platform.release(), platform.machine())).encode()).hexdigest()


def read(name: str, place: Path = PLACE) -> Image | None:
    """The image kept under `name`, None where there is none that can be trusted."""
    try:
        if not _safe(os.stat(place)):
            return None
        with open(place / name, "rb") as file:
            if not _safe(os.fstat(file.fileno())):
                return None
            return from_json(json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def write(name: str, image: Image, place: Path = PLACE) -> None:
    """Keeps the image, if it can be kept; the oldest ones go."""
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _safe(os.stat(place)):
            return
        fresh = place / f"{name}.{os.getpid()}"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(image, file)
        fresh.rename(place / name)
        by_age = sorted(place.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[_KEPT:]:
            path.unlink()


def from_json(value: object) -> Image:
    """The image from what `json.dump` made of it. Raises TypeError or ValueError where it is none."""
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("no image")
    maps, programs, tails = value
    return Image(
        tuple(MapImage(*one) for one in maps),
        tuple(
            ProgramImage(name, type, code, tuple((at, use) for at, use in uses)) for name, type, code, uses in programs
        ),
        tuple(tails),
    )


def _safe(facts: os.stat_result) -> bool:
    return facts.st_uid == 0 and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
