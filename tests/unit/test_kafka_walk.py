"""Message bodies, whole and cut anywhere, are read as Apache Kafka wrote them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.kafka import table
from probes.protocols.kafka.walk import MAX_ELEMENTS, Blob, Ending, uuid_bytes, uuid_text, walk
from tests.effort import lines_run
from tests.unit.kafka_messages import Golden, encoded, golden, plain, uvarint


def layout(api_key: int, version: int, direction: table.Direction) -> table.Layout:
    found = table.layout(api_key, version, direction)
    assert found is not None
    return found


def contains(whole: Any, part: Any) -> bool:
    """Whether `part` is `whole` with its end missing: nothing else, nothing changed."""
    if isinstance(part, dict) and isinstance(whole, dict) and set(part) != {"bytes"}:
        return all(name in whole and contains(whole[name], part[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        if len(part) > len(whole):
            return False
        return all(contains(theirs, ours) for theirs, ours in zip(whole, part, strict=False))
    return bool(part == whole)


def leaves(value: Any) -> int:
    if isinstance(value, dict) and set(value) != {"bytes"}:
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


def test_golden_messages_cover_the_whole_table() -> None:
    expected = {
        (api.key, version, direction)
        for api in table.apis().values()
        for version in api.versions
        for direction in ("request", "response")
    }
    assert {(each.api_key, each.version, each.direction) for each in golden()} == expected


@pytest.mark.parametrize("api_key", sorted(table.apis()))
def test_every_message_is_read_as_kafka_wrote_it(api_key: int) -> None:
    for each in golden():
        if each.api_key == api_key:
            read = walk(each.layout, each.body, 0, len(each.body))
            assert plain(read.message) == each.fields, each[:3]
            assert (read.ending, read.end) == (Ending.WHOLE, len(each.body)), each[:3]


@pytest.mark.parametrize("api_key", sorted(table.apis()))
def test_the_encoder_of_these_tests_writes_what_kafka_writes(api_key: int) -> None:
    for each in golden():
        if each.api_key == api_key:
            # Kafka does not send tagged fields that have their default value: none here has.
            assert encoded(*each[:4]) == each.body, each[:3]


def newest(direction: table.Direction) -> list[Golden]:
    found = {}
    for each in golden():
        if each.direction == direction:
            found[each.api_key, each.layout.flexible] = each
    return list(found.values())


@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_cut_body_yields_what_is_complete_and_nothing_wrong(direction: table.Direction) -> None:
    for each in newest(direction):
        seen = 0
        for size in range(0, len(each.body), 1 + len(each.body) // 800):
            read = walk(each.layout, each.body[:size], 0, len(each.body))
            message = plain(read.message)
            assert contains(each.fields, message), (each[:3], size)
            assert leaves(message) >= seen, (each[:3], size)
            seen = leaves(message)
            # What is whole although its end is cut ends with bytes that are only stepped over.
            assert read.ending is Ending.CUT or read.end == len(each.body), (each[:3], size)


def test_every_field_comes_out_as_soon_as_its_last_byte_is_there() -> None:
    body = encoded(12, 0, "request", {"group_id": "g", "generation_id": 5, "member_id": "mm"})
    complete_at = {"group_id": 3, "generation_id": 7, "member_id": 11}
    for size in range(len(body) + 1):
        read = walk(layout(12, 0, "request"), body[:size], 0, len(body))
        assert set(read.message) == {name for name, end in complete_at.items() if size >= end}


def test_of_records_only_the_place_is_needed() -> None:
    fields = {
        "acks": 1,
        "topic_data": [{"name": "t", "partition_data": [{"index": 4, "records": bytes(5_000)}]}],
    }
    body = encoded(0, 3, "request", fields)
    read = walk(layout(0, 3, "request"), body[:60], 0, len(body))
    assert read.ending is Ending.WHOLE
    assert read.message["topic_data"] == [
        {"name": "t", "partition_data": [{"index": 4, "records": Blob(len(body) - 5_000, 5_000)}]}
    ]


def test_windows_continue_behind_records_that_were_not_captured() -> None:
    part = {"high_watermark": 9, "records": bytes(3_000)}
    fields = {"responses": [{"topic": "t", "partitions": [part | {"partition_index": n} for n in range(3)]}]}
    body = encoded(1, 12, "response", fields)
    starts = [body.index(bytes(3_000)), body.rindex(bytes(3_000))]
    second = starts[0] + 3_000
    windows = ((second, body[second : second + 80]), (starts[1] - 60, body[starts[1] - 60 : starts[1] + 5]))
    read = walk(layout(1, 12, "response"), body[:200], 0, len(body), windows)
    assert [p["partition_index"] for p in read.message["responses"][0]["partitions"]] == [0, 1, 2]
    without = walk(layout(1, 12, "response"), body[:200], 0, len(body))
    assert without.ending is Ending.CUT
    assert [p["partition_index"] for p in without.message["responses"][0]["partitions"]] == [0]


def test_unknown_tags_are_stepped_over_and_known_ones_read() -> None:
    body = encoded(1, 15, "request", {"max_wait_ms": 3})
    assert body.endswith(b"\x01\0")  # an empty rack id, no tags
    cluster = uvarint(0) + uvarint(4) + uvarint(4) + b"abc"
    unknown = uvarint(300) + uvarint(5) + b"hello"
    tagged = body[:-1] + uvarint(2) + cluster + unknown
    read = walk(layout(1, 15, "request"), tagged, 0, len(tagged))
    assert read.ending is Ending.WHOLE
    assert read.end == len(tagged)
    assert read.message["cluster_id"] == "abc"


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(b"\x7f\xff\xff\xff", id="2^31-1"),
        pytest.param(b"\x80\x00\x00\x00", id="-2^31"),
        pytest.param(b"\xff\xff\xff\xfe", id="-2"),
        pytest.param(b"\x00\x10\x00\x00", id="more than the message's bytes"),
    ],
)
def test_hostile_counts_are_malformed(count: bytes) -> None:
    body = count + bytes(40)
    for api_key in (3, 20, 32):  # Metadata, DeleteTopics, DescribeConfigs begin with an array
        read = walk(layout(api_key, 1, "request"), body, 0, len(body))
        assert read.ending is Ending.MALFORMED
        assert not any(read.message.values())


@pytest.mark.parametrize(
    "varint",
    [
        pytest.param(b"\xff" * 40, id="without an end"),
        pytest.param(b"\xff\xff\xff\xff\x7f", id="2^35-1"),
        pytest.param(b"\x80\x80\x80\x80\x08", id="2^31"),
    ],
)
def test_hostile_varints_are_malformed(varint: bytes) -> None:
    body = varint + bytes(40)
    for api_key, version in ((3, 9), (0, 9), (36, 2), (12, 4)):
        assert walk(layout(api_key, version, "request"), body, 0, len(body)).ending is Ending.MALFORMED


def test_a_tag_longer_than_the_message_is_malformed() -> None:
    body = encoded(12, 4, "request", {})[:-1] + uvarint(1) + uvarint(9) + uvarint(1_000)
    assert walk(layout(12, 4, "request"), body, 0, len(body)).ending is Ending.MALFORMED


def test_at_most_so_many_elements_are_made_and_soon() -> None:
    body = encoded(3, 1, "request", {"topics": [{"name": ""}] * (MAX_ELEMENTS + 10)})
    read = walk(layout(3, 1, "request"), body, 0, len(body))
    assert lines_run(lambda: walk(layout(3, 1, "request"), body, 0, len(body))) < 60 * MAX_ELEMENTS
    assert read.ending is Ending.FULL
    assert len(read.message["topics"]) == MAX_ELEMENTS


def test_the_bound_holds_for_a_count_that_a_long_message_could_hold() -> None:
    body = b"\x05\x00\x00\x00" + bytes(2_000)
    read = walk(layout(3, 1, "request"), body, 0, 2**30)
    assert read.ending is Ending.CUT
    assert len(read.message["topics"]) <= 1_000


def test_wanted_fields_are_found_also_where_they_are_cut() -> None:
    body = encoded(36, 1, "request", {"auth_bytes": b"secret"})
    for size in range(4, len(body) + 1):
        read = walk(layout(36, 1, "request"), body[:size], 0, len(body), wanted=("auth_bytes",))
        assert read.found == [(4, 10)]


@given(st.binary(min_size=16, max_size=16))
def test_uuid_text_is_that_of_kafka_and_turns_back(raw: bytes) -> None:
    assert len(uuid_text(raw)) == 22
    assert uuid_bytes(uuid_text(raw)) == raw


def test_uuid_text_of_the_metadata_topic() -> None:
    assert uuid_text(bytes(15) + b"\1") == "AAAAAAAAAAAAAAAAAAAAAQ"


@given(
    st.sampled_from([(each.api_key, each.version, each.direction) for each in golden()]),
    st.binary(max_size=200),
    st.integers(0, 2**31),
)
def test_any_bytes_are_read_without_an_error(kind: tuple[int, int, table.Direction], data: bytes, more: int) -> None:
    read = walk(layout(*kind), data, 0, len(data) + more, ((len(data) + 10, data),), ("name", "records"))
    assert read.end <= len(data) + more + 10 or read.ending is Ending.MALFORMED


@given(st.sampled_from(golden()), st.data())
def test_mutated_messages_are_read_without_an_error(message: Golden, data: st.DataObject) -> None:
    body = bytearray(message.body)
    for _ in range(data.draw(st.integers(0, 4))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    walk(message.layout, bytes(body), 0, len(body))
