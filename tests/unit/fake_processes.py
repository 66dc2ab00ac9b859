"""Stand-ins for the dashboard's processes, and its parent with them: `python -m tests.unit.fake_processes parent …`.

The collector hands over a store that says "store"; the screen shows that, in raw mode and in the other buffer. Words
after the role say what each does beside that.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Callable

from probes import headless, privileges
from probes.cli import guarded
from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions
from tui import launch

SHOWN = b"screen shows store"


def parent(collector: str, screen: str) -> ExitCode:
    here = [sys.executable, "-m", "tests.unit.fake_processes"]
    options = CaptureOptions(head_bytes=2048)
    commands = {"collector": [*here, "collector", collector], "screen": [*here, "screen", screen]}
    return launch.run(options, "status:error", **commands)


def collector(behaviour: str) -> ExitCode:
    channel = socket.socket(fileno=os.dup(0))
    told = json.loads(channel.recv(65536))
    assert told["options"]["head_bytes"] == 2048
    privileges.die_with(told["parent"], signal.SIGKILL)
    if behaviour == "refuses":
        raise Refusal("no probes today", ExitCode.KERNEL)
    if behaviour == "breaks":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "attaches for ever":
        time.sleep(600)
    store = os.memfd_create("store")
    os.write(store, b"store")
    socket.send_fds(channel, [b'["mongodb"]'], [store])
    if behaviour == "fails":
        time.sleep(0.3)
        raise ValueError("it was too much")
    if behaviour == "clings":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with headless.Stop() as stop:
        while not stop.asked:
            time.sleep(0.01)
    return ExitCode.OK


def screen(behaviour: str, channel: str, parent: str, filter_text: str) -> ExitCode:
    privileges.die_with(int(parent), signal.SIGTERM)
    assert filter_text == "status:error"
    kept_open = socket.socket(fileno=int(channel))
    _, (store,), _, _ = socket.recv_fds(kept_open, 16, 1)
    before = termios.tcgetattr(0)
    tty.setraw(0)
    text = os.pread(store, 100, 0).decode()
    os.write(2, f"\x1b[?1049h\x1b[?25lscreen shows {text}\r\n".encode())
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: told.append(number))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    while behaviour == "clings" or not told:
        if select.select([0], [], [], 0.02)[0] and os.read(0, 1) == b"q":
            break
    os.write(2, b"\x1b[?25h\x1b[?1049l")
    termios.tcsetattr(0, termios.TCSANOW, before)
    return ExitCode.OK


ROLES: dict[str, Callable[..., ExitCode]] = {"parent": parent, "collector": collector, "screen": screen}

if __name__ == "__main__":
    role, *words = sys.argv[1:]
    sys.exit(guarded(lambda: ROLES[role](*words)))
