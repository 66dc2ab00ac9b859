"""The command `l7top`: the dashboard where it is called without a command on a terminal, else the command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

# What takes a moment to import is imported once Ctrl-C is no traceback any more.

_INTERRUPTED = 130  # of probes.exit_codes
_ANSWERED_AT_ONCE = ("-h", "--help", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    from probes import cli

    words = sys.argv[1:] if argv is None else argv
    answered_at_once = words and words[0] in _ANSWERED_AT_ONCE
    if answered_at_once or not cli.no_command(words) or not on_terminal(keys_elsewhere=cli.reads_stdin(words)):
        return cli.main(words)
    from tui import launch

    return cli.guarded(lambda: launch.run(*cli.dashboard(words)))


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """The answer to Ctrl-C until a capture runs and takes it over: nothing of this process would have to be undone."""
    os._exit(_INTERRUPTED)


def on_terminal(*, keys_elsewhere: bool = False) -> bool:
    """Whether somebody sits at a terminal that can show a screen; its keys may come past standard input."""
    if os.environ.get("TERM", "dumb") == "dumb" or not os.isatty(1):
        return False
    return _has_terminal() if keys_elsewhere else os.isatty(0)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
