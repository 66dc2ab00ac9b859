"""MongoDB's cursors and transactions, learned from the log's rows, when somebody looks."""

from __future__ import annotations

import time

import numpy as np

from probes.protocols.mongodb.lives import Cursor, End, Lives
from probes.store.view import Is, Row, View

_MOST_OF_ONE = 5_000  # rows that are looked at for one cursor
_BUDGET_S = 0.03  # for one refresh: keys wait meanwhile
_BLOCK = 64  # rows between two looks at the clock
_MOST_BEHIND = 100_000  # rows: older ones are left out


def life_of_cursor(view: View, row: Row, id: int) -> tuple[Cursor, End | None] | None:
    """What the log tells of the cursor with which `row` has to do, and how it ended, None where it is open."""
    where = (Is("protocol", row.protocol), Is("target", row.target), Is("server", str(row.server)))
    lives = Lives()
    for exchange in view.exchanges(view.matching(where).numbers[-_MOST_OF_ONE:]):
        lives.take(exchange)
    return lives.cursor(id)


class Following:
    """`update(view)` once a second; then `lives` is up to date, but for the last `behind` requests.

    `skipped` requests were too many to be looked at: what they opened or closed is not known.
    """

    def __init__(self) -> None:
        self.lives = Lives()
        self.skipped = 0
        self._next = 0
        self._pending = np.empty(0, np.int64)

    @property
    def behind(self) -> int:
        """How many requests are still to be looked at."""
        return len(self._pending)

    def update(self, view: View) -> None:
        """Look at what is new, as far as time allows."""
        found = view.matching((Is("protocol", "mongodb"),), self._next)
        if found.next < self._next:
            return  # the view of a frozen screen
        self._next = found.next
        pending = np.concatenate([self._pending, found.numbers])
        self.skipped += max(0, len(pending) - _MOST_BEHIND)
        pending = pending[-_MOST_BEHIND:]
        until = time.perf_counter() + _BUDGET_S
        while len(pending) and time.perf_counter() < until:
            for exchange in view.exchanges(pending[:_BLOCK]):
                self.lives.take(exchange)
            pending = pending[_BLOCK:]
        self._pending = pending
