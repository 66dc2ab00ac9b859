"""Messages made to cost: counts of 2³¹, varints without end, nothing but tags, as many elements as fit."""

from __future__ import annotations

from functools import partial

import pytest

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import Kafka
from probes.records import Address, Connection, Session, Side, Status, Times
from tests.effort import bytes_held, lines_run
from tests.unit.kafka_messages import Golden, framed, golden, head, reply_header, request_bytes, request_header

FILLINGS = (b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", b"\0\0\0\1", b"\0\0\x10\0", b"\0\1", b"\2\0", b"\x03\1\0")
LONGEST = 16_384
MOST_LINES = 500_000
CONNECTION = Connection(1, None, Address("10.0.0.9", 9092), Address("10.0.0.5", 40_000))


def hostile(each: Golden, filling: bytes, size: int) -> bytes:
    """A message of this kind and size that consists of this filling."""
    header = request_header(each.api_key, each.version)
    if each.direction == "response":
        header = reply_header(each.api_key, each.version)
    return framed((header + filling * size)[: size - 4])


def latest() -> list[Golden]:
    """One of each API and direction, of the newest flexible and the newest older version."""
    found = {(each.api_key, each.direction, each.layout.flexible): each for each in golden()}
    return list(found.values())


def everything(each: Golden, message: bytes) -> None:
    """All that is ever done with it."""
    kafka = Kafka()
    memory = kafka.memory(CONNECTION)
    asked = message if each.direction == "request" else request_bytes(each.api_key, each.version, {})
    try:
        request = kafka.request(head(asked), memory)
        reply = kafka.reply(head(message), request, memory)
    except ProtocolError:
        return
    session = Session("kafka", Status.OK, Side.SERVER, CONNECTION, request, reply, Times(1, 2, 3, 4), 1, 1)
    kafka.observe(session)
    kafka.record(session, literals=True)


@pytest.mark.parametrize("filling", FILLINGS)
def test_no_message_costs_much(filling: bytes) -> None:
    for each in latest():
        work = partial(everything, each, hostile(each, filling, LONGEST))
        work()  # what is compiled for the kind of message stays
        assert lines_run(work) < MOST_LINES, each[:3]
        assert bytes_held(work) < 1 << 20, each[:3]
