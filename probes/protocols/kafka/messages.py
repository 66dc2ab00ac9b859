"""The records of this protocol and what is remembered: of a connection, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from probes.protocols.kafka.walk import Windows, uuid_text
from probes.records import Reply, Request

MAX_TOPICS = 65_536
MAX_TOPIC_NAME = 249  # Kafka's own limit

NO_CLIENT_ID = b"\xff\xff"


class Client(NamedTuple):
    """What a connection's client said of itself. "" where it has not."""

    software: str = ""  # name and version (KIP-511), "apache-kafka-java 4.1.0"
    mechanism: str = ""  # of SASL


UNKNOWN_CLIENT = Client()


@dataclass(slots=True)
class KafkaRequest(Request):
    api_key: int = -1
    client_id: str | None = None
    group: str = ""
    member: str = ""
    acks: int | None = None
    max_wait_ms: int | None = None
    partitions: int = 0  # asked for, as far as the head shows
    client: Client = UNKNOWN_CLIENT
    token: bool = False  # a bare SASL token: nothing of it is kept

    @property
    def application(self) -> str:
        return self.client_id or self.client.software


@dataclass(slots=True)
class KafkaReply(Reply):
    """`windows`: what was kept of the message behind records that the head does not hold, as (offset, bytes)."""

    throttle_ms: int | None = None
    windows: Windows = ()


@dataclass(slots=True)
class Memory:
    """What is remembered of one connection."""

    client_id_bytes: bytes = NO_CLIENT_ID  # with its length, as the last request had it
    client_id: str | None = None
    client: Client = UNKNOWN_CLIENT
    tokens: bool = False  # SaslHandshake v0 was sent: bare tokens follow until a request comes again
    last_token: int = 0


class Topics:
    """Names of topics by id (KIP-516), learned from replies; of more than `MAX_TOPICS` the first learned go."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def learn(self, id: bytes, name: str) -> None:
        if not any(id) or len(name) > MAX_TOPIC_NAME:
            return
        if id not in self._names and len(self._names) >= MAX_TOPICS:
            del self._names[next(iter(self._names))]
        self._names[id] = name

    def name(self, id: bytes) -> str:
        """The topic's name, the id's text where it is not known."""
        return self._names.get(id) or uuid_text(id)

    def known(self, id: bytes) -> str | None:
        return self._names.get(id)
