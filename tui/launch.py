"""The dashboard's small parent: starts the collector, then the screen, and sees to it that nothing of either stays.

Three processes. The collector captures, as root, and writes the store. The screen reads it, as whoever called l7top.
This one, between them, does next to nothing, so that it can be relied on: it keeps the terminal's settings and puts
them back, ends the collector when the screen has ended, and leaves the screen alone when the collector has: what was
captured can still be looked at. When it is killed itself, the kernel tells both.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from probes import headless, portable, privileges
from probes.background import COMMAND, ENVIRONMENT, Background, how
from probes.exit_codes import ExitCode, Refusal
from probes.options import STDIN, CaptureOptions
from probes.playback import is_played

TERMINAL = "/dev/tty"
SCREEN = (sys.executable, "-m", "tui.process")

_ASKING = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
_LEFT = {signal.SIGIO, signal.SIGCHLD}  # the screen: it says so, which comes sooner than its end
_LOOK_EVERY_S = 0.5  # for a terminal that was closed without a signal
_GRACE_S = 1.0  # for a process that was asked to end

# Whatever a screen may have changed: mouse, focus and paste reports, key protocol, buffer, line wrap, cursor, colours.
_RESET = b"\x1b[?1000;1002;1003;1004;1006;1015;1016;2004;2048l\x1b[<u\x1b[?1049l\x1b[?7;25h\x1b[0m\r\n"


def run(
    options: CaptureOptions,
    filter_text: str = "",
    *,
    collector: Sequence[str] = COMMAND,
    screen: Sequence[str] = SCREEN,
) -> ExitCode:
    """Shows the dashboard until it is left. Raises Refusal where the collector cannot begin, or one of them died."""
    privileges.die_first()
    stdin = _take_keys_from_terminal() if options.source == STDIN else None
    ours, theirs = portable.channel() if is_played(options) else (None, None)
    first = f"the first packet of {options.source_name}"
    headless.narrate("attaching probes …" if options.is_live else f"waiting for {first} …")
    with (
        Screen(screen, filter_text) as shown,
        Background(options, collector, stdin=stdin, control=None if theirs is None else theirs.detach()) as capture,
    ):
        privileges.run_at_once()
        with _held_signals(), Terminal() as terminal:
            code = shown.show(capture, terminal, ours)
        complaint = capture.complaint()
    if complaint:
        raise Refusal(f"the collector had ended: {complaint}", ExitCode.INTERNAL)
    if code < 0:
        raise Refusal(f"the screen ended {how(code)}", ExitCode.INTERNAL)
    return ExitCode(code)


def _take_keys_from_terminal() -> int:
    """Puts the terminal where standard input was; the descriptor of that. Raises OSError."""
    stdin, terminal = os.dup(0), os.open(TERMINAL, os.O_RDWR)
    os.dup2(terminal, 0)
    os.close(terminal)
    return stdin


class Terminal:
    """What standard input and output are. Its settings are at the end what they were at the beginning."""

    def __init__(self) -> None:
        self.is_reset = True  # whether the screen has left it as it ought to

    @property
    def is_closed(self) -> bool:
        poll = select.poll()
        poll.register(0, 0)
        return bool(poll.poll(0))

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else whoever is no longer in the foreground would stop here
        self._settings = termios.tcgetattr(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(0, termios.TCSANOW, self._settings)
            if not self.is_reset and select.select([], [1], [], 0)[1]:
                os.write(1, _RESET)


@contextlib.contextmanager
def _held_signals() -> Iterator[None]:
    """Signals wait until they are asked for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING | _LEFT)
    try:
        yield
    finally:
        while portable.next_signal(_ASKING | {signal.SIGIO}, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Screen:
    """The screen's process. It is started while the probes are attached, and opens when it gets the store."""

    def __init__(self, command: Sequence[str], filter_text: str) -> None:
        self._command = command
        self._filter_text = filter_text

    def __enter__(self) -> Self:
        self._channel, theirs = portable.channel()
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(os.getpid()), self._filter_text],
                stderr=1,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,  # to be given CPU apart from whatever else this terminal runs
                pass_fds=[theirs.fileno()],
            )
        signal.signal(signal.SIGWINCH, lambda *_: self._process.send_signal(signal.SIGWINCH))
        return self

    def show(self, capture: Background, terminal: Terminal, control: socket.socket | None) -> int:
        """Opens it and waits until it has ended, or has to; its exit code, 0 where it had to.

        `control`, which is closed here, takes its keys to the collector where that plays a file.
        """
        descriptors = [capture.store] if control is None else [capture.store, control.fileno()]
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            socket.send_fds(self._channel, [b"store"], descriptors)
        if control is not None:
            control.close()
        portable.signal_when_left(self._channel)
        told = False
        while self._process.poll() is None and not told and not portable.is_left(self._channel):
            told = portable.next_signal(_ASKING | _LEFT, _LOOK_EVERY_S) in _ASKING or terminal.is_closed
        capture.ask_to_end()
        told |= terminal.is_closed or bool(signal.sigpending() & _ASKING)
        self._end(ask=told)
        terminal.is_reset = self._process.returncode >= 0
        return 0 if told else self._process.returncode

    def _end(self, *, ask: bool) -> None:
        if ask and self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self._channel.close()
        self._process.kill()  # where it was never opened, it has not touched the terminal
        self._process.wait()
