"""Runs a capture without a screen: `requests` prints each session, `stat` counts them into groups."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from probes import doctor
from probes.exit_codes import ExitCode, Refusal
from probes.filters import Predicate
from probes.options import CaptureOptions
from probes.outputs.lines import Lines
from probes.outputs.losses import losses_line
from probes.outputs.record import Recorder, WallClock, json_line
from probes.outputs.recording.files import Files, Rotation
from probes.outputs.recording.tap import Tap
from probes.outputs.recording.writer import Recording
from probes.outputs.table import table
from probes.protocols.interface import WireProtocol
from probes.records import Session
from probes.store.red import DEFAULT_BY, Red

STEP_S = 0.1  # the longest that a step waits: how late a signal, --for or a gone reader may be noticed


class Capture(Protocol):
    """What a run needs of the collector: `step` and `finish` hand it the sessions that have ended by then."""

    @property
    def protocols(self) -> Mapping[str, WireProtocol]: ...

    def step(self, timeout_s: float) -> int: ...

    def finish(self) -> None: ...

    def waiting(self) -> list[Session]: ...

    def ledger(self) -> dict[str, int]: ...

    def close(self) -> None: ...


def open_collector(options: CaptureOptions, emit: Callable[[Session], None]) -> Capture:
    """A capture that runs; its probes are attached. Raises Refusal where this host does not allow it."""
    doctor.require_live()
    from probes.collector import Collector  # not needed where the answer is a refusal

    return Collector(options, emit)


def open_recorder(options: CaptureOptions, tap: Tap) -> Capture:
    """The same, with all that goes by recorded; sessions are of no interest."""
    from probes.collector import Collector

    return Collector(options, lambda session: None, tap=tap)


class Stop(AbstractContextManager["Stop"]):
    """SIGINT and SIGTERM ask for an end instead of enforcing it; the second one enforces."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, self._before[number])

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def narrate(sentence: str) -> None:
    """One line for the person at the terminal; where nobody listens, nothing."""
    _say(f"l7top: {sentence}")


def _say(line: str) -> None:
    try:
        if sys.stderr is not None:  # else print would take stdout
            print(line, file=sys.stderr, flush=True)
    except OSError:
        pass


def tell(ledger: Mapping[str, int], *, whole: bool) -> None:
    """Narrates what was lost, if anything was; the `whole` ledger as JSON where that is wanted."""
    lost = losses_line(ledger)
    if lost:
        narrate(lost)
    if whole:
        _say(json.dumps(ledger))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a capture ended: after how long, with which sessions still waiting, and what became of each message."""

    seconds: float
    waiting: list[Session]
    ledger: dict[str, int]
    protocols: Mapping[str, WireProtocol]


Take = Callable[[Iterable[Session], Mapping[str, WireProtocol]], bool]
"""Is given each batch of sessions and the protocols they belong to; returns whether more are wanted."""


def run(options: CaptureOptions, seconds: float, take: Take) -> Ending:
    """Captures for `seconds`, or until `take` has enough, or a signal asks for the end."""
    batch: list[Session] = []
    capture = open_collector(options, batch.append)
    with Stop() as stop, closing(capture):
        narrate(f"capturing {' and '.join(capture.protocols)} requests of this host")
        begun = time.monotonic()
        wanted = True
        while wanted and not stop.asked and (left := begun + seconds - time.monotonic()) > 0:
            capture.step(min(left, STEP_S))
            wanted = take(batch, capture.protocols)
            batch.clear()
        seconds = time.monotonic() - begun
        capture.finish()
        if wanted:
            take(batch, capture.protocols)
        return Ending(seconds, capture.waiting(), capture.ledger(), capture.protocols)


def requests(
    options: CaptureOptions,
    selected: Predicate,
    *,
    seconds: float = math.inf,
    count: int | None = None,
    inflight: bool = False,
    ledger: bool = False,
) -> None:
    """Prints each session that is `selected` as a JSON line, as soon as it has ended.

    Ends after `seconds` or `count` sessions; `inflight` adds those that still wait, `ledger` the whole ledger.
    """
    lines, recorder, left = Lines(), Recorder(literals=options.literals), count

    def show(sessions: Iterable[Session], protocols: Mapping[str, WireProtocol]) -> None:
        for session in sessions:
            lines.write(recorder.line(session, protocols.get(session.protocol)))
        lines.flush()

    def take(sessions: Iterable[Session], protocols: Mapping[str, WireProtocol]) -> bool:
        nonlocal left
        recorder.clock.refresh()
        chosen = list(filter(selected, sessions))[:left]
        show(chosen, protocols)
        if left is not None:
            left -= len(chosen)
        return left != 0

    ending = run(options, seconds, take)
    if inflight:
        show(filter(selected, ending.waiting), ending.protocols)
    tell({**ending.ledger, "undescribed": recorder.undescribed}, whole=ledger)


def stat(
    options: CaptureOptions,
    selected: Predicate,
    *,
    seconds: float,
    by: Sequence[str] = DEFAULT_BY,
    as_json: bool = False,
    ledger: bool = False,
) -> None:
    """Counts the sessions that are `selected` for `seconds` and prints the groups of those alike in the fields `by`."""
    red = Red(shapes="shape" in by)

    def take(sessions: Iterable[Session], protocols: Mapping[str, WireProtocol]) -> bool:
        for session in filter(selected, sessions):
            red.add(session)
        return True

    ending = run(options, seconds, take)
    rows = [group.row(ending.seconds) for group in red.groups(by, filter(selected, ending.waiting))]
    lines = Lines()
    if as_json:
        capture = {**ending.ledger, "in_other": red.overflowed}
        lines.write(json_line({"window_s": round(ending.seconds, 3), "groups": rows, "capture": capture}))
        lines.flush()
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        count = sum(row["requests"] for row in rows)
        lines.text(f"{count} requests in {ending.seconds:.1f} s\n{table(rows, by, width)}")
    tell(ending.ledger, whole=ledger)


def record(
    options: CaptureOptions, path: Path, rotation: Rotation, *, seconds: float = math.inf, ledger: bool = False
) -> None:
    """Records what goes by for `seconds` in new files at `path`. Raises Refusal, also where no more can be written."""
    doctor.require_live()  # before there is a file
    recording = Recording(Files(path, rotation), WallClock().offset_ns, literals=options.literals)
    tap = Tap(recording, options)
    with closing(recording), Stop() as stop, closing(open_recorder(options, tap)) as capture:
        narrate(f"capturing {' and '.join(capture.protocols)} messages of this host in {recording.name}")
        begun = time.monotonic()
        while not (stop.asked or tap.ended) and (left := begun + seconds - time.monotonic()) > 0:
            capture.step(min(left, STEP_S))
        capture.finish()
        narrate(f"{recording.messages} messages recorded")
        tell(capture.ledger(), whole=ledger)
    if tap.ended:
        raise Refusal(tap.ended, ExitCode.OUTPUT)
