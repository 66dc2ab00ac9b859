"""What the collector learns of real consumer groups is what the broker says of them."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer
from kafka import TopicPartition as Place

from probes.collector import Collector
from probes.feeding import Feeding
from probes.options import CaptureOptions
from probes.protocols.kafka.facts import GroupFacts, KafkaFacts, load
from probes.sources.opening import open_source
from probes.store.reader import Reader
from probes.store.view import Row
from tests.live.clients.process import run_client
from tests.live.tool import Requests
from tests.servers import ApacheKafka
from tests.servers.apache_kafka import libraries

pytestmark = pytest.mark.live

TIMEOUT_S = 60.0
SESSION_TIMEOUT_MS = 6_000


class Watch:
    """A collector that feeds a store, as the dashboard has it."""

    def __init__(self, broker: ApacheKafka) -> None:
        options = CaptureOptions(protocols=("kafka",), pids=frozenset({broker.pid}), memory=32 << 20)
        self.feeding = Feeding(options)
        self.collector = Collector(options, self.feeding.ended, open_source)
        self.reader = Reader(self.feeding.begin(self.collector))

    def facts(self) -> KafkaFacts:
        return load(self.reader.facts().learned.get("kafka", {}))

    def group(self, name: str) -> GroupFacts | None:
        return next((group for group in self.facts().groups if group.name == name), None)

    def until(self, holds: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Captures until something holds."""
        deadline = time.monotonic() + TIMEOUT_S
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"in vain: {self.facts()}")
            meanwhile()
            self.feeding.turn()


@contextmanager
def watching(broker: ApacheKafka) -> Iterator[Watch]:
    watch = Watch(broker)
    try:
        yield watch
        assert "unlearned" not in watch.reader.facts().ledger
    finally:
        watch.collector.close()


@contextmanager
def consumer(broker: ApacheKafka, group: str, client_id: str) -> Iterator[Consumer]:
    settings = {
        "bootstrap.servers": broker.bootstrap,
        "client.id": client_id,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": 500,
    }
    its = Consumer(settings)
    try:
        yield its
    finally:
        its.close()


def lag_by_broker(broker: ApacheKafka, group: str, topic: str) -> int:
    """What Kafka's own tools would say: the ends of the partitions less what is committed."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    reader = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    ends = reader.end_offsets([Place(topic, each.partition) for each in offsets.topic_partitions])
    reader.close()
    return sum(ends[Place(topic, each.partition)] - each.offset for each in offsets.topic_partitions)


def test_a_group_its_lag_and_its_rebalances(apache_kafka: ApacheKafka) -> None:
    topic = group = f"group-{uuid.uuid4().hex[:8]}"
    apache_kafka.create_topic(topic, partitions=2)
    with watching(apache_kafka) as watch, consumer(apache_kafka, group, "first") as first:
        run_client("kafka_produce_librdkafka", port=apache_kafka.port, topic=topic, count=50)
        first.subscribe([topic])
        read = 0

        def some() -> None:
            nonlocal read
            message = first.poll(0.05) if read < 30 else None
            read += message is not None and not message.error()
            if read == 30:
                first.commit(asynchronous=False)
                read += 1

        watch.until(lambda: (its := watch.group(group)) is not None and its.lag == 20, some)
        found = watch.group(group)
        assert found is not None
        assert found.lag == lag_by_broker(apache_kafka, group, topic)
        assert (found.state, found.members, found.members_whole) == ("Stable", 1, True)
        assert [each.why for each in found.rounds] == ["joined first"]
        assert {(each.topic, each.lag) for each in watch.facts().lags if each.group == group} >= {(topic, 20)}

        with consumer(apache_kafka, group, "second") as second:
            second.subscribe([topic])
            watch.until(lambda: _why(watch, group).startswith("joined second"), lambda: _poll(first, second))
            watch.until(lambda: _state(watch, group) == "Stable", lambda: _poll(first, second))
        watch.until(lambda: _why(watch, group).startswith("left second"), lambda: _poll(first))


def _poll(*consumers: Consumer) -> None:
    for each in consumers:
        each.poll(0.02)


def _why(watch: Watch, name: str) -> str:
    group = watch.group(name)
    return group.rounds[-1].why if group is not None and group.rounds else ""


def _state(watch: Watch, name: str) -> str:
    group = watch.group(name)
    return group.state if group is not None else ""


def java_consumer(broker: ApacheKafka, topic: str, group: str, protocol: str) -> subprocess.Popen[bytes]:
    """Apache Kafka's own console consumer, until it is killed; `protocol` is the group's, or "share"."""
    command = ["setpriv", "--pdeathsig", "KILL", "java", "-Xmx128m", "-cp", f"{libraries()}/*"]
    tool = "ConsoleShareConsumer" if protocol == "share" else "ConsoleConsumer"
    command += [f"org.apache.kafka.tools.consumer.{tool}", "--bootstrap-server", broker.bootstrap]
    command += ["--topic", topic, "--group", group, "--consumer-property", "client.id=java"]
    if protocol != "share":
        command += ["--consumer-property", f"group.protocol={protocol}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_group_of_the_new_protocol(apache_kafka: ApacheKafka) -> None:
    topic = group = f"epochs-{uuid.uuid4().hex[:8]}"
    apache_kafka.create_topic(topic)
    with watching(apache_kafka) as watch:
        client = java_consumer(apache_kafka, topic, group, "consumer")
        try:
            watch.until(lambda: _state(watch, group) == "Stable")
        finally:
            client.terminate()
            client.wait(TIMEOUT_S)
        found = watch.group(group)
        assert found is not None
        assert (found.kind, found.members) == ("consumer", 1)
        assert found.rounds[0].why == "joined java"
        watch.until(lambda: _state(watch, group) == "Empty")
        assert _why(watch, group) == "left java"


class SharingKafka(ApacheKafka):
    """A broker with share groups, which 4.0 has in early access."""

    def _properties(self) -> str:
        protocols = "group.coordinator.rebalance.protocols=classic,consumer,share"
        return super()._properties() + f"unstable.api.versions.enable=true\ngroup.share.enable=true\n{protocols}\n"


def test_a_share_group() -> None:
    topic = group = "shared"
    with SharingKafka() as broker:
        broker.create_topic(topic)
        with watching(broker) as watch:
            client = java_consumer(broker, topic, group, "share")
            try:
                watch.until(lambda: _state(watch, group) == "Stable")
                watch.until(lambda: len(_fetches(watch)) > 5)
            finally:
                client.kill()
                client.wait()
            found = watch.group(group)
            assert found is not None
            assert (found.kind, found.members, _why(watch, group)) == ("share", 1, "joined java")
            # All but the first name no topic.
            assert {(row.target, row.long_poll) for row in _fetches(watch)} == {(topic, True)}


def _fetches(watch: Watch) -> list[Row]:
    return [row for row in watch.reader.rows(0, 10_000) if row.operation == "ShareFetch"]


def test_topics_of_fetches_older_than_the_capture_have_their_names(apache_kafka: ApacheKafka) -> None:
    """Java sends ids, and names no topics in the fetches of a session: the broker's directories tell the name."""
    topic = group = f"older-{uuid.uuid4().hex[:8]}"
    apache_kafka.create_topic(topic)
    client = java_consumer(apache_kafka, topic, group, "classic")
    try:
        with Requests() as tool:
            deadline = time.monotonic() + TIMEOUT_S
            while not _has_members(apache_kafka, group) and time.monotonic() < deadline:
                time.sleep(0.2)
            tool.stop()
        with Requests("protocol:kafka", "operation:Fetch", "--for=60s", "--count=40") as tool:
            for _ in range(6):
                run_client("kafka_produce_librdkafka", port=apache_kafka.port, topic=topic, count=5)
                time.sleep(1)
            fetches = [each for each in tool.stop() if each["kafka"]["client_id"] == "java"]
    finally:
        client.kill()
        client.wait()
    assert fetches[-1]["target"] == topic
    assert {part["topic"] for part in fetches[-1]["kafka"].get("partitions", ())} <= {topic}


def _has_members(broker: ApacheKafka, group: str) -> bool:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    return bool(admin.describe_consumer_groups([group])[group].result().members)
