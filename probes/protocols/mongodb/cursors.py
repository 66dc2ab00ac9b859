"""The cursors on which a getMore may wait for data: tailable awaitData cursors and change streams."""

from __future__ import annotations


class WaitingCursors:
    """The ids of such cursors, of all connections, the most recent ones only."""

    __slots__ = ("_bound", "_ids")

    def __init__(self, bound: int = 8192) -> None:
        self._bound = bound
        self._ids: dict[int, None] = {}

    def __contains__(self, cursor_id: object) -> bool:
        return cursor_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, cursor_id: int) -> None:
        """Remember `cursor_id`, and forget the oldest one past the bound. 0 is no cursor."""
        if cursor_id:
            self._ids.pop(cursor_id, None)
            self._ids[cursor_id] = None
            if len(self._ids) > self._bound:
                del self._ids[next(iter(self._ids))]

    def discard(self, cursor_id: int) -> None:
        self._ids.pop(cursor_id, None)
