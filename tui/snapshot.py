"""A view that stands still, for a frozen screen, while the store beneath it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from probes.records import Session
from probes.store.view import (
    Condition,
    Exchange,
    Facts,
    Groups,
    Heatmap,
    InFlight,
    Matches,
    Row,
    Series,
    Span,
    StoreUse,
    View,
    Window,
)

Answer = TypeVar("Answer")


class FrozenView:
    """`view` as it was at `now_ns`: a `View` whose log ends there and whose answers do not change.

    A question about rates that was not asked at that moment is answered as of when it is first asked: `asked_ns`, then
    later than `frozen_ns`, is when that last was, and the screen has to say so. Rows keep their numbers, and those that
    the store has given up since are gone here too.
    """

    def __init__(self, view: View, now_ns: int, clock: Callable[[], int]) -> None:
        self.frozen_ns = self.asked_ns = now_ns
        self._view = view
        self._clock = clock
        self._next = view.span().next
        self._facts, self._use, self._heartbeat_ns = view.facts(), view.use(), view.heartbeat_ns()
        self._answers: dict[tuple[Any, ...], Any] = {}

    def complete(self) -> None:
        """Everything that was on screen has been asked: what is asked from now on is asked later."""
        self.asked_ns = self.frozen_ns

    def new_rows(self) -> int:
        """How many rows the log has had since."""
        return self._view.span().next - self._next

    def facts(self) -> Facts:
        return self._facts

    def use(self) -> StoreUse:
        return self._use

    def heartbeat_ns(self) -> int:
        return self._heartbeat_ns

    def groups(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> Groups:
        return self._once(lambda: self._view.groups(by, window, where), "groups", *by, window, *where)

    def baseline(self, by: Sequence[str], where: Sequence[Condition] = ()) -> Groups:
        return self._once(lambda: self._view.baseline(by, where), "baseline", *by, *where)

    def series(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> tuple[Series, ...]:
        return self._once(lambda: self._view.series(by, window, where), "series", *by, window, *where)

    def heatmap(self, window: Window, where: Sequence[Condition] = ()) -> Heatmap:
        return self._once(lambda: self._view.heatmap(window, where), "heatmap", window, *where)

    def inflight(self, where: Sequence[Condition] = ()) -> InFlight:
        return self._once(lambda: self._view.inflight(where), "inflight", *where)

    def span(self) -> Span:
        span = self._view.span()
        return Span(min(span.oldest, self._next), self._next, span.since_ns)

    def rows(self, first: int, count: int) -> tuple[Row, ...]:
        return self._view.rows(first, max(0, min(count, self._next - first)))

    def pick(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Row, ...]:
        return self._view.pick(numbers)

    def matching(self, where: Sequence[Condition], first: int = 0) -> Matches:
        found = self._view.matching(where, first)
        numbers = found.numbers[: np.searchsorted(found.numbers, self._next)]
        return Matches(numbers, min(found.oldest, self._next), min(found.next, self._next))

    def exchanges(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Exchange]:
        return self._view.exchanges(numbers)

    def session(self, row: Row) -> Session | None:
        return self._view.session(row)

    def _once(self, ask: Callable[[], Answer], *question: Any) -> Answer:
        if question not in self._answers:
            self._answers[question] = ask()
            self.asked_ns = self._clock()
        answer: Answer = self._answers[question]
        return answer
