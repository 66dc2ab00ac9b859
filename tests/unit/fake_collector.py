"""A collector that needs no kernel, and l7top with it: `python -m tests.unit.fake_collector requests …`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping

from probes import headless
from probes.cli import main
from probes.options import CaptureOptions
from probes.protocols.interface import WireProtocol
from probes.records import Session
from tests.unit.sample_sessions import fake_protocol, find, hanging, samples


class FakeCollector:
    """Emits one of `batches` in each step, `held` at the end."""

    def __init__(
        self,
        batches: Iterable[list[Session]],
        *,
        waiting: Iterable[Session] = (),
        ledger: Mapping[str, int] | None = None,
        held: Iterable[Session] = (),
    ) -> None:
        self._batches = iter(batches)
        self._waiting = list(waiting)
        self._ledger = dict(ledger or {"seen": 10, "sessions": 10})
        self._held = list(held)
        self._emit: Callable[[Session], None] = lambda session: None
        self.options: CaptureOptions | None = None
        self.closed = False
        self.is_over = False
        self.damage = ""
        self.progress: float | None = None

    def open(self, options: CaptureOptions, emit: Callable[[Session], None]) -> FakeCollector:
        """In the place of `headless.open_collector`."""
        self.options, self._emit = options, emit
        self._opened_ns = time.monotonic_ns()
        return self

    @property
    def elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._opened_ns

    @property
    def protocols(self) -> Mapping[str, WireProtocol]:
        return {name: fake_protocol(name, opcode=2013) for name in ("mongodb", "kafka")}

    def step(self, timeout_s: float) -> int:
        batch = next(self._batches, None)
        if batch is None:
            time.sleep(min(timeout_s, 0.01))
            return 0
        for session in batch:
            self._emit(session)
        return len(batch)

    def waiting(self) -> list[Session]:
        return self._waiting

    def ledger(self) -> dict[str, int]:
        return self._ledger

    def close(self) -> None:
        self.closed = True

    def finish(self) -> None:
        for session in self._held:
            self._emit(session)


def endless() -> Iterable[list[Session]]:
    while True:
        time.sleep(0.001)
        yield [find()]


SCENES: dict[str, Callable[[], FakeCollector]] = {
    "samples": lambda: FakeCollector([samples()], waiting=[hanging()]),
    "endless": lambda: FakeCollector(endless()),
    "one": lambda: FakeCollector([[find()]]),
    "losses": lambda: FakeCollector(
        [], ledger={"seen": 10, "sessions": 5, "unparsed": 2, "ring_full": 3, "foreign": 9}
    ),
}

if __name__ == "__main__":
    headless.open_collector = SCENES[os.environ["SCENE"]]().open
    sys.exit(main())
