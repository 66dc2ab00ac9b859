"""`python -m tests.fuzz.mongodb`: mutated messages through MongoDB's parser, in the ways that `engine` describes.

Nothing but ProtocolError may come out of it. Each input is two bytes (how much of a message was captured, of its tail,
what it answers, and whether values are shown), and the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.fuzz import engine

# What is instrumented has to be imported first.
with engine.instrumented("probes.protocols"):
    from probes.protocols.interface import ProtocolError
    from probes.protocols.mongodb import MongoDB
    from probes.protocols.mongodb.lives import Lives

from probes.records import Head, Session, Side, Status, Times
from probes.store.view import Exchange
from tests.unit.mongodb_messages import CONNECTION, command, compressed
from tests.unit.test_mongodb_hostile import BOMBS, HOSTILE, MESSAGES

FIND = command({"find": "orders", "filter": {"a": 1}, "$db": "shop"})


def head_of(data: bytes) -> Head:
    """The head that an input stands for: how much of the message was captured, and of its tail."""
    cut, tail, message = data[0], data[1], data[2:]
    captured = len(message) * (cut or 256) // 256
    tail_bytes = min(2 * tail, len(message) - captured) if tail < 128 else 0
    total = len(message)
    return Head(True, 0, 1, 2, total, message[:captured], message[total - tail_bytes :] if tail_bytes else b"")


def run(data: bytes, around: engine.Around) -> None:
    """Everything that is ever done with a head, each by `around`; it gives None where that refuses."""
    head, mongodb, lives = head_of(data), MongoDB(), Lives()
    memory = mongodb.memory(CONNECTION)
    around("identify", lambda: mongodb.identify(head.data, head.total))
    request = around("request", lambda: mongodb.request(head, memory))
    around("reply_to", lambda: mongodb.reply_to(head))
    find = mongodb.request(Head(True, 0, 1, 2, len(FIND), FIND), memory)
    asked = (find, request, None)[data[1] % 3]
    reply = around("reply", lambda: mongodb.reply(head, asked, memory))
    if request is not None:
        around("shape", lambda: request.shape)
    for its_request in (asked, None) if request is asked else (asked, request):
        if its_request is None and reply is None:
            continue
        session = Session("mongodb", Status.OK, Side.SERVER, CONNECTION, its_request, reply, Times(1, 2, 3, 4), 1, 1)
        literals = data[1] % 2 == 1
        around(f"record, literals {literals}", lambda: mongodb.record(session, literals=literals))  # noqa: B023
        around("lives", lambda: lives.take(Exchange(1, Status.OK, 1, 2, its_request, reply)))  # noqa: B023


def seeds() -> Iterator[bytes]:
    for each in [*MESSAGES, *HOSTILE.values(), *(compressed(each, 2) for each in HOSTILE.values())]:
        for cut, tail in ((0, 255), (180, 254), (180, 100)):
            yield bytes([cut, tail]) + each[: engine.MAX_BYTES]


def dear() -> Iterator[bytes]:
    for each in BOMBS.values():
        for tail in range(250, 256):
            yield bytes([0, tail]) + compressed(each, 2)


def fit(message: bytearray) -> None:
    if len(message) >= 4:
        struct.pack_into("<i", message, 0, len(message))


if __name__ == "__main__":
    raise SystemExit(engine.main(engine.Target(run, seeds, ProtocolError, options=2, dear=dear, fit=fit)))
