"""`python -m tests.benchmarks.kafka_parsing`: µs to parse one Kafka message, beside kafka-python's decoder."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from probes.protocols.kafka import Kafka
from probes.protocols.kafka.messages import Memory
from tests.unit.kafka_messages import Fields, batch, head, reply_bytes, request_bytes, session

NUMBER, REPEAT = 20_000, 9

PRODUCE = {"acks": -1, "topic_data": [{"name": "orders", "partition_data": [{"index": 3, "records": batch(3, 400)}]}]}
PRODUCED = {"responses": [{"name": "orders", "partition_responses": [{"index": 3, "base_offset": 41}]}]}
FETCH = {
    "max_wait_ms": 500,
    "min_bytes": 1,
    "topics": [{"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": 41}]}],
}
FETCHED = {
    "responses": [
        {"topic": "orders", "partitions": [{"partition_index": 0, "high_watermark": 51, "records": batch(3, 400)}]}
    ]
}

CASES: list[tuple[str, int, int, Fields, Fields, Any, Any]] = [
    ("Produce", 0, 9, PRODUCE, PRODUCED, ProduceRequest, ProduceResponse),
    ("Fetch", 1, 12, FETCH, FETCHED, FetchRequest, FetchResponse),
    ("Heartbeat", 12, 4, {"group_id": "orders-app", "member_id": "m" * 40}, {}, None, None),
]


def microseconds(action: Callable[[], Any]) -> float:
    """The best of several runs: what it costs where nothing else runs."""
    return min(timeit.repeat(action, number=NUMBER, repeat=REPEAT)) / NUMBER * 1e6


def theirs(decoder: Any, message: bytes, version: int) -> str:
    if decoder is None:
        return "-"
    return f"{microseconds(lambda: decoder.decode(message, version=version, header=True, framed=True)):.2f}"


def main() -> str:
    lines = [f"{'µs each':<16}{'request':>9}{'reply_to':>9}{'reply':>9}{'record':>9}{'kafka-python':>16}"]
    for name, api_key, version, fields, answer, request_class, reply_class in CASES:
        kafka, memory = Kafka(), Memory()
        asked, answered = request_bytes(api_key, version, fields), reply_bytes(api_key, version, answer)
        request_head, reply_head = head(asked, 1_024), head(answered, 1_024)
        request = kafka.request(request_head, memory)
        reply = kafka.reply(reply_head, request, memory)
        whole = session(request, reply)
        costs = [
            microseconds(lambda: kafka.request(request_head, memory)),  # noqa: B023 - called at once
            microseconds(lambda: kafka.reply_to(reply_head)),  # noqa: B023
            microseconds(lambda: kafka.reply(reply_head, request, memory)),  # noqa: B023
            timeit.timeit(lambda: kafka.record(whole, literals=False), number=500) / 500 * 1e6,  # noqa: B023
        ]
        other = f"{theirs(request_class, asked, version)} / {theirs(reply_class, answered, version)}"
        lines.append(f"{name + ' v' + str(version):<16}" + "".join(f"{cost:>9.2f}" for cost in costs) + f"{other:>16}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
