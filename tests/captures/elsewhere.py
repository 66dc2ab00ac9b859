"""l7top where there is no Linux, nearly: `python -m tests.captures.elsewhere MODULE …`.

MODULE is run, or the dashboard (`dashboard`), whose processes are then of the same kind. What Python has on Linux alone
is taken away, the kernel's side cannot be imported, /proc/self cannot be opened.
"""

from __future__ import annotations

import builtins
import fcntl
import os
import platform
import runpy
import select
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import psutil  # noqa: F401 - before it could look for another system's half of itself

HIDDEN = ("probes.sources.live", "probes.sources.host", "probes.kernel.loader", "probes.kernel.compiler")
LINUX_ONLY = {
    os: ("memfd_create", "pidfd_open", "MFD_CLOEXEC", "MFD_ALLOW_SEALING", "splice", "eventfd", "setns", "unshare"),
    signal: ("sigtimedwait", "sigwaitinfo"),
    fcntl: ("F_ADD_SEALS", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_SEAL", "F_SEAL_WRITE"),
    select: ("epoll",),
    socket: ("SOCK_SEQPACKET", "MSG_ERRQUEUE", "SOCK_CLOEXEC"),
}


class Hiding(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if any(name == hidden or name.startswith(f"{hidden}.") for hidden in HIDDEN):
            raise ImportError(f"{name} is for Linux")
        return None


def hide_linux() -> None:
    sys.meta_path.insert(0, Hiding())
    for module, names in LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    opened, opened_raw = builtins.open, os.open

    def refuse(path: Any) -> None:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith("/proc/self/"):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))

    def open_(path: Any, *arguments: Any, **options: Any) -> Any:
        refuse(path)
        return opened(path, *arguments, **options)

    def open_raw(path: Any, *arguments: Any, **options: Any) -> int:
        refuse(path)
        return opened_raw(path, *arguments, **options)

    builtins.open, os.open = open_, open_raw  # type: ignore[assignment]


if __name__ == "__main__":
    hide_linux()
    del sys.argv[0]
    if sys.argv[0] != "dashboard":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    from probes import cli
    from tui import launch

    here = (sys.executable, "-m", "tests.captures.elsewhere")
    collector, screen = (*here, "probes.daemon"), (*here, "tui.process")
    sys.exit(cli.guarded(lambda: launch.run(*cli.dashboard(sys.argv[1:]), collector=collector, screen=screen)))
