"""Hostile and endless traffic: the store stays within its size, and what found no place is counted."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from probes.records import Address, Connection, Failure, Process, Reply, Request, Session, Side, Status, Times
from probes.store import cells, kinds
from probes.store.layout import MIN_BYTES, Layout
from probes.store.names import MAX_TEXT
from probes.store.reader import Reader
from probes.store.view import OTHER, Facts, Is, ProcessFacts, Window
from probes.store.writer import Writer
from tests.store.small import small_store
from tests.store.synthetic import SECOND, START_NS, Traffic
from tests.store.test_wrap import CONNECTION, numbered


def asking(target: str = "a.b", *, operation: str = "find", client: str = "10.0.0.5", at_ns: int = START_NS) -> Session:
    connection = CONNECTION
    if client != CONNECTION.far.host:
        connection = Connection(hash(client) & 0xFFFFFF, None, CONNECTION.near, Address(client, 1), 0, "mongodb")
    return Session(
        "mongodb",
        Status.OK,
        Side.SERVER,
        connection,
        Request(1, operation, b"request", None, target, (target,)),
        Reply(2, b"reply"),
        Times(at_ns, at_ns + 1, at_ns + 1000, at_ns + 2000),
        10,
        20,
    )


def write(writer: Writer, sessions: Iterable[Session], now_ns: int) -> None:
    for session in sessions:
        writer.session(session)
    writer.fold(now_ns)


@pytest.mark.parametrize("size", [MIN_BYTES, MIN_BYTES + 5000, 16 << 20, 64 << 20, 256 << 20, 1 << 30])
def test_all_regions_lie_within_the_size_and_apart(size: int) -> None:
    layout = Layout.of(size)
    assert layout.size <= size
    cells_bytes = layout.cells[1] * 25
    starts = sorted(
        [
            *((offset, quota * 256) for offset, quota in layout.names.values()),
            (layout.cells[0], cells_bytes),
            (layout.rows[0], layout.rows[1] * 112),
            (layout.inflight[0], 2 * (32 + 112 * layout.inflight[1])),
            (layout.facts[0], 2 * layout.facts[1]),
            *((place[0], place[1]) for place in (layout.fine, layout.coarse, layout.shared, layout.details)),
            *((offset, 40 * layout.cells[1] + 16 * layout.base_buckets) for offset in layout.bases),
        ]
    )
    for (offset, length), (following, _) in zip(starts, [*starts[1:], (layout.size, 0)], strict=True):
        assert offset + length <= following


def test_too_small_a_store_is_refused() -> None:
    with pytest.raises(ValueError, match="MiB"):
        Writer(MIN_BYTES - 1, START_NS)


def test_the_memory_never_grows() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    traffic = Traffic(scale=4)
    for second in range(1, 60):
        now_ns = START_NS + second * SECOND
        write(writer, traffic.second(now_ns), now_ns)
        writer.inflight(traffic.waiting(now_ns), now_ns)
    stat = os.fstat(writer.fd)
    assert stat.st_size == MIN_BYTES
    assert stat.st_blocks * 512 <= MIN_BYTES
    use = reader.use()
    assert use.used_bytes <= use.size_bytes == MIN_BYTES
    assert use.rows <= use.rows_bound < reader.span().next
    assert reader.span().oldest > 0
    assert reader.groups((), Window.START).groups[0].totals.requests == reader.span().next


def test_long_names_are_cut_where_a_character_ends() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    texts = ["a" * 100_000, "é" * 100_000, "\U0001f600" * 100_000, "x" + "é" * 100_000, "\ud800" * 200, "b" * MAX_TEXT]
    write(writer, [asking(text) for text in texts], START_NS + SECOND)
    for text, row in zip(texts, reader.rows(0, 10), strict=True):
        assert len(row.target.encode("utf-8", "surrogatepass")) <= MAX_TEXT
        if len(text) > MAX_TEXT:
            assert row.target.endswith("…")
            assert text.startswith(row.target[:-1])
            assert len(row.target.encode()) > MAX_TEXT - 8
    assert reader.rows(5, 1)[0].target == texts[5]
    writer.close()


def test_names_beyond_the_quota_are_other_and_counted() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    quota = Layout.of(MIN_BYTES).names["operation"][1]
    count = quota + 90
    write(writer, [asking(operation=f"op{number}") for number in range(count)], START_NS + SECOND)
    groups = {group.key[0]: group.totals.requests for group in reader.groups(("operation",), Window.START).groups}
    assert groups[OTHER] == 92  # "" and "other" have places
    assert sum(groups.values()) == count
    assert reader.use().overflowed["operation"] >= 92
    last = reader.rows(count - 1, 1)[0]
    assert last.operation == OTHER
    session = reader.session(last)
    assert session is not None
    assert session.request is not None
    assert session.request.operation == f"op{count - 1}", "the details still know it"


def test_names_that_nothing_uses_make_room() -> None:
    with small_store() as (writer, reader):
        now_ns = START_NS
        for batch in range(12):
            now_ns += 11 * SECOND
            write(
                writer,
                [asking(operation=f"op{batch}-{number}", client=f"10.{batch}.0.{number}") for number in range(12)],
                now_ns,
            )
            write(writer, [numbered(0)] * 500, now_ns + SECOND)
            # Cells would keep their names: with an hour gone by, they give way too.
            now_ns += 3600 * SECOND
            writer.fold(now_ns)
        assert "operation" not in reader.use().overflowed
        row = reader.rows(reader.span().next - 1, 1)[0]
        assert row.operation == "find"


def test_a_number_that_changed_its_name_shows_the_new_one() -> None:
    with small_store() as (writer, reader):
        hosts = Layout.of(MIN_BYTES).names["host"][1]
        now_ns = START_NS
        for batch in range(6):
            sessions = [asking(client=f"h{batch}-{number}") for number in range(hosts - 30)]
            now_ns += 3600 * SECOND
            write(writer, sessions, now_ns)
            assert [row.client.host for row in reader.rows(reader.span().next - 10, 10)] == [
                session.client_address.host for session in sessions[-10:]
            ]
            now_ns += 3600 * SECOND
            write(writer, [numbered(0)] * 500, now_ns)
            write(writer, [], now_ns + 20 * SECOND)
            write(writer, [], now_ns + 40 * SECOND)


def test_cells_beyond_the_bound_are_counted_under_their_operation() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    bound = Layout.of(MIN_BYTES).cells[1]
    sessions = [
        asking(f"shop.c{number % 100}", operation=("find", "insert")[number % 2], client=f"10.0.0.{number % 97}")
        for number in range(4 * bound)
    ]
    write(writer, sessions, START_NS + SECOND)
    use = reader.use()
    assert use.cells <= bound
    assert use.overflowed["cell"] > 0
    by_operation = reader.groups(("operation",), Window.START).groups
    assert {group.key[0]: group.totals.requests for group in by_operation} == {"find": 2 * bound, "insert": 2 * bound}
    by_target = reader.groups(("target",), Window.START).groups
    assert sum(group.totals.requests for group in by_target) == 4 * bound
    assert any(group.key == (OTHER,) for group in by_target)
    # The log has a row's own names all the same.
    assert {row.target for row in reader.rows(4 * bound - 100, 100)} == {f"shop.c{number}" for number in range(100)}


def test_cells_long_idle_give_way_and_their_sums_stay() -> None:
    bound = Layout.of(MIN_BYTES).cells[1]
    now_ns, count = START_NS, 0
    with small_store() as (writer, reader):
        for batch in range(2 * bound // 100):
            now_ns += (cells.IDLE_SLOTS + 10) * SECOND
            write(writer, [numbered(0)] * 500, now_ns - SECOND)
            count += 500
            sessions = [
                asking(f"b{batch}.c{number % 20}", client=f"10.0.0.{number % 5 + number // 20}")
                for number in range(100)
            ]
            count += len(sessions)
            write(writer, sessions, now_ns)
            assert sum(group.totals.requests for group in reader.groups(("target",), Window.START).groups) == count
            recent = reader.groups(("target",), Window.M1).groups
            assert {group.key[0] for group in recent} - {"shop.c0"} == {f"b{batch}.c{number}" for number in range(20)}
            write(writer, [], now_ns + 11 * SECOND)
        assert reader.use().overflowed == {}
        by_target = reader.groups(("target",), Window.START).groups
        assert (OTHER,) in {group.key for group in by_target}
        assert reader.groups(("operation",), Window.START).groups[0].totals.durations.count == count


def test_more_buckets_than_fit_are_counted_under_other() -> None:
    """Durations of all sizes in all cells: percentiles by operation stay exact, whatever gives way."""
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    count = 0
    for second in range(1, 25):
        sessions = []
        for number in range(1000):
            session = asking(f"shop.c{number % 100}", client=f"10.0.0.{number % 3}")
            duration = 1 << (10 + (number + second) % 25)
            times = Times(START_NS, START_NS, START_NS + duration, START_NS + duration + 1)
            sessions.append(replace(session, times=times))
        count += len(sessions)
        write(writer, sessions, START_NS + second * SECOND)
    for window in (Window.START, Window.M1):
        groups = reader.groups((), window)
        # There is no room for a whole minute: what is left of it says how long it is.
        assert groups.groups[0].totals.requests == groups.groups[0].totals.durations.count == 1000 * groups.seconds
    assert reader.groups((), Window.START).seconds == 24
    by_target = reader.groups(("target",), Window.START).groups
    assert sum(group.totals.durations.count for group in by_target) == count


def test_sessions_of_too_many_kinds_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MAX_KINDS_BYTES", 20_000)
    monkeypatch.setattr(kinds, "MAX_CONNECTIONS", 5)
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    sessions = [asking(f"shop.c{number % 50}", client=f"10.0.0.{number % 9}") for number in range(500)]
    write(writer, sessions, START_NS + SECOND)
    assert len(writer._kinds.connections) <= 5
    rows = reader.rows(0, 1000)
    assert [(row.target, row.client.host) for row in rows] == [
        (session.request.target, session.client_address.host) for session in sessions if session.request is not None
    ]


def test_what_is_remembered_of_long_names_is_bounded() -> None:
    """A thousand names of 40 kB and of 400 kB each: none of them stays in the collector's own memory for long."""
    writer = Writer(MIN_BYTES, START_NS)
    tracemalloc.start()
    try:
        for number in range(1000):
            writer.session(asking(f"{number}" + "é" * (20_000 if number % 2 else 200_000)))
            writer.flush(START_NS)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * kinds.MAX_KINDS_BYTES
    writer.close()


def test_numbers_beyond_their_fields_are_clipped() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    session = asking()
    assert session.request is not None
    session.request.id = 1 << 80
    session.request.version = 1 << 20
    session.request_bytes = 1 << 40
    session.connection = replace(CONNECTION, id=-1)
    write(writer, [session, asking()], START_NS + SECOND)
    first, second = reader.rows(0, 2)
    assert (first.request_id, first.version, first.request_bytes) == ((1 << 63) - 1, 0x7FFF, (1 << 32) - 1)
    assert second.request_id == 1
    restored = reader.session(first)
    assert restored is not None
    assert restored.request is not None
    assert restored.request.data == b"request"


@dataclass(slots=True)
class Unhashable(Request):
    """As a plugin might have it."""

    notes: list[str] = field(default_factory=list)


def test_messages_of_a_plugin_keep_what_all_messages_have() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    write(
        writer, [replace(asking(), request=Unhashable(7, "ask", b"data", target="a", notes=["x"]))], START_NS + SECOND
    )
    session = reader.session(reader.rows(0, 1)[0])
    assert session is not None
    assert type(session.request) is Request
    assert (session.request.operation, session.request.data) == ("ask", b"data")


def test_heads_too_long_to_keep_are_left_out() -> None:
    with small_store() as (writer, reader):
        session = asking()
        assert session.request is not None
        session.request.data = bytes(30_000)
        write(writer, [session, asking()], START_NS + SECOND)
        long, short = reader.rows(0, 2)
        assert (long.has_heads, short.has_heads) == (False, True)
        restored = reader.session(long)
        assert restored is not None
        assert restored.request is not None
        assert (restored.request.data, restored.request.target) == (b"", "a.b")


def test_more_waits_than_is_shown() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    bound = Layout.of(MIN_BYTES).inflight[1]
    waiting = []
    for number in range(bound + 5):
        session = asking()
        assert session.request is not None
        session.request.id = number
        waiting.append(
            replace(session, status=Status.INFLIGHT, reply=None, times=Times(START_NS + number, START_NS + number))
        )
    writer.inflight(waiting, START_NS + SECOND)
    inflight = reader.inflight()
    assert (inflight.total, len(inflight.rows)) == (bound + 5, bound)
    assert [row.request_id for row in inflight.rows] == list(range(bound))
    writer.inflight([], START_NS + SECOND)
    assert reader.inflight().rows == ()


def test_what_protocols_learned_gives_way_first() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    processes = tuple(ProcessFacts(Process(pid, "java")) for pid in range(3))
    groups = [["x" * 100, number] for number in range(4_000)]
    writer.facts(Facts(host="db1", processes=processes, learned={"kafka": {"groups": groups, "over": 7}}))
    facts = reader.facts()
    kept = facts.learned["kafka"]["groups"]
    assert 0 < len(kept) < 4_000
    assert kept == groups[: len(kept)]
    assert (facts.learned["kafka"]["over"], facts.processes) == (7, processes)
    writer.facts(Facts(host="db1", processes=processes, learned={"kafka": {"groups": [["x" * (1 << 20)]]}}))
    assert (reader.facts().learned, reader.facts().processes) == ({}, processes)


def test_facts_with_too_many_processes_lose_the_last_ones() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    processes = tuple(ProcessFacts(Process(pid, "p" * 50)) for pid in range(1000))
    writer.facts(Facts(host="db1", processes=processes))
    facts = reader.facts()
    assert facts.host == "db1"
    assert 0 < len(facts.processes) < 1000
    assert facts.processes == processes[: len(facts.processes)]


def test_an_error_text_comes_back_with_its_session() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    session = asking()
    session.status = Status.ERROR
    assert session.reply is not None
    session.reply.failure = Failure(11000, "DuplicateKey", "E11000 dup key: { _id: 7 }")
    write(writer, [session], START_NS + SECOND)
    (row,) = reader.rows(0, 1)
    assert (row.error_code, row.error_name) == (11000, "DuplicateKey")
    restored = reader.session(row)
    assert restored is not None
    assert restored.reply is not None
    assert restored.reply.failure == session.reply.failure


def test_a_second_without_a_fold_is_a_gap_and_its_rate_is_right() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    for second in (1, 2, 5, 6):
        write(writer, [asking()] * 10, START_NS + second * SECOND)
    (series,) = reader.series((), Window.S10)
    assert [point and point.totals.requests for point in series.points][-6:] == [10, 10, None, None, 10, 10]
    point = series.points[-2]
    assert point is not None
    assert point.rate(point.totals.requests) == pytest.approx(10 / 3)
    assert reader.groups((), Window.S10).rate(40) == pytest.approx(40 / 6)


def test_a_store_with_nothing_in_it_answers() -> None:
    writer = Writer(MIN_BYTES, START_NS)
    reader = Reader(writer.fd)
    for _ in range(2):
        for window in Window:
            groups = reader.groups(("protocol",), window)
            assert (groups.groups, groups.seconds, groups.rate(1)) == ((), 0.0, 0.0)
            assert reader.series(("protocol",), window) == ()
            assert reader.heatmap(window).counts == ()
        assert reader.baseline(("protocol",)).seconds == 0.0
        assert reader.rows(0, 10) == ()
        assert reader.matching([Is("operation", "find")]).numbers.tolist() == []
        assert reader.inflight().rows == ()
        assert reader.facts() == Facts()
        assert reader.use().rows == 0
        assert reader.span().next == 0


def test_fields_that_do_not_exist_are_refused() -> None:
    reader = Reader(Writer(MIN_BYTES, START_NS).fd)
    with pytest.raises(ValueError, match="shoe_size"):
        reader.groups(("shoe_size",), Window.M1)
    with pytest.raises(ValueError, match="shoe_size"):
        reader.groups((), Window.M1, [Is("shoe_size", 44)])


def test_at_the_end_the_last_second_counts_though_it_is_not_over() -> None:
    traffic, writer = Traffic(), Writer(64 << 20, START_NS)
    reader = Reader(writer.fd)
    sessions = list(traffic.second(START_NS + SECOND // 2))
    for session in sessions:
        writer.session(session)
    writer.flush(START_NS + SECOND // 2)
    assert not reader.groups(("protocol",), Window.START).groups
    for _ in range(2):
        writer.finish(START_NS + SECOND // 2)
    for window in (Window.S1, Window.M1, Window.START):
        groups = reader.groups(("protocol",), window)
        assert sum(group.totals.requests for group in groups.groups) == len(sessions)
        assert groups.seconds == 0.5
