"""What of Kafka's messages goes into a recording: everything that a session shows, nothing that a user put there."""

from __future__ import annotations

import struct
from functools import cache
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.masking import _is_name
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.kafka.table import Direction, Field, Layout
from probes.records import Head
from tests.unit.kafka_messages import (
    CONNECTION,
    Golden,
    encoded,
    framed,
    golden,
    head,
    reply_header,
    request_header,
    session,
    uvarint,
)

SECRET = b"s3cr3t!"
VERSIONS = [(api.key, version) for api in table.apis().values() for version in api.versions]
DIRECTIONS: tuple[Direction, ...] = ("request", "response")


def masked_exchange(kafka: Kafka, asked: Head, answered: Head | None) -> tuple[list[Head], KafkaRequest, Any]:
    """The heads as they are recorded, and what was parsed of them."""
    memory = kafka.memory(CONNECTION)
    request = kafka.request(asked, memory)
    kept = [kafka.recordable(asked, request, None, literals=False)]
    if answered is None:
        return kept, request, None
    reply = kafka.reply(answered, request, memory)
    return [*kept, kafka.recordable(answered, reply, request, literals=False)], request, reply


def shown(kafka: Kafka, request: KafkaRequest, reply: KafkaReply | None) -> dict[str, Any]:
    """The record but for the error's text."""
    return {**kafka.record(session(request, reply), literals=False), "error": ""}


@cache
def pairs() -> list[tuple[Golden, Golden]]:
    """Apache Kafka's own messages, each request with a reply of its version."""
    of_version = groupby(
        sorted(golden(), key=lambda each: (each.api_key, each.version)), lambda e: (e.api_key, e.version)
    )
    found = []
    for _, group in of_version:
        messages = list(group)
        asked = [each for each in messages if each.direction == "request"]
        answered = [each for each in messages if each.direction == "response"]
        found += list(zip(asked, answered, strict=False))
    return found


@pytest.mark.parametrize("size", [None, 300, 90, 40])
def test_what_is_recorded_is_read_as_the_same_session(size: int | None) -> None:
    assert len(pairs()) > 300
    for asked, answered in pairs():
        kafka, again = Kafka(), Kafka()
        heads = head(asked.message, size), head(answered.message, size)
        (request_head, reply_head), request, reply = masked_exchange(kafka, *heads)

        memory = again.memory(CONNECTION)
        read_request = again.request(request_head, memory)
        read_reply = again.reply(reply_head, read_request, memory)

        read_request.data, read_reply.data = request.data, reply.data
        if reply.failure is not None and read_reply.failure is not None:
            assert len(read_reply.failure.message) == len(reply.failure.message.encode())
            read_reply.failure.message = reply.failure.message
        assert (read_request, read_reply) == (request, reply), (asked.api_key, asked.version)
        assert len(request_head.data) == len(request.data)
        masked_request = again.request(request_head, again.memory(CONNECTION))
        masked_reply = again.reply(reply_head, masked_request, again.memory(CONNECTION))
        assert shown(again, masked_request, masked_reply) == shown(kafka, request, reply)


def filled(layout: Layout) -> dict[str, Any]:
    """Fields of which each that may be a literal holds the secret, and every array something."""
    fields = {field.name: value_of(field) for field in layout.fields}
    return fields | {field.name: value_of(field) for field in layout.tagged.values()}


def value_of(field: Field) -> Any:
    if field.array:
        return [value_of(field._replace(array=False, nullable=False))] * 2
    if field.struct is not None:
        return filled(field.struct)
    match field.type:
        case "string":
            return "name" if _is_name(field) else SECRET.decode()
        case "bytes":
            return SECRET
        case "records":
            return record_batch()
        case "uuid":
            return bytes(range(16))
        case _:
            return 0


TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def record_batch(compression: int = 0) -> bytes:
    """A batch of two records with the secret in key, value and headers' values, and a trace context."""

    def varint(number: int) -> bytes:
        return uvarint(number << 1)

    def sized(data: bytes) -> bytes:
        return varint(len(data)) + data

    body = b"\0" + varint(0) + varint(0) + sized(SECRET) + sized(SECRET * 3) + varint(3)
    for name, value in ((b"traceparent", TRACEPARENT), (b"b3", SECRET), (b"note", SECRET)):
        body += sized(name) + sized(value)
    records = sized(body) * 2
    fixed = struct.pack(">qiibIhiqqqhii", 0, 49 + len(records), -1, 2, 7, compression, 1, 0, 0, -1, -1, -1, 2)
    return fixed + records


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_no_value_of_any_message_is_recorded(direction: Direction) -> None:
    kafka, seen = Kafka(), 0
    for api_key, version in VERSIONS:
        layout = table.layout(api_key, version, direction)
        assert layout is not None
        body = encoded(api_key, version, direction, filled(layout))
        request = framed(request_header(api_key, version) + (body if direction == "request" else b""))
        reply = framed(reply_header(api_key, version) + body) if direction == "response" else None
        for size in (None, max(len(reply or request) - 5, 20), 70):
            kept, *_ = masked_exchange(kafka, head(request, size), None if reply is None else head(reply, size))
            seen += SECRET in (reply or request)
            assert SECRET[:4] not in b"".join(each.data for each in kept), (api_key, version, size)
    assert seen > 300


@pytest.mark.parametrize("size", range(60, 400, 7))
def test_windows_behind_records_are_masked_at_their_place(size: int) -> None:
    """As a broker sends it: records past the head, and what stands between them kept."""
    parts = [
        {"partition_index": index, "high_watermark": 51, "records": record_batch(), "aborted_transactions": []}
        for index in range(3)
    ]
    fields = {"responses": [{"topic": "orders", "partitions": parts}]}
    asked = framed(request_header(1, 11) + encoded(1, 11, "request", {"topics": [{"topic": "orders"}]}))
    whole = framed(reply_header(1, 11) + encoded(1, 11, "response", fields))
    window = (size + 100, whole[size + 100 : size + 220])
    kafka = Kafka()
    answered = head(whole, size, (window,) if window[1] else ())

    (_, kept), request, reply = masked_exchange(kafka, head(asked), answered)

    assert [len(data) for _, data in kept.windows] == [len(data) for _, data in answered.windows]
    assert SECRET[:4] not in kept.data + b"".join(data for _, data in kept.windows)
    assert shown(kafka, request, kafka.reply(kept, request, kafka.memory(CONNECTION))) == shown(kafka, request, reply)


def test_records_keep_their_shape_and_a_compressed_batch_its_header_alone() -> None:
    plain, compressed = record_batch(), record_batch(compression=4)
    fields = [
        {"topic_data": [{"name": "orders", "partition_data": [{"records": records}]}], "acks": -1}
        for records in (plain, compressed)
    ]
    kafka, kept = Kafka(), []
    for each in fields:
        message = framed(request_header(0, 7) + encoded(0, 7, "request", each))
        at = message.index(struct.pack(">qi", 0, len(plain) - 12))
        (request_head,), *_ = masked_exchange(kafka, head(message), None)
        kept.append(request_head.data[at : at + len(plain)])

    assert kept[0][61:] == plain[61:].replace(SECRET, b"*" * len(SECRET))
    assert kept[1][61:] == b"*" * (len(plain) - 61)
    assert TRACEPARENT in kept[0]
    assert all(each[:17] == plain[:17] for each in kept)
    assert kept[0][21:61] == plain[21:61]


def test_with_literals_all_that_the_session_keeps_is_recorded() -> None:
    kafka = Kafka()
    fields = {"topic_data": [{"name": "orders", "partition_data": [{"records": record_batch()}]}], "acks": -1}
    message = framed(request_header(0, 7) + encoded(0, 7, "request", fields))
    request = kafka.request(head(message), kafka.memory(CONNECTION))

    assert kafka.recordable(head(message), request, None, literals=True).data == message


@pytest.mark.parametrize("literals", [False, True])
def test_credentials_are_never_recorded(literals: bool) -> None:
    kafka = Kafka()
    memory = kafka.memory(CONNECTION)
    message = framed(request_header(36, 1) + encoded(36, 1, "request", {"auth_bytes": SECRET}))
    handshake = framed(request_header(17, 0) + encoded(17, 0, "request", {"mechanism": "PLAIN"}))
    token = framed(SECRET)

    kept = []
    for each in (message, handshake, token):
        request = kafka.request(head(each), memory)
        kept.append(kafka.recordable(head(each), request, None, literals=literals))
    answer = kafka.reply(head(token), request, memory)
    kept += [kafka.recordable(head(token), answer, request, literals=literals)]
    kept += [kafka.recordable(head(each), None, None, literals=literals) for each in (message, token)]

    assert SECRET[:4] not in b"".join(each.data + each.tail for each in kept)
    assert [each.total for each in kept[:3]] == [len(message), len(handshake), len(token)]


@given(
    pair=st.sampled_from(range(len(pairs()))),
    changes=st.lists(st.tuples(st.integers(4, 4000), st.integers(0, 255)), max_size=6),
    size=st.none() | st.integers(12, 400),
)
def test_whatever_is_broken_in_a_message_nothing_is_raised(
    pair: int, changes: list[tuple[int, int]], size: int | None
) -> None:
    kafka = Kafka()
    memory = kafka.memory(CONNECTION)
    heads = []
    for each in pairs()[pair]:
        message = bytearray(each.message)
        for at, byte in changes:
            message[4 + at % (len(message) - 4)] = byte
        heads.append(head(bytes(message), size))
    try:
        request = kafka.request(heads[0], memory)
        reply = kafka.reply(heads[1], request, memory)
    except ProtocolError:
        return
    for literals in (False, True):
        kept = (
            kafka.recordable(heads[0], request, None, literals=literals),
            kafka.recordable(heads[1], reply, request, literals=literals),
        )
        assert [each.total for each in kept] == [each.total for each in heads]
        assert all(len(each.data) <= len(given.data) for each, given in zip(kept, heads, strict=True))
