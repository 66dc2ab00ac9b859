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
from probes.filters import Predicate, Term
from probes.options import CaptureOptions
from probes.outputs.lines import Lines
from probes.outputs.losses import losses_line, plugin_troubles
from probes.outputs.progress import Progress
from probes.outputs.record import CaptureClock, Recorder, WallClock, json_line
from probes.outputs.recording.files import Files, Rotation
from probes.outputs.recording.tap import Tap
from probes.outputs.recording.writer import Recording
from probes.outputs.table import table
from probes.protocols.interface import WireProtocol
from probes.records import Session
from probes.store.red import DEFAULT_BY, Red

_SECOND_NS = 1_000_000_000
STEP_S = 0.2  # the longest that a step waits: how late a signal, --for or a gone reader may be noticed


class Capture(Protocol):
    """What a run needs of the collector: `step` and `finish` hand it the sessions that have ended by then."""

    @property
    def protocols(self) -> Mapping[str, WireProtocol]: ...

    def step(self, timeout_s: float) -> int: ...

    def finish(self) -> None: ...

    def waiting(self) -> list[Session]: ...

    def ledger(self) -> dict[str, int]: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def damage(self) -> str: ...

    @property
    def elapsed_ns(self) -> int: ...

    @property
    def progress(self) -> float | None: ...

    def close(self) -> None: ...


def open_collector(options: CaptureOptions, emit: Callable[[Session], None]) -> Capture:
    """A capture that runs; where it is live, its probes are attached. Raises Refusal where that is not to be."""
    if options.is_live:
        doctor.require_live()
    from probes.collector import Collector  # not needed where the answer is a refusal
    from probes.sources.opening import open_source

    return Collector(options, emit, open_source)


def open_recorder(options: CaptureOptions, tap: Tap) -> Capture:
    """The same, with all that goes by recorded; sessions are of no interest."""
    from probes.collector import Collector
    from probes.sources.opening import open_source

    return Collector(options, lambda session: None, open_source, tap=tap)


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
    for name, troubles in plugin_troubles(ledger).items():
        narrate(f"plugin {name}: {troubles}")
    if whole:
        _say(json.dumps(ledger))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a capture ended: after how long, with which sessions still waiting, and what became of each message."""

    seconds: float
    waiting: list[Session]
    ledger: dict[str, int]
    protocols: Mapping[str, WireProtocol]
    damage: str = ""


Take = Callable[[Iterable[Session], Mapping[str, WireProtocol]], bool]
"""Is given each batch of sessions and the protocols they belong to; returns whether more are wanted."""


def run(options: CaptureOptions, seconds: float, take: Take, progress: Progress) -> Ending:
    """Captures for `seconds`, or until the source's end, or `take` has enough, or a signal asks for the end."""
    batch: list[Session] = []
    capture = open_collector(options, batch.append)
    with Stop() as stop, closing(capture), progress:
        narrate(f"capturing {_listed(tuple(capture.protocols))} requests of {options.source_name}")
        wanted = True
        while (
            wanted
            and not stop.asked
            and not capture.is_over
            and (left := seconds - capture.elapsed_ns / _SECOND_NS) > 0
        ):
            capture.step(min(left, STEP_S))
            progress.show(capture.progress)
            wanted = take(batch, capture.protocols)
            batch.clear()
        seconds = capture.elapsed_ns / _SECOND_NS
        capture.finish()
        if wanted:
            take(batch, capture.protocols)
        return Ending(seconds, capture.waiting(), capture.ledger(), capture.protocols, capture.damage)


def complain(options: CaptureOptions, damage: str) -> None:
    """Raises Refusal where the source was damaged."""
    if damage:
        raise Refusal(f"{options.source_name} {damage}: what comes before was told", ExitCode.DAMAGED)


def clock_of(options: CaptureOptions) -> WallClock:
    """The clock of the source's times."""
    return WallClock() if options.is_live else CaptureClock()


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


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
    lines, recorder, left = Lines(), Recorder(literals=options.literals, clock=clock_of(options)), count

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

    ending = run(options, seconds, take, Progress(wanted=not sys.stdout.isatty()))
    if inflight:
        show(filter(selected, ending.waiting), ending.protocols)
    tell({**ending.ledger, "undescribed": recorder.undescribed}, whole=ledger)
    complain(options, ending.damage)


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
        red.add(filter(selected, sessions))
        return True

    ending = run(options, seconds, take, Progress())
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
    complain(options, ending.damage)


def record(
    options: CaptureOptions, path: Path, rotation: Rotation, *, seconds: float = math.inf, ledger: bool = False
) -> None:
    """Records what goes by for `seconds` in new files at `path`. Raises Refusal, also where no more can be written."""
    if options.is_live:
        doctor.require_live()  # before there is a file
    recording = Recording(Files(path, rotation), clock_of(options).offset_ns, literals=options.literals)
    tap = Tap(recording, options)
    with closing(recording), Stop() as stop, closing(open_recorder(options, tap)) as capture, Progress() as progress:
        names = _listed(tuple(capture.protocols))
        narrate(f"capturing {names} messages of {options.source_name} in {recording.name}")
        while (
            not (stop.asked or tap.ended or capture.is_over) and (left := seconds - capture.elapsed_ns / _SECOND_NS) > 0
        ):
            capture.step(min(left, STEP_S))
            progress.show(capture.progress)
        capture.finish()
        if not tap.ended:
            narrate(f"{recording.messages} messages recorded")
        tell(capture.ledger(), whole=ledger)
    if tap.ended:
        raise Refusal(tap.ended, ExitCode.OUTPUT)
    complain(options, capture.damage)


def report(options: CaptureOptions, where: Sequence[Term], *, seconds: float, ledger: bool = False) -> None:
    """Captures for `seconds` and prints what the dashboard would show, as Markdown. Raises Refusal."""
    from probes.background import Background  # none of this is needed where the answer is a refusal
    from probes.outputs.report import markdown
    from probes.protocols.chosen import known_protocols
    from probes.store.reader import Reader

    known_protocols()  # whose records the store holds
    with Stop() as stop, Background(options) as background:
        narrate(f"capturing {_listed(background.protocols)} requests of {options.source_name} for {seconds:g} s")
        until = time.monotonic() + seconds
        while not stop.asked and not background.complaint() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_S))
        view = Reader(background.store)
        Lines().text(markdown(view, where))
        tell(view.facts().ledger, whole=ledger)
        complaint = background.complaint()
    if complaint:
        raise Refusal(f"the collector had ended: {complaint}", ExitCode.INTERNAL)
