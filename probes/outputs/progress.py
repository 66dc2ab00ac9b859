"""How far a long file has been read, on stderr where that is a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType

_PATIENCE_S = 1.0  # what is read within this needs none
_EVERY_S = 0.2
_WIDTH = 30
_CLEAR = "\r\x1b[K"


class Progress(AbstractContextManager["Progress"]):
    """A bar that is drawn by `show`, and taken away at the end."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted and sys.stderr is not None and sys.stderr.isatty()
        self._began_s = self._next_s = time.monotonic()
        self._next_s += _PATIENCE_S
        self._shown = False

    def show(self, share: float | None) -> None:
        """`share` is done, from 0 to 1; None where that is not known."""
        if not self._wanted or share is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _EVERY_S
            self._shown = True
            self._write(_CLEAR + line(share, now_s - self._began_s))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._shown:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._wanted = self._shown = False


def line(share: float, elapsed_s: float) -> str:
    """`l7top: [#####     ] 50 %, 12 s left`."""
    filled = round(share * _WIDTH)
    left = f", {elapsed_s * (1 - share) / share:.0f} s left" if share > 0 else ""
    return f"l7top: [{'#' * filled}{' ' * (_WIDTH - filled)}] {share:.0%}{left}"
