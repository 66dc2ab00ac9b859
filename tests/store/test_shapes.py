"""Shapes are read from the log's heads by who asks for them: exactly, once a row, and within a bounded time."""

from __future__ import annotations

import pytest

from probes.filters import FilterError, parse, tokenize
from probes.store import log
from probes.store.reader import Reader
from probes.store.view import UNKNOWN, Is, View, Window
from probes.store.writer import Writer
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS, Traffic, feed, into, into_model

FIND = "find orders {status: str}"


@pytest.fixture(scope="module")
def views() -> tuple[Reader, Model]:
    writer, model = Writer(32 << 20, START_NS), Model(START_NS)
    feed(into(writer), 20, scale=0.2)
    feed(into_model(model), 20, scale=0.2)
    return Reader(writer.fd), model


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_GROUPS_BUDGET_S", 60.0)
    monkeypatch.setattr(log, "_MATCHING_BUDGET_S", 60.0)


@pytest.mark.parametrize("by", [("shape",), ("shape", "target"), ("protocol", "shape")])
@pytest.mark.parametrize("text", ["", "shape:find*", "shape!=find* operation:f*", "status:error", 'shape:"*{_id*"'])
@pytest.mark.usefixtures("patient")
def test_groups(views: tuple[View, View], by: tuple[str, ...], text: str) -> None:
    reader, model = views
    where = parse(tokenize(text))
    measured, exact = (view.groups(by, Window.START, where) for view in (reader, model))
    assert measured.from_log
    assert [(each.key, each.inflight) for each in measured.groups] == [
        (each.key, each.inflight) for each in exact.groups
    ]
    assert [each.totals.requests for each in measured.groups] == [each.totals.requests for each in exact.groups]
    assert [each.totals.durations.max for each in measured.groups] == [
        each.totals.durations.max for each in exact.groups
    ]


@pytest.mark.usefixtures("patient")
def test_matching(views: tuple[View, View]) -> None:
    reader, model = views
    for where in (
        parse(tokenize('shape:"find orders*"')),
        [Is("shape", FIND)],
        [Is("protocol", "mongodb"), Is("shape", "")],
        parse(tokenize("shape!=find*")),
    ):
        found, expected = reader.matching(where), model.matching(where)
        assert found.numbers.tolist() == expected.numbers.tolist()
        assert reader.inflight(where) == model.inflight(where)
    assert len(reader.matching([Is("shape", FIND)]).numbers) > 0
    assert reader.inflight(parse(tokenize("shape!=find*"))).rows


def test_what_there_was_no_time_for_is_not_known(views: tuple[View, View], monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(32 << 20, START_NS)
    reader = Reader(writer.fd)
    feed(into(writer), 20)
    monkeypatch.setattr(log, "_GROUPS_BUDGET_S", 0.0)
    monkeypatch.setattr(log, "_MATCHING_BUDGET_S", 0.0)
    found = reader.matching([Is("shape", FIND)])
    assert found.oldest > 0
    assert all(found.oldest <= number for number in found.numbers)
    total = sum(group.totals.requests for group in reader.groups(("shape",), Window.START).groups)
    unknown: list[int] = []
    while not unknown or unknown[-1]:  # what was read is remembered, so that each question gets further
        groups = reader.groups(("shape",), Window.START).groups
        assert sum(group.totals.requests for group in groups) == total
        unknown.append(sum(group.totals.requests for group in groups if group.key == (UNKNOWN,)))
        assert len(unknown) < 2 or unknown[-1] < unknown[-2]
    assert unknown[0] > 0


def test_rows_take_the_places_of_others() -> None:
    writer, model = Writer(4 << 20, START_NS), Model(START_NS)
    reader = Reader(writer.fd)
    traffic = Traffic(scale=20)
    for second in range(1, 16):
        now_ns = START_NS + second * SECOND
        for session in traffic.second(now_ns):
            writer.session(session)
            model.add(session)
        writer.fold(now_ns)
        span = reader.span()
        for row in reader.rows(span.next - 5, 5):
            (exact,) = {s.request.shape for s in model.log[row.number : row.number + 1] if s.request}
            assert row.number in reader.matching([Is("shape", exact)], row.number).numbers
    assert reader.span().oldest > 0


def test_rates_over_time_by_shape_are_refused(views: tuple[View, View]) -> None:
    reader, _ = views
    with pytest.raises(FilterError):
        reader.series(("shape",), Window.M1)
    with pytest.raises(FilterError):
        reader.series(("protocol",), Window.M1, [Is("shape", FIND)])
