"""One request: its fields, its times, its connection, and what came before and after on that connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult

from probes.filters import Term
from probes.outputs.record import WallClock, json_line, session_record
from probes.protocols.interface import Untaught, WireProtocol
from probes.protocols.mongodb.lives import Cursor, End
from probes.protocols.mongodb.messages import MongoRequest
from probes.records import Attributes, Process, Session, Status
from probes.store.view import Condition, Is, Row, View, Window
from tui.bindings import bindings
from tui.following import life_of_cursor
from tui.glyphs import glyphs
from tui.panel import Drill, Panel, Where
from tui.widgets import numbers
from tui.widgets.hexdump import hexdump
from tui.widgets.lines import Part, TextLines
from tui.widgets.log import operation_of, status_of
from tui.widgets.table import LineTable
from tui.widgets.tree import COLUMNS, NAME_WIDTH, Path, tree_rows

WIDE_ENOUGH = NAME_WIDTH + 70  # cells, for 16 bytes a line
SAME = "requests like it"
OF_SHAPE = "requests of its shape"
_HEX_OF_REQUEST, _HEX_OF_RESPONSE = "hex of the request", "hex of the response"
_FOLDED: frozenset[Path] = frozenset({(_HEX_OF_REQUEST,), (_HEX_OF_RESPONSE,)})
_UNTAUGHT = Untaught()
_AT_ONCE = "at once"  # in less than the clock tells apart
_BLOCK, _MOST_BLOCKS = 64, 64  # rows looked through for a neighbour on the connection


class _FactTable(LineTable):
    opens = "fold"


class DetailPanel(Panel):
    """`open(view, row)` shows a row of the log, or a request in flight until it ends, and then what became of it."""

    ident = "detail"
    title = "One request"
    BINDINGS = bindings("detail")
    DEFAULT_CSS = """
    DetailPanel { layout: vertical; }
    DetailPanel #detail-head { height: 3; }
    DetailPanel LineTable { height: 1fr; }
    """

    def __init__(self, protocols: Mapping[str, WireProtocol], *, literals: bool) -> None:
        """Values and bytes are shown with `literals` only."""
        super().__init__(id=self.ident)
        self._protocols = protocols
        self._literals = literals
        self._view: View | None = None
        self._row: Row | None = None
        self._session: Session | None = None
        self._record: dict[str, Any] = {}
        self._own: Mapping[str, Any] = {}
        self._searched = 0  # rows of the log before this one are not what became of what is in flight
        self._folded: set[Path] = set(_FOLDED)
        self._cursor = ""
        self._same = ""
        self._where: Where = ()
        self._now_ns = 0

    def compose(self) -> ComposeResult:
        yield TextLines(id="detail-head")
        yield _FactTable(COLUMNS, empty="nothing is known of it any more", id="detail-tree")

    @property
    def row(self) -> Row | None:
        """What is shown."""
        return self._row

    @property
    def table(self) -> LineTable:
        return self.query_one(LineTable)

    def open(self, view: View, row: Row) -> None:
        """Show this row; what was in flight and has ended since, as it ended."""
        self._session = view.session(row)
        if row.number < 0 and self._session is None:
            ended = self._on_connection(view, row, 0, backwards_from=-1)
            row = next((each for each in ended if each.key == row.key), row)
            self._session = view.session(row)
        self._view, self._row = view, row
        self._searched = view.span().next
        self._own = self._described()
        self._cursor = self._life_of_cursor(view, row)
        clock = WallClock(view.facts().wall_offset_ns)
        self._record = session_record(self._session, self._own, clock) if self._session is not None else {}
        self._now_ns = max(self._now_ns, row.end_ns)
        self._same = ""
        key = self.table.cursor_key
        self.table.clear_cursor()
        self._draw()
        self.table.move_to(key)  # who compares a field goes on reading it

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        if self._row is None:
            return
        self._view, self._where = view, where
        if self._row.number < 0:
            self._follow(view)
        if self._row.number >= 0 or view.session(self._row) is not None:
            self._now_ns = now_ns  # what is seen to wait grows older, and nothing else
        self._same = self._same_text(view)
        self._draw()

    def focus_table(self) -> None:
        self.table.focus()

    # Keys.

    def action_step(self, by: int) -> None:
        """The next (1) or the previous (-1) request of this connection."""
        found = self._neighbour(by)
        if found is None or self._view is None:
            self.app.bell()
        else:
            self.open(self._view, found)

    def action_copy(self) -> None:
        """The record, as `l7top requests` prints it, into the terminal's clipboard."""
        if self._record:
            self.app.copy_to_clipboard(json_line(self._record).decode())
            self.notify("copied as JSON, where the terminal allows it", markup=False, timeout=3)
        else:
            self.notify("it is no longer kept", markup=False, severity="warning", timeout=3)

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        assert isinstance(message.key, tuple)
        path: Path = message.key[0]
        if path == (SAME,):
            self.post_message(Drill(self._alike()))
        elif path == (OF_SHAPE,):
            self.post_message(Drill((*self._alike(), Is("shape", self._own.get("shape", "")))))
        else:
            self._folded.symmetric_difference_update({path})
            self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    # What is shown.

    def _described(self) -> Mapping[str, Any]:
        """The protocol's own part of the record. A parser's bug costs this part, never the screen."""
        session = self._session
        if session is None:
            return {}
        protocol = self._protocols.get(session.protocol, _UNTAUGHT)
        try:
            return protocol.record(session, literals=self._literals)
        except Exception:
            return {"body": "could not be described"}

    def _draw(self) -> None:
        row = self._row
        if row is None or not self.size.width:
            return
        self.query_one("#detail-head", TextLines).show([_title(row, self._now_ns), *self._times(row)])
        self.table.set_rows(tree_rows(self._facts(row), self._folded, self.size.width))

    def _times(self, row: Row) -> list[list[Part]]:
        times = self._session.times if self._session is not None else None
        if times is None or not times.reply_first:
            gone = row.number < 0 and self._view is not None and self._view.session(row) is None
            why = "no longer seen to wait, nor how it ended" if gone else _without_reply(row, self._now_ns)
            return [[Part(f" {why}", "quiet")]]
        spans = (
            ("request", times.request_last - times.request_first),
            ("waits" if row.long_poll else "wait", times.duration),
            ("response", times.reply_last - times.reply_first),
        )
        words = [Part(" ")]
        for name, ns in spans:
            if ns > 0 or name.startswith("wait"):  # else its first byte and its last one were not told apart
                words += [Part(f"{name} ", "quiet"), Part(f"{numbers.duration(ns) if ns > 0 else _AT_ONCE}   ", "loud")]
        seen = self._session.client_times if self._session is not None else None
        if seen is not None and seen.reply_first:
            between = numbers.duration(max(0, seen.duration - times.duration))
            for text in (f"the client saw {numbers.duration(seen.duration)}", f": {between} in network and queues"):
                if sum(cell_len(part.text) for part in words) + cell_len(text) <= self.size.width:
                    words.append(Part(text))
        return [words, _times_bar([ns for _, ns in spans], self.size.width - 2)]

    def _facts(self, row: Row) -> dict[str, Any]:
        """All that is known, as sections of facts."""
        own = {name: value for name, value in self._own.items() if name not in ("error", "request", "response")}
        if "nreturned_at_least" in own:
            own["nreturned"] = numbers.at_least(str(own.pop("nreturned_at_least")))
        note = "a field may be missing: a head was cut" if row.truncated else None
        if self._session is None:
            note = "it is no longer kept: these facts are all there is"
        elif not row.has_heads:
            note = "the messages' heads are no longer kept"
        sections: dict[str, Any] = {
            "error": _known(
                {
                    "name": row.error_name,
                    "code": row.error_code,
                    "side": str(row.error_fault) if row.error_fault else None,
                    "text": self._own.get("error"),
                }
            ),
            "request": _known(
                {
                    "time": numbers.of_day(row.start_ns + self._offset_ns, digits=6),
                    "size": _size(row.request_bytes),
                    "id": row.request_id,
                    "opcode": row.opcode,
                    "note": note,
                    "values": None if self._literals else "hidden: --literals shows them",
                }
            ),
            "request decoded": self._own.get("request"),
            "response": _known({"size": _size(row.response_bytes), "id": row.response_id}),
            "response decoded": self._own.get("response"),
            row.protocol: _known(own),
            "attributes": dict(_attributes(self._session)),
            "cursor": self._cursor,
            "connection": self._connection(row),
        }
        sections = {name: facts for name, facts in sections.items() if facts}
        if self._same:
            sections[SAME] = self._same
            if "shape" in self._own:
                sections[OF_SHAPE] = "enter: those"
        if self._literals and self._session is not None:
            request, reply = self._session.request, self._session.reply
            for name, data in ((_HEX_OF_REQUEST, request), (_HEX_OF_RESPONSE, reply)):
                if data is not None and data.data:
                    sections[name] = hexdump(data.data, 16 if self.size.width > WIDE_ENOUGH else 8)
        return sections

    @property
    def _offset_ns(self) -> int:
        return self._view.facts().wall_offset_ns if self._view is not None else 0

    def _connection(self, row: Row) -> dict[str, Any]:
        return _known(
            {
                "number": row.connection,
                "client": str(row.client),
                "application": row.application,
                "client process": _process(row.client_process),
                "server": str(row.server),
                "server process": _process(row.server_process),
                "seen from": "both ends" if row.seen_from == "both" else f"the {row.seen_from}",
            }
        )

    @staticmethod
    def _cursor_text(cursor: Cursor, end: End | None) -> str:
        documents = numbers.exact(cursor.documents)
        lasted = numbers.age(cursor.used_ns - cursor.opened_ns)
        return ", ".join(
            (
                f"{cursor.operation} and {cursor.batches - 1} getMore"
                if cursor.whole
                else f"{cursor.batches} getMore seen",
                f"{documents if cursor.whole and cursor.exact else numbers.at_least(documents)} documents",
                f"{end} after {lasted}" if end else f"still open, last used after {lasted}",
            )
        )

    # Other requests.

    def _life_of_cursor(self, view: View, row: Row) -> str:
        """What became of the cursor that this request opened or went on with."""
        request = self._session.request if self._session is not None else None
        asked = request.cursor_id if isinstance(request, MongoRequest) else None
        id = asked or int(self._own.get("cursor_id", 0))
        life = life_of_cursor(view, row, id) if row.protocol == "mongodb" and id else None
        return "" if life is None else self._cursor_text(*life)

    def _alike(self) -> tuple[Condition, ...]:
        """What holds for requests like this one, among those that are looked at."""
        row = self._row
        if row is None:
            return ()
        return (
            *self._where,
            Is("protocol", row.protocol),
            Is("operation", row.operation),
            Is("version", row.version),
            Is("target", row.target),
        )

    def _same_text(self, view: View) -> str:
        """How the requests like this one did in the last minute."""
        groups = view.groups(("protocol",), Window.M1, self._alike())
        if not groups.groups:
            return "none in the last minute"
        totals = groups.groups[0].totals
        parts = [f"{numbers.rate(groups.rate(totals.requests))} req/s"]
        if totals.durations.count:
            parts.append(f"p99 {numbers.duration(totals.durations.p99)}")
        if totals.errors:
            parts.append(f"{numbers.percent(totals.error_ratio)} % errors")
        return f"last minute: {', '.join(parts)} (enter: those)"

    def _follow(self, view: View) -> None:
        """Where a request in flight has ended since: show what became of it."""
        row = self._row
        if row is None:
            return
        for found in self._on_connection(view, row, self._searched):
            if found.key == row.key:
                self.open(view, found)
                return
        self._searched = view.span().next

    def _neighbour(self, by: int) -> Row | None:
        view, row = self._view, self._row
        if view is None or row is None:
            return None
        if by > 0:
            return next(self._on_connection(view, row, row.number + 1), None) if row.number >= 0 else None
        return next(self._on_connection(view, row, 0, backwards_from=row.number), None)

    def of_connection(self, most: int) -> list[Row]:
        """The last `most` requests of this one's connection, the oldest first."""
        view, row = self._view, self._row
        if view is None or row is None:
            return []
        found = self._on_connection(view, row, 0, backwards_from=-1)
        return list(islice(found, most))[::-1]

    @staticmethod
    def _on_connection(view: View, row: Row, first: int, *, backwards_from: int | None = None) -> Iterator[Row]:
        """The rows of `row`'s connection from number `first` on; or those before a number, the latest first."""
        where = [Term("client", "=", str(row.client))] if row.client.host else []
        found = view.matching(where, first).numbers
        if backwards_from is not None:
            if backwards_from >= 0:
                found = found[: found.searchsorted(backwards_from)]
            found = found[::-1]
        for begin in range(0, min(len(found), _BLOCK * _MOST_BLOCKS), _BLOCK):
            block = view.pick(found[begin : begin + _BLOCK])
            yield from (each for each in block if each.connection == row.connection)


def _title(row: Row, now_ns: int) -> list[Part]:
    status = status_of(row, now_ns)
    text, hint = (status, "") if isinstance(status, str) else status
    process = row.server_process
    took = "" if row.duration_ns is None else f"  {numbers.duration(row.duration_ns)}"
    application = f" ({row.application})" if row.application else ""
    server = f"{process.name} {process.pid}" if process is not None else str(row.server)
    return [
        Part(f" {operation_of(row)} {row.target}", "title"),
        Part(f"  {text}", hint),
        Part(took, "loud"),
        Part(f"  {str(row.client) or glyphs().unknown} {glyphs().to} {server or glyphs().unknown}"),
        Part(application, "quiet"),  # the last: it stands under "connection", too
    ]


def _without_reply(row: Row, now_ns: int) -> str:
    match row.status:
        case Status.INFLIGHT:
            return f"no reply for {numbers.age(now_ns - row.start_ns)}"
        case Status.ONEWAY:
            return "no reply is due"
        case Status.LOST:
            return "the connection closed before a reply"
        case Status.DROPPED:
            return "its reply went by unseen"
        case _:
            return "its times are not known"


def _times_bar(spans: list[int], width: int) -> list[Part]:
    """The three times as parts of one bar, none of them invisible."""
    total = sum(max(ns, 0) for ns in spans) or 1
    signs = "░█▒" if glyphs().unicode else ".#="
    widths = [max(1, round(width * max(ns, 0) / total)) for ns in spans]
    widths[widths.index(max(widths))] -= max(0, sum(widths) - width)
    return [Part(" "), *(Part(sign * cells) for sign, cells in zip(signs, widths, strict=True))]


def _attributes(session: Session | None) -> Attributes:
    parts = (session.request, session.reply) if session is not None else ()
    return tuple(pair for part in parts if part is not None for pair in part.attributes)


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "", [])}


def _size(number: int) -> str | None:
    if number < 1000:
        return f"{number} B" if number else None
    return f"{numbers.size(number)} ({numbers.exact(number)})"


def _process(process: Process | None) -> str | None:
    if process is None:
        return None
    container = f" in container {process.container}" if process.container else ""
    return f"{process.name} {process.pid}{container}"
