"""The collector in a process of its own, as whoever starts it sees it: `probes.daemon` from its order to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from probes import portable
from probes.daemon import order
from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions

COMMAND = (sys.executable, "-m", "probes.daemon")

ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # root runs nothing that lies in the working directory
    # Numpy's threads would keep the capabilities that its process gives up, and there is nothing for them to do.
    "OPENBLAS_NUM_THREADS": "1",
}
"""What the processes of the dashboard have beside what they inherit."""

_GRACE_S = 0.2  # for a collector that was asked to end: one that is too busy to hear has nothing more to tell
_ANSWER_BYTES = 4096


class Background:
    """Entering waits until the capture has begun: then `protocols` are captured, and `store` is its descriptor.

    `stdin` is what a capture from there is read from, `control` brings the keys that one from a file is played by; both
    are closed here. Raises Refusal where it cannot begin.
    """

    def __init__(
        self,
        options: CaptureOptions,
        command: Sequence[str] = COMMAND,
        *,
        stdin: int | None = None,
        control: int | None = None,
    ) -> None:
        self._order = order(options, stdin=stdin, control=control)
        self._given = [each for each in (stdin, control) if each is not None]
        self._command = command
        self._asked = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            channel, theirs = portable.channel()
            stack.enter_context(channel)
            self._narration = stack.enter_context(open(portable.anonymous_file("narration"), "rb"))
            with theirs:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._narration.fileno(),
                    env={**os.environ, **ENVIRONMENT},
                    start_new_session=True,  # what the terminal sends is not for it
                    pass_fds=self._given,
                )
            for each in self._given:  # else who writes there would never hear that nobody reads any more
                os.close(each)
            stack.callback(self._end)
            answer, descriptors = b"", list[int]()
            with contextlib.suppress(ConnectionError):  # it has ended already, and said why
                channel.send(self._order)
                answer, descriptors, _, _ = socket.recv_fds(channel, _ANSWER_BYTES, 1)
            if not answer:
                raise self._refusal(self._process.wait())
            (self.store,) = descriptors
            stack.callback(os.close, self.store)
            self.protocols: tuple[str, ...] = tuple(json.loads(answer))
            self._stack = stack.pop_all()
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask_to_end(self) -> None:
        """Returns at once."""
        if self._process.poll() is None:
            self._asked = True
            self._process.terminate()

    def complaint(self) -> str:
        """What a collector that ended by itself said last, or how it ended; "" unless it did."""
        if self._asked or self._process.poll() is None:
            return ""
        return self._said() or how(self._process.returncode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def _end(self) -> None:
        self.ask_to_end()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # with what it has started: while it attaches, a compiler
            self._process.wait()

    def _refusal(self, code: int) -> Refusal:
        said = self._said()
        if said and code in list(ExitCode):
            return Refusal(said, ExitCode(code))
        return Refusal(f"the collector ended {how(code)} before it began", ExitCode.INTERNAL)

    def _said(self) -> str:
        """The last line of its narration."""
        self._narration.seek(0)
        lines = self._narration.read().decode(errors="replace").splitlines()
        return lines[-1].removeprefix("l7top: ") if lines else ""


def how(code: int) -> str:
    """The way a process ended, after "ended"."""
    if code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with {code}"
