"""The command `l7top`: the dashboard where it is called without a command on a terminal, else the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from probes import cli

_ANSWERED_AT_ONCE = ("-h", "--help", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not _dashboard_is_meant(words) or not on_terminal():
        return cli.main(words)
    from tui import launch

    return cli.guarded(lambda: launch.run(*cli.dashboard(words)))


def on_terminal() -> bool:
    """Whether somebody sits at a terminal that can show a screen."""
    return all(os.isatty(fd) for fd in (0, 1)) and os.environ.get("TERM", "dumb") != "dumb"


def _dashboard_is_meant(words: Sequence[str]) -> bool:
    return not words or (words[0].startswith("-") and words[0] not in _ANSWERED_AT_ONCE)


if __name__ == "__main__":
    sys.exit(main())
