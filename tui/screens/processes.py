"""Tables of processes: those whose requests are shown, with what they use, and the others, with why not."""

from __future__ import annotations

from collections.abc import Mapping

from probes.store.view import Facts, Group, Groups, KeyValue, ProcessFacts, Visibility
from tui.glyphs import glyphs
from tui.widgets.numbers import age, count, ms, percent, rate
from tui.widgets.table import AnyCell, Cell, Column, LineRow, LineTable
from tui.words import why

BY = ("pid",)
_QUIETLY = frozenset({Visibility.SEEN, Visibility.IDLE})


class ProcessTable(LineTable):
    """Processes, with their requests of the window beside what they use of the host."""

    COLUMNS = (
        Column("process", "process", 12, flexible=True, most=30, sortable=False),
        Column("pid", "pid", 7, right=True, sortable=False, priority=1),
        Column("rate", "req/s", 6, right=True, sortable=False),
        Column("errors", "err %", 5, right=True, sortable=False),
        Column("p99", "p99 ms", 6, right=True, sortable=False),
        Column("cpu", "cpu %", 5, right=True, sortable=False),
        Column("memory", "mem MB", 6, right=True, sortable=False),
        Column("threads", "thr", 4, right=True, sortable=False),
        Column("files", "fd", 5, right=True, sortable=False),
        Column("disk", "disk MB/s", 9, right=True, sortable=False),
        Column("clients", "hosts", 5, right=True, sortable=False, priority=2),
        Column("connections", "conns", 5, right=True, sortable=False, priority=3),
        Column("last", "last seen", 9, right=True, sortable=False, priority=4),
        Column("listens", "listens", 12, sortable=False, priority=5),
        Column("container", "container", 12, sortable=False, priority=6),
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(self.COLUMNS, empty="no process with a MongoDB or Kafka connection is known yet", id=id)

    def show(self, facts: Facts, by_pid: Groups, now_ns: int) -> None:
        """`by_pid` are the requests grouped `BY`; the busiest process comes first."""
        groups = {group.key[0]: group for group in by_pid.groups}
        shown = [process for process in facts.processes if _is_shown(process, groups)]
        shown.sort(key=lambda process: (-(process.cpu_percent or 0), process.process.pid))
        self.set_rows([_row(each, groups.get(each.process.pid), by_pid, now_ns) for each in shown])


class UnseenTable(LineTable):
    """Processes of which nothing is shown, and why. Hidden where there are none."""

    def __init__(self, *, id: str) -> None:
        columns = [
            Column("process", "not shown", 15, sortable=False),
            Column("why", "why", 20, flexible=True, sortable=False),
        ]
        super().__init__(columns, id=id)

    def show(self, facts: Facts, by_pid: Groups) -> None:
        groups = {group.key[0]: group for group in by_pid.groups}
        rows = [
            LineRow(each.process, (f"{each.process.name} {each.process.pid}", why(each, facts)))
            for each in facts.processes
            if not _is_shown(each, groups) or each.visibility is Visibility.IDLE
        ]
        self.styles.height = 1 + len(rows)  # its max-height is the screen's to say
        self.set_rows(rows)
        self.display = bool(rows)


def _is_shown(process: ProcessFacts, groups: Mapping[KeyValue, Group]) -> bool:
    return process.visibility in _QUIETLY or process.process.pid in groups


def _row(process: ProcessFacts, group: Group | None, groups: Groups, now_ns: int) -> LineRow:
    totals = group.totals if group else None
    disk = [each for each in (process.read_bytes_s, process.write_bytes_s) if each is not None]
    ratio = totals.error_ratio if totals else None
    cells: tuple[AnyCell, ...] = (
        process.process.name,
        str(process.process.pid),
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
    return LineRow(process.process, cells)


def _known(value: float | None, unit: float) -> AnyCell:
    if value is None:
        return glyphs().unknown
    return rate(value / unit) if value else Cell("0", "quiet")
