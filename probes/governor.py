"""How much the tool may cost: from samples of its CPU time to what it has to leave off, one step at a time.

In: CPU time and the clock, about once a second. Out: a `Level`, which goes up where more than the bound was used
over the last seconds, each step given as long to show its effect. It goes down a step where much less was used; where
that was too early, the next try waits for twice as long.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

WINDOW_NS = 5_000_000_000
_CALM = 0.5  # of the bound: a step down may double the cost
_CALM_NS = 3 * WINDOW_NS
_LONGEST_CALM_NS = 64 * WINDOW_NS
SAMPLED_ONE_IN = 8


class Level(IntEnum):
    """What is left off. Each level leaves off what those before it do, too."""

    NOTHING = 0
    SHORT_HEADS = 1  # most of each message
    SAMPLING = 2  # most requests from the log; all are counted
    COUNTING = 3  # all of them

    @property
    def told(self) -> str:
        """What the screen says of it."""
        return ("", "short heads", f"sampled 1:{SAMPLED_ONE_IN}", "only counting")[self]


class Governor:
    """`level` is what the last `sample` found; at most `highest`."""

    def __init__(self, max_percent: float, highest: Level = Level.COUNTING) -> None:
        """`max_percent` of one core, 0 for no bound."""
        self._bound = max_percent / 100
        self._highest = highest
        self._samples: deque[tuple[int, int]] = deque()
        self._calm_since_ns = 0
        self._calm_ns = _CALM_NS
        self._went_down = False
        self.level = Level.NOTHING

    def sample(self, now_ns: int, cpu_ns: int) -> Level:
        """The level after so much CPU time in all."""
        samples = self._samples
        samples.append((now_ns, cpu_ns))
        while len(samples) > 2 and samples[1][0] <= now_ns - WINDOW_NS:
            samples.popleft()
        then_ns, cpu_then_ns = samples[0]
        if not self._bound or now_ns - then_ns < WINDOW_NS:
            return self.level
        used = (cpu_ns - cpu_then_ns) / (now_ns - then_ns)
        if used > self._bound:
            if self.level < self._highest:
                self._calm_ns = min(2 * self._calm_ns, _LONGEST_CALM_NS) if self._went_down else self._calm_ns
                self._step(+1, now_ns)
            self._calm_since_ns = now_ns
        elif used > self._bound * _CALM:
            self._calm_since_ns = now_ns
        elif self.level and now_ns - self._calm_since_ns >= self._calm_ns:
            self._step(-1, now_ns)
        return self.level

    def _step(self, up: int, now_ns: int) -> None:
        """What was used before says nothing of the new level."""
        self.level = Level(self.level + up)
        self._went_down = up < 0
        self._calm_since_ns = now_ns
        while len(self._samples) > 1:
            self._samples.popleft()
