"""A capture from a file is played: how far it is to be read by now, and what the operator's keys do to that.

Times are the capture's, ns. The keys come from another process as `Command`s, one message each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import IntEnum
from struct import Struct, error
from typing import NamedTuple, Self

from probes.options import LIVE, STDIN, CaptureOptions

FOREVER_NS = 1 << 63
_SECOND_NS = 1_000_000_000
_COMMAND = Struct("<Bq")
COMMAND_BYTES = _COMMAND.size


def is_played(options: CaptureOptions) -> bool:
    """Whether they name a file, which can be read again."""
    return options.source not in (LIVE, STDIN) and os.path.isfile(options.source)


class Order(IntEnum):
    PAUSE = 1  # or, where it is paused, go on
    PACE = 2  # as fast as it can be read, or as fast as it was; by turns
    SEEK = 3  # by `value` seconds


class Command(NamedTuple):
    """What a key says."""

    order: Order
    value: int = 0

    def pack(self) -> bytes:
        return _COMMAND.pack(self.order, self.value)

    @classmethod
    def read(cls, data: bytes) -> Self | None:
        """None where it is none."""
        try:
            order, value = _COMMAND.unpack(data)
            return cls(Order(order), value)
        except (error, ValueError):
            return None


class Playback:
    """`speed` is by how much faster time goes than the clock's, 0 for as fast as the capture can be read."""

    def __init__(self, speed: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._speed = speed
        self._clock = clock
        self._paced = speed or 1.0  # the speed for who wants one
        self._is_paused = False
        self._target_ns = 0
        self._anchor_ns = self._anchored_ns = 0  # the capture's time and the clock's when it began to go on as it does

    def limit_ns(self, now_ns: int) -> int:
        """Up to when it may be read, now that it was read up to `now_ns`."""
        if self._target_ns > now_ns:
            return self._target_ns
        if self._target_ns or not self._anchor_ns:  # it is reached: from here it goes on as it did
            self._target_ns = 0
            self._anchor(now_ns)
        if self._is_paused:
            return self._anchor_ns
        if not self._speed:
            return FOREVER_NS
        return self._anchor_ns + int((self._clock() - self._anchored_ns) * self._speed)

    def over(self, now_ns: int) -> None:
        """There is nothing more to read."""
        self._target_ns = 0
        self._anchor(now_ns)

    def take(self, command: Command, now_ns: int) -> bool:
        """Whether it has to be read again from its beginning, since what is wanted lies before `now_ns`."""
        if command.order is Order.SEEK:
            self._target_ns = max(1, (self._target_ns or now_ns) + command.value * _SECOND_NS)
            if self._target_ns > now_ns:
                return False
            self._is_paused |= not self._speed  # else it were at its end again at once
            return True
        if command.order is Order.PACE:
            self._speed, self._is_paused = 0.0 if self._speed else self._paced, False
        else:
            self._is_paused = not self._is_paused
        self._anchor(now_ns)
        return False

    def told(self, now_ns: int) -> str:
        """What it does, in a word."""
        if self._target_ns > now_ns:
            return "seeking"
        if self._is_paused:
            return "paused"
        return f"{self._speed:g}x" if self._speed else "max"

    def _anchor(self, now_ns: int) -> None:
        self._anchor_ns, self._anchored_ns = now_ns, self._clock()
