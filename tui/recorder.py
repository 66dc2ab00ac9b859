"""The recording that the dashboard makes: begun and ended by a key, written by a process beside it."""

from __future__ import annotations

import os
import subprocess
import time
from typing import NamedTuple

from probes.outputs.recording import follow

_MOST_BYTES = 4096


class Told(NamedTuple):
    """What is to be said of it, and whether that is bad news."""

    sentence: str
    is_bad: bool = False


class Recorder:
    """`store` is the store's descriptor. Nothing here waits for the process; it ends with this one."""

    def __init__(self, store: int, *, literals: bool) -> None:
        self._store, self._literals = store, literals
        self._process: subprocess.Popen[bytes] | None = None
        self._said: list[str] = []
        self._is_told = False  # whether it was told that it has begun

    def turn_to(self, store: int) -> None:
        """From now on it records from this store; what it does at this moment ends."""
        if self.is_on:
            self.toggle()
        os.close(self._store)
        self._store = store

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def toggle(self) -> None:
        """Begins a recording in the working directory, or ends it: with all that has ended until now."""
        if self._process is None:
            self._begin()
        elif self._process.stdin is not None:
            self._process.stdin.close()

    def look(self) -> Told | None:
        """What is new of it: that it has begun, or ended."""
        process = self._process
        if process is None:
            return None
        code = process.poll()
        self._listen(process)
        if code is not None:
            self._process = None
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            return Told(self._said[-1] if self._said else f"the recording ended with {code}", is_bad=code != 0)
        if not self._is_told and self._said and self._said[0].startswith(follow.BEGUN):
            self._is_told = True
            return Told(self._said[0])
        return None

    def _begin(self) -> None:
        path = os.path.abspath(time.strftime("l7top-%Y%m%d-%H%M%S.pcapng"))
        process = subprocess.Popen(
            follow.command(self._store, path, literals=self._literals),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._store],
            start_new_session=True,  # what the terminal sends is not for it
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._process, self._said, self._is_told = process, [], False

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Takes the lines that it has said: they are written at once, each as a whole."""
        assert process.stdout is not None
        try:
            said = os.read(process.stdout.fileno(), _MOST_BYTES)
        except BlockingIOError:
            return
        self._said += said.decode(errors="replace").splitlines()
