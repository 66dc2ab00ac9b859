"""Requests: the live log, what waits first, newest next; a filter, and a place that is kept."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult

from probes.store.view import InFlight, Row, View, Window
from tui.bindings import bindings
from tui.panel import Detail, Panel, Where
from tui.text import fit
from tui.widgets import numbers
from tui.widgets.lines import Part, TextLines
from tui.widgets.log import LogRows, LogTable, Numbers, RowCache, key_of
from tui.widgets.table import LineTable


class RequestsPanel(Panel):
    ident = "requests"
    title = "Requests"
    BINDINGS = bindings("requests")
    DEFAULT_CSS = """
    RequestsPanel { layout: vertical; }
    RequestsPanel LogTable { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(id=self.ident)
        self._cache = RowCache()
        self._where: Where = ()
        self._matching: Numbers = range(0)
        self._next = 0
        self._found = ""

    def compose(self) -> ComposeResult:
        yield TextLines(id="requests-state")
        yield LogTable(empty="no request fits", id="requests-log")

    @property
    def table(self) -> LogTable:
        return self.query_one(LogTable)

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        table = self.table
        if where != self._where:
            self._where, self._matching, self._next = where, range(0), 0
            table.clear_cursor()
        self._match(view)
        inflight = view.inflight(where)
        most = max(3, table.page // 3) if len(self._matching) else inflight.total
        # What is read stays, so that a row which has gone tells that its request waits no more.
        first = [row for place, row in enumerate(inflight.rows) if place < most or key_of(row) == table.cursor_key]
        table.show(LogRows(view, first, self._matching, now_ns, self._cache))
        ended = sum(group.totals.requests for group in view.groups(("protocol",), window, where).groups)
        self._show_state(view, window, inflight, ended)

    def newest(self, most: int) -> list[Row]:
        """The newest of those that fit, the oldest first, then what waits."""
        rows = self.table.shown
        return [] if rows is None else rows.newest(most)

    def forget(self) -> None:
        self._cache, self._matching, self._next = RowCache(), range(0), 0
        self.table.clear_cursor()

    def focus_table(self) -> None:
        self.table.focus()

    def action_follow(self) -> None:
        self.table.clear_cursor()
        self._tell()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        row = self.table.request
        if row is not None:
            self.post_message(Detail(row))

    def on_line_table_highlighted(self) -> None:
        self._tell()

    def on_resize(self) -> None:
        self._tell()  # there was no room before the panel was first laid out

    def _match(self, view: View) -> None:
        """Which rows fit, as far as they are not known yet; without those that are gone."""
        span = view.span()
        if not self._where:
            self._matching, self._next = range(span.oldest, span.next), span.next
            return
        if self._next > span.next:  # an older view, of a screen that was frozen
            self._matching, self._next = range(0), 0
        found = view.matching(self._where, self._next)
        known = np.asarray(self._matching, np.int64)
        known = known[np.searchsorted(known, span.oldest) :]
        self._matching, self._next = np.concatenate([known, found.numbers]) if len(known) else found.numbers, found.next

    def _show_state(self, view: View, window: Window, inflight: InFlight, ended: int) -> None:
        kept = view.span().next - view.span().oldest
        waiting = f" {numbers.count(inflight.total)} waiting " if inflight.total else ""
        of_all = f" of {numbers.count(kept)}" if self._where else ""
        self._found = (
            f"{waiting} {window.label} {numbers.exact(ended)}  log {numbers.exact(len(self._matching))}{of_all} "
        )
        self._tell()

    def _tell(self) -> None:
        """The first line: how far from the newest one is, and what was found."""
        line = self.query_one("#requests-state", TextLines)
        newer = self.table.newer
        if newer:
            place = Part(f"+{numbers.exact(newer)} newer above, f follows", "warn")
        elif self.table.cursor_key is not None:
            place = Part("holding this place, f follows", "loud")
        else:
            place = Part("newest first", "title")
        room = max(0, line.size.width - len(self._found) - 1)
        line.show([[" ", Part(fit(place.text, room), place.hint), Part(self._found, "quiet")]])
