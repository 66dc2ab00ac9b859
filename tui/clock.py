"""When the screen is drawn anew: as often as the operator wants, and no oftener than the terminal takes it."""

from __future__ import annotations

from collections.abc import Callable

from textual.timer import Timer

from tui.terminal import TerminalApp

INTERVALS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_REMEMBERED = 10  # ticks for which it is told that the terminal was behind


class Clock:
    """Calls `tick` every `interval_s`; leaves out what the terminal of `app` would only queue up."""

    def __init__(self, app: TerminalApp, tick: Callable[[], None]) -> None:
        self.interval_s = 1.0
        self._app = app
        self._call = tick
        self._timer: Timer | None = None
        self._since_behind = _REMEMBERED

    @property
    def was_behind(self) -> bool:
        """Whether a frame was left out lately."""
        return self._since_behind < _REMEMBERED

    def start(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._app.set_interval(self.interval_s, self.tick)

    def change(self, step: int) -> None:
        """The next longer (1) or shorter (-1) interval, where there is one."""
        index = INTERVALS_S.index(self.interval_s) + step
        if 0 <= index < len(INTERVALS_S):
            self.interval_s = INTERVALS_S[index]
            self.start()

    def tick(self) -> None:
        """One tick."""
        if self._app.is_behind:
            self._since_behind = 0
            return
        self._since_behind += 1
        self._call()
