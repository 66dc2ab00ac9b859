"""One process writes, others read meanwhile: nothing torn, nothing writable, nothing lost when the writer dies."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from probes.filters import parse, tokenize
from probes.records import Status, Times
from probes.store.layout import MIN_BYTES, ROW, At, Layout, counters, records
from probes.store.memory import UnknownStoreError
from probes.store.reader import Reader
from probes.store.view import Facts, Is, Window
from probes.store.writer import Writer
from tests.store.small import small_layout
from tests.store.synthetic import SECOND, START_NS
from tests.store.test_wrap import data_of, is_whole, numbered

LOOK_S = 1.5
MOST_PATIENCE_S = 2  # that whoever looks has with a writer that is dead
NOBODY = 65534


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[int]:
    """`work` in a process of its own, which is killed in the end."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)


def write_without_end(writer: Writer) -> None:
    """Sessions that tell their number, as fast as can be; a second of the store's time is 500 of them."""
    number, now_ns = 0, START_NS
    while True:
        for _ in range(50):
            writer.session(numbered(number))
            number += 1
        now_ns += SECOND // 10
        writer.fold(now_ns)
        waiting = [numbered(each) for each in range(number, number + number % 20)]
        for session in waiting:
            session.status, session.reply, session.times = Status.INFLIGHT, None, Times(*session.times[:2])
        writer.inflight(waiting, now_ns)
        writer.facts(Facts(source=str(number) * 50, head_bytes=number))


@pytest.fixture
def busy() -> Iterator[Reader]:
    """A reader of a store that another process overwrites all the time."""
    with small_layout(rows=1500):
        writer = Writer(MIN_BYTES, START_NS)
        with forked(lambda: write_without_end(writer)):
            reader = Reader(writer.fd)
            while reader.span().oldest == 0:
                time.sleep(0.001)
            yield reader
        writer.close()


def for_a_while(look: Callable[[], None]) -> None:
    deadline = time.monotonic() + LOOK_S
    while time.monotonic() < deadline:
        look()


def test_rows_are_whole(busy: Reader) -> None:
    seen = 0

    def look() -> None:
        nonlocal seen
        for rows in (busy.rows(0, 1000), busy.rows(busy.span().next - 20, 20)):
            numbers = [row.number for row in rows]
            assert numbers == list(range(numbers[0], numbers[-1] + 1) if numbers else [])
            assert all(map(is_whole, rows))
            seen += len(rows)

    for_a_while(look)
    assert seen


def test_filters_find_what_fits(busy: Reader) -> None:
    def look() -> None:
        found = busy.matching([Is("target", "shop.c3"), *parse(tokenize("request_bytes<500"))])
        assert all(number % 7 == 3 and 0 < number % 1000 < 500 for number in found.numbers.tolist())
        expected = [n for n in range(found.oldest, found.next) if n % 7 == 3 and 0 < n % 1000 < 500]
        assert found.numbers.tolist() == expected

    for_a_while(look)


def test_heads_are_those_of_their_session(busy: Reader) -> None:
    found = 0

    def look() -> None:
        nonlocal found
        span = busy.span()
        for row in (*busy.rows(span.oldest, 3), *busy.rows(span.next - 3, 3)):
            session = busy.session(row)
            if session is not None:
                assert session.request is not None
                assert session.request.id == row.number
                if session.request.data:
                    assert session.request.data == data_of(row.number)
                    assert session.reply is not None
                    assert session.reply.data == data_of(row.number)[::-1]
                    found += 1

    for_a_while(look)
    assert found


def test_sums_belong_together(busy: Reader) -> None:
    def look() -> None:
        start = busy.groups((), Window.START)
        by_target = busy.groups(("target",), Window.START)
        minute = busy.groups(("target", "operation"), Window.S10)
        for groups in (by_target, minute):
            counts = [group.totals.requests for group in groups.groups if group.totals.requests]
            assert max(counts, default=0) - min(counts, default=0) <= 1 + 2 * (groups.window is not Window.START)
        if start.end_ns == by_target.end_ns:
            assert sum(group.totals.requests for group in start.groups) == sum(
                group.totals.requests for group in by_target.groups
            )
        assert sum(group.totals.requests for group in start.groups) == 500 * round(start.seconds)

    for_a_while(look)


def test_what_waits_and_facts_are_whole(busy: Reader) -> None:
    def look() -> None:
        inflight = busy.inflight()
        assert inflight.total == len(inflight.rows)
        ids = [row.request_id for row in inflight.rows]
        if ids:
            first = ids[0]
            assert first is not None
            assert ids == list(range(first, first + first % 20))
        facts = busy.facts()
        assert facts.source == str(facts.head_bytes) * 50 or facts == Facts()

    for_a_while(look)


def test_a_reader_that_did_not_look_again_would_be_deceived(busy: Reader) -> None:
    """The test above can fail: copies that are not checked do hold rows of two ages."""
    layout = Layout.of(MIN_BYTES)
    rows = records(busy._memory, ROW, *layout.rows)
    header = counters(busy._memory)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        oldest, end = header[At.ROWS_OLDEST], header[At.ROWS_NEXT]
        ids = rows["request_id"][np.arange(oldest, end) % len(rows)]
        if (ids != np.arange(oldest, end)).any():
            return
    pytest.fail("no copy was torn")


class Clock:
    """Time that passes only where the reader waits."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def monotonic(self) -> float:
        return self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("probes.store.sums.time", clock)
    return clock


def test_after_the_writers_death_everything_can_be_read(clock: Clock) -> None:
    with small_layout():
        writer = Writer(MIN_BYTES, START_NS)
        with forked(lambda: write_without_end(writer)):
            reader = Reader(writer.fd)
            while reader.span().oldest < 1000:
                time.sleep(0.001)
        rows = reader.rows(0, 1000)
        assert rows
        assert all(map(is_whole, rows))
        assert sum(group.totals.requests for group in reader.groups(("target",), Window.START).groups) > 0
        assert clock.slept_s < MOST_PATIENCE_S
        writer.close()


def test_a_writer_that_dies_while_it_folds_leaves_a_store_that_answers(clock: Clock) -> None:
    writer = Writer(MIN_BYTES, START_NS)
    writer.session(numbered(0))
    writer.fold(START_NS + SECOND)
    writer._header[At.FOLDS] += 1
    reader = Reader(writer.fd)
    for _ in range(3):
        assert reader.groups((), Window.M1).groups[0].totals.requests == 1
    assert clock.slept_s < MOST_PATIENCE_S
    writer.close()


def test_nobody_else_can_write() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    writer.session(numbered(0))
    writer.fold(START_NS + SECOND)
    writable = os.open(f"/proc/self/fd/{writer.fd}", os.O_RDWR) if os.geteuid() == 0 else writer.fd
    for fd in (writer.fd, writable):
        size = os.fstat(fd).st_size
        with pytest.raises(PermissionError):
            mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(OSError):
            os.ftruncate(fd, 0)
        with pytest.raises(OSError):
            os.ftruncate(fd, size + 1)
    seals = fcntl.fcntl(writable, fcntl.F_GET_SEALS)
    assert seals & fcntl.F_SEAL_SEAL
    assert Reader(writer.fd).rows(0, 1)
    writer.session(numbered(1))
    writer.flush(START_NS + SECOND)
    assert len(Reader(writer.fd).rows(0, 5)) == 2
    writer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_without_any_right_reads_with_the_descriptor() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    writer.session(numbered(0))
    writer.fold(START_NS + SECOND)
    told, tell = os.pipe()

    def read_as_nobody() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        found = [len(Reader(writer.fd).rows(0, 5))]
        for attempt in (
            lambda: mmap.mmap(writer.fd, MIN_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            lambda: os.open(f"/proc/self/fd/{writer.fd}", os.O_RDWR),
            lambda: os.pwrite(writer.fd, b"x", 0),
        ):
            try:
                attempt()
            except OSError:
                found.append(0)
            else:
                found.append(9)
        os.write(tell, bytes(found))
        time.sleep(60)

    with forked(read_as_nobody):
        assert os.read(told, 10) == bytes([1, 0, 0, 0])
    os.close(told)
    os.close(tell)
    writer.close()


def test_what_is_no_store_is_refused() -> None:
    fd = os.memfd_create("other")
    with pytest.raises(UnknownStoreError):
        Reader(fd)
    os.ftruncate(fd, MIN_BYTES)
    with pytest.raises(UnknownStoreError):
        Reader(fd)
    os.close(fd)
