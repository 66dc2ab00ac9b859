"""COUNT messages by kafka-python, each awaited: as many Produce requests. One producer a thread."""

from kafka import KafkaProducer

from tests.live.clients.program import arguments, in_threads, ready, report

TIMEOUT_S = 30.0


def main() -> None:
    parser = arguments(__doc__, count=1_009)
    parser.add_argument("--topic", default="orders")
    parser.add_argument("--acks", default="all", choices=("all", "1", "0"))
    parser.add_argument("--bytes", type=int, default=100, help="of each message; default %(default)s")
    options = parser.parse_args()
    acks = "all" if options.acks == "all" else int(options.acks)
    producers = [
        KafkaProducer(
            bootstrap_servers=f"127.0.0.1:{options.port}",
            client_id="l7top-kafka-python",
            acks=acks,
            linger_ms=0,
            max_in_flight_requests_per_connection=1,
            enable_idempotence=False,
            retries=0,
        )
        for _ in range(options.threads)
    ]
    for producer in producers:
        producer.partitions_for(options.topic)
    value = b"v" * options.bytes

    def produce(turns: range) -> None:
        producer = producers[turns.start]
        for _ in turns:
            producer.send(options.topic, value, partition=0).get(TIMEOUT_S)

    ready(wait=options.wait)
    in_threads(options.threads, options.count, produce)
    for producer in producers:
        producer.close()
    report(messages=options.count)


if __name__ == "__main__":
    main()
