"""`python -m tests.fuzz.kafka`: mutated messages through Kafka's parser, in the ways that `engine` describes.

Nothing but ProtocolError may come out of it. Each input is four bytes (how much of a message was captured; API key,
version; direction of the message, and whether values are shown), and the message. The seeds are what Apache Kafka
encoded for the unit tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

from tests.fuzz import engine

# What is instrumented has to be imported first.
with engine.instrumented("probes.protocols"):
    from probes.protocols.interface import ProtocolError
    from probes.protocols.kafka import Kafka

from probes.records import Address, Connection, Head, Session, Side, Status, Times
from probes.sources.framing import WINDOW
from tests.unit.kafka_messages import framed, golden, request_bytes, request_header
from tests.unit.test_kafka_hostile import FILLINGS, hostile

CONNECTION = Connection(1, None, Address("10.0.0.9", 9092), Address("10.0.0.5", 40_000))


class Input:
    """What an input stands for."""

    def __init__(self, data: bytes) -> None:
        cut, self.api_key, self.version, self.direction = data[:4]
        self.version %= 32  # no other passes for one
        message = self.message = data[4:]
        captured = len(message) * (cut or 256) // 256
        window = ((captured + 8, message[captured + 8 :]),) if cut % 2 else ()
        self.head = Head(True, 0, 1, 2, len(message), message[:captured], windows=window)

    def asked(self) -> bytes:
        """A request whose reply the message may be."""
        try:
            return request_bytes(self.api_key, self.version, {})
        except AssertionError:  # not in the table
            return framed(request_header(self.api_key, self.version))


def run(data: bytes, around: engine.Around) -> None:
    """Everything that is ever done with a message, each by `around`; it gives None where that refuses."""
    its, kafka = Input(data), Kafka()
    head, memory = its.head, kafka.memory(CONNECTION)
    around("identify", lambda: kafka.identify(head.data, head.total))
    around("reply_to", lambda: kafka.reply_to(head))
    reply = None
    if its.direction % 2:
        asked = its.asked()
        around("skim", lambda: skim(kafka, asked, its.message, len(head.data)))
        request = kafka.request(Head(True, 0, 1, 2, len(asked), asked), memory)
        reply = around("reply", lambda: kafka.reply(head, request, memory))
    else:
        request = around("request", lambda: kafka.request(head, memory))
    around("reply to nothing", lambda: kafka.reply(head, None, memory))
    if request is None:
        return
    session = Session("kafka", Status.OK, Side.SERVER, CONNECTION, request, reply, Times(1, 2, 3, 4), 1, 1)
    literals = its.direction & 2 == 2
    message = reply if its.direction % 2 else request
    around(f"record, literals {literals}", lambda: kafka.record(session, literals=literals))
    around("recordable", lambda: kafka.recordable(head, message, request, literals=literals))
    around("observe", lambda: kafka.observe(session))
    around("facts", lambda: kafka.facts(5))
    if not its.direction % 2:  # the session goes on
        around("request", lambda: kafka.request(head, memory))


def skim(kafka: Kafka, asked: bytes, reply: bytes, captured: int) -> None:
    """What of a reply is to be kept behind its head is asked for, and given, up to its end."""
    replies = kafka.skim()
    replies.request(asked)
    places = replies.reply(reply[:captured])
    with suppress(StopIteration):
        place = next(places)
        while place < len(reply):
            end = min(place + WINDOW, len(reply))
            place = places.send(reply[place:end])
            assert place >= end


def seeds() -> Iterator[bytes]:
    for each in golden():
        for cut in (0, 180):
            yield (
                bytes([cut, each.api_key, each.version, each.direction == "response"])
                + each.message[: engine.MAX_BYTES]
            )


def dear() -> Iterator[bytes]:
    for each in golden():
        for filling in FILLINGS:
            message = hostile(each, filling, engine.MAX_BYTES)
            for literals in (0, 2):
                yield bytes([0, each.api_key, each.version, (each.direction == "response") | literals]) + message


def fit(message: bytearray) -> None:
    if len(message) >= 4:
        struct.pack_into(">i", message, 0, len(message) - 4)


if __name__ == "__main__":
    raise SystemExit(engine.main(engine.Target(run, seeds, ProtocolError, options=4, dear=dear, fit=fit)))
