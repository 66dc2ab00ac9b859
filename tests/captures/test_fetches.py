"""Replies to Fetch whose records fill the head are told to their last partition, and recorded without their values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes import headless
from probes.options import CaptureOptions
from probes.outputs.recording.files import NO_ROTATION
from probes.protocols.kafka import Kafka
from probes.protocols.kafka.credentials import METADATA_TOPIC
from probes.protocols.kafka.messages import KafkaReply
from probes.protocols.kafka.plan_source import FETCH
from probes.records import Session
from tests.captures.reading import sessions_of
from tests.captures.writing import Wire, pcap
from tests.unit.kafka_messages import reply_bytes, request_bytes
from tests.unit.test_kafka_masking import SECRET, record_batch

VERSION = 12
COUNT = 20
OFFSET_OUT_OF_RANGE = 1
OF_MESSAGES = ("topic", "partition", "error_code", "offset", "high_watermark", "bytes")  # not of batches
WHOLE = 16_384  # holds every reply
BROKER = ("10.0.0.2", 9092)


def exchanges(topic: str = "orders") -> Iterator[tuple[bytes, bytes]]:
    """Three partitions with records, and one that fails, whose error stands behind them."""
    for id in range(COUNT):
        asked = {"topic": topic, "partitions": [{"partition": index, "fetch_offset": 5} for index in range(4)]}
        parts = [
            {"partition_index": index, "high_watermark": 100 * index, "records": record_batch() * (3 + id % 5)}
            for index in range(3)
        ]
        failed = {"partition_index": 3, "error_code": OFFSET_OUT_OF_RANGE, "high_watermark": -1, "records": None}
        fields = {"max_wait_ms": 500, "min_bytes": 1, "session_epoch": -1, "topics": [asked]}
        answer = {"responses": [{"topic": topic, "partitions": [*parts, failed]}]}
        yield request_bytes(FETCH, VERSION, fields, id), reply_bytes(FETCH, VERSION, answer, id)


def captured(topic: str = "orders") -> bytes:
    wire = Wire(server=BROKER, most=1448)
    wire.open()
    for request, reply in exchanges(topic):
        wire.send(True, request)
        wire.send(False, reply, acknowledge=True)
    wire.close()
    return pcap(wire.packets)


def seen(data: bytes, head_bytes: int) -> list[Session]:
    told = sessions_of(data, CaptureOptions("test.pcap", head_bytes=head_bytes))
    assert len(told.sessions) == COUNT
    return told.sessions


def records(sessions: list[Session]) -> list[dict[str, Any]]:
    kafka = Kafka()
    return [kafka.record(session, literals=False) for session in sessions]


def partitions(sessions: list[Session]) -> list[list[dict[str, Any]]]:
    """What messages say of each partition, whatever of its batches can be seen."""
    return [
        [{name: part.get(name) for name in OF_MESSAGES} for part in each["partitions"]] for each in records(sessions)
    ]


@pytest.mark.parametrize("head_bytes", [256, 1024])
def test_they_are_told_as_if_the_heads_had_held_all(head_bytes: int) -> None:
    sessions = seen(captured(), head_bytes)
    assert partitions(sessions) == partitions(seen(captured(), WHOLE))
    for session in sessions:
        assert session.reply is not None
        assert not session.reply.truncated
        assert session.reply.failure is not None
        assert session.reply.failure.code == OFFSET_OUT_OF_RANGE


def test_a_recording_tells_the_same_and_has_no_values(tmp_path: Path) -> None:
    source, path = tmp_path / "source.pcap", tmp_path / "recording.pcapng"
    source.write_bytes(captured())
    assert SECRET in source.read_bytes()
    headless.record(CaptureOptions(source=str(source)), path, NO_ROTATION)
    recorded = path.read_bytes()
    assert SECRET[:4] not in recorded
    assert records(seen(recorded, 1024)) == records(seen(captured(), 1024))


def test_of_the_cluster_s_metadata_nothing_is_kept_behind_the_head() -> None:
    for session in seen(captured(METADATA_TOPIC), 1024):
        assert isinstance(session.reply, KafkaReply)
        assert session.reply.windows == ()
        assert SECRET not in session.reply.data
