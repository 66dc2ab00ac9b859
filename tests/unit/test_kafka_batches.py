"""Record batches and message sets, as kafka-python encodes them, whole, cut and broken; trace contexts in records."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import MemoryRecordsBuilder

from probes.protocols.kafka.batches import Batches, Trace, batches, trace
from tests.effort import lines_run
from tests.unit.kafka_messages import batch

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AT_MS = 1_700_000_000_000
CODECS = {0: "none", 1: "gzip"}


def encoded(magic: int, *headers: list[tuple[str, bytes]], codec: int = 0, **options: Any) -> bytes:
    """A batch with one record for each list of headers, a ms apart."""
    builder = MemoryRecordsBuilder(magic, codec, 1 << 20, **options)
    for number, each in enumerate(headers):
        builder.append(AT_MS + number, b"key", b"value" * 20, each if magic == 2 else [])
    builder.close()
    return bytes(builder.buffer())


def whole(data: bytes) -> Batches:
    found = batches(b"xxxx" + data, 4, len(data))
    assert found is not None
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_batches_of_version_2(codec: int) -> None:
    found = whole(encoded(2, [], [], codec=codec) + encoded(2, [], codec=codec))
    assert (found.whole, found.batches, found.records, found.magic) == (True, 2, 3, 2)
    assert found.compression == CODECS[codec]
    assert (found.base_offset, found.base_timestamp, found.max_timestamp) == (0, AT_MS, AT_MS + 1)
    assert (found.producer_id, found.producer_epoch, found.transactional, found.control) == (-1, -1, False, False)


def test_who_produced_a_batch_and_in_a_transaction() -> None:
    data = encoded(2, [], transactional=True, producer_id=7, producer_epoch=2, base_sequence=0)
    found = whole(data)
    assert (found.producer_id, found.producer_epoch, found.transactional) == (7, 2, True)
    marker = bytearray(data)
    marker[22] |= 0x20
    assert whole(bytes(marker)).control


@pytest.mark.parametrize("magic", [0, 1])
def test_message_sets(magic: int) -> None:
    found = whole(encoded(magic, [], [], []))
    assert (found.whole, found.batches, found.records, found.magic) == (True, 3, 3, magic)
    latest = AT_MS + 2 if magic else -1
    assert (found.compression, found.base_timestamp, found.max_timestamp) == ("none", AT_MS if magic else -1, latest)


@pytest.mark.parametrize("magic", [0, 1])
def test_a_compressed_message_does_not_say_how_many_it_holds(magic: int) -> None:
    found = whole(encoded(magic, [], [], codec=1))
    assert (found.whole, found.records, found.compression) == (False, 0, "gzip")


def test_what_is_not_visible_is_not_counted() -> None:
    two = batch(10, 200) + batch(5, 100)
    assert whole(two)[:3] == (True, 2, 15)
    assert batches(two[:61], 0, 200) == whole(two[:200])._replace(batches=1)
    assert batches(two[:60], 0, 200) is None
    cut = batches(two[:220], 0, 300)
    assert cut is not None
    assert cut[:3] == (False, 1, 10)
    kept = batches(two, 0, 280)  # the broker cut the last batch
    assert kept is not None
    assert kept[:3] == (True, 1, 10)
    assert batches(two[:230], 0, 230) == kept  # likewise, within the header
    assert batches(b"", 0, 0) is None


def test_what_is_no_batch() -> None:
    assert batches(batch(10, 200, magic=3), 0, 200) is None
    assert batches(batch(-1, 200), 0, 200) is None
    hostile = bytearray(batch(10, 200) + batch(5, 100))
    hostile[8:12] = bytes(4)
    assert batches(bytes(hostile), 0, len(hostile)) is None


@pytest.mark.parametrize(
    ("headers", "trace_id", "span_id"),
    [
        ([("traceparent", TRACEPARENT)], "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
        ([("b3", b"80f198ee56343ba8-e457b5a2e4d86bd1-1")], "80f198ee56343ba8", "e457b5a2e4d86bd1"),
        ([("b3", b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d-05e3ac9a4f6e3b90")], None, "e457b5a2e4d86bd1"),
        (
            [("x", b"y"), ("X-B3-TraceId", b"80f198ee56343ba8"), ("X-B3-SpanId", b"e457b5a2e4d86bd1")],
            "80f198ee56343ba8",
            "e457b5a2e4d86bd1",
        ),
        (
            [("sw8", b"-".join([b"1", base64.b64encode(b"t.7.1"), base64.b64encode(b"s.7.2"), b"3", b"c3Zj"]))],
            "t.7.1",
            "s.7.2-3",
        ),
    ],
)
def test_traces(headers: list[tuple[str, bytes]], trace_id: str | None, span_id: str) -> None:
    data = encoded(2, [], headers)
    found = trace(b"xx" + data, 2, len(data))
    assert found is not None
    assert found == Trace(trace_id or "80f198ee56343ba864fe8b2a57d3eff7", span_id)
    for size in range(len(data)):
        assert trace(data[:size], 0, len(data)) in (found, None)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")],
        [("traceparent", b"password=hunter2")],
        [("b3", b"0")],
        [("X-B3-TraceId", b"80f198ee56343ba8")],
        [("sw8", b"0-" + base64.b64encode(b"trace") + b"-" + base64.b64encode(b"segment") + b"-3")],
        [("sw8", b"1-" + base64.b64encode(b"\x1b[31m") + b"-" + base64.b64encode(b"segment") + b"-3")],
        [("sw8", b"1-====-====-3")],
    ],
)
def test_what_is_no_trace_is_not_shown(headers: list[tuple[str, bytes]]) -> None:
    data = encoded(2, headers)
    assert trace(data, 0, len(data)) is None


def test_compressed_records_and_message_sets_show_no_trace() -> None:
    for data in (encoded(2, [("traceparent", TRACEPARENT)], codec=1), encoded(1, [])):
        assert trace(data, 0, len(data)) is None


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 2**31))
def test_any_bytes_are_read_without_an_error(data: bytes, start: int, length: int) -> None:
    batches(data, start, length)
    trace(data, start, length)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_damaged_batches_are_read_without_an_error(damage: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(2, [("traceparent", TRACEPARENT)], []))
    for place, value in damage:
        data[place % len(data)] = value
    batches(bytes(data), 0, len(data))
    trace(bytes(data), 0, len(data))


@pytest.mark.parametrize("size", [26, 27])
def test_many_tiny_messages_take_little_work(size: int) -> None:
    message = bytes(8) + (size - 12).to_bytes(4, "big") + bytes(size - 12)
    data = message * (16_384 // size)
    found = batches(data, 0, 2**31 - 1)
    assert lines_run(lambda: batches(data, 0, 2**31 - 1)) < 30 * (len(data) // size)
    assert found is not None
    assert found.records == len(data) // size
