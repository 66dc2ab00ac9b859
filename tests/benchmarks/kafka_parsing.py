"""`python -m tests.benchmarks kafka`: µs of CPU for one Kafka request, seen from one end, and its parts.

The sum is that of `request`, `reply_to`, `reply` and `observe`: what the collector does for each. `record` is what is
done when someone looks; kafka-python's decoders beside it do less.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from probes.protocols.kafka import Kafka
from probes.protocols.kafka.messages import Memory
from tests.unit.kafka_messages import Fields, batch, framed, head, reply_bytes, request_bytes, request_header, session

NUMBER, REPEAT = 5_000, 9
HEAD_BYTES = 16_384


def produce(partitions: int) -> Fields:
    parts = [{"index": number, "records": batch(1, 100)} for number in range(partitions)]
    return {"acks": -1, "topic_data": [{"name": "orders", "partition_data": parts}]}


def produced(partitions: int) -> Fields:
    parts = [{"index": number, "base_offset": 41} for number in range(partitions)]
    return {"responses": [{"name": "orders", "partition_responses": parts}]}


def fetch(partitions: int, epoch: int) -> Fields:
    parts = [{"partition": number, "fetch_offset": 41} for number in range(partitions)]
    topics = [{"topic": "orders", "partitions": parts}] if parts else []
    session = {"session_id": 9 if epoch > 0 else 0, "session_epoch": epoch}
    return {"max_wait_ms": 500, "min_bytes": 1, "topics": topics, **session}


def fetched(partitions: int) -> Fields:
    parts = [
        {"partition_index": number, "high_watermark": 51, "records": batch(1, 100)} for number in range(partitions)
    ]
    return {"session_id": 9, "responses": [{"topic": "orders", "partitions": parts}] if parts else []}


class Case(NamedTuple):
    name: str
    api_key: int
    version: int
    asked: Fields
    answered: Fields
    decoders: tuple[Any, Any] = (None, None)


CASES = (
    Case("Produce v9", 0, 9, produce(1), produced(1), (ProduceRequest, ProduceResponse)),
    Case("Fetch v12, no session", 1, 12, fetch(1, -1), fetched(1), (FetchRequest, FetchResponse)),
    Case("Fetch v12, in a session", 1, 12, fetch(1, 5), fetched(1)),
    Case("Fetch v12, nothing new", 1, 12, fetch(0, 5), fetched(0)),
    Case("Heartbeat v4", 12, 4, {"group_id": "orders-app", "member_id": "m" * 40}, {}),
    Case("Produce v9, 100 parts", 0, 9, produce(100), produced(100), (ProduceRequest, ProduceResponse)),
    Case("Fetch v12, 100 parts", 1, 12, fetch(100, -1), fetched(100), (FetchRequest, FetchResponse)),
    Case("in a session, 100 parts", 1, 12, fetch(100, 5), fetched(100)),
)


def microseconds(action: Callable[[], Any]) -> float:
    """CPU time, the best of several runs: what it costs where nothing else runs."""
    once = timeit.timeit(action, number=3) / 3
    number = max(3, min(NUMBER, int(0.02 / once)))
    return min(timeit.repeat(action, number=number, repeat=REPEAT, timer=time.process_time)) / number * 1e6


def theirs(decoder: Any, message: bytes, version: int) -> str:
    if decoder is None:
        return "-"
    return f"{microseconds(lambda: decoder.decode(message, version=version, header=True, framed=True)):.1f}"


def line(case: Case) -> str:
    kafka, memory = Kafka(), Memory()
    asked = request_bytes(case.api_key, case.version, case.asked)
    answered = reply_bytes(case.api_key, case.version, case.answered)
    request_head, reply_head = head(asked, HEAD_BYTES), head(answered, HEAD_BYTES)
    request = kafka.request(request_head, memory)
    whole = session(request, kafka.reply(reply_head, request, memory))
    kafka.observe(whole)
    parts = [
        microseconds(lambda: kafka.request(request_head, memory)),
        microseconds(lambda: kafka.reply_to(reply_head)),
        microseconds(lambda: kafka.reply(reply_head, request, memory)),
        microseconds(lambda: kafka.observe(whole)),
    ]
    record = microseconds(lambda: kafka.record(whole, literals=False))
    messages = ((case.decoders[0], asked), (case.decoders[1], answered))
    other = " / ".join(theirs(decoder, message, case.version) for decoder, message in messages)
    figures = "".join(f"{cost:>9.2f}" for cost in (sum(parts), *parts, record))
    return f"{case.name:<24}{figures}{other:>18}"


def headers_only() -> str:
    """A request of an API that the table does not know: there is nothing but its header."""
    kafka, memory = Kafka(), Memory()
    asked = head(framed(request_header(0, 30) + b"whatever"))
    answer = head(reply_bytes(12, 3, {}))
    request = kafka.request(asked, memory)
    parts = [
        microseconds(lambda: kafka.request(asked, memory)),
        microseconds(lambda: kafka.reply_to(answer)),
        microseconds(lambda: kafka.reply(answer, request, memory)),
    ]
    return f"{'header only':<24}" + "".join(f"{cost:>9.2f}" for cost in (sum(parts), *parts))


def main(rounds: int = 1) -> str:
    """`rounds` is of no use here: each figure is a minimum over many runs already."""
    title = "".join(f"{each:>9}" for each in ("sum", "request", "reply_to", "reply", "observe", "record"))
    return "\n".join([f"{'µs each':<24}{title}{'kafka-python':>18}", headers_only(), *map(line, CASES)])


if __name__ == "__main__":
    print(main())
