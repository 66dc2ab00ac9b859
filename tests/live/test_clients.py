"""The client programs do exactly what they say, by the servers' own books."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from pymongo import MongoClient

from tests.live.clients.process import ClientProcess, run_client
from tests.servers import ApacheKafka, Broker, Mongod

pytestmark = pytest.mark.live

COUNT = 211
SETTLE_S = 5.0
Document = dict[str, Any]


@pytest.fixture(scope="module")
def database(mongod: Mongod) -> Iterator[MongoClient[Document]]:
    client: MongoClient[Document] = MongoClient(mongod.uri)
    with client:
        yield client


def commands(client: MongoClient[Document], name: str) -> tuple[int, int]:
    """How many commands of this name mongod has answered, and how many of them with ok: 0."""
    counts = client.admin.command("serverStatus")["metrics"]["commands"][name]
    return counts["total"], counts["failed"]


@contextmanager
def exactly(total: int, failed: int, read: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """Expects these to be added to what `read` returns."""
    before = read()
    yield
    expect((before[0] + total, before[1] + failed), read)


def expect(expected: object, read: Callable[[], object]) -> None:
    """Waits until `read` returns `expected`: what no answer follows, a server books a moment later."""
    deadline = time.monotonic() + SETTLE_S
    while (seen := read()) != expected:
        if time.monotonic() > deadline:
            pytest.fail(f"expected {expected}, the server says {seen}")
        time.sleep(0.05)


@pytest.mark.parametrize("threads", [1, 8])
def test_mongo_find(mongod: Mongod, database: MongoClient[Document], threads: int) -> None:
    with exactly(COUNT, 0, lambda: commands(database, "find")):
        report = run_client("mongo_find", port=mongod.port, count=COUNT, threads=threads)
    assert report["commands"] == {"sent": {"find": COUNT, "endSessions": 1}, "failed": {}}


@pytest.mark.parametrize("threads", [1, 8])
def test_mongo_bulk_duplicates(mongod: Mongod, database: MongoClient[Document], threads: int) -> None:
    with exactly(COUNT, 0, lambda: commands(database, "insert")):
        report = run_client("mongo_bulk_duplicates", port=mongod.port, count=COUNT, threads=threads)
    assert report["duplicate_key_errors"] == report["commands"]["sent"]["insert"] == COUNT


def test_mongo_w0(mongod: Mongod, database: MongoClient[Document]) -> None:
    with exactly(COUNT, 0, lambda: commands(database, "insert")):
        report = run_client("mongo_w0", port=mongod.port, count=COUNT)
    assert report["commands"]["sent"] == {"insert": COUNT}


def test_mongo_failing(mongod: Mongod, database: MongoClient[Document]) -> None:
    with exactly(71, 71, lambda: commands(database, "collMod")):
        report = run_client("mongo_failing", port=mongod.port, count=3 * 71)
    assert report["codes"] == {"2": 71, "26": 71, "59": 71}


def test_a_client_stands_connected_until_it_is_let_go(mongod: Mongod, database: MongoClient[Document]) -> None:
    with ClientProcess("mongo_find", port=mongod.port, count=COUNT, threads=8) as client:
        with exactly(0, 0, lambda: commands(database, "find")):
            open_connections = database.admin.command("serverStatus")["connections"]["current"]
        assert open_connections >= 8
        with exactly(COUNT, 0, lambda: commands(database, "find")):
            client.finish()


def produce_requests(broker: ApacheKafka, topic: str) -> int:
    return sum(
        '"requestApiKeyName":"PRODUCE"' in line and f'"{topic}"' in line
        for line in broker.requests.read_text().splitlines()
    )


def end_of(broker: Broker, topic: str) -> int:
    """How many messages the topic holds."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    partition = TopicPartition(topic, 0)
    end: int = consumer.end_offsets([partition])[partition]
    consumer.close()
    return end


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("acks", ["all", "0"])
@pytest.mark.parametrize("program", ["kafka_produce_librdkafka", "kafka_produce_python"])
def test_kafka_produce(apache_kafka: ApacheKafka, program: str, acks: str, threads: int) -> None:
    topic = f"{program}-{acks}-{threads}"
    apache_kafka.create_topic(topic)
    options = {"topic": topic, "acks": acks, "threads": threads, "count": COUNT, "bytes": 3000}
    report = run_client(program, port=apache_kafka.port, **options)
    assert report["messages"] == COUNT
    expect(COUNT, lambda: end_of(apache_kafka, topic))
    expect(COUNT, lambda: produce_requests(apache_kafka, topic))
    if "requests" in report:
        assert report["requests"]["Produce"] == COUNT


def test_java_produce(apache_kafka: ApacheKafka) -> None:
    apache_kafka.create_topic("java")
    report = run_client("JavaProduce", port=apache_kafka.port, topic="java", count=COUNT)
    assert report["messages"] == COUNT
    expect(COUNT, lambda: end_of(apache_kafka, "java"))
    expect(COUNT, lambda: produce_requests(apache_kafka, "java"))


@pytest.mark.parametrize("program", ["kafka_consume_librdkafka", "kafka_consume_python"])
def test_kafka_consume(apache_kafka: ApacheKafka, program: str) -> None:
    topic = f"{program}-in"
    run_client("kafka_produce_librdkafka", port=apache_kafka.port, topic=topic, count=COUNT)
    report = run_client(program, port=apache_kafka.port, topic=topic, group=program, count=COUNT)
    assert report["messages"] == COUNT


def test_the_same_clients_speak_to_tansu(tansu: Broker) -> None:
    for program in ("kafka_produce_librdkafka", "kafka_produce_python", "JavaProduce"):
        topic = f"tansu-{program}"
        tansu.create_topic(topic)
        assert run_client(program, port=tansu.port, topic=topic, count=COUNT)["messages"] == COUNT
        assert end_of(tansu, topic) == COUNT
    consumed = run_client("kafka_consume_python", port=tansu.port, topic="tansu-JavaProduce", group="", count=COUNT)
    assert consumed["messages"] == COUNT
