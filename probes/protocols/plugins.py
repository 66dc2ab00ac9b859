"""Loads plugins: from files named on the command line, and from installed packages (entry point group).

A plugin runs in the collector, and so as root. It is loaded only from a file that root or whoever called l7top owns,
and that nobody else may write or replace; what is checked is what is run. What was read once is not read again: who
gave up root's rights may not be able to.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from probes.exit_codes import ExitCode, Refusal
from probes.protocols.interface import RAW, WireProtocol

GROUP = "l7top.protocols"
FRAMINGS = ("mongodb", "kafka", RAW)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def installed() -> list[importlib.metadata.EntryPoint]:
    """What installed packages offer, by name; the name is the protocol's."""
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)


def from_file(path: str) -> list[WireProtocol]:
    """The protocols of the classes that a Python file defines, in their order. Raises Refusal."""
    file = Path(path).resolve()
    module = ModuleType(f"l7top_plugin_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look there

    def run() -> list[WireProtocol]:
        exec(_code(file), module.__dict__)  # noqa: S102 - that is what a plugin is
        return [made() for made in _classes(module)]

    protocols: list[WireProtocol] = _running(run, f"--plugin {path}")
    if not protocols:
        raise _refusal(f"--plugin {path} has no class derived from WireProtocol")
    return protocols


def from_entry_point(entry: importlib.metadata.EntryPoint) -> WireProtocol:
    """The protocol of an installed package. Raises Refusal."""

    def run() -> WireProtocol:
        package = ""
        for part in entry.module.split("."):  # importing a module runs its packages, the outermost first
            package = f"{package}.{part}".removeprefix(".")
            _import(package)
        protocol: WireProtocol = entry.load()()
        return protocol

    protocol: WireProtocol = _running(run, f"plugin {entry.name} of {entry.value}")
    if protocol.name != entry.name:
        raise _refusal(f"plugin {entry.name} of {entry.value} calls itself {protocol.name!r}: both have to be the same")
    return protocol


def require_sound(protocol: WireProtocol, taken: Collection[str]) -> None:
    """Raises Refusal where a plugin's class does not say what the interface asks for, or its name is `taken`."""
    name = getattr(protocol, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (RAW, "other"):
        raise _refusal(f"a plugin cannot be called {name!r}: lower-case letters, digits, - and _ make a name")
    if name in taken:
        raise _refusal(f"there are two protocols called {name}: a plugin needs a name of its own")
    if getattr(protocol, "framing", None) not in FRAMINGS:
        raise _refusal(f"plugin {name} does not say its framing: it is one of {', '.join(FRAMINGS)}")
    if not all(isinstance(port, int) and 0 < port < 65536 for port in protocol.ports):
        raise _refusal(f"plugin {name} names ports that are none: {protocol.ports!r}")


def _running(run: Callable[[], Any], what: str) -> Any:
    try:
        return run()
    except Refusal:
        raise
    except (Exception, SystemExit) as error:  # whatever a plugin's code does when it is run
        raise _refusal(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error


def _classes(module: ModuleType) -> Iterator[type[Any]]:
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, WireProtocol) and value.__module__ == module.__name__:
            yield value


@functools.cache
def _code(file: Path) -> CodeType:
    with file.open("rb") as opened:
        _require_trusted(file, opened.fileno())
        return compile(opened.read(), file, "exec")


@functools.cache
def _import(package: str) -> None:
    """Imports a package or a module whose own packages are imported, if its file is to be trusted."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"there is no module {package}")
    with open(found.origin, "rb") as opened:
        _require_trusted(Path(found.origin), opened.fileno())
    importlib.import_module(package)


def _require_trusted(file: Path, fd: int) -> None:
    """Raises Refusal unless only root and the caller can change the open file, or put another in its place."""
    trusted = {0, os.getuid(), int(os.environ.get("SUDO_UID", 0))}
    _require(file, os.fstat(fd), trusted, _OTHERS_MAY_WRITE)
    for directory in file.resolve().parents:
        found = directory.stat()
        # In a sticky directory above, nobody can replace what another one owns.
        sticky = found.st_mode & stat.S_ISVTX and directory != file.resolve().parent
        _require(directory, found, trusted, 0 if sticky else _OTHERS_MAY_WRITE)


def _require(path: Path, found: os.stat_result, trusted: Collection[int], forbidden: int) -> None:
    if found.st_uid not in trusted:
        raise _refusal(f"plugins are loaded only from what root or you own, and {path} is another's")
    if found.st_mode & forbidden:
        # Such a directory, as /tmp is, is everybody's on purpose.
        mend = f"move it away from {path}" if found.st_mode & stat.S_ISVTX else f"chmod go-w {path}"
        raise _refusal(f"plugins are loaded only from where nobody else can write: {mend}")


def _refusal(sentence: str) -> Refusal:
    return Refusal(" ".join(sentence.split()), ExitCode.USAGE)


def load(files: Sequence[str], wanted: Collection[str]) -> list[WireProtocol]:
    """The plugins of `files`, in that order, then the installed ones whose names are `wanted` (none: all).

    Raises Refusal.
    """
    protocols: list[WireProtocol] = []
    for path in files:
        protocols += from_file(path)
    protocols += [from_entry_point(entry) for entry in installed() if not wanted or entry.name in wanted]
    return protocols
