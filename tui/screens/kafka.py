"""Kafka: which APIs in which versions, topics, consumer groups and clients; long polls with their waits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from textual import events
from textual.containers import Horizontal
from textual.widget import Widget

from probes.filters import Term
from probes.protocols.kafka.facts import ClientFacts, KafkaFacts, load
from probes.protocols.kafka.messages import KafkaRequest
from probes.store.view import Group, Is, View, Window
from tui.bindings import bindings
from tui.glyphs import glyphs
from tui.panel import Where
from tui.screens.consumers import (
    GROUP_APIS,
    GROUPS,
    LAGS,
    PRODUCERS,
    ROUNDS,
    behind,
    clients_by,
    group_rows,
    lag_rows,
    producer_rows,
    round_rows,
    throttled_cell,
)
from tui.screens.grouped import GroupedPanel, Grouping, by_error, by_process, heatmap_of, series_of
from tui.widgets.graph import AreaGraph, HeatMap
from tui.widgets.groups import (
    BYTES_IN,
    BYTES_OUT,
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
from tui.widgets.table import Cell, Column, LineTable

_TOPIC = Column("target", "topic", 12, flexible=True, most=40)
_WIDER = 160  # from so many cells on both lower tables have room for their names
_MEASURES = (RATE, ERRORS, P50, P99, WAIT, NOW, P90, MAX, BYTES_IN, BYTES_OUT, LOST, ONEWAY)


def api_name(operation: object, version: object) -> str:
    """An API and its version as one word: "Produce_v9"."""
    return f"{operation}_v{version}" if isinstance(version, int) else str(operation) or glyphs().none


def _api(operation: int) -> Measure:
    """The column of the API whose name and version are the key's values from number `operation` on."""
    return Measure(
        Column("api", "API version", 15, flexible=True, most=28),
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
    KafkaPanel #kafka-lower { height: 5; }
    KafkaPanel.tall #kafka-lower { height: 9; }
    KafkaPanel #kafka-lower LineTable { width: 1fr; height: 100%; display: none; }
    KafkaPanel #kafka-lower LineTable.shown, KafkaPanel.wider #kafka-lower LineTable { display: block; }
    KafkaPanel.wider #kafka-more { margin-left: 2; }
    KafkaPanel #kafka-graphs { height: 33%; display: none; }
    KafkaPanel.tall.wide #kafka-graphs { display: block; }
    KafkaPanel HeatMap { width: 1fr; height: 100%; }
    KafkaPanel AreaGraph { width: 1fr; height: 100%; margin-left: 2; }
    """

    def __init__(self) -> None:
        self._software = Software()
        self._facts, self._clients = KafkaFacts(), clients_by(KafkaFacts())
        self._now_ns = 0
        self._more = LAGS
        super().__init__()

    def forget(self) -> None:
        self._software = Software()

    def groupings(self) -> dict[str, Grouping]:
        software = Measure(
            Column("software", "software", 24, priority=2),
            lambda _, group: self._software_of(group) or Cell(glyphs().unknown, "quiet"),
            lambda _, group: self._software_of(group),
        )
        throttled = Measure(
            Column("throttled", "throttled", 14, priority=1),
            lambda _, group: throttled_cell(self._client(group), self._now_ns),
            lambda _, group: client.throttled if (client := self._client(group)) is not None else 0,
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
                    throttled,
                    *_MEASURES,
                ),
            ),
            "error": by_error(
                ("operation", "version", "target"), _api(1), key_measure(3, Column("target", "topic", 14))
            ),
            "process": by_process(_MEASURES),
        }

    def below(self) -> Iterable[Widget]:
        yield Horizontal(
            LineTable(GROUPS.columns, empty=GROUPS.empty, id="kafka-consumers", classes="shown"),
            LineTable(LAGS.columns, empty=LAGS.empty, id="kafka-more"),
            id="kafka-lower",
        )
        yield Horizontal(
            HeatMap(id="kafka-heatmap"), AreaGraph(id="kafka-rate"), AreaGraph(id="kafka-bytes"), id="kafka-graphs"
        )

    def show(self, view: View, window: Window, where: Where, now_ns: int) -> None:
        if self.grouping == "client":
            self._software.update(view)
        self._facts, self._now_ns = load(view.facts().learned.get("kafka", {})), now_ns
        self._clients = clients_by(self._facts)
        super().show(view, window, where, now_ns)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= _WIDER, "wider")

    def show_below(self, view: View, window: Window, where: Where) -> None:
        """What was learned of groups, clients and partitions is shown whatever the filter and the window."""
        wall_offset_ns = view.facts().wall_offset_ns
        groups = view.groups(("target", "operation"), window, where)
        self.query_one("#kafka-consumers", LineTable).set_rows(group_rows(groups, self._facts, wall_offset_ns))
        self._show_more(wall_offset_ns)
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

    def _show_more(self, wall_offset_ns: int) -> None:
        """The second table, which goes with the grouping: where one finds room, it may take the first's place."""
        groups, more = self.query_one("#kafka-consumers", LineTable), self.query_one("#kafka-more", LineTable)
        wanted = _MORE.get(self.grouping, LAGS)
        if wanted is not self._more:
            self._more = wanted
            more.set_columns(wanted.columns)
            more.empty = wanted.empty
        more.set_class(self.grouping in _MORE, "shown")
        groups.set_class(self.grouping not in _MORE, "shown")
        if wanted is LAGS:
            more.set_rows(lag_rows(self._facts))
        elif wanted is ROUNDS:
            more.set_rows(round_rows(self._facts, wall_offset_ns))
        else:
            more.set_rows(producer_rows(self._facts))

    def _client(self, group: Group) -> ClientFacts | None:
        """Of a group by application and client."""
        return self._clients.get((str(group.key[0]), str(group.key[1])))

    def _software_of(self, group: Group) -> str:
        client = self._client(group)
        return self._software.of(group) or (client.software if client is not None else "")

    def behind(self, table: LineTable, key: Hashable) -> tuple[Is, ...]:
        if table.id == "kafka-consumers":
            return (Is("target", str(key)),)
        if table.id == "kafka-more" and isinstance(key, tuple):
            return behind(self._more, key)
        return super().behind(table, key)


_MORE = {"topic": LAGS, "group": ROUNDS, "client": PRODUCERS}
"""Which table stands below a grouping instead of the groups."""
