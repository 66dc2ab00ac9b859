"""The store alone: what a session costs to write, a second to fold, a filter and the Overview's questions to answer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from probes.filters import parse, tokenize
from probes.store.changes import changes
from probes.store.reader import Reader
from probes.store.view import Window
from probes.store.writer import Writer
from tests.benchmarks.measure import Spread, table
from tests.store.synthetic import SECOND, START_NS, Traffic

ROUNDS = 20
MEMORY = 256 << 20
BATCH = 200  # sessions of one drain, at 10,000 a second
FILTERS = ("status:error", "target:shop.* duration>50ms", "client:10.0.3.17 operation:find", "request_bytes>100")


def main(rounds: int = ROUNDS) -> str:
    rows = [*_writing(rounds), *_filtering(rounds), *_overview(rounds)]
    return table(f"The store, {rounds} rounds, median [quartiles]", rows)


def _timed(
    work: Callable[[], object], rounds: int, unit_s: float, clock: Callable[[], float] = time.perf_counter
) -> str:
    taken = []
    for _ in range(rounds):
        began = clock()
        work()
        taken.append((clock() - began) / unit_s)
    return Spread.of(taken).show(2)


def _writing(rounds: int) -> list[tuple[str, str]]:
    """CPU time: a session on its way into rows and details, and the fold of 10,000 rows."""
    sessions = Traffic(scale=30).second(START_NS + SECOND)[:4000]
    writer = Writer(MEMORY, START_NS)
    now_ns = START_NS

    def write() -> None:
        for start in range(0, len(sessions), BATCH):
            for session in sessions[start : start + BATCH]:
                writer.session(session)
            writer.flush(now_ns)

    # As the collector does: what lives long is not looked at again and again.
    gc.freeze()
    gc.disable()
    for _ in range(60):  # every page of the memory exists
        write()
    a_session = _timed(write, rounds, 1e-6 * len(sessions), time.process_time)
    folds = []
    for _ in range(rounds):
        now_ns += SECOND
        writer.fold(now_ns)
        for start in range(0, 10_000, len(sessions)):
            for session in sessions[: 10_000 - start]:
                writer.session(session)
        now_ns += SECOND
        writer.flush(now_ns)
        began = time.process_time()
        writer.fold(now_ns)
        folds.append((time.process_time() - began) * 1e3)
    gc.enable()
    gc.unfreeze()
    writer.close()
    return [("a session written, µs CPU", a_session), ("10,000 rows folded, ms CPU", Spread.of(folds).show(2))]


def _filtering(rounds: int) -> list[tuple[str, str]]:
    """A filter over a million rows."""
    writer = Writer(MEMORY, START_NS)
    sessions = Traffic(scale=60).second(START_NS + SECOND)
    reader = Reader(writer.fd)
    while reader.span().next < 1_000_000:
        for session in sessions:
            writer.session(session)
        writer.flush(START_NS)
    span = reader.span()
    lines = [("rows kept", f"{span.next - span.oldest:,}")]
    for text in FILTERS:
        where = parse(tokenize(text))
        lines.append((f"filter {text}, ms", _timed(lambda: reader.matching(where), rounds, 1e-3)))  # noqa: B023
    writer.close()
    return lines


def _overview(rounds: int) -> list[tuple[str, str]]:
    """What the Overview asks each second, of 500 cells and 10,000 requests/s in the quarter of an hour."""
    writer = Writer(MEMORY, START_NS)
    reader = Reader(writer.fd)
    traffic = Traffic(scale=60)
    sessions = traffic.second(START_NS + SECOND)
    for number, session in enumerate(sessions):
        assert session.request is not None
        session.request.target = f"shop.c{number % 25}"
        session.request.targets = (session.request.target,)
    now_ns = START_NS
    for _ in range(960):
        now_ns += SECOND
        for session in sessions[:: 1 if now_ns > START_NS + 900 * SECOND else 5]:
            writer.session(session)
        writer.fold(now_ns)
    writer.inflight(traffic.waiting(now_ns), now_ns)
    taken: list[float] = []
    for _ in range(rounds):
        now_ns += SECOND
        for session in sessions:
            writer.session(session)
        writer.fold(now_ns)
        began = time.perf_counter()
        reader.series(("protocol",), Window.M1)
        reader.groups(("protocol",), Window.M1)
        reader.groups(("protocol", "operation", "version", "target"), Window.M1)
        reader.groups(("protocol", "operation", "version", "target", "error_name", "client"), Window.M1)
        changes(reader)
        reader.inflight()
        reader.facts()
        reader.use()
        taken.append((time.perf_counter() - began) * 1e3)
    cells = reader.use().cells
    writer.close()
    return [(f"Overview's questions, {cells} cells, ms", Spread.of(taken).show(1))]
