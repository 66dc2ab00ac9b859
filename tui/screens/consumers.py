"""The lower tables of the Kafka screen: groups and their rebalances, lags, producers, as the collector learned of them.

What is not known reads "?", what is known in part "≥": a number that was not seen is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from probes.protocols.kafka import table as kafka_table
from probes.protocols.kafka.facts import ClientFacts, GroupFacts, KafkaFacts, LagFacts, ProducerFacts, RoundFacts
from probes.protocols.kafka.groups import State
from probes.protocols.kafka.protocol import ABOUT_GROUPS
from probes.store.view import Group, Groups, Is
from tui.glyphs import glyphs
from tui.widgets import numbers
from tui.widgets.table import AnyCell, Cell, Column, LineRow

GROUP_APIS = frozenset(api.name for key in ABOUT_GROUPS if (api := kafka_table.api(key)) is not None)
_SETTLED = (State.STABLE, State.EMPTY)
_SHORT: dict[str, str] = {State.PREPARING: "Preparing", State.COMPLETING: "Completing"}
_ACKS = {-1: "all", 0: "0", 1: "1"}


class Lower(NamedTuple):
    """A table: its columns, and what it says where it is empty."""

    columns: tuple[Column, ...]
    empty: str


GROUPS = Lower(
    (
        Column("group", "GROUP", 8, flexible=True, most=32, sortable=False),
        Column("state", "state", 11, sortable=False),
        Column("members", "members", 7, right=True, sortable=False),
        Column("lag", "lag", 7, right=True, sortable=False),
        Column("trend", "trend /s", 8, right=True, sortable=False),
        Column("error", "err %", 5, right=True, sortable=False),
        Column("rebalances", "rebalances, the last", 26, priority=1, flexible=True, most=60, sortable=False),
        Column("rate", "req/s", 6, right=True, priority=2, sortable=False),
        Column("commits", "commits/s", 9, right=True, priority=2, sortable=False),
        Column("now", "now", 4, right=True, priority=2, sortable=False),
    ),
    "no group was heard of",
)
ROUNDS = Lower(
    (
        Column("time", "REBALANCE", 9, sortable=False),
        Column("group", "group", 8, flexible=True, most=32, sortable=False),
        Column("generation", "gen.", 5, right=True, sortable=False),
        Column("members", "members", 7, right=True, sortable=False),
        Column("took", "took", 8, right=True, sortable=False),
        Column("why", "why", 30, flexible=True, most=100, sortable=False),
    ),
    "no rebalance was seen",
)
LAGS = Lower(
    (
        Column("topic", "LAG OF", 8, flexible=True, most=40, sortable=False),
        Column("partition", "part.", 5, right=True, sortable=False),
        Column("group", "group", 10, flexible=True, most=32, sortable=False),
        Column("client", "client id", 12, flexible=True, most=32, sortable=False),
        Column("offset", "read to", 11, right=True, sortable=False),
        Column("end", "end", 11, right=True, sortable=False),
        Column("lag", "lag", 7, right=True, sortable=False),
        Column("trend", "trend /s", 8, right=True, sortable=False),
        Column("host", "address", 15, priority=1, sortable=False),
    ),
    "no consumer was seen",
)
PRODUCERS = Lower(
    (
        Column("client", "PRODUCER", 10, flexible=True, most=32, sortable=False),
        Column("host", "address", 15, sortable=False),
        Column("topic", "topic", 10, flexible=True, most=32, sortable=False),
        Column("acks", "acks", 4, right=True, sortable=False),
        Column("records", "rec/batch", 9, right=True, sortable=False),
        Column("bytes", "batch", 7, right=True, sortable=False),
        Column("codec", "codec", 6, sortable=False),
        Column("idempotent", "idemp.", 6, sortable=False),
        Column("transactional", "transactional id", 16, priority=1, flexible=True, most=40, sortable=False),
    ),
    "no producer was seen",
)


@dataclass(slots=True)
class _Requests:
    """All requests about what bears a group's name."""

    requests: int = 0
    responses: int = 0
    errors: int = 0
    commits: int = 0
    inflight: int = 0
    is_group: bool = False

    def add(self, group: Group) -> None:
        operation, totals = group.key[1], group.totals
        self.requests += totals.requests
        self.responses += totals.responses
        self.errors += totals.errors
        self.inflight += group.inflight
        self.commits += totals.requests if operation in ("OffsetCommit", "TxnOffsetCommit") else 0
        self.is_group = self.is_group or operation in GROUP_APIS


_NONE = _Requests()


def group_rows(groups: Groups, facts: KafkaFacts, wall_offset_ns: int) -> list[LineRow]:
    """The groups that are known, those that lag most first. `groups` are the requests by target and operation."""
    found: dict[str, _Requests] = {}
    for group in groups.groups:
        found.setdefault(str(group.key[0]), _Requests()).add(group)
    known = {each.name: each for each in facts.groups}
    others = sorted(
        (name for name, each in found.items() if each.is_group and name not in known),
        key=lambda name: -found[name].requests,
    )
    return [
        _group_row(name, found.get(name, _NONE), known.get(name), groups, wall_offset_ns) for name in (*known, *others)
    ]


def _group_row(
    name: str, requests: _Requests, facts: GroupFacts | None, groups: Groups, wall_offset_ns: int
) -> LineRow:
    ratio = requests.errors / requests.responses if requests.responses else None
    told: tuple[AnyCell, ...] = (_unknown(),) * 5
    if facts is not None:
        told = (
            Cell(_SHORT.get(facts.state, facts.state), "" if facts.state in _SETTLED else "warn"),
            _seen(numbers.count(facts.members), facts.members_whole),
            lag_cell(facts.lag, facts.lag_whole),
            trend_cell(facts.trend),
            _last(facts, wall_offset_ns),
        )
    cells = (
        name or glyphs().none,
        *told[:4],
        Cell(numbers.percent(ratio), "bad" if ratio else "quiet"),
        told[4],
        numbers.rate(groups.rate(requests.requests)),
        numbers.rate(groups.rate(requests.commits)),
        Cell(numbers.count(requests.inflight), "waiting" if requests.inflight else "quiet"),
    )
    return LineRow(name, cells)


def _last(facts: GroupFacts, wall_offset_ns: int) -> AnyCell:
    if not facts.rounds:
        return Cell("0", "quiet")
    last = facts.rounds[-1]
    return f"{facts.rebalances}  {_time(last.ended_ns, wall_offset_ns)} {last.why}"


def round_rows(facts: KafkaFacts, wall_offset_ns: int) -> list[LineRow]:
    """The rebalances of all groups, the latest first."""
    rounds = [(group, each) for group in facts.groups for each in group.rounds]
    rounds.sort(key=lambda each: -each[1].ended_ns)
    return [
        LineRow((group.name, each.generation, each.ended_ns), _round_cells(group, each, wall_offset_ns))
        for group, each in rounds
    ]


def _round_cells(group: GroupFacts, each: RoundFacts, wall_offset_ns: int) -> tuple[AnyCell, ...]:
    return (
        _time(each.ended_ns, wall_offset_ns),
        group.name,
        str(each.generation) if each.generation >= 0 else _unknown(),
        _seen(numbers.count(each.members), each.whole),
        numbers.duration(each.ended_ns - each.began_ns or None),  # nobody waits for one that leaves nobody
        each.why if each.why != glyphs().unknown else _unknown(),
    )


def lag_rows(facts: KafkaFacts) -> list[LineRow]:
    """Partitions and how far they are read, those that lag most first."""
    return [
        LineRow((each.group, each.client_id, each.host, each.topic, each.partition), _lag_cells(each))
        for each in facts.lags
    ]


def _lag_cells(each: LagFacts) -> tuple[AnyCell, ...]:
    by_group = each.group or Cell(glyphs().none, "quiet")
    client = each.client_id or _unknown()
    return (
        each.topic or _unknown(),
        str(each.partition),
        by_group,
        client,
        str(each.offset),
        _unknown() if each.end is None else str(each.end),
        lag_cell(each.lag, whole=True),
        trend_cell(each.trend),
        each.host or _unknown(),
    )


def producer_rows(facts: KafkaFacts) -> list[LineRow]:
    """Who produces, of so many as are told the latest."""
    producers = sorted(facts.producers, key=lambda each: (each.client_id, each.host))
    return [LineRow((each.client_id, each.host), _producer_cells(each)) for each in producers]


def _producer_cells(each: ProducerFacts) -> tuple[AnyCell, ...]:
    idempotent = {True: "yes", False: "no", None: glyphs().unknown}[each.idempotent]
    return (
        each.client_id or glyphs().none,
        each.host or _unknown(),
        each.topic or _unknown(),
        _unknown() if each.acks is None else _ACKS.get(each.acks, str(each.acks)),
        _unknown() if each.batch_records is None else numbers.rate(each.batch_records),
        numbers.size(each.batch_bytes),
        each.compression or _unknown(),
        Cell(idempotent, "quiet" if each.idempotent is None else ""),
        each.transactional_id or Cell(glyphs().none, "quiet"),
    )


def throttled_cell(client: ClientFacts | None, now_ns: int) -> AnyCell:
    """How often the client was asked to wait, and how long ago for the last time."""
    if client is None or not client.throttled:
        return Cell(glyphs().none, "quiet")
    return Cell(f"{numbers.count(client.throttled)}, {numbers.age(now_ns - client.throttled_ns)} ago", "warn")


def clients_by(facts: KafkaFacts) -> Mapping[tuple[str, str], ClientFacts]:
    """The clients by their id and address."""
    return {(each.client_id, each.host): each for each in facts.clients}


def behind(table: Lower, key: Sequence[object]) -> tuple[Is, ...]:
    """What is true of the requests behind a row of one of these tables."""
    if table is PRODUCERS:
        return Is("operation", "Produce"), Is("application", str(key[0])), Is("client", str(key[1]))
    return (Is("target", str(key[3] if table is LAGS else key[0])),)


def lag_cell(lag: int | None, whole: bool) -> AnyCell:
    """A lag in records."""
    if lag is None:
        return _unknown()
    return Cell(_seen(numbers.count(lag), whole), "loud" if lag else "quiet")


def trend_cell(trend: float | None) -> AnyCell:
    """By how much a lag grows each second."""
    if trend is None:
        return _unknown()
    if abs(trend) < 0.005:
        return Cell("0", "quiet")
    sign = glyphs().worse if trend > 0 else glyphs().better
    return Cell(f"{sign} {numbers.rate(abs(trend))}", "bad" if trend > 0 else "good")


def _seen(text: str, whole: bool) -> str:
    return text if whole else numbers.at_least(text)


def _unknown() -> Cell:
    return Cell(glyphs().unknown, "quiet")


def _time(ns: int, wall_offset_ns: int) -> str:
    return numbers.of_day(ns + wall_offset_ns, digits=0)
