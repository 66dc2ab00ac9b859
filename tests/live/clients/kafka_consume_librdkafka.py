"""Reads COUNT messages of a topic with librdkafka, in a group."""

from confluent_kafka import Consumer, KafkaException

from tests.live.clients.librdkafka import STATISTICS_INTERVAL_MS, RequestCounts
from tests.live.clients.program import arguments, ready, report

TIMEOUT_S = 60.0


def main() -> None:
    parser = arguments(__doc__, count=1_009)
    parser.add_argument("--topic", default="orders")
    parser.add_argument("--group", default="readers")
    options = parser.parse_args()
    counts = RequestCounts()
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{options.port}",
            "client.id": "l7top-librdkafka",
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "statistics.interval.ms": STATISTICS_INTERVAL_MS,
            "stats_cb": counts.receive,
        }
    )
    consumer.list_topics(options.topic, timeout=TIMEOUT_S)
    ready(wait=options.wait)
    consumer.subscribe([options.topic])
    messages = 0
    while messages < options.count:
        message = consumer.poll(TIMEOUT_S)
        if message is None:
            raise TimeoutError(f"only {messages} messages came")
        if message.error():
            raise KafkaException(message.error())
        messages += 1
    consumer.commit(asynchronous=False)
    requests = counts.settled(consumer.poll)
    consumer.close()
    report(messages=messages, requests=requests)


if __name__ == "__main__":
    main()
