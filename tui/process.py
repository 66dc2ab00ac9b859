"""The screen's process: `python -m tui.process CHANNEL PARENT [FILTER]`, CHANNEL a unix socket that brings the store,
and where a file is played what leads to the collector.

It draws what others wrote, so it begins by giving up whatever root could do. It opens when the store's descriptor
comes, and ends where that never comes. It is no part of the terminal's session: its parent tells it what that hears.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from probes import portable, privileges
from probes.cli import guarded, leave
from probes.exit_codes import ExitCode
from probes.options import LIVE

_GRACE_S = 1.5  # to restore the terminal after the parent's death
_MESSAGE_BYTES = 16


def main() -> int:
    return guarded(lambda: _run(int(sys.argv[1]), int(sys.argv[2]), " ".join(sys.argv[3:])))


def _run(channel: int, parent: int, filter_text: str) -> ExitCode:
    privileges.run_beside_others()
    _give_up_privileges()
    privileges.die_with(parent, signal.SIGTERM)

    from probes.protocols.chosen import known_protocols  # only now: none of it has to be root's
    from probes.store.reader import Reader
    from tui import app
    from tui.playing import Remote
    from tui.recorder import Recorder

    with socket.socket(fileno=channel) as source:  # until its end: so the parent hears of that before all is taken down
        _, descriptors, _, _ = socket.recv_fds(source, _MESSAGE_BYTES, 2)
        if not descriptors:
            return ExitCode.OK
        threading.Thread(target=_outlive_briefly, args=(parent,), daemon=True).start()
        view = Reader(descriptors[0])
        facts = view.facts()
        literals = facts.literals
        return app.run(
            view,
            protocols=known_protocols(),
            literals=literals,
            filter_text=filter_text,
            clock=time.monotonic_ns if facts.source == LIVE else None,
            recorder=Recorder(descriptors[0], literals=literals),
            remote=Remote(socket.socket(fileno=descriptors[1])) if descriptors[1:] else None,
        )


def _give_up_privileges() -> None:
    """Becomes whoever called sudo; where nobody did, the same user without any capability."""
    uid, gid = int(os.environ.get("SUDO_UID", 0)), int(os.environ.get("SUDO_GID", 0))
    if os.geteuid() == 0 and uid and _can_read_this(uid, gid):
        privileges.become(uid, gid)
    privileges.keep_only()


def _can_read_this(uid: int, gid: int) -> bool:
    """Whether l7top is there for that user: not where it is installed in root's own home."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        with Path(__file__).open("rb"):
            return True
    except PermissionError:
        return False
    finally:
        os.seteuid(0)
        os.setegid(0)


def _outlive_briefly(parent: int) -> None:
    """Ends this process some time after its parent, for the case that it cannot end itself."""
    portable.wait_for_orphanage(parent)
    time.sleep(_GRACE_S)
    os._exit(ExitCode.INTERNAL)


if __name__ == "__main__":
    leave(main())
