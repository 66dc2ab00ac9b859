"""Screen 5: who speaks with whom, what the processes use, and of which processes nothing is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from textual.app import ComposeResult

from probes.store.view import Key, View, Window
from tui.panel import Drill, Panel, Where
from tui.screens.processes import ProcessTable, UnseenTable, Work, client_measure
from tui.widgets.groups import (
    BYTES_IN,
    BYTES_OUT,
    ERRORS,
    LOST,
    MAX,
    NOW,
    P50,
    P99,
    RATE,
    GroupTable,
    Measure,
    key_measure,
)
from tui.widgets.table import Column, LineTable

PEERS = ("protocol", "client", "client_process", "application", "server", "process")


class ConnectionsPanel(Panel):
    """Clients and the servers that they speak with; below them the processes."""

    DEFAULT_CSS = """
    ConnectionsPanel { layout: vertical; }
    ConnectionsPanel #peers { height: 2fr; }
    ConnectionsPanel #peer-processes { height: 1fr; min-height: 3; }
    ConnectionsPanel #peer-unseen { height: auto; max-height: 5; }
    """
    ident = "connections"
    title = "Connections"

    def __init__(self) -> None:
        super().__init__(id=self.ident)

    def compose(self) -> ComposeResult:
        yield GroupTable(_measures(), empty="no connection with a request in this window", id="peers")
        yield ProcessTable(id="peer-processes")
        yield UnseenTable(id="peer-unseen")

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        self.query_one(GroupTable).show(view.groups(PEERS, window, where))
        facts, work = view.facts(), Work.of(view, window, where)
        self.query_one(ProcessTable).show(facts, work, now_ns)
        self.query_one(UnseenTable).show(facts, work)

    def focus_table(self) -> None:
        self.query_one(GroupTable).focus()

    def on_line_table_chosen(self, message: LineTable.Chosen) -> None:
        message.stop()
        if isinstance(message.table, GroupTable):
            self.post_message(Drill(message.table.where_of(cast(Key, message.key))))
        elif isinstance(message.table, ProcessTable | UnseenTable):
            self.post_message(Drill(message.table.where_of(message.key)))


def _measures() -> Sequence[Measure]:
    return (
        client_measure(1, 2, Column("client", "client", 12, flexible=True, most=24)),
        key_measure(3, Column("application", "calls itself", 12, flexible=True, most=40)),
        key_measure(4, Column("server", "server", 15, flexible=True, most=40)),
        key_measure(5, Column("process", "process", 12, priority=4)),
        key_measure(0, Column("protocol", "protocol", 8, priority=3)),
        RATE,
        ERRORS,
        P50,
        P99,
        MAX,
        NOW,
        LOST,
        BYTES_IN,
        BYTES_OUT,
    )
