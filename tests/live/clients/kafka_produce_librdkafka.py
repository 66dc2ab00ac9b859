"""COUNT messages by librdkafka, each flushed alone and one in flight: as many Produce requests. A producer a thread."""

from collections import Counter

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.live.clients.librdkafka import STATISTICS_INTERVAL_MS, RequestCounts
from tests.live.clients.program import arguments, in_threads, ready, report

FLUSH_TIMEOUT_S = 30.0


class CountedProducer:
    """A producer whose messages never share a request."""

    def __init__(self, port: int, acks: str, topic: str) -> None:
        self.counts = RequestCounts()
        self.delivered = 0
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{port}",
                "client.id": "l7top-librdkafka",
                "acks": acks,
                "linger.ms": 0,
                "max.in.flight.requests.per.connection": 1,
                "enable.idempotence": False,
                "retries": 0,
                "statistics.interval.ms": STATISTICS_INTERVAL_MS,
                "stats_cb": self.counts.receive,
            }
        )

    def connect(self) -> None:
        """Asks for the topic's metadata and so opens the connection. Raises KafkaException."""
        self._producer.list_topics(self._topic, timeout=FLUSH_TIMEOUT_S)

    def produce(self, value: bytes) -> None:
        """Sends one message and waits for its acknowledgement. Raises KafkaException."""
        self._producer.produce(self._topic, value, partition=0, on_delivery=self._on_delivery)
        if self._producer.flush(FLUSH_TIMEOUT_S):
            raise TimeoutError("a message was not acknowledged")

    def requests(self) -> Counter[str]:
        """What was sent so far, by librdkafka's names."""
        return self.counts.settled(self._producer.poll)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        self.delivered += 1


def main() -> None:
    parser = arguments(__doc__, count=1_009)
    parser.add_argument("--topic", default="orders")
    parser.add_argument("--acks", default="all", choices=("all", "1", "0"))
    parser.add_argument("--bytes", type=int, default=100, help="of each message; default %(default)s")
    options = parser.parse_args()
    producers = [CountedProducer(options.port, options.acks, options.topic) for _ in range(options.threads)]
    for producer in producers:
        producer.connect()
    value = b"v" * options.bytes

    def produce(turns: range) -> None:
        producer = producers[turns.start]
        for _ in turns:
            producer.produce(value)

    ready(wait=options.wait)
    in_threads(options.threads, options.count, produce)
    requests = sum((producer.requests() for producer in producers), Counter())
    report(messages=sum(producer.delivered for producer in producers), requests=requests)


if __name__ == "__main__":
    main()
