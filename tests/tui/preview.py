"""`python -m tests.tui.preview`: the dashboard on traffic that moves, without a kernel and without servers."""

from __future__ import annotations

import argparse
import sys
import time

from probes.store.reader import Reader
from probes.store.view import View
from probes.store.writer import Writer
from tests.store.synthetic import SECOND, START_NS, Traffic
from tui.app import run


class Moving:
    """A store that is written while it is looked at: a second of traffic for each second of the real clock."""

    def __init__(self, seconds: int, *, scale: float = 1.0, still: bool = False) -> None:
        self.traffic = Traffic(scale=scale)
        self._still = still
        self._now_ns = START_NS
        self._begun_ns = time.monotonic_ns() - seconds * SECOND
        self._writer = Writer(64 << 20, START_NS)
        self.view: View = Reader(self._writer.fd)
        for _ in range(seconds):
            self._go_on()

    def clock(self) -> int:
        """The time that the view is of, ns; goes on with what has happened until now."""
        if self._still:
            return self._now_ns
        now_ns = START_NS + time.monotonic_ns() - self._begun_ns
        while self._now_ns + SECOND <= now_ns:
            self._go_on()
        return now_ns

    def skip(self, seconds: int) -> None:
        """As if so much time had passed."""
        self._begun_ns -= seconds * SECOND

    def _go_on(self) -> None:
        self._now_ns += SECOND
        for session in self.traffic.second(self._now_ns):
            self._writer.session(session)
        self._writer.fold(self._now_ns)
        self._writer.inflight(self.traffic.waiting(self._now_ns), self._now_ns)
        self._writer.facts(self.traffic.facts(self._now_ns))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tui.preview", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=150, metavar="N", help="how much has happened already")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="how many times as many requests")
    parser.add_argument("--still", action="store_true", help="nothing goes on")
    arguments = parser.parse_args()
    moving = Moving(arguments.seconds, scale=arguments.scale, still=arguments.still)
    return run(moving.view, protocols=moving.traffic.protocols, clock=moving.clock)


if __name__ == "__main__":
    sys.exit(main())
