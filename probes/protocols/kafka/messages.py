"""The records of this protocol and what is remembered: of a connection, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from probes.protocols.kafka.fetch_sessions import FetchSession, Topic
from probes.protocols.kafka.walk import Windows
from probes.records import Reply, Request

NO_CLIENT_ID = b"\xff\xff"


class Client(NamedTuple):
    """What a connection's client said of itself. "" where it has not."""

    software: str = ""  # name and version (KIP-511), "apache-kafka-java 4.1.0"
    mechanism: str = ""  # of SASL


UNKNOWN_CLIENT = Client()

Offsets: TypeAlias = tuple[tuple[Topic | None, dict[int, int]], ...]
"""Of topics their partitions' offsets, by number."""


@dataclass(slots=True)
class KafkaRequest(Request):
    api_key: int = -1
    client_id: str | None = None
    group: str = ""
    member: str = ""
    acks: int | None = None
    max_wait_ms: int | None = None
    partitions: int = 0  # asked for, as far as the head shows; of a fetch session all of them, as far as known
    in_session: bool = False  # it opens a fetch session, or
    incremental: bool = False  # goes on with one: names only what is new or has moved
    topic_ids: tuple[str, ...] = ()  # of a fetch session, in step with the targets
    client: Client = UNKNOWN_CLIENT
    # In a fetch session, for whoever follows those, and kept nowhere: from where on it asks, and for what no longer.
    asked: Offsets = field(default=(), compare=False)
    forgotten: tuple[tuple[Topic, list[int]], ...] = field(default=(), compare=False)
    token: bool = False  # a bare SASL token: nothing of it is kept

    @property
    def application(self) -> str:
        return self.client_id or self.client.software


@dataclass(slots=True)
class KafkaReply(Reply):
    """`windows`: what was kept of the message behind records that the head does not hold, as (offset, bytes)."""

    throttle_ms: int | None = None
    windows: Windows = ()
    ends: Offsets = field(default=(), compare=False)  # where partitions end, in a fetch session: kept nowhere


@dataclass(slots=True)
class Memory:
    """What is remembered of one connection."""

    client_id_bytes: bytes = NO_CLIENT_ID  # with its length, as the last request had it
    client_id: str | None = None
    client: Client = UNKNOWN_CLIENT
    tokens: bool = False  # SaslHandshake v0 was sent: bare tokens follow until a request comes again
    last_token: int = 0
    session: FetchSession | None = None
    opening: int | None = None  # the request whose reply tells the session's id
