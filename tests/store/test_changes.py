"""What is called a change, what is not, and since when."""

from __future__ import annotations

import pytest

from probes.filters import FilterError, Term
from probes.store.changes import Change, Kind, begun_ns, changes, fields, where_of
from probes.store.view import Is, View
from tests.store.model import Model
from tests.store.synthetic import LOADS, SECOND, START_NS, Traffic, synthetic_view

_CALM = tuple(load for load in LOADS if load.later is None)


@pytest.fixture(scope="module")
def view() -> View:
    return synthetic_view(150, scale=0.5)


def found(view: View, kind: Kind) -> list[Change]:
    return [change for change in changes(view)[1] if change.kind is kind]


def test_without_a_baseline_nothing_is_new() -> None:
    assert changes(synthetic_view(75, scale=0.1)) == (0.0, [])
    assert changes(Model(START_NS)) == (0.0, [])


def test_where_nothing_changes_nothing_is_told() -> None:
    traffic, model = Traffic(loads=_CALM), Model(START_NS)
    for second in range(1, 131):
        for session in traffic.second(START_NS + second * SECOND):
            model.add(session)
        model.fold(START_NS + second * SECOND)
    baseline_s, told = changes(model)
    assert baseline_s >= 60
    assert [change for change in told if change.kind is not Kind.ERROR] == []


def test_an_operation_that_became_slow(view: View) -> None:
    (slower,) = found(view, Kind.SLOWER)
    assert slower.key == ("mongodb", "find", None, "shop.orders")
    assert slower.now > 5 * slower.before > 0
    begun = begun_ns(view, slower)
    assert begun is not None
    assert abs(begun - START_NS - 100 * SECOND) <= 2 * SECOND


def test_an_error_that_became_frequent(view: View) -> None:
    worst = found(view, Kind.ERROR)[0]
    assert worst.key == ("mongodb", "insert", None, "shop.orders", "DuplicateKey")
    begun = begun_ns(view, worst)
    assert begun is not None
    assert abs(begun - START_NS - 110 * SECOND) <= 2 * SECOND


def test_a_client_and_an_operation_that_were_not_there(view: View) -> None:
    (client,) = found(view, Kind.CLIENT)
    assert client.key[:2] == ("mongodb", "10.0.3.99")
    assert client.before == 0 < client.now
    (operation,) = found(view, Kind.OPERATION)
    assert operation.key[1] == "count"
    begun = begun_ns(view, operation)
    assert begun is not None
    assert abs(begun - START_NS - 105 * SECOND) <= 2 * SECOND


def test_the_conditions_of_a_change_lead_to_its_requests(view: View) -> None:
    for change in changes(view)[1]:
        conditions = where_of(change.kind, change.key)
        assert len(view.matching(conditions).numbers)
        assert conditions == tuple(Is(*pair) for pair in zip(fields(change.kind), change.key, strict=True))


def test_of_each_kind_the_weightiest_comes_first(view: View) -> None:
    told = changes(view)[1]
    first = [change.kind for change in told[: len({change.kind for change in told})]]
    assert first == sorted(set(first))


def test_a_filter_holds_here_too(view: View) -> None:
    told = changes(view, (Term("protocol", "=", "kafka"),))[1]
    assert all(change.key[0] == "kafka" for change in told)
    with pytest.raises(FilterError):
        changes(view, (Term("colour", "=", "red"),))


def test_traffic_that_stopped() -> None:
    traffic, model = Traffic(loads=_CALM), Model(START_NS)
    for second in range(1, 191):
        sessions = traffic.second(START_NS + second * SECOND)
        for session in sessions:
            if second < 100 or session.protocol == "kafka":
                model.add(session)
        model.fold(START_NS + second * SECOND)
    fewer = found(model, Kind.FEWER)
    assert {change.key[1] for change in fewer} >= {"getMore", "aggregate"}
    begun = begun_ns(model, fewer[0])
    assert begun is not None
    assert abs(begun - START_NS - 100 * SECOND) <= 10 * SECOND
