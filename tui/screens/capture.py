"""Screen 6: what became of every message, what is lost and why, and what looking on costs."""

from __future__ import annotations

from collections.abc import Mapping

import psutil
from textual.app import ComposeResult
from textual.containers import Vertical

from probes.filters import Term
from probes.options import LIVE
from probes.outputs.losses import ACCOUNTED, losses, plugin_troubles
from probes.records import Status
from probes.store.view import Facts, StoreUse, View, Window
from tui.panel import Drill, Panel, Where
from tui.screens.processes import UnseenTable, Work
from tui.widgets.lines import Part, TextLines
from tui.widgets.numbers import bar, exact, percent, rate, size
from tui.widgets.table import AnyCell, Cell, Column, LineRow, LineTable
from tui.words import clock

MEANINGS = {
    "seen": "told apart, whatever became of them",
    "sessions": "in a request or reply that is shown",
    "sampled_out": "counted, but left out of the log",
    "other_end": "the other end's view of the same",
    "waiting": "their pair may still come",
    "filtered": "of what --protocols leaves out",
    "foreign": "of connections of no known protocol",
    "aborted": "a plugin wanted none of",
    "unwatched": "replies to older requests",
    "dropped": "lost here, or without their pair",
    "unpaired": "replies to requests not seen",
    "unparsed": "that could not be decoded",
    "parser_error": "that broke a parser: a bug",
    "evicted": "requests: too many waited at once",
    "late": "of connections already given up",
    "switched_off": "of a plugin that is switched off",
    "ring_full": "more came than could be taken",
    "unreadable": "not to be read in the kernel",
    "connections_full": "no room for another connection",
    "calls_full": "no room for another system call",
    "resynchronised": "framing was lost and found again",
    "too_many_in_a_call": "beyond what one call may hold",
    "lost_ends": "a later piece of them was lost",
    "lost_pieces": "an earlier piece of them was lost",
    "lost_after_close": "after their connection's end was told",
    "lost_connections_full": "no room for what a connection lost",
    "unlearned": "by groups and lags: no room, or a bug",
    "lost_bytes": "bytes of streams not captured",
    "holes": "places where these are missing",
    "reassembly_full": "such places given up for room",
    "capture_dropped": "packets, says who captured",
    "capture_damaged": "the capture is cut off or damaged",
    "fragments": "packets in pieces, left aside",
    "malformed_packets": "packets that make no sense",
    "headers_cut": "packets cut before their data",
    "packets": "in the capture",
    "other_packets": "of them without TCP",
    "duplicate_segments": "of TCP, counted once",
    "raw_lost": "calls not whole, on ports of plugins",
    "raw_unsure": "calls whose replies nobody can tell",
    "raw_foreign": "calls on such ports no plugin takes",
    "undescribed": "records without their part: a bug",
}
"""What the ledger's causes mean, in the order in which they are shown."""

_OF_KERNEL = frozenset(("ring_full", "unreadable", "connections_full", "calls_full", "too_many_in_a_call"))
"""Shown of a capture only where there is something."""
_SELDOM = frozenset(("lost_ends", "lost_pieces", "lost_after_close", "lost_connections_full", "unlearned"))
_OF_PLUGINS = frozenset(("aborted", "switched_off", "raw_lost", "raw_unsure", "raw_foreign"))
_OF_CAPTURES = frozenset(
    (
        *("lost_bytes", "holes", "reassembly_full", "capture_dropped", "capture_damaged"),
        *("fragments", "malformed_packets", "headers_cut", "packets", "other_packets", "duplicate_segments"),
    )
)
"""Shown only where there is something."""

_WHERE = {
    "sessions": (),
    "unparsed": (Term("status", "=", Status.UNPARSED),),
    "dropped": (Term("status", "=", Status.DROPPED),),
}
"""The sessions behind a cause, where it has any."""

_MUCH = 0.5  # of the ring: from there on heads are shortened


class CapturePanel(Panel):
    """The ledger on top, what the capture uses below it, and of which processes nothing is shown."""

    SCOPED_CSS = False  # what the size of the terminal decides is said of the screen
    DEFAULT_CSS = """
    CapturePanel { layout: vertical; }
    CapturePanel #ledger { height: 1fr; width: 1fr; }
    CapturePanel Vertical { height: auto; width: 1fr; }
    CapturePanel #costs { height: 8; }
    CapturePanel #capture-unseen { max-height: 5; }
    .-wide CapturePanel { layout: horizontal; }
    .-wide CapturePanel #ledger { height: 1fr; margin-right: 2; }
    .-wide CapturePanel #capture-unseen { max-height: 100%; }
    """
    ident = "capture"
    title = "Capture"

    def __init__(self) -> None:
        super().__init__(id=self.ident)
        self._screen_process = psutil.Process()

    def compose(self) -> ComposeResult:
        yield LineTable(
            [
                Column("cause", "messages", 19, sortable=False),
                Column("count", "count", 13, right=True, sortable=False),
                Column("share", "% of seen", 9, right=True, sortable=False),
                Column("meaning", "what that means", 20, flexible=True, sortable=False),
            ],
            id="ledger",
        )
        with Vertical():
            yield TextLines(id="costs")
            yield UnseenTable(id="capture-unseen")

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        facts = view.facts()
        self.query_one("#ledger", LineTable).set_rows(ledger_rows(facts.ledger, live=facts.source == LIVE))
        self.query_one("#costs", TextLines).show(self._costs(facts, view.use()))
        self.query_one(UnseenTable).show(facts, Work.of(view, window, ()))

    def focus_table(self) -> None:
        self.query_one("#ledger", LineTable).focus()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        if isinstance(message.table, UnseenTable):
            self.post_message(Drill(message.table.where_of(message.key)))
        elif message.key in _WHERE:
            self.post_message(Drill(_WHERE[str(message.key)]))

    def _costs(self, facts: Facts, use: StoreUse) -> list[list[Part | str]]:
        screen = self._screen_process
        ring = facts.ring_used_bytes / facts.ring_bytes if facts.ring_bytes else 0.0
        peak = facts.ring_peak_bytes / facts.ring_bytes if facts.ring_bytes else 0.0
        store = use.used_bytes / use.size_bytes if use.size_bytes else 0.0
        cells = use.cells / use.cells_bound if use.cells_bound else 0.0
        ring_words = f"of {_mib(facts.ring_bytes)}, at most {percent(peak)} % so far"
        kernel = "" if facts.kernel_cpu_percent is None else f", kernel {rate(facts.kernel_cpu_percent)} %"
        sampled = "all" if facts.sample_ratio >= 1 else f"{percent(facts.sample_ratio)} %"
        return [
            [Part("costs", "head")],
            *([_gauge("ring", ring, ring_words, peak > _MUCH)] if facts.ring_bytes else []),
            _gauge("store", store, f"of {_mib(use.size_bytes)}, {exact(use.rows)} requests since {_since(facts, use)}"),
            _gauge("cells", cells, f"of {exact(use.cells_bound)} for rates{_overflowed(use)}", bool(use.overflowed)),
            [
                Part("cpu    ", "quiet"),
                f"collector {rate(facts.cpu_percent)} %, screen {rate(screen.cpu_percent())} %{kernel} of a core",
            ],
            [
                Part("memory ", "quiet"),
                f"collector {size(facts.rss_bytes)}, screen {size(screen.memory_info().rss)}",
            ],
            [
                Part("looks  ", "quiet"),
                f"at the first {exact(facts.head_bytes)} bytes of each message, keeps {sampled} of the requests",
            ],
            [
                Part(f"       to spare the host: {facts.degradation}", "warn") if facts.degradation else "",
                Part(f"       the capture ended: {facts.ended}", "warn") if facts.ended else "",
            ],
        ]


def ledger_rows(ledger: Mapping[str, int], *, live: bool = True) -> list[LineRow]:
    """What became of the messages, losses by the greatest first, then the causes that nothing was lost by."""
    lost = losses(ledger)
    seldom = _SELDOM | _OF_PLUGINS | _OF_CAPTURES | (frozenset() if live else _OF_KERNEL)
    shown = [cause for cause in MEANINGS if ledger.get(cause) or cause not in seldom]
    accounted = [cause for cause in shown if cause in ACCOUNTED]
    never = [cause for cause in shown if cause not in accounted and cause not in lost]
    total = sum(lost.values())
    return [
        *(_row(ledger, cause, "") for cause in accounted),
        LineRow("lost", ("lost", exact(total), _share(ledger, total), "by cause:"), "bad" if total else "good"),
        *(_row(ledger, cause, "bad") for cause in lost),
        *(LineRow(name, (f" plugin {name}", "", "", what), "bad") for name, what in plugin_troubles(ledger).items()),
        *(_row(ledger, cause, "") for cause in never),
    ]


def _row(ledger: Mapping[str, int], cause: str, hint: str) -> LineRow:
    number = ledger.get(cause, 0)
    cells: tuple[AnyCell, ...] = (
        f" {cause.replace('_', ' ')}" if cause != "seen" else cause,
        exact(number),
        _share(ledger, number),
        Cell(MEANINGS.get(cause, ""), "quiet"),
    )
    return LineRow(cause, cells, hint or ("" if number else "quiet"))


def _share(ledger: Mapping[str, int], number: int) -> str:
    seen = ledger.get("seen", 0)
    return percent(number / seen) if seen else ""


def _gauge(name: str, share: float, words: str, bad: bool = False) -> list[Part | str]:
    filled = bar(share, 12).ljust(12)
    return [Part(f"{name:<7}", "quiet"), Part(filled, "warn" if bad else "good"), f" {percent(share):>5} % {words}"]


def _mib(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"


def _since(facts: Facts, use: StoreUse) -> str:
    return clock(use.log_since_ns, facts) if use.log_since_ns else "the start"


def _overflowed(use: StoreUse) -> str:
    fields = ", ".join(f"{name} {exact(number)}" for name, number in use.overflowed.items() if number)
    return f'; "other" for want of room: {fields}' if fields else ""
