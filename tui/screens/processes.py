"""Tables of processes: those whose requests are shown, with what they use, and the others, with why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from probes.records import Process
from probes.store.view import Facts, Group, Groups, ProcessFacts, View, Visibility, Window
from tui.glyphs import glyphs
from tui.panel import Where
from tui.widgets.groups import Measure
from tui.widgets.numbers import age, count, ms, percent, rate
from tui.widgets.table import AnyCell, Cell, Column, LineRow, LineTable
from tui.words import client_name, exactly, why

_SHOWN = frozenset({Visibility.SEEN, Visibility.IDLE})


@dataclass(frozen=True, slots=True)
class Work:
    """The requests of the window by the process that serves them, and by the one that sends them."""

    served: Groups
    sent: Groups

    @classmethod
    def of(cls, view: View, window: Window, where: Where) -> Work:
        return cls(view.groups(("server_process",), window, where), view.groups(("client_process",), window, where))

    def by(self, process: Process) -> tuple[Groups, Group | None]:
        """What a process does: what it serves, or else what it sends."""
        for groups in (self.served, self.sent):
            for group in groups.groups:
                if group.key[0] == process:
                    return groups, group
        return self.served, None


class ProcessTable(LineTable):
    """Processes, with their requests of the window beside what they use of the host."""

    COLUMNS = (
        Column("process", "process", 12, flexible=True, most=30, sortable=False),
        Column("pid", "pid", 7, right=True, sortable=False),
        Column("role", "role", 6, sortable=False, priority=1),
        Column("rate", "req/s", 6, right=True, sortable=False),
        Column("errors", "err %", 5, right=True, sortable=False),
        Column("p99", "p99 ms", 6, right=True, sortable=False),
        Column("cpu", "cpu %", 5, right=True, sortable=False),
        Column("memory", "mem MB", 6, right=True, sortable=False),
        Column("threads", "thr", 4, right=True, sortable=False),
        Column("files", "fd", 5, right=True, sortable=False),
        Column("disk", "io MB/s", 7, right=True, sortable=False),
        Column("clients", "hosts", 5, right=True, sortable=False, priority=2),
        Column("connections", "conns", 5, right=True, sortable=False, priority=3),
        Column("last", "last seen", 9, right=True, sortable=False, priority=4),
        Column("listens", "listens", 12, sortable=False, priority=5),
        Column("container", "container", 12, sortable=False, priority=6),
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(self.COLUMNS, empty="no process with a MongoDB or Kafka connection is known yet", id=id)

    def show(self, facts: Facts, work: Work, now_ns: int) -> None:
        """Those that serve come first, of them the busiest."""
        rows = [(process, *work.by(process.process)) for process in facts.processes]
        rows = [row for row in rows if _is_shown(row[0], row[2])]
        rows.sort(key=lambda row: (row[2] is None or row[1] is work.sent, -(row[0].cpu_percent or 0), row[0].process))
        self.set_rows([_row(*row, now_ns) for row in rows])

    def where_of(self, key: object) -> Where:
        """The conditions of the requests behind a row."""
        return exactly(*cast(tuple[tuple[str, ...], tuple[Process]], key))


class UnseenTable(LineTable):
    """Processes of which nothing is shown, and why. Hidden where there are none."""

    def __init__(self, *, id: str) -> None:
        columns = [
            Column("process", "not shown", 15, sortable=False),
            Column("why", "why", 20, flexible=True, sortable=False),
        ]
        super().__init__(columns, id=id)

    def show(self, facts: Facts, work: Work) -> None:
        rows = [
            LineRow(each.process, (f"{each.process.name} {each.process.pid}", why(each, facts)))
            for each in facts.processes
            if each.visibility is Visibility.IDLE or not _is_shown(each, work.by(each.process)[1])
        ]
        self.styles.height = 1 + len(rows)  # its max-height is the screen's to say
        self.set_rows(rows)
        self.display = bool(rows)

    def where_of(self, key: object) -> Where:
        """The conditions of the requests that there may have been."""
        return exactly(("pid",), [cast(Process, key).pid])


def client_measure(host: int, process: int, column: Column) -> Measure:
    """A column that names the client, by the key's values of these numbers."""

    def name(group: Group) -> str:
        return client_name(str(group.key[host] or glyphs().none), group.key[process])

    return Measure(column, lambda _, group: name(group), lambda _, group: name(group))


def _is_shown(process: ProcessFacts, group: Group | None) -> bool:
    return process.visibility in _SHOWN or group is not None


def _row(process: ProcessFacts, groups: Groups, group: Group | None, now_ns: int) -> LineRow:
    totals = group.totals if group else None
    disk = [each for each in (process.read_bytes_s, process.write_bytes_s) if each is not None]
    ratio = totals.error_ratio if totals else None
    role = groups.by[0].removesuffix("_process") if group else glyphs().none
    cells: tuple[AnyCell, ...] = (
        process.process.name,
        str(process.process.pid),
        Cell(role, "quiet"),
        rate(groups.rate(totals.requests)) if totals else Cell("0", "quiet"),
        Cell(percent(ratio), "bad" if ratio else "quiet"),
        ms(totals.durations.p99) if totals and totals.durations.count else Cell(glyphs().none, "quiet"),
        _known(process.cpu_percent, 1.0),
        _known(process.rss_bytes, 1e6),
        glyphs().unknown if process.threads is None else count(process.threads),
        glyphs().unknown if process.fds is None else count(process.fds),
        _known(sum(disk), 1e6) if disk else glyphs().unknown,
        count(process.clients),
        count(process.connections),
        age(now_ns - process.since_ns) if process.since_ns else Cell(glyphs().none, "quiet"),
        ",".join(map(str, process.listens)) or Cell(glyphs().none, "quiet"),
        process.process.container or Cell(glyphs().none, "quiet"),
    )
    return LineRow((groups.by, (process.process,)), cells)


def _known(value: float | None, unit: float) -> AnyCell:
    if value is None:
        return glyphs().unknown
    return rate(value / unit) if value else Cell("0", "quiet")
