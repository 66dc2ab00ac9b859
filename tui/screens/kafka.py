"""Kafka: which APIs in which versions, topics, consumer groups and clients; long polls with their waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from textual.containers import Horizontal
from textual.widget import Widget

from probes.filters import Term
from probes.protocols.kafka import table as kafka_table
from probes.protocols.kafka.messages import KafkaRequest
from probes.protocols.kafka.protocol import ABOUT_GROUPS
from probes.store.view import Group, Groups, Is, View, Window
from tui.bindings import bindings
from tui.glyphs import glyphs
from tui.panel import Where
from tui.screens.grouped import GroupedPanel, Grouping, heatmap_of, series_of
from tui.widgets import numbers
from tui.widgets.graph import AreaGraph, HeatMap
from tui.widgets.groups import (
    BYTES_IN,
    BYTES_OUT,
    ERROR_RATE,
    ERRORS,
    LOST,
    MAX,
    NOW,
    ONEWAY,
    P50,
    P90,
    P99,
    RATE,
    WAIT,
    Measure,
    key_measure,
    text_of,
)
from tui.widgets.table import Cell, Column, LineRow, LineTable

GROUP_APIS = frozenset(api.name for key in ABOUT_GROUPS if (api := kafka_table.api(key)) is not None)
JOIN, COMMITS = "JoinGroup", ("OffsetCommit", "TxnOffsetCommit")

_TOPIC = Column("target", "topic", 12, flexible=True, most=40)
_MEASURES = (RATE, ERRORS, P50, P99, WAIT, NOW, P90, MAX, BYTES_IN, BYTES_OUT, LOST, ONEWAY)


def api_name(operation: object, version: object) -> str:
    """An API and its version as one word: "Produce_v9"."""
    return f"{operation}_v{version}" if isinstance(version, int) else str(operation) or glyphs().none


def _api(operation: int) -> Measure:
    """The column of the API whose name and version are the key's values from number `operation` on."""
    return Measure(
        Column("api", "API version", 15),
        lambda _, group: api_name(*group.key[operation : operation + 2]),
        lambda _, group: (text_of(group.key[operation]), group.key[operation + 1] or 0),
    )


class Software:
    """What the clients say they run, taken from the ApiVersions requests that the log still has."""

    _LATEST = 256  # requests that are read at a time

    def __init__(self) -> None:
        self._next = 0
        self._names: dict[tuple[str, str], str] = {}

    def update(self, view: View) -> None:
        """Read the requests that are new."""
        where = (Term("protocol", ":", "kafka"), Term("operation", ":", "ApiVersions"))
        found = view.matching(where, self._next)
        self._next = found.next
        for row in view.pick(found.numbers[-self._LATEST :]):
            session = view.session(row)
            request = session.request if session is not None else None
            if isinstance(request, KafkaRequest) and request.client.software:
                self._names[row.application, row.client.host] = request.client.software

    def of(self, group: Group) -> str:
        """Of a group by application and client."""
        application, client = group.key[:2]
        return self._names.get((str(application), str(client)), "")


class KafkaPanel(GroupedPanel):
    ident = "kafka"
    title = "Kafka"
    protocol = "kafka"
    BINDINGS = bindings("kafka")
    DEFAULT_CSS = """
    KafkaPanel #kafka-consumers { height: 5; }
    KafkaPanel.tall #kafka-consumers { height: 9; }
    KafkaPanel #kafka-graphs { height: 33%; display: none; }
    KafkaPanel.tall.wide #kafka-graphs { display: block; }
    KafkaPanel HeatMap { width: 1fr; height: 100%; }
    KafkaPanel AreaGraph { width: 1fr; height: 100%; margin-left: 2; }
    """

    def __init__(self) -> None:
        self._software = Software()
        super().__init__()

    def groupings(self) -> dict[str, Grouping]:
        software = Measure(
            Column("software", "software", 24, priority=2),
            lambda _, group: self._software.of(group) or Cell(glyphs().unknown, "quiet"),
            lambda _, group: self._software.of(group),
        )
        return {
            "API": Grouping(("operation", "version", "target"), (_api(0), key_measure(2, _TOPIC), *_MEASURES)),
            "topic": Grouping(("target",), (key_measure(0, _TOPIC), *_MEASURES)),
            "group": Grouping(
                ("target", "operation", "version"),
                (key_measure(0, Column("group", "group", 12, flexible=True, most=40)), _api(1), *_MEASURES),
                keep=lambda group: group.key[1] in GROUP_APIS,
            ),
            "client": Grouping(
                ("application", "client"),
                (
                    key_measure(0, Column("application", "client id", 12, flexible=True, most=40)),
                    key_measure(1, Column("client", "address", 15)),
                    software,
                    *_MEASURES,
                ),
            ),
            "error": Grouping(
                ("error_name", "operation", "version", "target"),
                (
                    key_measure(0, Column("error", "error", 20, flexible=True, most=40)),
                    _api(1),
                    key_measure(3, Column("target", "topic", 14)),
                    ERROR_RATE,
                    P50,
                    P99,
                    MAX,
                ),
                sort="error_rate",
                keep=lambda group: group.totals.errors > 0,
            ),
            "process": Grouping(
                ("process", "pid"),
                (
                    key_measure(0, Column("process", "process", 10, flexible=True, most=30)),
                    key_measure(1, Column("pid", "pid", 7, right=True)),
                    *_MEASURES,
                ),
            ),
        }

    def below(self) -> Iterable[Widget]:
        yield LineTable(CONSUMERS, empty="no request about a group in this window", id="kafka-consumers")
        yield Horizontal(
            HeatMap(id="kafka-heatmap"), AreaGraph(id="kafka-rate"), AreaGraph(id="kafka-bytes"), id="kafka-graphs"
        )

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        if self.grouping == "client":
            self._software.update(view)
        super().show(view, window, where, now_ns)

    def show_below(self, view: View, window: Window, where: Where) -> None:
        groups = view.groups(("target", "operation", "client"), window, where)
        self.query_one("#kafka-consumers", LineTable).set_rows(consumer_rows(groups))
        if self.has_class("wide") and self.has_class("tall"):
            self.query_one(HeatMap).show(f"latency  {window.label}, darker is more", heatmap_of(view, window, where))
            series = series_of(view, window, where)
            points = series.points if series is not None else ()
            requests = [None if point is None else point.rate(point.totals.requests) for point in points]
            moved = [
                None if each is None else each.rate(each.totals.request_bytes + each.totals.response_bytes) / 1e6
                for each in points
            ]
            self.query_one("#kafka-rate", AreaGraph).show(f"req/s  {window.label}", requests)
            self.query_one("#kafka-bytes", AreaGraph).show(f"MB/s in and out  {window.label}", moved)

    def behind(self, table: LineTable, key: Hashable) -> tuple[Is, ...]:
        return (Is("target", str(key)),) if table.id == "kafka-consumers" else super().behind(table, key)


CONSUMERS = tuple(
    Column(name, title, width, right=name != "group", flexible=name == "group", most=40, sortable=False)
    for name, title, width in (
        ("group", "GROUP", 12),
        ("clients", "clients", 7),
        ("rate", "req/s", 6),
        ("commits", "commits/s", 9),
        ("joins", "joins", 6),
        ("errors", "err %", 6),
        ("now", "now", 4),
    )
)


@dataclass(slots=True)
class _Consumers:
    """A consumer group: all requests about what bears its name."""

    clients: set[object] = field(default_factory=set)
    requests: int = 0
    responses: int = 0
    errors: int = 0
    commits: int = 0
    joins: int = 0
    inflight: int = 0
    is_group: bool = False

    def add(self, group: Group) -> None:
        _, operation, client = group.key
        totals = group.totals
        self.clients.add(client)
        self.requests += totals.requests
        self.responses += totals.responses
        self.errors += totals.errors
        self.inflight += group.inflight
        self.commits += totals.requests if operation in COMMITS else 0
        self.joins += totals.requests + group.inflight if operation == JOIN else 0
        self.is_group = self.is_group or operation in GROUP_APIS


def consumer_rows(groups: Groups) -> list[LineRow]:
    """A row for each consumer group, busiest first, from the groups by target, operation and client."""
    found: defaultdict[str, _Consumers] = defaultdict(_Consumers)
    for group in groups.groups:
        found[str(group.key[0])].add(group)
    rows = []
    for name, each in sorted(found.items(), key=lambda item: -item[1].requests):
        if not each.is_group:
            continue
        ratio = each.errors / each.responses if each.responses else None
        cells = (
            name or glyphs().none,
            numbers.count(len(each.clients)),
            numbers.rate(groups.rate(each.requests)),
            numbers.rate(groups.rate(each.commits)),
            Cell(numbers.count(each.joins), "warn" if each.joins else "quiet"),
            Cell(numbers.percent(ratio), "bad" if ratio else "quiet"),
            Cell(numbers.count(each.inflight), "waiting" if each.inflight else "quiet"),
        )
        rows.append(LineRow(name, cells))
    return rows
