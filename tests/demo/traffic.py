"""The demo's servers and clients, from the first to the last of them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.demo import kafka, mongodb
from tests.servers import Mongod, Tansu
from tests.servers.cache import CHECKOUT


class Job:
    """One client program, gone for sure when its owner is."""

    def __init__(self, module: str, name: str, where: str) -> None:
        self.name = name
        self._command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, name, where]

    def __enter__(self) -> Self:
        self._narration = tempfile.TemporaryFile()  # it must not write over the screen
        self._process = subprocess.Popen(
            self._command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._narration
        )
        return self

    def until_ready(self) -> None:
        """Waits until there is traffic. Raises RuntimeError where there will be none."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._process.wait()
            raise RuntimeError(self.complaint())

    def complaint(self) -> str:
        """What a job said that has ended; "" while it runs."""
        if self._process.poll() is None:
            return ""
        self._narration.seek(0)
        lines = self._narration.read().decode(errors="replace").splitlines()
        return f"{self.name} ended with {self._process.returncode}: {lines[-1] if lines else 'no reason given'}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._narration.close()


@contextlib.contextmanager
def traffic() -> Iterator[list[Job]]:
    """A shop that is open: its servers, filled, and its clients at work."""
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(Mongod(replica_set=True, options=mongodb.SERVER_OPTIONS))
        broker = stack.enter_context(Tansu())
        mongodb.fill(mongod.uri)
        kafka.fill(broker.create_topic)
        jobs = [Job("tests.demo.mongodb", job.__name__, mongod.uri) for job in mongodb.JOBS]
        jobs += [Job("tests.demo.kafka", job.__name__, broker.bootstrap) for job in kafka.JOBS]
        for job in jobs:
            stack.enter_context(job)
        for job in jobs:
            job.until_ready()
        yield jobs
