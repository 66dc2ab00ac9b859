"""The "kafka" part of the session record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import MemoryRecordsBuilder

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import Kafka
from probes.protocols.kafka.messages import Memory
from probes.protocols.kafka.walk import MAX_ELEMENTS, uuid_text
from tests.unit.kafka_messages import (
    Fields,
    Golden,
    batch,
    exchange,
    framed,
    golden,
    head,
    reply_bytes,
    request_bytes,
    request_header,
    session,
)
from tests.unit.test_kafka_batches import TRACEPARENT

V2 = {"magic": 2, "compression": "none", "base_timestamp": 1_700_000_000_000, "max_timestamp": 1_700_000_000_001}
ORDERS, OTHER = uuid_text(bytes(range(16))), uuid_text(b"\7" * 16)


def produced(**topic: Any) -> Fields:
    parts = [{"index": 0, "records": batch(10, 812)}, {"index": 4, "records": batch(1) + batch(2)}]
    return {"acks": -1, "topic_data": [topic | {"partition_data": parts}]}


def answered(**topic: Any) -> Fields:
    parts = [{"index": 0, "base_offset": 41}, {"index": 4, "error_code": 19, "base_offset": -1}]
    return {"responses": [topic | {"partition_responses": parts}], "throttle_time_ms": 30}


def test_produce() -> None:
    record = exchange(0, 9, produced(name="orders"), answered(name="orders")).record
    assert record == {
        "api_key": 0,
        "api_version": 9,
        "correlation_id": 7,
        "client_id": "client",
        "acks": -1,
        "throttle_ms": 30,
        "partitions_total": 2,
        "partitions": [
            {"topic": "orders", "partition": 0, "error_code": 0, "records": 10, "bytes": 812, "offset": 41}
            | {"batches": 1, "log_start_offset": 0}
            | V2,
            {
                "topic": "orders",
                "partition": 4,
                "error_code": 19,
                "error_name": "NOT_ENOUGH_REPLICAS",
                "records": 3,
                "bytes": 200,
                "batches": 2,
                "log_start_offset": 0,
            }
            | V2,
        ],
    }


def test_produce_by_topic_id() -> None:
    kafka = Kafka()
    record = exchange(0, 13, produced(topic_id=ORDERS), answered(topic_id=ORDERS), kafka=kafka).record
    assert [part.get("topic") for part in record["partitions"]] == [None, None]
    assert record["partitions"][0]["topic_id"] == ORDERS
    kafka.topics.learn(bytes(range(16)), "orders")
    record = exchange(0, 13, produced(topic_id=ORDERS), answered(topic_id=ORDERS), kafka=kafka).record
    assert (
        record["partitions"][0]
        == {
            "topic": "orders",
            "topic_id": ORDERS,
            "partition": 0,
            "error_code": 0,
            "records": 10,
            "bytes": 812,
            "offset": 41,
            "batches": 1,
            "log_start_offset": 0,
        }
        | V2
    )


def test_names_that_were_known_when_the_request_went_by_stay() -> None:
    """A reader in another process has not seen what the collector has."""
    kafka = Kafka()
    kafka.topics.learn(bytes(range(16)), "orders")
    found = exchange(0, 13, produced(topic_id=ORDERS), answered(topic_id=ORDERS), kafka=kafka)
    record = Kafka().record(session(found.request, found.reply), literals=False)
    assert [part["topic"] for part in record["partitions"]] == ["orders", "orders"]


def fetched(**topic: Any) -> Fields:
    return {
        "max_wait_ms": 500,
        "min_bytes": 1,
        "topics": [topic | {"partitions": [{"partition": 0, "fetch_offset": 41}, {"partition": 1, "fetch_offset": 9}]}],
        "forgotten_topics_data": [topic | {"partitions": [7]}],
    }


def delivered(**topic: Any) -> Fields:
    parts = [
        {"partition_index": 0, "high_watermark": 51, "last_stable_offset": 50, "records": batch(10, 812)},
        {"partition_index": 1, "error_code": 1, "high_watermark": -1, "log_start_offset": -1, "records": None},
    ]
    return {"responses": [topic | {"partitions": parts}]}


def test_fetch_and_its_lag() -> None:
    record = exchange(1, 12, fetched(topic="orders"), delivered(topic="orders")).record
    assert (record["max_wait_ms"], record["throttle_ms"], record["partitions_total"]) == (500, 0, 2)
    assert record["partitions"] == [
        {
            "topic": "orders",
            "partition": 0,
            "error_code": 0,
            "records": 10,
            "bytes": 812,
            "offset": 41,
            "base_offset": 0,
            "high_watermark": 51,
            "last_stable_offset": 50,
            "log_start_offset": 0,
            "lag": 10,
            "batches": 1,
        }
        | V2,
        {"topic": "orders", "partition": 1, "error_code": 1, "error_name": "OFFSET_OUT_OF_RANGE", "offset": 9}
        | {"last_stable_offset": 0},
    ]


def test_partitions_that_only_the_reply_names() -> None:
    """In a fetch session the request names only what has changed."""
    record = exchange(1, 12, {"max_wait_ms": 500, "session_id": 3}, delivered(topic="orders")).record
    assert [(part["topic"], part["partition"]) for part in record["partitions"]] == [("orders", 0), ("orders", 1)]
    assert "lag" not in record["partitions"][0]


def test_records_that_are_not_all_visible_are_not_counted() -> None:
    record = exchange(0, 9, produced(name="orders"), answered(name="orders"), size=140).record
    assert record["partitions"][0]["records"] == 10  # the batch's header is there
    record = exchange(0, 9, produced(name="orders"), answered(name="orders"), size=90).record
    assert record["partitions"][0]["bytes"] == 812
    assert "records" not in record["partitions"][0]


def test_behind_a_window() -> None:
    parts = [{"partition_index": n, "high_watermark": 5, "records": bytes(3_000)} for n in range(2)]
    message = reply_bytes(1, 12, {"responses": [{"topic": "orders", "partitions": parts}]})
    end = message.index(bytes(3_000)) + 3_000
    kafka, memory = Kafka(), Memory()
    request = kafka.request(head(request_bytes(1, 12, fetched(topic="orders"))), memory)
    reply = kafka.reply(head(message, 200, ((end, message[end : end + 60]),)), request, memory)
    record = kafka.record(session(request, reply), literals=False)
    assert [part.get("bytes") for part in record["partitions"]] == [3_000, 3_000]


def test_records_behind_a_window_are_counted_too() -> None:
    parts = [{"partition_index": n, "high_watermark": 5, "records": batch(n + 2, 3_000)} for n in range(2)]
    message = reply_bytes(1, 12, {"responses": [{"topic": "orders", "partitions": parts}]})
    end = message.index(batch(2, 3_000)) + 3_000
    kafka, memory = Kafka(), Memory()
    request = kafka.request(head(request_bytes(1, 12, fetched(topic="orders"))), memory)
    reply = kafka.reply(head(message, 200, ((end, message[end : end + 200]),)), request, memory)
    record = kafka.record(session(request, reply), literals=False)
    assert [part["records"] for part in record["partitions"]] == [2, 3]


def test_what_a_transactional_producer_sends() -> None:
    builder = MemoryRecordsBuilder(2, 0, 1 << 20, transactional=True, producer_id=7, producer_epoch=2, base_sequence=0)
    builder.append(1_700_000_000_000, None, b"paid", [("traceparent", TRACEPARENT)])
    builder.close()
    asked = produced(name="orders") | {"transactional_id": "payments-1"}
    asked["topic_data"][0]["partition_data"] = [{"index": 0, "records": builder.buffer()}]
    record = exchange(0, 9, asked, {}).record
    assert record["transactional_id"] == "payments-1"
    assert (record["trace_id"], record["span_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    (part,) = record["partitions"]
    assert (part["producer_id"], part["producer_epoch"], part["transactional"]) == (7, 2, True)
    assert "paid" not in json.dumps(record)


def test_partitions_that_join_a_transaction() -> None:
    asked = {"v3_and_below_transactional_id": "payments", "v3_and_below_topics": [{"name": "t", "partitions": [0, 1]}]}
    parts = [{"partition_index": number, "partition_error_code": 51 * number} for number in range(2)]
    answer = {"results_by_topic_v3_and_below": [{"name": "t", "results_by_partition": parts}]}
    record = exchange(24, 3, asked, answer).record
    assert record["transactional_id"] == "payments"
    assert record["partitions"] == [
        {"topic": "t", "partition": 0, "error_code": 0},
        {"topic": "t", "partition": 1, "error_code": 51, "error_name": "CONCURRENT_TRANSACTIONS"},
    ]


def test_a_session_and_its_epoch() -> None:
    record = exchange(1, 12, {"session_id": 9, "session_epoch": 4, "min_bytes": 1}, {"session_id": 9}).record
    assert (record["session_id"], record["session_epoch"], record["min_bytes"]) == (9, 4, 1)


@pytest.mark.parametrize(
    ("api_key", "version", "asked", "answer", "generation"),
    [
        (11, 9, {"group_id": "g", "reason": "rebalance"}, {"generation_id": 4}, 4),
        (14, 5, {"group_id": "g", "generation_id": 4}, {}, 4),
        (12, 4, {"group_id": "g", "generation_id": 4}, {}, 4),
        (68, 1, {"group_id": "g", "member_epoch": 0}, {"member_epoch": 5}, 5),
        (8, 8, {"group_id": "g", "generation_id_or_member_epoch": 6}, {}, 6),
    ],
)
def test_generations(api_key: int, version: int, asked: Fields, answer: Fields, generation: int) -> None:
    record = exchange(api_key, version, asked, answer).record
    assert record["generation"] == generation
    assert record.get("reason") == asked.get("reason")


def test_groups() -> None:
    request = {"group_id": "g", "member_id": "m", "topics": [{"name": "t", "partitions": [{"committed_offset": 5}]}]}
    reply = {"topics": [{"name": "t", "partitions": [{"error_code": 25}]}]}
    record = exchange(8, 5, request, reply).record
    assert (record["group"], record["member"]) == ("g", "m")
    assert record["partitions"] == [
        {"topic": "t", "partition": 0, "error_code": 25, "error_name": "UNKNOWN_MEMBER_ID", "offset": 5}
    ]


def test_partitions_as_bare_numbers() -> None:
    record = exchange(9, 5, {"group_id": "g", "topics": [{"name": "t", "partition_indexes": [3, 1]}]}, {}).record
    assert record["partitions"] == [{"topic": "t", "partition": 3}, {"topic": "t", "partition": 1}]


def test_what_the_client_said_of_itself() -> None:
    kafka, memory = Kafka(), Memory()
    software = {"client_software_name": "librdkafka", "client_software_version": "2.5.0"}
    exchange(18, 3, software, {}, kafka=kafka, memory=memory)
    exchange(17, 1, {"mechanism": "PLAIN"}, {}, kafka=kafka, memory=memory)
    record = exchange(3, 9, {"topics": None}, {}, kafka=kafka, memory=memory).record
    assert (record["client_software"], record["sasl_mechanism"]) == ("librdkafka 2.5.0", "PLAIN")


def test_tokens_have_no_header_fields() -> None:
    kafka, memory = Kafka(), Memory()
    exchange(17, 0, {"mechanism": "PLAIN"}, {}, kafka=kafka, memory=memory)
    token = kafka.request(head(framed(b"\0a\0b")), memory)
    assert kafka.record(session(token, None), literals=True) == {"client_id": "client", "sasl_mechanism": "PLAIN"}


def test_a_body_that_is_not_decoded() -> None:
    kafka = Kafka()
    unknown = kafka.request(head(framed(request_header(0, 25) + b"whatever")), Memory())
    record = kafka.record(session(unknown, None), literals=True)
    assert record["body"] == "not decoded"
    assert (record["api_key"], record["api_version"], record["client_id"]) == (0, 25, "client")
    assert "request" not in record


def test_a_body_that_contradicts_its_layout() -> None:
    kafka = Kafka()
    broken = kafka.request(head(framed(request_header(3, 1) + b"\x7f\xff\xff\xff\0\1t")), Memory())
    assert kafka.record(session(broken, None), literals=False)["body"] == "malformed"


def test_a_body_with_too_much_in_it() -> None:
    topics = [{"name": "t", "partition_indexes": list(range(3_000))}]
    record = exchange(9, 5, {"group_id": "g", "topics": topics}, {}).record
    assert record["body"] == "decoded in part"
    assert (record["partitions_total"], len(record["partitions"])) == (3_000, MAX_ELEMENTS - 1)


def test_error_texts_hide_literals() -> None:
    reply = {"topics": [{"name": "t", "error_code": 36, "error_message": "Topic 't' already exists."}]}
    asked = {"topics": [{"name": "t"}]}
    assert exchange(19, 5, asked, reply).record["error"] == "Topic 't' already exists."
    reply["topics"][0] |= {"error_code": 40, "error_message": "Invalid value hunter2 for configuration x.y: no"}
    assert exchange(19, 5, asked, reply).record["error"] == "Invalid value ?"
    assert "hunter2" in exchange(19, 5, asked, reply, literals=True).record["error"]


def test_the_decoded_messages_come_with_literals_only() -> None:
    plain = exchange(0, 9, produced(name="orders"), answered(name="orders")).record
    assert "request" not in plain
    assert "response" not in plain
    full = exchange(0, 9, produced(name="orders"), answered(name="orders"), literals=True).record
    assert full["request"]["topic_data"][0]["partition_data"][0] == {"index": 0, "records": {"bytes": 812}}
    assert full["response"]["responses"][0]["partition_responses"][0]["base_offset"] == 41
    json.dumps(full)


@pytest.mark.parametrize("size", [None, 60, 200])
@pytest.mark.parametrize("literals", [False, True])
def test_every_message_has_a_record_without_nulls(size: int | None, literals: bool) -> None:
    replies = {each[:2]: each for each in golden() if each.direction == "response"}
    for each in golden():
        if each.direction == "request":
            kafka, memory = Kafka(), Memory()
            request = kafka.request(head(each.message, size), memory)
            reply = kafka.reply(head(replies[each[:2]].message, size), request, memory)
            record = kafka.record(session(request, reply), literals=literals)
            assert json.loads(json.dumps(record)) == record
            assert record["api_key"] == each.api_key
            assert None not in record.values()
            assert all(None not in part.values() for part in record.get("partitions", []))


@given(st.sampled_from(golden()), st.data())
def test_any_damage_is_recorded_without_an_error(each: Golden, data: st.DataObject) -> None:
    message = bytearray(each.message)
    for _ in range(data.draw(st.integers(0, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    damaged = head(bytes(message), data.draw(st.integers(0, len(message))))
    kafka, memory = Kafka(), Memory()
    whole = kafka.request(head(framed(request_header(each.api_key, each.version))), Memory())
    try:
        request = kafka.request(damaged, memory) if each.direction == "request" else whole
        reply = kafka.reply(damaged, whole, memory) if each.direction == "response" else None
    except ProtocolError:
        return
    for literals in (False, True):
        json.dumps(kafka.record(session(request, reply), literals=literals))
