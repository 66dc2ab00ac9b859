"""Sessions as the sources would make them, for the tests of everything that comes after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.protocols.interface import WireProtocol
from probes.records import (
    Address,
    Connection,
    Failure,
    Fault,
    Process,
    Reply,
    Request,
    Session,
    Side,
    Status,
    Times,
)

SERVER = Connection(
    1, Process(712, "mongod"), near=Address("10.0.0.9", 27017), far=Address("10.0.0.5", 51544), protocol="mongodb"
)
CLIENT = Connection(
    2,
    Process(4711, "billing", "f00d"),
    near=Address("10.0.0.5", 51544),
    far=Address("10.0.0.9", 27017),
    protocol="mongodb",
)
MS = 1_000_000


class FakeProtocol:
    """A protocol as the outputs see it: it only adds its own part to a record."""

    def __init__(self, name: str, own: Mapping[str, Any]) -> None:
        self.name = name
        self.own = own
        self.asked_for_literals: list[bool] = []

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        self.asked_for_literals.append(literals)
        return dict(self.own)


def fake_protocol(name: str = "mongodb", **own: Any) -> WireProtocol:
    return FakeProtocol(name, own)  # type: ignore[return-value] # the outputs call nothing else


def find(
    *,
    operation: str = "find",
    target: str = "shop.orders",
    duration_ns: int = 2 * MS,
    version: int | None = None,
    long_poll: bool = False,
    truncated: bool = False,
    protocol: str = "mongodb",
) -> Session:
    """A find that mongod answered, as seen from the server."""
    return Session(
        protocol=protocol,
        status=Status.OK,
        seen_from=Side.SERVER,
        connection=SERVER,
        request=Request(
            17, operation, b"", version, target, (target,) if target else (), long_poll=long_poll, truncated=truncated
        ),
        reply=Reply(5512, b""),
        times=Times(1000, 2000, 2000 + duration_ns, 3000 + duration_ns),
        request_bytes=212,
        reply_bytes=301,
    )


def duplicate_key() -> Session:
    """An insert that failed, seen from both ends."""
    session = find(operation="insert")
    session.status = Status.ERROR
    session.seen_from = Side.BOTH
    failure = Failure(11000, "DuplicateKey", "E11000 dup key: { _id: 7 }", Fault.CLIENT)
    session.reply = Reply(5512, b"", failure, attributes=(("shard", 2),))
    session.client = CLIENT
    session.client_times = Times(900, 1900, 1900 + 3 * MS, 2900 + 3 * MS)
    return session


def hanging() -> Session:
    """An aggregate that still waits."""
    session = find(operation="aggregate", target="shop.lines")
    session.status, session.reply, session.reply_bytes = Status.INFLIGHT, None, 0
    session.times = Times(1000, 2000)
    return session


def fetch() -> Session:
    """A Kafka Fetch that the broker held back, seen from the client."""
    session = find(
        operation="Fetch", target="orders", version=13, long_poll=True, duration_ns=500 * MS, protocol="kafka"
    )
    assert session.request is not None
    session.request.targets = ("orders", "lines")
    session.reply = Reply(None, b"")
    session.seen_from, session.connection = Side.CLIENT, CLIENT
    return session


def undecodable() -> Session:
    """A message that no parser could read."""
    session = find()
    session.status, session.request, session.reply, session.reply_bytes = Status.UNPARSED, None, None, 0
    session.times = Times(1000, 2000)
    return session


def samples() -> list[Session]:
    return [find(), duplicate_key(), hanging(), fetch(), undecodable()]
