"""What a recording costs: masking a message and writing it, beside parsing it, CPU per message in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bson import Int64

from probes.outputs.recording.files import Files
from probes.outputs.recording.writer import Recording
from probes.protocols.interface import Records, WireProtocol
from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB
from probes.records import Address, Connection, Head, Process
from tests.benchmarks.measure import Spread, table
from tests.unit.kafka_messages import batch, encoded, framed, reply_header, request_header
from tests.unit.mongodb_messages import LSID, REPLY_END, answer, command

ROUNDS = 7
_MESSAGES = 2000  # of each kind in a round
_HEAD_BYTES = 1024
_CONNECTION = Connection(
    1, Process(712, "mongod"), Address("10.0.0.9", 27017), Address("10.0.0.5", 51544), 0, "mongodb"
)

_DOCUMENTS = [{"_id": number, "name": "x" * 30, "total": 3.5, "tags": ["a", "b"]} for number in range(20)]
_FIND = command({"find": "orders", "filter": {"name": "x" * 30}, "limit": 20, "lsid": LSID, "$db": "shop"})
_FOUND = answer({"cursor": {"firstBatch": _DOCUMENTS, "id": Int64(0), "ns": "shop.orders"}, **REPLY_END})
_PART = {"index": 0, "records": batch(10, 900)}
_PRODUCE = {"acks": -1, "timeout_ms": 500, "topic_data": [{"name": "orders", "partition_data": [_PART]}]}
_PRODUCED = {"responses": [{"name": "orders", "partition_responses": [{"index": 0, "base_offset": 41}]}]}


def main(rounds: int = ROUNDS) -> str:
    kafka = framed(request_header(0, 9) + encoded(0, 9, "request", _PRODUCE))
    kafka_reply = framed(reply_header(0, 9) + encoded(0, 9, "response", _PRODUCED))
    exchanges = {"MongoDB find": (MongoDB(), _FIND, _FOUND), "Kafka Produce": (Kafka(), kafka, kafka_reply)}
    rows: list[tuple[str, str]] = []
    for name, exchange in exchanges.items():
        for what, values in _measure(*exchange, rounds).items():
            rows.append((f"{name}: {what}", f"{Spread.of(values).show(1)} µs a message"))
    return table(f"Recording, {rounds} rounds, median [quartiles]", rows)


def _measure(protocol: WireProtocol, asked: bytes, answered: bytes, rounds: int) -> dict[str, list[float]]:
    assert isinstance(protocol, Records)
    records, heads = protocol, (_head(asked, outbound=False), _head(answered, outbound=True))
    memory = protocol.memory(_CONNECTION)
    request = protocol.request(heads[0], memory)
    reply = protocol.reply(heads[1], request, memory)
    kept = [
        records.recordable(heads[0], request, None, literals=False),
        records.recordable(heads[1], reply, request, literals=False),
    ]

    def parse() -> None:
        protocol.reply(heads[1], protocol.request(heads[0], memory), memory)

    def mask() -> None:
        records.recordable(heads[0], request, None, literals=False)
        records.recordable(heads[1], reply, request, literals=False)

    with tempfile.TemporaryDirectory() as place:
        recording = Recording(Files(Path(place) / "it.pcapng"), 0, literals=False)

        def write() -> None:
            for head in kept:
                recording.message(_CONNECTION, head)

        steps = {"parsed": parse, "masked": mask, "written": write}
        found: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                found[name].append(_cost_us(step))
        recording.close()
    return found


def _head(data: bytes, *, outbound: bool) -> Head:
    tail = data[max(_HEAD_BYTES, len(data) - 512) :]
    return Head(outbound, 0, 1_000, 2_000, len(data), data[:_HEAD_BYTES], tail)


def _cost_us(step: Callable[[], None]) -> float:
    """CPU time of one of the two messages that `step` is about, µs."""
    began = time.process_time()
    for _ in range(_MESSAGES):
        step()
    return (time.process_time() - began) / _MESSAGES / 2 * 1e6
