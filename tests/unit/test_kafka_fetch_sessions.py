"""Fetch sessions: requests that name no topics keep those of their session (KIP-227, KIP-932)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.kafka import Kafka
from probes.protocols.kafka.fetch_sessions import MAX_PARTITIONS, MAX_TOPICS, FetchSession
from probes.protocols.kafka.messages import KafkaRequest, Memory
from probes.protocols.kafka.topics import Topics
from probes.protocols.kafka.walk import uuid_text
from tests.unit.kafka_messages import CONNECTION, Fields, exchange, head, reply_bytes, request_bytes, session

A, B = bytes(range(16)), b"\7" * 16
NAMES = {A: "a", B: "b"}


def topic(version: int, id: bytes, *partitions: int, field: str = "partition") -> Fields:
    key: Fields = {"topic_id": id} if version >= 13 else {"topic": NAMES[id]}
    return key | {"partitions": [{field: number} for number in partitions]}


def forgotten(version: int, id: bytes, *partitions: int) -> Fields:
    return topic(version, id) | {"partitions": list(partitions)}


class Client:
    """A consumer on one connection, at a broker that grants session 9."""

    def __init__(self, version: int, *, size: int | None = None) -> None:
        self.version, self.size = version, size
        self.kafka, self.memory = Kafka(), Memory()
        for id, name in NAMES.items():
            self.kafka.topics.learn(id, name)

    def fetch(self, epoch: int, *topics: Fields, forgets: tuple[Fields, ...] = (), id: int = 9, **reply: Any) -> Any:
        asked = {
            "max_wait_ms": 500,
            "min_bytes": 1,
            "session_id": 0 if epoch <= 0 else id,
            "session_epoch": epoch,
            "topics": topics,
            "forgotten_topics_data": forgets,
        }
        answer = {"session_id": id} | reply
        return exchange(1, self.version, asked, answer, kafka=self.kafka, memory=self.memory, size=self.size).request


versions = pytest.mark.parametrize("version", [7, 12, 13, 17])


@versions
def test_a_fetch_that_names_no_topic_asks_for_those_of_its_session(version: int) -> None:
    client = Client(version)
    first = client.fetch(0, topic(version, A, 0, 1), topic(version, B, 4))
    assert (first.targets, first.partitions, first.incremental) == (("a", "b"), 3, False)
    for epoch in (1, 2):
        request = client.fetch(epoch)
        assert (request.target, request.targets, request.partitions) == ("a", ("a", "b"), 3)
        assert (request.incremental, request.truncated) == (True, False)
    assert request.topic_ids == ((uuid_text(A), uuid_text(B)) if version >= 13 else ())


@versions
def test_topics_come_and_go(version: int) -> None:
    client = Client(version)
    client.fetch(0, topic(version, A, 0, 1))
    assert client.fetch(1, topic(version, B, 2)).targets == ("a", "b")
    assert client.fetch(2, forgets=(forgotten(version, A, 1),)).targets == ("a", "b")
    gone = client.fetch(3, forgets=(forgotten(version, A, 0), forgotten(version, B, 9)))
    assert (gone.targets, gone.partitions) == (("b",), 1)
    assert client.fetch(4, topic(version, A, 0), forgets=(forgotten(version, B, 2),)).targets == ("a",)


@versions
def test_fetches_without_a_session_name_all_they_ask_for(version: int) -> None:
    client = Client(version)
    client.fetch(0, topic(version, A, 0))
    request = client.fetch(-1, topic(version, B, 0))
    assert (request.targets, request.incremental) == (("b",), False)
    assert client.fetch(-1).targets == ()


@versions
def test_a_session_that_was_not_granted_is_none(version: int) -> None:
    client = Client(version)
    client.fetch(0, topic(version, A, 0), session_id=0)
    assert client.memory.session is None
    client.fetch(0, topic(version, A, 0))
    client.fetch(1, session_id=0, error_code=70)
    assert client.memory.session is None


@versions
def test_a_session_older_than_the_capture_learns_its_topics(version: int) -> None:
    client = Client(version)
    assert client.fetch(70).targets == ()
    assert client.fetch(71, topic(version, B, 0)).targets == ("b",)
    assert client.fetch(72, responses=[topic(version, A, 0, field="partition_index")]).targets == ("b",)
    assert client.fetch(73).targets == ("b", "a")
    assert client.fetch(74, id=10).targets == ()  # another one


def test_after_a_request_that_was_missed_the_replies_teach() -> None:
    client = Client(12)
    client.fetch(0, topic(12, A, 0))
    client.fetch(2, responses=[topic(12, B, 0, field="partition_index")])
    assert client.fetch(3).targets == ("a", "b")


def test_epochs_begin_again_after_the_last() -> None:
    session = FetchSession(9, 2**31 - 1, whole=True)
    session.goes_on(1)
    assert session.whole
    session.goes_on(3)
    assert not session.whole


def test_names_that_are_learned_later_are_used_then() -> None:
    client = Client(13)
    client.kafka.topics = Topics()
    unknown = client.fetch(0, topic(13, A, 0), topic(13, B, 0))
    assert unknown.targets == (uuid_text(A), uuid_text(B))
    assert client.kafka.topics.missed == {A, B}
    client.kafka.topics.learn(A, "a")
    assert client.kafka.topics.missed == {B}
    assert client.fetch(1).targets == ("a", uuid_text(B))
    client.kafka.topics.learn(B, "b")
    assert client.fetch(2).targets == ("a", "b")


def test_the_targets_are_the_same_tuple_until_they_change() -> None:
    client = Client(13)
    first = client.fetch(0, topic(13, A, 0))
    assert client.fetch(1).targets is first.targets


def test_a_cut_opening_is_said_with_every_request() -> None:
    client = Client(12, size=90)
    assert client.fetch(0, topic(12, A, *range(9))).truncated
    request = client.fetch(1)
    assert (request.targets, request.truncated) == (("a",), True)


def test_partitions_of_a_session_get_their_names_in_another_process() -> None:
    client = Client(13)
    client.fetch(0, topic(13, A, 0), topic(13, B, 0))
    asked = {"session_id": 9, "session_epoch": 1, "topics": [topic(13, B, 0)]}
    request = client.kafka.request(head(request_bytes(1, 13, asked)), client.memory)
    answer = {"session_id": 9, "responses": [topic(13, B, 0, field="partition_index")]}
    reply = client.kafka.reply(head(reply_bytes(1, 13, answer)), request, client.memory)
    record = Kafka().record(session(request, reply), literals=False)
    assert [part["topic"] for part in record["partitions"]] == ["b"]


def test_share_sessions() -> None:
    kafka, memory = Kafka(), Memory()
    kafka.topics.learn(A, "a")

    def fetch(epoch: int, **fields: Any) -> KafkaRequest:
        asked = {"group_id": "g", "member_id": "m", "share_session_epoch": epoch} | fields
        return exchange(78, 1, asked, {}, kafka=kafka, memory=memory).request

    topics = [{"topic_id": A, "partitions": [{"partition_index": 0}]}]
    assert fetch(0, topics=topics).targets == ("a",)
    assert fetch(1).targets == ("a",)
    assert fetch(2, forgotten_topics_data=[{"topic_id": A, "partitions": [0]}]).targets == ("g",)
    assert fetch(-1).targets == ("g",)


def test_a_session_is_bounded() -> None:
    held = FetchSession(1, 0, whole=True)
    for number in range(MAX_TOPICS + 5):
        held.ask(str(number), {0: 41})
    assert (len(held.topics(Topics())[0]), held.partitions, held.whole) == (MAX_TOPICS, MAX_TOPICS, False)
    held.ask("0", range(2 * MAX_PARTITIONS))
    assert held.partitions == MAX_PARTITIONS


def test_partitions_that_are_known_need_no_room() -> None:
    held = FetchSession(1, 0, whole=True)
    for _ in range(2):
        held.ask("a", range(MAX_PARTITIONS))
        assert (held.partitions, held.whole) == (MAX_PARTITIONS, True)
    held.forget("a", [0])
    held.ask("b", range(2))
    assert (held.partitions, held.whole) == (MAX_PARTITIONS, False)


@given(st.lists(st.tuples(st.integers(-1, 3), st.sampled_from([(), (A,), (B,), (A, B)]), st.booleans()), max_size=20))
def test_any_sequence_of_requests_is_answered(steps: list[tuple[int, tuple[bytes, ...], bool]]) -> None:
    client = Client(13)
    for epoch, ids, forgets in steps:
        named = tuple(topic(13, id, 0) for id in ids)
        request = client.fetch(
            epoch, *(() if forgets else named), forgets=tuple(forgotten(13, id, 0) for id in ids if forgets)
        )
        assert set(request.targets) <= {"a", "b"}
    assert client.kafka.memory(CONNECTION).session is None
