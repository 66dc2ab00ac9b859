"""The collector's process: `python -m probes.daemon`, its standard input a unix socket to whoever started it.

It takes its order as JSON from the socket, attaches the probes, gives up what it needs no longer, and answers with the
names of the protocols and the descriptor of the store. Then it feeds the store until SIGTERM or the socket's other end
is gone. Where it cannot, it ends with a sentence on stderr and an exit code, as every command does, and never answers.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from probes import doctor, headless, privileges
from probes.cli import guarded, leave
from probes.exit_codes import ExitCode
from probes.options import CaptureOptions
from probes.records import Side

ORDER_BYTES = 65536  # more than any order is long
_MAPS_ARE_FREE_SINCE = (5, 19)  # before, bpf(2) on one's own maps needed CAP_BPF too


def order(options: CaptureOptions, *, stdin: int | None = None, control: int | None = None) -> bytes:
    """What to send to the process. It reads a capture from the descriptor `stdin`, and the keys that a capture from a
    file is played by from `control`; it inherits both.
    """
    fields = {**asdict(options), "pids": sorted(options.pids)}
    return json.dumps({"parent": os.getpid(), "options": fields, "stdin": stdin, "control": control}).encode()


def main() -> int:
    return guarded(_run)


def _run() -> ExitCode:
    channel = socket.socket(fileno=os.dup(0))
    told = json.loads(channel.recv(ORDER_BYTES))
    privileges.die_with(told["parent"], signal.SIGKILL)
    privileges.die_first()
    if told["stdin"] is not None:
        os.dup2(told["stdin"], 0)
        os.close(told["stdin"])
    options = _options(told["options"])
    if options.is_live:
        privileges.run_beside_others()
    else:
        privileges.keep_only({privileges.CAP_DAC_READ_SEARCH})  # to open the file, and none to parse it
    if told["control"] is None:
        _collect(channel, options)
    else:
        _play(channel, options, socket.socket(fileno=told["control"]))
    return ExitCode.OK


def _options(fields: dict[str, Any]) -> CaptureOptions:
    fields.update({name: tuple(fields[name]) for name in ("protocols", "plugins")})
    fields.update(side=Side(fields["side"]), pids=frozenset(fields["pids"]))
    fields["ports"] = tuple((name, tuple(ports)) for name, ports in fields["ports"])
    return CaptureOptions(**fields)


def _collect(channel: socket.socket, options: CaptureOptions) -> None:
    if options.is_live:
        doctor.require_live()
    from probes.collector import Collector  # none of this is needed where the answer is a refusal
    from probes.feeding import Feeding
    from probes.governor import Level
    from probes.sources.opening import open_source

    feeding = Feeding(options)
    with (
        headless.Stop() as stop,
        closing(Collector(options, feeding.ended, open_source, sparing=Level.COUNTING)) as capture,
    ):
        if options.is_live:
            privileges.keep_only(_needed())
        else:
            privileges.run_last()
            privileges.keep_only()
        while not (options.is_live or stop.asked or capture.is_over or capture.now_ns() or _gone(channel)):
            capture.step(headless.STEP_S)  # the time of a capture begins with its first packet
        store = feeding.begin(capture)
        _answer(channel, tuple(capture.protocols), store)
        try:
            while not (stop.asked or capture.is_over or _gone(channel)):
                feeding.turn()
            if capture.is_over:
                feeding.exhaust()
                while not (stop.asked or _gone(channel, headless.STEP_S)):
                    pass  # somebody still looks at it
                return
        except BaseException as error:
            feeding.end(f"{type(error).__name__}: {error}")
            raise
        feeding.end("the collector was told to end")


def _play(channel: socket.socket, options: CaptureOptions, control: socket.socket) -> None:
    from probes.playing import Player

    privileges.run_last()
    with headless.Stop() as stop:
        Player(options, control, lambda: stop.asked or _gone(channel)).run(
            lambda protocols, store: _answer(channel, protocols, store)
        )


def _answer(channel: socket.socket, protocols: Sequence[str], store: int) -> None:
    socket.send_fds(channel, [json.dumps(list(protocols)).encode()], [store])


def _needed() -> set[int]:
    """The capabilities that a capture needs once its probes are attached: to read /proc, and its maps."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    old = release is not None and (int(release[1]), int(release[2])) < _MAPS_ARE_FREE_SINCE
    return {privileges.CAP_SYS_PTRACE, privileges.CAP_DAC_READ_SEARCH} | ({privileges.CAP_BPF} if old else set())


def _gone(channel: socket.socket, patience_s: float = 0) -> bool:
    """Whether the other end is, at the latest after that time: it never sends anything but the order."""
    return bool(select.select([channel], [], [], patience_s)[0])


if __name__ == "__main__":
    leave(main())
