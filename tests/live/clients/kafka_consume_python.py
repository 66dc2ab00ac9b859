"""Reads COUNT messages of a topic with kafka-python, in a group or (--group '') by itself."""

from kafka import KafkaConsumer

from tests.live.clients.program import arguments, ready, report


def main() -> None:
    parser = arguments(__doc__, count=1_009)
    parser.add_argument("--topic", default="orders")
    parser.add_argument("--group", default="readers")
    options = parser.parse_args()
    consumer = KafkaConsumer(
        options.topic,
        bootstrap_servers=f"127.0.0.1:{options.port}",
        client_id="l7top-kafka-python",
        group_id=options.group or None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=60_000,
    )
    consumer.topics()
    ready(wait=options.wait)
    messages = 0
    for _ in consumer:
        messages += 1
        if messages == options.count:
            break
    if options.group:
        consumer.commit()
    consumer.close()
    report(messages=messages)


if __name__ == "__main__":
    main()
