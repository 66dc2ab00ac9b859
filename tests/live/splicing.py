"""A TCP proxy whose own ends no tool on this host can read: the bytes go from socket to socket by splice(2)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

_PIECE_BYTES = 65536


class SplicingProxy:
    """A process that passes on what comes to `port` to the server at 127.0.0.1:`to`, from entry to exit."""

    def __init__(self, to: int) -> None:
        self._command = [sys.executable, "-m", "tests.live.splicing", str(to)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    out, into = os.pipe()
    while taken := os.splice(source.fileno(), into, _PIECE_BYTES):
        while taken:
            taken -= os.splice(out, sink.fileno(), taken)
    sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
