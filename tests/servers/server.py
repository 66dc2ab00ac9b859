"""A server of the tests: one process on free ports of 127.0.0.1, gone for sure when its owner is.

Nothing that a server wrote is kept, so it is killed, not asked: stop() takes milliseconds.
"""

import atexit
import random
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

START_TIMEOUT_S = 60.0
LOG_LINES_SHOWN = 40

# Until its standard input ends, which it does with whoever started it, however that ends. A server that is being killed
# may still write.
_REMOVE_AT_THE_END = 'cat; until rm -rf "$1" && [ ! -e "$1" ]; do sleep 0.05; done'


class ServerError(Exception):
    """A server that did not start; the text ends with its log."""


class Server(ABC):
    """One server process. A subclass says how it is started and when it answers."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.port = free_port()
        self._files: _Directory | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Writes what the server needs into `directory` and returns its command line."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server serves requests by now."""

    @property
    def pid(self) -> int:
        """The server's process id. Raises RuntimeError unless it was started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def directory(self) -> Path:
        """The server's own directory, gone after stop(). Raises RuntimeError unless it was started."""
        if self._files is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._files.path

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.directory / "log"

    def start(self) -> Self:
        """Starts the server and returns when it answers.

        Call it from a thread that lives on: the kernel kills the server when the calling thread ends, which
        is how no server outlives a test run that was killed. Raises ServerError.
        """
        self._files = _Directory(f"l7top-{self.name}-")
        atexit.register(self.stop)
        try:
            command = ["setpriv", "--pdeathsig", "KILL", *self.command()]
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                )
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server and removes its files. Of a server that does not run: nothing."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._files is not None:
            self._files.remove()
            self._files = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None:
            if self.answers():
                return
            if time.monotonic() > deadline:
                raise ServerError(self._failure(f"does not answer after {START_TIMEOUT_S:.0f} s"))
            time.sleep(0.05)
        raise ServerError(self._failure(f"ended with status {process.returncode}"))

    def _failure(self, what: str) -> str:
        tail = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"{self.name} on port {self.port} {what}; its log ends:", *tail])


class _Directory:
    """A directory that does not outlive this process, even where that is killed."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._remover = subprocess.Popen(
            ["sh", "-c", _REMOVE_AT_THE_END, "sh", self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends this process shall not end it
        )

    def remove(self) -> None:
        self._remover.communicate()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody holds.

    It lies below the range from which the kernel serves clients: no client takes it in between, and none that
    waits for the server connects to itself.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
