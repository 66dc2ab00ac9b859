"""A frozen view stands still; what was not asked before is asked now, and it tells so."""

from __future__ import annotations

from probes.filters import Term
from probes.store.view import Is, View, Window
from tests.tui.preview import Moving
from tui.snapshot import FrozenView

KAFKA = (Is("protocol", "kafka"),)
BY = ("protocol", "operation")


def test_it_stands_still() -> None:
    moving = Moving(70)
    now_ns = moving.clock()
    frozen = FrozenView(moving.view, now_ns, moving.clock)
    for where in ((), KAFKA):
        frozen.groups(BY, Window.M1, where)
        frozen.baseline(BY, where)
        frozen.series(BY, Window.M1, where)
        frozen.heatmap(Window.M1, where)
        frozen.inflight(where)
    frozen.complete()
    before = everything(frozen)
    rows = frozen.rows(0, 1_000_000)
    moving.skip(5)
    moving.clock()
    assert everything(frozen) == before
    assert frozen.rows(0, 1_000_000) == rows
    assert frozen.asked_ns == frozen.frozen_ns == now_ns
    assert frozen.new_rows() == moving.view.span().next - frozen.span().next > 0
    assert everything(moving.view) != before


def everything(view: View) -> list[object]:
    answers: list[object] = [view.span(), view.facts(), view.use(), view.heartbeat_ns()]
    for where in ((), KAFKA):
        answers += [
            view.groups(BY, Window.M1, where),
            view.baseline(BY, where),
            view.series(BY, Window.M1, where),
            view.heatmap(Window.M1, where),
            view.inflight(where),
            view.matching(where).numbers.tolist(),
            view.matching(where).next,
        ]
    return answers


def test_what_was_not_asked_before_tells_when_it_was() -> None:
    moving = Moving(5)
    frozen = FrozenView(moving.view, moving.clock(), moving.clock)
    frozen.groups(BY, Window.M1)
    frozen.complete()
    moving.skip(3)
    moving.clock()
    answer = frozen.groups(BY, Window.S1)
    assert frozen.asked_ns > frozen.frozen_ns
    assert frozen.groups(BY, Window.S1) is answer


def test_rows_end_where_it_froze() -> None:
    moving = Moving(5)
    frozen = FrozenView(moving.view, moving.clock(), moving.clock)
    end = frozen.span().next
    moving.skip(3)
    moving.clock()
    assert moving.view.span().next > end
    assert not frozen.rows(end, 10)
    assert len(frozen.rows(end - 2, 10)) == 2
    slow = (Term("duration", ">", "10ms"),)
    found = frozen.matching(slow)
    assert found.next == end
    assert found.numbers[-1] < end
    assert not len(frozen.matching(slow, end).numbers)
    (row,) = frozen.pick([end - 1])
    assert frozen.session(row) is not None
