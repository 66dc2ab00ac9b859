"""The store in shared memory says what plain Python says of the same sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace

import pytest

from probes.filters import parse, tokenize
from probes.records import Connection, Session
from probes.store.reader import Reader
from probes.store.view import GROUP_FIELDS, Condition, Groups, Is, Quantiles, Totals, View, Window
from probes.store.writer import Writer
from tests.store.model import Model
from tests.store.synthetic import START_NS, Traffic, feed, into, into_model

SECONDS = 187


@pytest.fixture(scope="module")
def views() -> tuple[View, View]:
    """A reader, and the model of what it is to say."""
    writer, model = Writer(32 << 20, START_NS), Model(START_NS)
    feed(into(writer), SECONDS, scale=0.2)
    feed(into_model(model), SECONDS, scale=0.2)
    return Reader(writer.fd), model


BYS = [
    (),
    *((field,) for field in GROUP_FIELDS),
    ("protocol", "operation", "version", "target"),
    ("client", "error_name", "pid"),
]
FILTERS = (
    "",
    "protocol:kafka",
    "operation:f*",
    "operation!=find",
    "target:shop.orders status:error",
    "error:DuplicateKey",
    "error:11000",
    "error!=*",
    "version>8",
    "version!=9",
    "client:10.0.3.*",
    "client!=10.0.3.4",
    "server:*:9092",
    "process:mongod",
    "pid:903",
    "pid>800",
    "long_poll:true",
    "seen_from:server status:lost",
    "operation:nothing",
)
LOG_FILTERS = (
    "duration>10ms",
    "duration<=1ms protocol:mongodb",
    "wait>400ms",
    "request_bytes>100 response_bytes<10k",
    "truncated:true",
    "client:10.0.3.4:40003",
    "client:*3",
)


def conditions(text: str) -> Sequence[Condition]:
    return parse(tokenize(text))


def close(measured: Quantiles, exact: Quantiles) -> bool:
    """Percentiles within 5 %, everything else exact."""
    pairs = zip((measured.p50, measured.p90, measured.p99), (exact.p50, exact.p90, exact.p99), strict=True)
    return (measured.count, measured.max) == (exact.count, exact.max) and all(
        abs(a - b) <= max(1, 0.05 * b) for a, b in pairs
    )


def exactly(totals: Totals) -> Totals:
    return replace(totals, durations=Quantiles(), waits=Quantiles())


def same_totals(measured: Totals, exact: Totals) -> None:
    assert exactly(measured) == exactly(exact)
    assert close(measured.durations, exact.durations), (measured.durations, exact.durations)
    assert close(measured.waits, exact.waits), (measured.waits, exact.waits)


def same_groups(measured: Groups, exact: Groups) -> None:
    assert [(group.key, group.inflight) for group in measured.groups] == [
        (group.key, group.inflight) for group in exact.groups
    ]
    for one, other in zip(measured.groups, exact.groups, strict=True):
        same_totals(one.totals, other.totals)
    assert measured.seconds == exact.seconds
    assert (measured.start_ns, measured.end_ns, measured.by) == (exact.start_ns, exact.end_ns, exact.by)


def facts_of(session: Session | None) -> list[object]:
    """All that a session says, to be compared: connections are equal where what they say is."""
    assert session is not None
    values = (getattr(session, each.name) for each in fields(session))
    return [asdict(value) if isinstance(value, Connection) else value for value in values]


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("by", BYS, ids="-".join)
def test_groups(views: tuple[View, View], by: tuple[str, ...], window: Window) -> None:
    reader, model = views
    same_groups(reader.groups(by, window), model.groups(by, window))


@pytest.mark.parametrize("text", FILTERS)
def test_filtered_groups(views: tuple[View, View], text: str) -> None:
    reader, model = views
    where = conditions(text)
    for window in Window:
        same_groups(
            reader.groups(("operation", "client"), window, where), model.groups(("operation", "client"), window, where)
        )
    same_groups(reader.baseline(("target",), where), model.baseline(("target",), where))


@pytest.mark.parametrize("text", FILTERS + LOG_FILTERS)
def test_matching_rows(views: tuple[View, View], text: str) -> None:
    reader, model = views
    measured, exact = reader.matching(conditions(text)), model.matching(conditions(text))
    assert measured.numbers.tolist() == exact.numbers.tolist()
    assert (measured.oldest, measured.next) == (exact.oldest, exact.next)
    later = exact.next - 100
    assert reader.matching(conditions(text), later).numbers.tolist() == [n for n in exact.numbers if n >= later]


@pytest.mark.parametrize("text", LOG_FILTERS)
def test_groups_that_only_the_log_knows(views: tuple[View, View], text: str) -> None:
    reader, model = views
    measured = reader.groups(("operation",), Window.START, conditions(text))
    exact = model.groups(("operation",), Window.START, conditions(text))
    assert measured.from_log
    same_groups(replace(measured, from_log=False), exact)


@pytest.mark.parametrize(
    "by", [("protocol", "operation"), ("pid", "client"), ("server", "error_name"), ("version", "client_process")]
)
def test_the_members_of_a_group_are_as_many_as_it_counted(views: tuple[View, View], by: tuple[str, ...]) -> None:
    reader, _ = views
    groups = reader.groups(by, Window.START).groups
    assert groups
    for group in groups:
        where = [Is(field, value) for field, value in zip(by, group.key, strict=True)]
        assert len(reader.matching(where).numbers) == group.totals.requests
        assert reader.groups(by, Window.START, where).groups == (group,)


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("text", ["", "protocol:kafka", "operation:nothing"])
def test_series(views: tuple[View, View], window: Window, text: str) -> None:
    reader, model = views
    by = ("protocol", "operation")
    measured, exact = reader.series(by, window, conditions(text)), model.series(by, window, conditions(text))
    assert [(each.key, each.step_s, each.end_ns) for each in measured] == [
        (each.key, each.step_s, each.end_ns) for each in exact
    ]
    for one, other in zip(measured, exact, strict=True):
        for point, exact_point in zip(one.points, other.points, strict=True):
            assert (point is None) == (exact_point is None)
            if point is not None and exact_point is not None:
                assert (point.start_ns, point.end_ns) == (exact_point.start_ns, exact_point.end_ns)
                same_totals(point.totals, exact_point.totals)


@pytest.mark.parametrize("window", Window)
def test_heatmap(views: tuple[View, View], window: Window) -> None:
    reader, model = views
    where = conditions("protocol:mongodb")
    measured, exact = reader.heatmap(window, where), model.heatmap(window, where)
    assert (measured.step_s, measured.end_ns, measured.bands_ns) == (exact.step_s, exact.end_ns, exact.bands_ns)
    for slot, exact_slot in zip(measured.counts, exact.counts, strict=True):
        assert (slot is None) == (exact_slot is None)
        if slot is not None and exact_slot is not None:
            assert sum(slot) == sum(exact_slot)
            # A bucket that lies across a border counts as where its middle is.
            moved = sum(abs(a - b) for a, b in zip(slot, exact_slot, strict=True)) / 2
            assert moved <= 0.1 * sum(slot) + 2


def test_rows_and_what_waits(views: tuple[View, View]) -> None:
    reader, model = views
    assert reader.span() == model.span()
    last = reader.span().next
    assert reader.rows(0, 50) == model.rows(0, 50)
    assert reader.rows(last - 300, 1000) == model.rows(last - 300, 1000)
    assert reader.pick([5, 3, 11]) == model.pick([5, 3, 11])
    assert reader.inflight() == model.inflight()
    assert reader.inflight(conditions("protocol:kafka")) == model.inflight(conditions("protocol:kafka"))
    assert reader.facts() == model.facts()


def test_a_session_comes_back_as_it_was(views: tuple[View, View]) -> None:
    reader, model = views
    traffic = Traffic()
    for row in (*reader.rows(3000, 400), *reader.inflight().rows):
        session, original = reader.session(row), model.session(row)
        assert session is not None
        assert original is not None
        assert facts_of(session) == facts_of(original)
        protocol = traffic.protocols[row.protocol]
        assert protocol.record(session, literals=True) == protocol.record(original, literals=True)
