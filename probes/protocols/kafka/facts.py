"""What was learned of groups, lags, producers and clients beyond single requests, as it is told once a second.

Plain lists go to the store, the most important first; whoever reads them gets these records back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class RoundFacts(NamedTuple):
    """One rebalance; `why` is "?" where nothing tells. `members` are at least so many unless `whole`."""

    generation: int
    began_ns: int
    ended_ns: int
    members: int
    whole: bool
    why: str


class GroupFacts(NamedTuple):
    """One group. -1 and None are unknown; `members` and `lag` are at least so much unless they are whole."""

    name: str
    kind: str  # classic, consumer, share or streams
    state: str
    generation: int
    members: int
    members_whole: bool
    lag: int | None
    lag_whole: bool
    trend: float | None  # records per second
    rebalances: int  # all that were seen
    rounds: tuple[RoundFacts, ...]  # the last ones, oldest first


class LagFacts(NamedTuple):
    """A partition that a group or, with group "", a client by itself reads."""

    group: str
    client_id: str
    host: str
    topic: str
    partition: int
    offset: int  # committed by the group, else asked for by the client
    end: int | None
    lag: int | None
    trend: float | None  # records per second


class ClientFacts(NamedTuple):
    """What a client says of itself, and how often it was asked to wait."""

    client_id: str
    host: str
    software: str
    mechanism: str
    throttled: int  # replies
    throttle_ms: int  # all of it
    throttled_ns: int  # when last, 0 for never


class ProducerFacts(NamedTuple):
    """A client's Produce requests, by samples of the last ones. None is unknown; `topic` may be the last few."""

    client_id: str
    host: str
    topic: str
    acks: int | None
    batch_records: float | None
    batch_bytes: float | None
    compression: str
    idempotent: bool | None
    transactional_id: str
    last_ns: int


class KafkaFacts(NamedTuple):
    """All of it; `over` counts what found no place."""

    groups: tuple[GroupFacts, ...] = ()
    lags: tuple[LagFacts, ...] = ()
    producers: tuple[ProducerFacts, ...] = ()
    clients: tuple[ClientFacts, ...] = ()
    over: int = 0


def load(details: Mapping[str, Any]) -> KafkaFacts:
    """What `KafkaFacts._asdict` became on its way through JSON."""
    return KafkaFacts(
        tuple(map(_group, details.get("groups", ()))),
        tuple(LagFacts(*row) for row in details.get("lags", ())),
        tuple(ProducerFacts(*row) for row in details.get("producers", ())),
        tuple(ClientFacts(*row) for row in details.get("clients", ())),
        details.get("over", 0),
    )


def _group(row: Sequence[Any]) -> GroupFacts:
    group = GroupFacts(*row)
    return group._replace(rounds=tuple(RoundFacts(*each) for each in group.rounds))
