"""The shop's events on Kafka, as programs that each do one job: `python -m tests.demo.kafka JOB BOOTSTRAP`."""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Callable
from contextlib import suppress

import confluent_kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from tests.demo.pace import begin, call_yourself, keep_doing

TOPICS = {"orders": 3, "payments": 2, "clicks": 1, "alerts": 1}  # and their partitions; nobody writes alerts
FETCH_MS = 500


def fill(create_topic: Callable[..., None]) -> None:
    """What there is when the shop opens."""
    for topic, partitions in TOPICS.items():
        create_topic(topic, partitions=partitions)


def event(number: int) -> bytes:
    return json.dumps(
        {"order": number, "total": random.randrange(10_000), "note": "x" * random.randrange(400)}
    ).encode()


def checkout(bootstrap: str) -> None:
    """librdkafka: orders and payments, each awaited."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "client.id": "checkout", "linger.ms": 0})
    numbers = itertools.count()

    def send(topic: str) -> None:
        number = next(numbers)
        producer.produce(topic, event(number), key=str(number).encode())
        producer.flush()

    keep_doing((40, lambda: send("orders")), (15, lambda: send("payments")))


def tracker(bootstrap: str) -> None:
    """kafka-python: many small events in batches, and again and again a topic that is there already."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, client_id="tracker", linger_ms=5, acks=1)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, client_id="tracker-setup")
    numbers = itertools.count()

    def create_again() -> None:
        with suppress(KafkaError):
            admin.create_topics({"orders": {"num_partitions": 1, "replication_factor": 1}})

    keep_doing(
        (150, lambda: producer.send("clicks", event(next(numbers)))),
        (1, create_again),
    )


def warehouse(bootstrap: str) -> None:
    """kafka-python: reads all orders and payments as they come."""
    follow(bootstrap, "warehouse", "orders", "payments")


def pager(bootstrap: str) -> None:
    """kafka-python: waits for alerts, which never come."""
    follow(bootstrap, "pager", "alerts")


def follow(bootstrap: str, name: str, *topics: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, client_id=name, fetch_max_wait_ms=FETCH_MS)
    consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(TOPICS[topic])])
    consumer.seek_to_end()
    begin()
    while True:
        consumer.poll(timeout_ms=1_000)


def invoices(bootstrap: str) -> None:
    """librdkafka: a consumer group of its own."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": "invoices",
            "group.id": "invoices",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["payments"])
    begin()
    while True:
        consumer.poll(1.0)


JOBS = (checkout, tracker, warehouse, pager, invoices)


def main() -> None:
    name, bootstrap = sys.argv[1:]
    (job,) = (job for job in JOBS if job.__name__ == name)
    call_yourself(name)
    job(bootstrap)


if __name__ == "__main__":
    main()
