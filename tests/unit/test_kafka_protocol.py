"""Requests and replies of Kafka as records: targets, ids, long polls, failures, and what a connection teaches."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError, WireProtocol
from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.messages import Memory
from probes.protocols.kafka.topics import MAX_TOPICS, Topics
from probes.protocols.kafka.walk import uuid_bytes, uuid_text
from probes.records import Fault, Request
from tests.unit.kafka_messages import (
    CONNECTION,
    Fields,
    exchange,
    framed,
    golden,
    head,
    reply_bytes,
    request_bytes,
    request_header,
)

ORDERS = uuid_text(bytes(range(16)))
PRODUCED = [{"index": 3, "records": bytes(100)}]


def parsed(api_key: int, version: int, fields: Fields, **options: Any) -> Any:
    kafka = Kafka()
    return kafka.request(head(request_bytes(api_key, version, fields, **options)), kafka.memory(CONNECTION))


def produce(acks: int = -1, **fields: Any) -> Fields:
    return {"acks": acks, "topic_data": [{"name": "orders", "partition_data": PRODUCED}], **fields}


def test_it_is_a_wire_protocol() -> None:
    protocol: WireProtocol = Kafka()
    assert protocol.name == "kafka"


@pytest.mark.parametrize("version", range(13))
def test_produce(version: int) -> None:
    request = parsed(0, version, produce(), correlation_id=41, client_id="producer-1")
    assert (request.id, request.operation, request.version, request.api_key) == (41, "Produce", version, 0)
    assert (request.target, request.targets, request.partitions) == ("orders", ("orders",), 1)
    assert (request.client_id, request.acks, request.expects_reply) == ("producer-1", -1, True)
    assert (request.long_poll, request.truncated) == (False, False)


def test_produce_with_acks_0_expects_no_reply() -> None:
    assert not parsed(0, 9, produce(acks=0)).expects_reply
    assert parsed(0, 9, produce(acks=1)).expects_reply


def test_all_topics_are_targets_once() -> None:
    names = ["b", "a", "b", "c"]
    request = parsed(0, 9, {"topic_data": [{"name": name, "partition_data": PRODUCED * 2} for name in names]})
    assert (request.target, request.targets, request.partitions) == ("b", ("b", "a", "c"), 8)


@pytest.mark.parametrize(
    ("max_wait_ms", "min_bytes", "long_poll"), [(500, 1, True), (0, 1, False), (500, 0, False), (-1, 1, False)]
)
@pytest.mark.parametrize(("api_key", "version"), [(1, 4), (1, 11), (1, 12), (1, 17), (78, 1)])
def test_fetches_are_long_polls(api_key: int, version: int, max_wait_ms: int, min_bytes: int, long_poll: bool) -> None:
    request = parsed(api_key, version, {"max_wait_ms": max_wait_ms, "min_bytes": min_bytes})
    assert (request.long_poll, request.max_wait_ms) == (long_poll, max_wait_ms)


@pytest.mark.parametrize(
    ("name", "long_poll"),
    [
        ("JoinGroup", True),
        ("SyncGroup", True),
        ("Heartbeat", False),
        ("ConsumerGroupHeartbeat", False),
        ("LeaveGroup", False),
        ("Metadata", False),
        ("OffsetCommit", False),
    ],
)
def test_what_waits_for_a_group_is_a_long_poll(name: str, long_poll: bool) -> None:
    assert parsed(table.api_key(name), 1, {}).long_poll is long_poll


@pytest.mark.parametrize(
    ("name", "version", "fields", "targets"),
    [
        ("JoinGroup", 5, {"group_id": "g", "member_id": "m"}, ("g",)),
        ("Heartbeat", 4, {"group_id": "g", "member_id": "m"}, ("g",)),
        ("ConsumerGroupHeartbeat", 1, {"group_id": "g", "subscribed_topic_names": ["t"]}, ("g", "t")),
        ("OffsetCommit", 8, {"group_id": "g", "topics": [{"name": "t"}, {"name": "u"}]}, ("g", "t", "u")),
        ("OffsetFetch", 8, {"groups": [{"group_id": "g"}, {"group_id": "h"}]}, ("g", "h")),
        ("DescribeGroups", 5, {"groups": ["g", "h"]}, ("g", "h")),
        ("DeleteGroups", 2, {"groups_names": ["g"]}, ("g",)),
        ("ShareFetch", 1, {"group_id": "g"}, ("g",)),
        ("ShareFetch", 1, {"group_id": "g", "topics": [{"topic_id": ORDERS}]}, (ORDERS,)),
        ("TxnOffsetCommit", 3, {"transactional_id": "x", "group_id": "g", "topics": [{"name": "t"}]}, ("g", "t")),
        ("InitProducerId", 2, {"transactional_id": "x"}, ("x",)),
        ("InitProducerId", 2, {"transactional_id": None}, ()),
        ("EndTxn", 3, {"transactional_id": "x"}, ("x",)),
        ("AddPartitionsToTxn", 3, {"v3_and_below_topics": [{"name": "t"}]}, ("t",)),
        ("AddPartitionsToTxn", 4, {"transactions": [{"transactional_id": "x", "topics": [{"name": "t"}]}]}, ("t",)),
        ("FindCoordinator", 1, {"key": "g"}, ("g",)),
        ("FindCoordinator", 4, {"coordinator_keys": ["g"]}, ("g",)),
        ("Metadata", 9, {"topics": None}, ()),
        ("Metadata", 12, {"topics": [{"topic_id": bytes(16), "name": "t"}]}, ("t",)),
        ("Metadata", 12, {"topics": [{"topic_id": ORDERS, "name": None}]}, (ORDERS,)),
        ("DeleteTopics", 3, {"topic_names": ["t", "u"]}, ("t", "u")),
        ("CreateTopics", 7, {"topics": [{"name": "t"}]}, ("t",)),
        ("ApiVersions", 0, {}, ()),
    ],
)
def test_targets(name: str, version: int, fields: Fields, targets: tuple[str, ...]) -> None:
    request = parsed(table.api_key(name), version, fields)
    assert request.targets == targets
    assert request.target == (targets[0] if targets else "")


def test_group_and_member() -> None:
    request = parsed(14, 5, {"group_id": "g", "member_id": "m-1"})
    assert (request.group, request.member) == ("g", "m-1")


def test_request_header_0() -> None:
    message = framed(struct.pack(">hhi", 7, 0, 5) + struct.pack(">i", 3))
    kafka = Kafka()
    memory = kafka.memory(CONNECTION)
    kafka.request(head(request_bytes(3, 1, {}, client_id=None)), memory)
    request = kafka.request(head(message), memory)
    assert (request.operation, request.id, request.client_id) == ("ControlledShutdown", 5, None)
    assert not request.truncated


def test_request_header_2_with_tags() -> None:
    tags = b"\x02\x00\x03abc\x85\x01\x01x"
    message = framed(request_header(12, 4, tags=tags) + b"\x02g\0\0\0\1\x02m\0\0")
    request = Kafka().request(head(message), Memory())
    assert (request.group, request.member, request.truncated) == ("g", "m", False)


def test_the_client_id_of_each_request_counts() -> None:
    kafka, memory = Kafka(), Memory()
    found = [
        kafka.request(head(request_bytes(3, 9, {"topics": []}, client_id=client_id)), memory).client_id
        for client_id in (None, "a", "a", "ab", "", "a", None)
    ]
    assert found == [None, "a", "a", "ab", "", "a", None]


@pytest.mark.parametrize(("api_key", "version"), [(123, 0), (10_001, 3), (32_767, 31)])
def test_an_unknown_api_is_still_a_request(api_key: int, version: int) -> None:
    message = framed(request_header(api_key, version) + b"body of unknown shape")
    request = Kafka().request(head(message), Memory())
    assert (request.operation, request.version, request.id) == (f"ApiKey_{api_key}", version, 7)
    assert request.client_id == "client"
    assert request.expects_reply
    assert b"body" not in request.data  # it could be anything


def test_an_unknown_version_is_still_a_request() -> None:
    message = framed(request_header(0, 25) + b"whatever")
    kafka = Kafka()
    request = kafka.request(head(message), Memory())
    assert (request.operation, request.version, request.target) == ("Produce", 25, "")
    answer = kafka.reply(head(framed(struct.pack(">i", 7) + b"\0" * 20)), request, Memory())
    assert (answer.id, answer.failure, answer.throttle_ms) == (7, None, None)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(framed(b""), id="no header"),
        pytest.param(request_bytes(3, 1, {})[:11], id="half a header"),
        pytest.param(framed(struct.pack(">hhih", -1, 0, 7, -1)), id="negative key"),
        pytest.param(framed(struct.pack(">hhih", 3, -1, 7, -1)), id="negative version"),
        pytest.param(framed(struct.pack(">hhih", 3, 32, 7, -1)), id="version beyond all"),
        pytest.param(framed(struct.pack(">hhih", 3, 1, 7, -2)), id="client id of length -2"),
        pytest.param(framed(struct.pack(">hhih", 3, 1, 7, 900)), id="client id longer than the message"),
        pytest.param(b"\0\0\0\5" + struct.pack(">hhih", 3, 1, 7, -1), id="length below a header's"),
    ],
)
def test_what_is_no_request(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        Kafka().request(head(message), Memory())


def test_a_cut_request_keeps_what_is_complete() -> None:
    message = request_bytes(8, 5, {"group_id": "group", "member_id": "member", "topics": [{"name": "orders"}]})
    kafka = Kafka()
    found = [kafka.request(head(message, size), Memory()) for size in range(14, len(message) + 1)]
    assert [request.truncated for request in found] == sorted([r.truncated for r in found], reverse=True)
    assert {request.group for request in found} == {"", "group"}
    assert {request.member for request in found} == {"", "member"}
    assert {request.targets for request in found} == {(), ("group",), ("group", "orders")}
    assert {request.id for request in found} == {7}
    assert {request.client_id for request in found} == {None, "client"}


def test_replies_carry_their_id_and_throttling() -> None:
    found = exchange(0, 9, produce(), {"throttle_time_ms": 250})
    assert (found.reply.id, found.reply.throttle_ms, found.reply.failure) == (7, 250, None)
    kafka = Kafka()
    assert kafka.reply_to(head(reply_bytes(3, 9, {}, correlation_id=2_000_000_000))) == 2_000_000_000


@pytest.mark.parametrize("size", range(8))
def test_a_reply_without_an_id_is_an_error(size: int) -> None:
    message = reply_bytes(3, 1, {})[:size]
    kafka = Kafka()
    with pytest.raises(ProtocolError):
        kafka.reply_to(head(message))
    with pytest.raises(ProtocolError):
        kafka.reply(head(message), None, Memory())
    with pytest.raises(ProtocolError):
        kafka.reply(head(message), parsed(3, 1, {}), Memory())


def test_a_reply_to_an_unseen_request_is_only_its_header() -> None:
    message = reply_bytes(0, 9, {"throttle_time_ms": 250})
    reply = Kafka().reply(head(message), None, Memory())
    assert (reply.id, reply.data, reply.throttle_ms) == (7, message[:8], None)


def produced(*codes: int, message: str | None = None) -> Fields:
    parts = [{"index": n, "error_code": code, "error_message": message} for n, code in enumerate(codes)]
    return {"responses": [{"name": "orders", "partition_responses": parts}]}


def test_the_first_error_of_a_part_is_the_failure() -> None:
    failure = exchange(0, 9, produce(), produced(0, 6, 19)).reply.failure
    assert failure is not None
    assert (failure.code, failure.name, failure.fault) == (6, "NOT_LEADER_OR_FOLLOWER", Fault.SERVER)


def test_the_error_of_the_whole_message_comes_first() -> None:
    failure = exchange(
        1, 12, {}, {"error_code": 70, "responses": [{"topic": "t", "partitions": [{"error_code": 1}]}]}
    ).reply.failure
    assert failure is not None
    assert (failure.code, failure.name) == (70, "FETCH_SESSION_ID_NOT_FOUND")


def test_the_error_message_comes_along() -> None:
    failure = exchange(0, 9, produce(), produced(0, 87, message="one bad record")).reply.failure
    assert failure is not None
    assert (failure.name, failure.message, failure.fault) == ("INVALID_RECORD", "one bad record", Fault.CLIENT)


@pytest.mark.parametrize(
    ("code", "name", "fault"),
    [
        (-1, "UNKNOWN_SERVER_ERROR", Fault.SERVER),
        (3, "UNKNOWN_TOPIC_OR_PARTITION", Fault.CLIENT),
        (7, "REQUEST_TIMED_OUT", Fault.SERVER),
        (14, "COORDINATOR_LOAD_IN_PROGRESS", Fault.SERVER),
        (15, "COORDINATOR_NOT_AVAILABLE", Fault.SERVER),
        (19, "NOT_ENOUGH_REPLICAS", Fault.SERVER),
        (27, "REBALANCE_IN_PROGRESS", Fault.CLIENT),
        (29, "TOPIC_AUTHORIZATION_FAILED", Fault.CLIENT),
        (36, "TOPIC_ALREADY_EXISTS", Fault.CLIENT),
        (56, "KAFKA_STORAGE_ERROR", Fault.SERVER),
        (79, "MEMBER_ID_REQUIRED", Fault.CLIENT),
        (89, "THROTTLING_QUOTA_EXCEEDED", Fault.CLIENT),
        (9_999, "ERROR_9999", Fault.SERVER),
    ],
)
def test_names_and_faults(code: int, name: str, fault: Fault) -> None:
    failure = exchange(12, 4, {"group_id": "g"}, {"error_code": code}).reply.failure
    assert failure is not None
    assert (failure.code, failure.name, failure.fault) == (code, name, fault)


def test_different_errors_in_one_reply() -> None:
    results = [{"group_id": "a"}, {"group_id": "b", "error_code": 69}, {"group_id": "c", "error_code": 68}]
    failure = exchange(42, 2, {"groups_names": ["a", "b", "c"]}, {"results": results}).reply.failure
    assert failure is not None
    assert failure.name == "GROUP_ID_NOT_FOUND"


@pytest.mark.parametrize("version", [0, 3, 4])
def test_api_versions_replies_have_no_header_tags(version: int) -> None:
    reply = exchange(18, version, {}, {"api_keys": [{"api_key": 0, "max_version": 9}]}).reply
    assert (reply.failure, reply.truncated) == (None, False)
    if version:
        assert reply.throttle_ms == 0


@pytest.mark.parametrize("version", [3, 4, 5, 9])
def test_api_versions_of_an_older_broker_are_in_version_0(version: int) -> None:
    kafka, memory = Kafka(), Memory()
    request = kafka.request(head(framed(request_header(18, version) + b"\x04kgo\x041.1\0")), memory)
    answer = reply_bytes(18, 0, {"error_code": 35, "api_keys": [{"api_key": 18, "max_version": 4}]})
    reply = kafka.reply(head(answer), request, memory)
    assert reply.failure is not None
    assert (reply.failure.name, reply.failure.fault) == ("UNSUPPORTED_VERSION", Fault.CLIENT)
    assert (reply.throttle_ms, reply.truncated) == (None, False)


def test_a_cut_reply_still_tells_its_first_error() -> None:
    message = reply_bytes(0, 9, produced(6, 0, 0))
    kafka = Kafka()
    request = parsed(0, 9, produce())
    found = [kafka.reply(head(message, size), request, Memory()) for size in range(8, len(message) + 1)]
    assert {reply.failure.code for reply in found if reply.failure} == {6}
    assert [reply.truncated for reply in found][:: len(found) - 1] == [True, False]
    assert found[-1].throttle_ms == 0


def test_topic_ids_are_resolved_once_a_reply_has_told_them() -> None:
    kafka = Kafka()
    fetch = {"max_wait_ms": 500, "min_bytes": 1, "topics": [{"topic_id": ORDERS, "partitions": [{"partition": 0}]}]}
    assert exchange(1, 17, fetch, {}, kafka=kafka).request.target == ORDERS
    topic = {"topic_id": ORDERS, "name": "orders", "partitions": [{"partition_index": 0}]}
    exchange(3, 12, {"topics": None}, {"topics": [{"name": "other"}, topic]}, kafka=kafka)
    assert exchange(1, 17, fetch, {}, kafka=kafka).request.targets == ("orders",)
    data = {"acks": 1, "topic_data": [{"topic_id": ORDERS, "partition_data": PRODUCED}]}
    assert exchange(0, 13, data, {}, kafka=kafka).request.targets == ("orders",)


@pytest.mark.parametrize(("api_key", "version"), [(19, 7), (75, 0)])
def test_other_replies_that_tell_topic_ids(api_key: int, version: int) -> None:
    kafka = Kafka()
    exchange(api_key, version, {}, {"topics": [{"name": "orders", "topic_id": ORDERS}]}, kafka=kafka)
    assert kafka.topics.known(uuid_bytes(ORDERS)) == "orders"


def test_replies_without_names_teach_nothing() -> None:
    kafka = Kafka()
    nameless = [{"name": None, "topic_id": ORDERS}, {"name": "zero", "topic_id": bytes(16)}]
    exchange(3, 12, {"topics": None}, {"topics": nameless}, kafka=kafka)
    assert kafka.topics.known(uuid_bytes(ORDERS)) is None
    assert kafka.topics.known(bytes(16)) is None


def test_the_memory_of_topics_is_bounded() -> None:
    topics = Topics()
    for number in range(1, MAX_TOPICS + 3):
        topics.learn(number.to_bytes(16, "big"), f"t{number}")
    assert topics.known((2).to_bytes(16, "big")) is None
    assert topics.known((3).to_bytes(16, "big")) == "t3"
    assert topics.name((MAX_TOPICS + 2).to_bytes(16, "big")) == f"t{MAX_TOPICS + 2}"
    topics.learn(b"\1" * 16, "x" * 250)
    assert topics.known(b"\1" * 16) is None


def test_the_client_says_what_it_is() -> None:
    kafka, memory = Kafka(), Memory()
    software = {"client_software_name": "apache-kafka-java", "client_software_version": "4.1.0"}
    exchange(18, 3, software, {}, kafka=kafka, memory=memory)
    exchange(17, 1, {"mechanism": "SCRAM-SHA-512"}, {}, kafka=kafka, memory=memory)
    later = exchange(3, 9, {"topics": None}, {}, kafka=kafka, memory=memory).request
    assert later.client == ("apache-kafka-java 4.1.0", "SCRAM-SHA-512")


def test_tokens_after_sasl_handshake_0() -> None:
    kafka, memory = Kafka(), Memory()
    exchange(17, 0, {"mechanism": "PLAIN"}, {"mechanisms": ["PLAIN"]}, kafka=kafka, memory=memory)
    token = kafka.request(head(framed(b"\0alice\0hunter2")), memory)
    assert (token.operation, token.in_order, token.expects_reply, token.token) == ("SaslToken", True, True, True)
    assert token.data == framed(b"\0alice\0hunter2")[:4]
    answer = kafka.reply(head(framed(b"")), token, memory)  # of length 0
    assert (answer.id, answer.data, answer.failure) == (token.id, bytes(4), None)
    second = kafka.request(head(framed(b"")), memory)
    assert second.token
    assert second.id != token.id
    request = kafka.request(head(request_bytes(3, 9, {"topics": None})), memory)
    assert (request.operation, request.in_order, memory.tokens) == ("Metadata", False, False)


def test_after_sasl_handshake_1_there_are_no_bare_tokens() -> None:
    kafka, memory = Kafka(), Memory()
    exchange(17, 1, {"mechanism": "PLAIN"}, {}, kafka=kafka, memory=memory)
    assert not memory.tokens


def test_a_refused_sasl_handshake_is_followed_by_no_tokens() -> None:
    kafka, memory = Kafka(), Memory()
    refused = exchange(17, 0, {"mechanism": "FOO"}, {"error_code": 33}, kafka=kafka, memory=memory)
    assert refused.reply.failure is not None
    assert not memory.tokens


def test_tokens_are_taken_for_tokens_before_the_handshake_is_answered() -> None:
    kafka, memory = Kafka(), Memory()
    kafka.request(head(request_bytes(17, 0, {"mechanism": "PLAIN"})), memory)
    assert kafka.request(head(framed(b"\0alice\0hunter2")), memory).token


WINDOW_TOPICS = [
    {"topic": "orders", "partitions": [{"partition_index": n, "error_code": n and 6, "records": bytes(3_000)}]}
    for n in range(2)
]


def test_a_window_behind_records_shows_the_next_partitions_error() -> None:
    message = reply_bytes(1, 12, {"responses": WINDOW_TOPICS})
    end = message.index(bytes(3_000)) + 3_000
    kafka, request = Kafka(), parsed(1, 12, {})
    cut = kafka.reply(head(message, 200), request, Memory())
    assert (cut.failure, cut.truncated) == (None, True)
    windowed = kafka.reply(head(message, 200, ((end, message[end : end + 60]),)), request, Memory())
    assert windowed.failure is not None
    assert (windowed.failure.code, windowed.truncated) == (6, False)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_request_or_a_protocol_error(data: bytes) -> None:
    kafka = Kafka()
    for message in (data, framed(data)):
        for memory in (Memory(), Memory(tokens=True)):
            try:
                assert isinstance(kafka.request(head(message), memory), Request)
            except ProtocolError:
                pass


@given(st.sampled_from(golden()), st.data())
def test_mutated_messages_are_parsed_or_a_protocol_error(each: Any, data: st.DataObject) -> None:
    message = bytearray(each.message)
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    damaged = head(bytes(message), data.draw(st.integers(0, len(message))))
    kafka, memory = Kafka(), Memory()
    try:
        if each.direction == "request":
            kafka.request(damaged, memory)
        else:
            request = kafka.request(head(framed(request_header(each.api_key, each.version))), Memory())
            kafka.reply(damaged, request, memory)
    except ProtocolError:
        pass
