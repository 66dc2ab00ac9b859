"""What is called a change, what is not, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from probes.filters import FilterError, Term
from probes.store.changes import Change, Kind, begun_ns, changes, fields, where_of
from probes.store.view import UNKNOWN, Condition, Groups, Is, View, Window
from tests.store.model import Model
from tests.store.synthetic import LOADS, SECOND, START_NS, Load, Traffic, synthetic_view
from tests.unit.mongodb_messages import answer, command

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
    for kind in Kind:
        of_kind = [change for change in told if change.kind is kind]
        assert of_kind == sorted(of_kind, key=lambda change: (change.before > 0, -change.weight))


def test_good_news_come_last(view: View) -> None:
    kinds = [change.kind for change in changes(view)[1]]
    assert Kind.FASTER not in kinds[: len(kinds) - kinds.count(Kind.FASTER)]


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


FIND = command({"find": "orders", "filter": {"status": "new"}, "$db": "shop"})
OTHER_FIND = command({"find": "orders", "filter": {"$where": "slow()"}, "$db": "shop"})
NEW_SHAPE = ("mongodb", "find", "shop.orders", "find orders {$where: str}")


def finds(seconds: int, *, since_s: int) -> Model:
    """A model of finds, another one among them from `since_s` on."""
    loads = (
        Load("mongodb", FIND, answer({"ok": 1.0}), 5, 1.0),
        Load("mongodb", OTHER_FIND, answer({"ok": 1.0}), 0, 1.0, changes_at_s=since_s, later={"rate": 2.0}),
    )
    traffic, model = Traffic(loads=loads), Model(START_NS)
    for second in range(1, seconds + 1):
        for session in traffic.second(START_NS + second * SECOND):
            model.add(session)
        model.fold(START_NS + second * SECOND)
    return model


def test_a_shape_that_was_not_there() -> None:
    model = finds(150, since_s=110)
    (shape,) = found(model, Kind.SHAPE)
    assert shape.key == NEW_SHAPE
    assert shape.before == 0 < shape.now
    begun = begun_ns(model, shape)
    assert begun is not None
    assert abs(begun - START_NS - 110 * SECOND) <= 2 * SECOND


def test_a_shape_that_was_there_is_not_new() -> None:
    assert found(finds(150, since_s=60), Kind.SHAPE) == []
    assert found(finds(80, since_s=60), Kind.SHAPE) == []  # too soon to tell


def test_a_shape_of_a_log_that_could_not_all_be_read_is_not_new(monkeypatch: pytest.MonkeyPatch) -> None:
    model = finds(150, since_s=110)
    groups = model.groups

    def as_read(by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> Groups:
        answer = groups(by, window, where)
        return replace(answer, groups=(*answer.groups, replace(answer.groups[0], key=("mongodb", "find", "", UNKNOWN))))

    monkeypatch.setattr(model, "groups", as_read)
    assert found(model, Kind.SHAPE) == []


def test_of_a_long_log_no_shape_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = finds(150, since_s=110)
    assert found(model, Kind.SHAPE)
    monkeypatch.setattr("probes.store.changes.MOST_ROWS", model.span().next - 1)
    assert found(model, Kind.SHAPE) == []


def test_shapes_of_a_new_operation_are_told_as_that_alone(view: View) -> None:
    assert [change.key[1] for change in found(view, Kind.OPERATION)] == ["count"]
    assert found(view, Kind.SHAPE) == []
