"""What sessions tell beyond themselves: groups and why they rebalance, lags, producers, clients."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.facts import GroupFacts, KafkaFacts, LagFacts, load
from probes.protocols.kafka.groups import MAX_GROUPS, MAX_MEMBERS, MAX_TEXT
from probes.protocols.kafka.lag import MAX_PARTITIONS, Lags
from probes.protocols.kafka.messages import KafkaReply, Memory
from probes.protocols.kafka.observer import MAX_CLIENTS
from probes.records import Address, Connection, Session, Side, Status, Times
from tests.effort import lines_run
from tests.unit.kafka_messages import Fields, Golden, batch, golden, head, reply_bytes, request_bytes
from tests.unit.test_kafka_batches import encoded

SECOND = 1_000_000_000


def subscription(*topics: str) -> bytes:
    """ConsumerProtocolSubscription v0."""
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class World:
    """Clients and one broker; each exchange takes no time, and time passes by `wait`."""

    def __init__(self) -> None:
        self.kafka = Kafka()
        self.now_ns = 1_000 * SECOND
        self._connections: dict[str, tuple[Connection, Memory]] = {}

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)

    def say(
        self, client: str, name: str, version: int, asked: Fields, answer: Fields | None, size: int | None = None
    ) -> None:
        """An exchange of the client with that client id, on a connection of its own."""
        key = table.api_key(name)
        sent = request_bytes(key, version, asked, client_id=client)
        self.exchange(client, sent, reply_bytes(key, version, answer) if answer is not None else None, size)

    def exchange(self, client: str, sent: bytes, got: bytes | None, size: int | None = None) -> None:
        if client not in self._connections:
            number = len(self._connections)
            connection = Connection(number, None, Address("10.0.0.9", 9092), Address("10.0.0.5", 40_000 + number))
            self._connections[client] = connection, self.kafka.memory(connection)
        connection, memory = self._connections[client]
        request = self.kafka.request(head(sent, size), memory)
        reply = self.kafka.reply(head(got, size), request, memory) if got is not None else None
        times = Times(self.now_ns, self.now_ns, self.now_ns, self.now_ns)
        status = Status.OK if reply is not None else Status.ONEWAY
        self.kafka.observe(Session("kafka", status, Side.SERVER, connection, request, reply, times, 100, 100))

    def join(
        self,
        client: str,
        generation: int,
        *,
        id: str | None = None,
        listed: tuple[str, ...] = (),
        new: bool = False,
        **fields: Any,
    ) -> None:
        """JoinGroup, answered; `listed` is the answer to the leader."""
        id = id or f"{client}-id"
        topics = fields.pop("topics", ("orders",))
        asked = {
            "group_id": "billing",
            "session_timeout_ms": 10_000,
            "member_id": "" if new else id,
            "protocol_type": "consumer",
            "protocols": [{"name": "range", "metadata": subscription(*topics)}],
        }
        members = [{"member_id": each, "metadata": b""} for each in listed]
        answer = {"generation_id": generation, "member_id": id, "members": members}
        self.say(client, "JoinGroup", 5, asked | fields, answer)

    def sync(self, client: str, generation: int) -> None:
        asked = {"group_id": "billing", "generation_id": generation, "member_id": f"{client}-id"}
        self.say(client, "SyncGroup", 3, asked, {})

    def beat(self, client: str, generation: int, code: int = 0) -> None:
        asked = {"group_id": "billing", "generation_id": generation, "member_id": f"{client}-id"}
        self.say(client, "Heartbeat", 3, asked, {"error_code": code})

    def leave(self, client: str) -> None:
        self.say(client, "LeaveGroup", 3, {"group_id": "billing", "members": [{"member_id": f"{client}-id"}]}, {})

    def epoch_beat(
        self, client: str, epoch: int, now: int, api: str = "Consumer", code: int = 0, **fields: Any
    ) -> None:
        """A heartbeat with `epoch`, answered with `now`."""
        asked = {
            "group_id": "billing",
            "member_id": f"{client}-id",
            "member_epoch": epoch,
            "subscribed_topic_names": None,
        }
        self.say(
            client,
            f"{api}GroupHeartbeat",
            1,
            asked | fields,
            {"member_id": f"{client}-id", "member_epoch": now, "error_code": code},
        )

    def facts(self) -> KafkaFacts:
        return load(json.loads(json.dumps(self.kafka.facts(self.now_ns))))

    def group(self) -> GroupFacts:
        (group,) = self.facts().groups
        return group

    def why(self) -> list[str]:
        return [each.why for each in self.group().rounds]


@pytest.fixture
def world() -> World:
    return World()


def stable(world: World, *clients: str) -> None:
    """A group that comes into being with these members, one after the other."""
    for number, client in enumerate(clients, 1):
        ids = tuple(f"{each}-id" for each in clients[:number])
        for each in clients[:number]:
            world.join(each, number, new=each == client, listed=ids if each == clients[0] else ())
        for each in clients[:number]:
            world.sync(each, number)
        world.wait(1)


def test_a_group_comes_into_being(world: World) -> None:
    stable(world, "a", "b")
    group = world.group()
    assert (group.name, group.kind, group.state, group.generation) == ("billing", "classic", "Stable", 2)
    assert (group.members, group.members_whole, group.rebalances) == (2, True, 2)
    assert world.why() == ["joined a", "joined b"]
    assert [(each.generation, each.members, each.whole) for each in group.rounds] == [(1, 1, True), (2, 2, True)]


def test_a_member_whose_id_was_given_to_it_first_joined(world: World) -> None:
    asked = {"group_id": "billing", "member_id": ""}
    world.say("a", "JoinGroup", 5, asked, {"error_code": 79, "member_id": "a-id"})
    assert world.group().rebalances == 0
    world.join("a", 7)
    assert world.why() == ["joined a"]


def test_a_member_leaves(world: World) -> None:
    stable(world, "a", "b")
    world.leave("b")
    assert world.group().state == "PreparingRebalance"
    world.wait(1)
    world.beat("a", 2, code=27)
    world.join("a", 3, listed=("a-id",))
    assert world.group().state == "CompletingRebalance"
    world.sync("a", 3)
    assert world.why()[-1] == "left b"
    last = world.group().rounds[-1]
    assert (last.members, last.ended_ns - last.began_ns) == (1, SECOND)
    world.leave("a")
    assert (world.group().state, world.group().members, world.why()[-1]) == ("Empty", 0, "left a")


def test_a_member_times_out(world: World) -> None:
    stable(world, "a", "b", "c")
    world.wait(12)
    world.beat("a", 3, code=27)
    world.beat("b", 3, code=27)
    world.join("a", 4, listed=("a-id", "b-id"))
    world.join("b", 4)
    assert world.why()[-1] == "timed out c"


def test_all_members_time_out(world: World) -> None:
    stable(world, "a", "b")
    world.wait(30)
    assert (world.group().state, world.group().members, world.why()[-1]) == ("Empty", 0, "timed out a b")


def test_a_member_that_was_put_out_says_so(world: World) -> None:
    stable(world, "a", "b")
    world.beat("b", 2, code=25)
    world.join("a", 3, listed=("a-id",))
    assert world.why()[-1] == "timed out b"


def test_a_subscription_changes(world: World) -> None:
    stable(world, "a", "b")
    world.join("a", 3, listed=("a-id", "b-id"))
    world.join("b", 3, topics=("orders", "audit"))
    assert world.why()[-1] == "subscription changed b"


def test_a_member_wants_it_so(world: World) -> None:
    stable(world, "a")
    asked = {"group_id": "billing", "session_timeout_ms": 10_000, "member_id": "a-id", "reason": "enforced"}
    members = [{"member_id": "a-id", "metadata": b""}]
    world.say("a", "JoinGroup", 8, asked, {"generation_id": 2, "member_id": "a-id", "members": members})
    assert world.why()[-1] == "rejoined: enforced"


def test_of_a_group_met_in_its_life_nothing_is_made_up(world: World) -> None:
    world.beat("a", 41)
    world.beat("a", 41)
    group = world.group()
    assert (group.state, group.generation, group.members, group.members_whole) == ("Stable", 41, 1, False)
    assert group.rebalances == 0
    world.join("a", 42)
    world.join("b", 42)
    group = world.group()
    assert (group.members, group.members_whole, world.why()) == (2, False, ["?"])
    world.join("c", 42, new=True)
    assert world.why() == ["joined c"]
    world.join("a", 42, listed=("a-id", "b-id", "c-id", "d-11111111-2222-3333-4444-555555555555"))
    assert (world.group().members, world.group().members_whole) == (4, True)
    world.join("a", 43, listed=("a-id", "b-id", "c-id"))
    assert world.why()[-1] == "timed out d"


def test_a_list_of_members_that_is_cut_is_not_taken_for_all(world: World) -> None:
    asked = {"group_id": "billing", "member_id": "a-id", "session_timeout_ms": 10_000}
    members = [{"member_id": f"m{number}-id", "metadata": bytes(50)} for number in range(9)]
    world.say("a", "JoinGroup", 5, asked, {"generation_id": 4, "member_id": "a-id", "members": members}, size=200)
    assert (world.group().members, world.group().members_whole) == (1, False)


def test_groups_of_the_new_protocol(world: World) -> None:
    world.epoch_beat("a", 0, 1, subscribed_topic_names=["orders"])
    group = world.group()
    assert (group.kind, group.state, group.generation, group.members_whole) == ("consumer", "Stable", 1, True)
    world.epoch_beat("b", 0, 2, subscribed_topic_names=["orders"])
    assert world.group().state == "Reconciling"
    world.wait(3)
    world.epoch_beat("a", 1, 2)
    assert (world.group().state, world.group().members) == ("Stable", 2)
    world.wait(5)
    world.epoch_beat("a", 2, 2, rebalance_timeout_ms=7)
    assert world.group().rounds[-1].ended_ns - world.group().rounds[-1].began_ns == 3 * SECOND
    world.epoch_beat("b", 2, 3, subscribed_topic_names=["orders", "audit"])
    world.epoch_beat("a", 2, 3)
    world.epoch_beat("a", -1, -1)
    world.epoch_beat("b", 3, 4)
    world.epoch_beat("b", -1, -1)
    assert (world.group().state, world.group().members) == ("Empty", 0)
    assert world.why() == ["joined a", "joined b", "subscription changed b", "left a", "left b"]


def test_a_member_of_the_new_protocol_times_out(world: World) -> None:
    world.epoch_beat("a", 0, 1)
    world.epoch_beat("b", 0, 2)
    for _ in range(10):
        world.wait(5)
        world.epoch_beat("a", 2, 2)
    world.epoch_beat("a", 2, 3)
    assert world.why()[-1] == "timed out b"
    world.epoch_beat("a", 3, 0, code=110)
    assert world.why()[-1] == "timed out a"


def test_a_group_of_the_new_protocol_met_in_its_life(world: World) -> None:
    world.epoch_beat("a", 8, 8)
    world.epoch_beat("a", 8, 9)
    group = world.group()
    assert (group.generation, group.members, group.members_whole, world.why()) == (9, 1, False, ["?"])


@pytest.mark.parametrize("api", ["Share", "Consumer"])
def test_share_groups_speak_alike(world: World, api: str) -> None:
    world.epoch_beat("a", 0, 1, api=api)
    assert world.group().kind == api.lower()


def fetch(world: World, client: str, epoch: int, offsets: dict[int, int], ends: dict[int, int], **fields: Any) -> None:
    parts = [{"partition": number, "fetch_offset": offset} for number, offset in offsets.items()]
    found = [{"partition_index": number, "high_watermark": end} for number, end in ends.items()]
    asked = {"max_wait_ms": 500, "min_bytes": 1, "session_epoch": epoch, "session_id": 9 if epoch > 0 else 0}
    topics = [{"topic": "orders", "partitions": parts}] if parts else []
    answer = {
        "session_id": 0 if epoch < 0 else 9,
        "responses": [{"topic": "orders", "partitions": found}] if found else [],
    }
    world.say(client, "Fetch", 12, asked | {"topics": topics} | fields, answer)


def lags(facts: KafkaFacts) -> dict[tuple[str, str, int], tuple[int, int | None]]:
    return {(each.group, each.client_id, each.partition): (each.offset, each.lag) for each in facts.lags}


def test_the_lag_of_a_client_without_a_session(world: World) -> None:
    fetch(world, "a", -1, {0: 90, 1: 5}, {0: 100, 1: 5})
    fetch(world, "a", -1, {0: 95, 1: 5}, {0: 101, 1: 5})
    assert lags(world.facts()) == {("", "a", 0): (95, 6), ("", "a", 1): (5, 0)}


def test_of_what_waits_for_its_turn_the_latest_counts(world: World) -> None:
    """A client without a session may name its topics in any order."""
    other = {"topic": "audit", "partitions": [{"partition": 0, "fetch_offset": 1}]}
    for offset, audit_first in ((90, False), (95, True), (99, False)):
        orders = {"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": offset}]}
        topics = [other, orders] if audit_first else [orders, other]
        asked = {"session_epoch": -1, "topics": topics, "max_wait_ms": 5, "min_bytes": 1}
        found = [{"partition_index": 0, "high_watermark": 100}]
        world.say("a", "Fetch", 12, asked, {"responses": [{"topic": "orders", "partitions": found}]})
    assert {(each.topic, each.offset) for each in world.facts().lags} == {("orders", 99), ("audit", 1)}


def test_the_lag_of_a_client_with_a_session(world: World) -> None:
    fetch(world, "a", 0, {0: 90, 1: 5}, {0: 100, 1: 5})
    fetch(world, "a", 1, {0: 100}, {})
    fetch(world, "a", 2, {}, {1: 25})
    assert lags(world.facts()) == {("", "a", 0): (100, 0), ("", "a", 1): (5, 20)}


def test_a_partition_with_an_error_says_not_where_it_ends(world: World) -> None:
    fetch(world, "a", 0, {0: 90, 1: 5}, {0: 100, 1: 5})
    found = [{"partition_index": 0, "error_code": 6, "high_watermark": 0}, {"partition_index": 1, "high_watermark": 7}]
    answer = {"session_id": 9, "responses": [{"topic": "orders", "partitions": found}]}
    world.say("a", "Fetch", 12, {"session_id": 9, "session_epoch": 1}, answer)
    assert lags(world.facts()) == {("", "a", 0): (90, 10), ("", "a", 1): (5, 2)}


def test_a_session_with_many_partitions_costs_few_steps_for_each(world: World) -> None:
    """One walk over a reply's partitions, and none over a request's."""

    def lines(count: int) -> int:
        client = str(count)
        offsets, ends = dict.fromkeys(range(count), 90), dict.fromkeys(range(count), 100)
        fetch(world, client, 0, offsets, ends)
        key = table.api_key("Fetch")
        parts = [{"partition": number, "fetch_offset": 95} for number in offsets]
        found = [{"partition_index": number, "high_watermark": 105} for number in ends]
        asked = {"session_id": 9, "session_epoch": 1, "topics": [{"topic": "orders", "partitions": parts}]}
        answer = {"session_id": 9, "responses": [{"topic": "orders", "partitions": found}]}
        sent, got = request_bytes(key, 12, asked, client_id=client), reply_bytes(key, 12, answer)
        return lines_run(lambda: world.exchange(client, sent, got))

    few, many = lines(100), lines(200)
    assert many - few < 100 * 15
    assert {(each.offset, each.lag) for each in world.facts().lags} == {(95, 10)}


def test_a_partition_that_a_client_gave_up_is_soon_forgotten(world: World) -> None:
    fetch(world, "a", 0, {0: 90, 1: 5}, {0: 100, 1: 5})
    fetch(world, "a", 1, {}, {}, forgotten_topics_data=[{"topic": "orders", "partitions": [1]}])
    assert len(world.facts().lags) == 2  # it may only be pausing
    world.wait(31)
    fetch(world, "a", 2, {}, {})
    assert list(lags(world.facts())) == [("", "a", 0)]
    fetch(world, "a", -1, {3: 1}, {3: 1})
    world.facts()
    world.wait(31)
    fetch(world, "a", -1, {3: 1}, {3: 1})
    assert list(lags(world.facts())) == [("", "a", 3)]
    world.wait(61)
    assert world.facts().lags == ()


def test_a_follower_is_no_consumer(world: World) -> None:
    fetch(world, "broker-2-fetcher-0", -1, {0: 90}, {0: 100})
    assert world.facts().lags == ()


def commit(world: World, client: str, offsets: dict[int, int], codes: dict[int, int] | None = None) -> None:
    parts = [{"partition_index": number, "committed_offset": offset} for number, offset in offsets.items()]
    asked = {
        "group_id": "billing",
        "generation_id_or_member_epoch": 1,
        "topics": [{"name": "orders", "partitions": parts}],
    }
    answered = [{"partition_index": number, "error_code": (codes or {}).get(number, 0)} for number in offsets]
    world.say(client, "OffsetCommit", 7, asked, {"topics": [{"name": "orders", "partitions": answered}]})


def test_the_lag_of_a_group(world: World) -> None:
    stable(world, "a")
    fetch(world, "a", 0, {0: 90, 1: 5}, {0: 100, 1: 5})
    commit(world, "a", {0: 80, 1: 5})
    group = world.group()
    assert (group.lag, group.lag_whole, group.trend) == (20, True, None)
    assert lags(world.facts()) == {("billing", "a", 0): (80, 20), ("billing", "a", 1): (5, 0)}
    commit(world, "a", {0: 95, 1: 3}, codes={1: 22})
    assert lags(world.facts()) == {("billing", "a", 0): (95, 5), ("billing", "a", 1): (5, 0)}
    commit(world, "a", {2: 7})
    assert (world.group().lag, world.group().lag_whole) == (5, False)  # nobody said where that one ends


def test_a_group_without_commits_is_as_far_as_its_members(world: World) -> None:
    stable(world, "a")
    fetch(world, "a", 0, {0: 90}, {0: 100})
    assert (world.group().lag, world.group().lag_whole) == (10, True)
    assert lags(world.facts()) == {("billing", "a", 0): (90, 10)}
    world.say("a", "Heartbeat", 3, {"group_id": "audit", "generation_id": 1, "member_id": "a-id"}, {})
    assert {each.lag for each in world.facts().groups} == {None}  # whose, nobody knows
    assert lags(world.facts()) == {("", "a", 0): (90, 10)}


def test_commits_leave_a_group_of_the_new_protocol_as_it_is(world: World) -> None:
    world.epoch_beat("a", 0, 1)
    commit(world, "a", {0: 80})
    assert (world.group().kind, world.group().members) == ("consumer", 1)


def test_who_asks_where_a_partition_ends_is_told(world: World) -> None:
    stable(world, "a")
    commit(world, "a", {0: 80, 1: 5})
    asked = [{"partition_index": 0, "timestamp": -1}, {"partition_index": 1, "timestamp": -2}]
    told = [{"partition_index": 0, "offset": 100}, {"partition_index": 1, "offset": 2}]
    topics = {"topics": [{"name": "orders", "partitions": asked}]}
    world.say("a", "ListOffsets", 6, topics, {"topics": [{"name": "orders", "partitions": told}]})
    assert lags(world.facts()) == {("billing", "", 0): (80, 20), ("billing", "", 1): (5, None)}


def test_the_trend_of_a_lag(world: World) -> None:
    stable(world, "a")
    commit(world, "a", {0: 80})
    for second in range(90):
        fetch(world, "a", -1, {0: 80}, {0: 100 + 7 * second})
        world.beat("a", 1)
        world.facts()
        world.wait(1)
    assert world.group().trend == pytest.approx(7, rel=0.1)
    (part,) = world.facts().lags
    assert part.trend == pytest.approx(7, rel=0.1)


def test_the_trend_of_a_client_that_catches_up(world: World) -> None:
    for second in range(20):
        fetch(world, "a", -1, {0: 80 + 3 * second}, {0: 1_000})
        world.facts()
        world.wait(1)
    (part,) = world.facts().lags
    assert part.group == ""
    assert part.trend == pytest.approx(-3, rel=0.1)


def test_what_a_group_finds_committed(world: World) -> None:
    stable(world, "a")
    topics = [
        {
            "name": "orders",
            "partitions": [
                {"partition_index": 0, "committed_offset": 70},
                {"partition_index": 1, "committed_offset": -1},
            ],
        }
    ]
    world.say(
        "a",
        "OffsetFetch",
        8,
        {"groups": [{"group_id": "billing"}]},
        {"groups": [{"group_id": "billing", "topics": topics}]},
    )
    world.say("a", "OffsetFetch", 5, {"group_id": "other"}, {"topics": topics})
    assert lags(world.facts()) == {("billing", "", 0): (70, None)}


def produce(
    world: World,
    client: str,
    records: bytes,
    acks: int = -1,
    base_offset: int = 40,
    topic: str = "orders",
    **fields: Any,
) -> None:
    asked = {"acks": acks, "topic_data": [{"name": topic, "partition_data": [{"index": 0, "records": records}]}]}
    parts = [{"index": 0, "base_offset": base_offset}]
    answer = {"responses": [{"name": topic, "partition_responses": parts}]}
    world.say(client, "Produce", 9, asked | fields, answer if acks else None)


def test_producers(world: World) -> None:
    produce(world, "plain", encoded(2, [], [], []), acks=0)
    options = {"transactional": True, "producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
    world.wait(1)
    produce(world, "paying", encoded(2, [], codec=1, **options), transactional_id="payments-1")
    paying, plain = world.facts().producers
    assert (plain.client_id, plain.host, plain.topic, plain.acks) == ("plain", "10.0.0.5", "orders", 0)
    assert (plain.batch_records, plain.compression, plain.idempotent) == (3, "none", False)
    assert (paying.compression, paying.idempotent, paying.transactional_id) == ("gzip", True, "payments-1")


def test_a_producer_has_its_latest_topics(world: World) -> None:
    for topic in ("orders", "a", "b", "c", "orders", "d"):
        produce(world, "plain", encoded(2, [], [], []), topic=topic)
    (producer,) = world.facts().producers
    assert producer.topic == "b, c, d, orders"


def test_of_a_cut_batch_the_size_is_not_known(world: World) -> None:
    asked = {
        "topic_data": [{"name": "orders", "partition_data": [{"index": 0, "records": batch(9, 3_000)}]}],
        "acks": 1,
    }
    world.say("a", "Produce", 9, asked, {}, size=60)
    (producer,) = world.facts().producers
    assert (producer.batch_records, producer.batch_bytes, producer.compression, producer.idempotent) == (
        None,
        None,
        "",
        None,
    )


def test_what_was_produced_ends_a_partition(world: World) -> None:
    stable(world, "a")
    commit(world, "a", {0: 10})
    produce(world, "p", batch(2))
    assert world.group().lag == 32


def test_clients_and_their_throttling(world: World) -> None:
    said = {"client_software_name": "librdkafka", "client_software_version": "2.5.0"}
    world.say("a", "ApiVersions", 3, said, {})
    world.say("a", "SaslHandshake", 1, {"mechanism": "PLAIN"}, {})
    for _ in range(2):
        world.say("a", "Metadata", 9, {"topics": None}, {"throttle_time_ms": 30})
    (client,) = world.facts().clients
    assert (client.client_id, client.software, client.mechanism) == ("a", "librdkafka 2.5.0", "PLAIN")
    assert (client.throttled, client.throttle_ms, client.throttled_ns) == (2, 60, world.now_ns)


def test_tables_are_bounded_and_say_so(world: World) -> None:
    for number in range(MAX_GROUPS + 3):
        world.say("a", "Heartbeat", 3, {"group_id": f"g{number}", "member_id": "m"}, {})
    assert world.facts().over == 3
    table = Lags()
    table.read(("a", "h"), {"t": dict.fromkeys(range(MAX_PARTITIONS + 1), 0)}, 0, whole=True)
    assert table.over == 1
    table.committed("g", {"t": dict.fromkeys(range(MAX_PARTITIONS), 0)})
    table.committed("g", {"u": {0: 0}})
    assert table.over == 2
    table.committed("g", {"t": {7: 1, -1: 5}})  # what is known goes on
    assert table.over == 3
    assert len(table.partitions_of("g")) == MAX_PARTITIONS
    assert [each.offset for each in table.partitions_of("g") if each.offset] == [1]
    for number in range(MAX_PARTITIONS + 2):
        table.end({str(number): {0: 5}})
    assert table.over == 5


def test_who_is_forgotten_for_others_is_counted(world: World) -> None:
    for number in range(MAX_CLIENTS + 1):
        produce(world, f"p{number}", batch(1))
        if number % 256 == 0:
            world.facts()  # who waits for a turn has it
    assert world.facts().over == 2  # a client, and a producer


def test_names_of_topics_are_bounded(world: World) -> None:
    """They are no longer than the head that they came in, which is long."""
    long = "t" * 5_000
    parts = [{"partition": 0, "fetch_offset": 41}]
    ends = [{"partition_index": 0, "high_watermark": 51}]
    for epoch in (-1, 0):
        asked = {"session_epoch": epoch, "topics": [{"topic": long, "partitions": parts}]}
        world.say(
            f"a{epoch}", "Fetch", 12, asked, {"session_id": 9, "responses": [{"topic": long, "partitions": ends}]}
        )
    stable(world, "a")
    offsets = {"partition_index": 0, "committed_offset": 40}
    topics = {"topics": [{"name": long, "partitions": [offsets]}]}
    world.say("a", "OffsetCommit", 7, {"group_id": "billing"} | topics, {})
    world.say("b", "OffsetFetch", 5, {"group_id": "billing"}, topics)
    asked = {"topics": [{"name": long, "partitions": [{"partition_index": 0, "timestamp": -1}]}]}
    told = {"topics": [{"name": long, "partitions": [{"partition_index": 0, "offset": 51}]}]}
    world.say("a", "ListOffsets", 6, asked, told)
    assert {(each.topic, each.lag) for each in world.facts().lags} == {("t" * MAX_TEXT, 10), ("t" * MAX_TEXT, 11)}
    assert len(world.facts().lags) == 3


def test_members_are_bounded(world: World) -> None:
    for number in range(MAX_MEMBERS + 3):
        world.join("a", 1, id=f"m{number}", new=True)
    assert world.group().members == MAX_MEMBERS


def test_facts_that_nothing_is_known_of_are_empty() -> None:
    assert load({}) == KafkaFacts()
    assert World().facts() == KafkaFacts()


@given(st.lists(st.tuples(st.sampled_from(golden()), st.integers(0, 2_000), st.integers(0, 255)), max_size=8))
def test_any_messages_are_taken_without_an_error(messages: list[tuple[Golden, int, int]]) -> None:
    replies = {each[:2]: each for each in golden() if each.direction == "response"}
    world = World()
    connection = Connection(1, None, Address("a", 1), Address("b", 2))
    memory = world.kafka.memory(connection)
    for each, place, value in messages:
        damaged = bytearray(each.message)
        damaged[-1 - place % max(1, len(damaged) - 16)] = value
        sent = bytes(damaged) if each.direction == "request" else request_bytes(*each[:2], {})
        answer = replies[each[:2]].message if each.direction == "request" else bytes(damaged)
        request = world.kafka.request(head(sent), memory)
        reply = world.kafka.reply(head(answer), request, memory)
        assert isinstance(reply, KafkaReply)
        world.kafka.observe(
            Session("kafka", Status.OK, Side.SERVER, connection, request, reply, Times(1, 2, 3, 4), 9, 9)
        )
    json.dumps(world.kafka.facts(5))


def test_heartbeats_that_say_the_same_again_cost_little(world: World) -> None:
    """They are not decoded: a busy broker answers thousands a second."""
    for client in ("a", "b"):
        world.epoch_beat(client, 0, 1)
    new = lines_run(lambda: world.epoch_beat("a", 1, 2))
    assert lines_run(lambda: world.epoch_beat("a", 1, 2)) < new
    assert world.group().members == 2


def test_a_lag_is_what_it_says() -> None:
    assert LagFacts("g", "", "", "t", 0, 5, None, None, None).lag is None
