"""stdout for another program, which may stop reading at any time."""

from __future__ import annotations

import os
import select
import sys

from probes.exit_codes import ExitCode, Refusal


class ReaderGoneError(Exception):
    """Who read stdout has gone: no error, only the end (`| head -1`)."""


class Lines:
    """Writes whole lines to stdout: at once where it is a terminal, else when it is flushed.

    Raises ReaderGoneError, and Refusal where stdout cannot be written for another reason.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise Refusal("stdout is closed: there is nowhere to write to", ExitCode.OUTPUT)
        self._out = sys.stdout.buffer
        self._at_once = sys.stdout.isatty()
        self._poll = select.poll()
        try:
            self._poll.register(sys.stdout.fileno(), 0)
        except (OSError, ValueError):
            pass  # no descriptor behind it, and so no reader that could go

    def write(self, line: bytes) -> None:
        """`line` holds its newline."""
        try:
            self._out.write(line)
            if self._at_once:
                self._out.flush()
        except OSError as error:
            raise _end(error) from error

    def text(self, text: str) -> None:
        """Writes and flushes `text` and a newline; what a locale without UTF-8 cannot show becomes "?"."""
        self.write(f"{text}\n".encode(sys.stdout.encoding, "replace"))
        self.flush()

    def flush(self) -> None:
        """Hand over what was written; also finds out whether the reader has gone when there is nothing to write."""
        try:
            self._out.flush()
        except OSError as error:
            raise _end(error) from error
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in self._poll.poll(0)):
            raise ReaderGoneError


def _end(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return ReaderGoneError()
    return Refusal(f"stdout cannot be written: {error.strerror}", ExitCode.OUTPUT)


def give_up_stdout() -> None:
    """Let what is still buffered for stdout end nowhere, or the interpreter complains when it flushes at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
