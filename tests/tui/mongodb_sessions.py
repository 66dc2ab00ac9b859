"""MongoDB sessions for screens, made from what was asked and answered."""

from __future__ import annotations

from typing import Any

from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.messages import Client, Memory
from probes.records import Address, Connection, Session, Side, Status, Times
from tests.store.synthetic import SECOND, START_NS
from tests.unit.mongodb_messages import answer, command, compressed, head


def exchanged(asked: dict[str, Any], answered: dict[str, Any], at_s: float, compressor: int = 0) -> Session:
    """A MongoDB session that began so many seconds after the start."""
    mongodb = MongoDB()
    asked_bytes, answered_bytes = command({**asked, "$db": "shop"}), answer({"ok": 1.0, **answered})
    if compressor:
        asked_bytes = compressed(asked_bytes, compressor)
    memory = Memory(Client("batch-export", "PyMongo", ""))
    request = mongodb.request(head(asked_bytes), memory)
    reply = mongodb.reply(head(answered_bytes), request, memory)
    client = Connection(3, None, Address("10.0.0.9", 27017), Address("10.0.3.4", 40112), 0, "mongodb")
    start_ns = START_NS + int(at_s * SECOND)
    times = Times(start_ns, start_ns, start_ns + 1_000_000, start_ns + 1_000_000)
    status = Status.OK if reply.failure is None else Status.ERROR
    return Session("mongodb", status, Side.SERVER, client, request, reply, times, len(asked_bytes), len(answered_bytes))
