"""Requests: the live log, what waits first, newest next; a filter, and a place that is kept."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult

from probes.filters import Term
from probes.store.view import Condition, InFlight, Is, View, Window
from tui.bindings import bindings
from tui.panel import Detail, Panel, Where
from tui.text import fit
from tui.widgets import numbers
from tui.widgets.groups import text_of
from tui.widgets.lines import Part, TextLines
from tui.widgets.log import LogRows, LogTable, Numbers
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
        self._rows: LogRows | None = None
        self._where: Where = ()
        self._matching: Numbers = range(0)
        self._next = 0
        self._found = ""

    def compose(self) -> ComposeResult:
        yield TextLines(id="requests-where")
        yield LogTable(empty="no request fits", id="requests-log")

    @property
    def table(self) -> LogTable:
        return self.query_one(LogTable)

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        table = self.table
        if self._rows is None or where != self._where:
            self._rows = LogRows(view.facts().wall_offset_ns)
            self._where, self._matching, self._next = where, range(0), 0
            table.clear_cursor()
        self._match(view)
        inflight = view.inflight(where)
        self._rows.set(view, inflight, max(3, table.page // 3), self._matching, now_ns)
        table.show(self._rows)
        ended = sum(group.totals.requests for group in view.groups(("protocol",), window, where).groups)
        self._show_where(view, window, inflight, ended)

    def focus_table(self) -> None:
        self.table.focus()

    def action_follow(self) -> None:
        self.table.clear_cursor()
        self._tell()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        row = self._rows.row(message.key) if self._rows is not None else None
        if row is not None:
            self.post_message(Detail(row))

    def on_line_table_highlighted(self) -> None:
        self._tell()

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
        known = known[np.searchsorted(known, found.oldest) :]
        self._matching, self._next = np.concatenate([known, found.numbers]) if len(known) else found.numbers, found.next

    def _show_where(self, view: View, window: Window, inflight: InFlight, ended: int) -> None:
        kept = view.span().next - view.span().oldest
        waiting = f" {numbers.count(inflight.total)} waiting " if inflight.total else ""
        of_all = f" of {numbers.count(kept)}" if self._where else ""
        self._found = (
            f"{waiting} {window.label} {numbers.exact(ended)}  log {numbers.exact(len(self._matching))}{of_all} "
        )
        self._tell()

    def _tell(self) -> None:
        """The first line: what is looked for, what was found, and how far from the newest one is."""
        line = self.query_one("#requests-where", TextLines)
        newer = self.table.newer
        above = [Part(f" {numbers.exact(newer)} newer above (f) ", "loud")] if newer else []
        left = max(0, line.size.width - len(self._found) - sum(len(part.text) for part in above) - 1)
        where = "  ".join(dict.fromkeys(map(condition_text, self._where))) or "all requests"
        line.show([[Part(" " + fit(where, left), "loud"), *above, Part(self._found, "quiet")]])


def condition_text(condition: Condition) -> str:
    """A condition as somebody would have typed it."""
    if isinstance(condition, Is):
        return f"{condition.field}:{text_of(condition.value)}"
    assert isinstance(condition, Term)
    return f"{condition.field}{condition.operator}{condition.value}"
