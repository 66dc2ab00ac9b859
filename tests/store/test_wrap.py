"""What is overwritten is gone, and never taken for something else, however writing and reading alternate."""

from __future__ import annotations

import mmap

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from probes.records import Address, Connection, Reply, Request, Session, Side, Status, Times
from probes.store.layout import PAGE, At
from probes.store.reader import Reader
from probes.store.rings import ByteRing, ByteRingReader
from probes.store.view import Facts, Is, Row, Window
from tests.store.small import small_store
from tests.store.synthetic import SECOND, START_NS

CONNECTION = Connection(5, None, Address("10.0.0.9", 27017), Address("10.0.0.5", 51544), 0, "mongodb")


def numbered(number: int, *, operation: str = "find", data: bytes | None = None) -> Session:
    """A session all of whose facts follow from its number."""
    at = START_NS + number * 1000
    data = number.to_bytes(8, "big") * (1 + number % 10) if data is None else data
    return Session(
        "mongodb",
        Status.OK,
        Side.SERVER,
        CONNECTION,
        Request(number, operation, data, None, f"shop.c{number % 7}"),
        Reply(number + 1, data[::-1]),
        Times(at, at + 1, at + 2 + number % 100, at + 500),
        number % 1000,
        number % 777,
    )


def is_whole(row: Row, operation: str = "find") -> bool:
    number = row.number
    at = START_NS + number * 1000
    return (
        row.operation,
        row.target,
        row.request_id,
        row.response_id,
        row.start_ns,
        row.end_ns,
        row.request_bytes,
    ) == (
        operation,
        f"shop.c{number % 7}",
        number,
        number + 1,
        at,
        at + 500,
        number % 1000,
    )


@given(st.lists(st.tuples(st.binary(max_size=90), st.integers(0, 5)), max_size=120))
def test_a_ring_gives_back_what_was_written_or_nothing(steps: list[tuple[bytes, int]]) -> None:
    memory = mmap.mmap(-1, PAGE + 256)
    header = memoryview(memory)[:PAGE].cast("Q")
    writer = ByteRing(memory, header, (PAGE, 256), At.DETAILS_NEXT)
    reader = ByteRingReader(memory, header, (PAGE, 256), At.DETAILS_NEXT)
    written: list[tuple[int, bytes]] = []
    for data, back in steps:
        written.append((writer.append(data), data))
        position, expected = written[max(0, len(written) - 1 - back)]
        kept = reader.read(position, len(expected))
        if kept is None:
            assert writer.next - position > 256 - 256 // 64 - 1 - 90
        else:
            assert kept == expected
        assert reader.read(*_place(written[-1])) == data
    assert reader.read(writer.next, 1) is None
    assert reader.read(0, 1 << 40) is None


def _place(written: tuple[int, bytes]) -> tuple[int, int]:
    return written[0], len(written[1])


class Interleaved(RuleBasedStateMachine):
    """A writer and two readers of a small store, one of which rarely looks."""

    def __init__(self) -> None:
        super().__init__()
        self._store = small_store()
        self.writer, self.reader = self._store.__enter__()
        self.seldom = Reader(self.writer.fd)
        self.count = self.flushed = 0
        self.now_ns = START_NS
        self.held: tuple[Row, ...] = ()
        self.waiting: list[Session] = []

    def teardown(self) -> None:
        self._store.__exit__(None, None, None)

    @rule(count=st.integers(0, 150))
    def write(self, count: int) -> None:
        for _ in range(count):
            self.writer.session(numbered(self.count))
            self.count += 1

    @rule()
    def flush(self) -> None:
        self.writer.flush(self.now_ns)
        self.flushed = self.count

    @rule(ns=st.sampled_from((SECOND // 2, SECOND, 11 * SECOND)))
    def fold(self, ns: int) -> None:
        self.now_ns += ns
        self.writer.fold(self.now_ns)
        self.flushed = self.count

    @rule(numbers=st.lists(st.integers(0, 30), unique=True, max_size=5))
    def wait(self, numbers: list[int]) -> None:
        self.waiting = [numbered(number) for number in numbers]
        for session in self.waiting:
            session.status, session.reply, session.times = Status.INFLIGHT, None, Times(*session.times[:2])
        self.writer.inflight(self.waiting, self.now_ns)

    @rule(source=st.text(max_size=20))
    def tell(self, source: str) -> None:
        self.writer.facts(Facts(source=source))
        assert self.reader.facts().source == source

    @rule()
    def hold(self) -> None:
        self.held = self.reader.rows(0, 1000)

    @rule()
    def look_at_what_was_held(self) -> None:
        for row in self.held:
            session = self.reader.session(row)
            if session is None:
                assert row.number < self.reader.span().oldest
            else:
                assert session.request is not None
                assert session.request.id == row.number
                assert session.request.data in (b"", data_of(row.number))

    @rule()
    def look_seldom(self) -> None:
        assert all(is_whole(row) for row in self.seldom.rows(0, 1000))
        assert self.seldom.groups((), Window.START) == self.reader.groups((), Window.START)

    @rule()
    def count_all(self) -> None:
        self.fold(SECOND)
        groups = self.reader.groups(("target",), Window.START).groups
        expected = {f"shop.c{each}": len(range(each, self.count, 7)) for each in range(7)}
        assert {group.key[0]: group.totals.requests for group in groups if group.totals.requests} == {
            target: count for target, count in expected.items() if count
        }

    @invariant()
    def the_log_ends_with_what_was_flushed_and_has_no_holes(self) -> None:
        span = self.reader.span()
        assert span.next == self.flushed
        assert 0 <= span.next - span.oldest <= 400
        assert span.oldest == 0 or span.next - span.oldest >= 400 - 64 - 64
        rows = self.reader.rows(0, 1000)
        assert [row.number for row in rows] == list(range(span.oldest, span.next))
        assert all(map(is_whole, rows))
        assert self.reader.matching([Is("operation", "find")]).numbers.tolist() == list(range(span.oldest, span.next))

    @invariant()
    def what_waits_is_there(self) -> None:
        inflight = self.reader.inflight()
        assert [row.request_id for row in inflight.rows] == [
            session.request.id for session in self.waiting if session.request is not None
        ]

    @invariant()
    def heads_are_those_of_the_row_or_said_to_be_gone(self) -> None:
        rows = self.reader.rows(0, 1000)
        since = self.reader.use().heads_since
        for row in (*rows[:2], *rows[-2:]):
            session = self.reader.session(row)
            assert session is not None
            assert session.request is not None
            assert session.reply is not None
            assert row.has_heads == (row.number >= since)
            data = data_of(row.number) if row.has_heads else b""
            assert (session.request.data, session.reply.data) == (data, data[::-1])


def data_of(number: int) -> bytes:
    return number.to_bytes(8, "big") * (1 + number % 10)


Interleaved.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)
test_interleaved = Interleaved.TestCase
