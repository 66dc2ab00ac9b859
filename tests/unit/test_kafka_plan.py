"""The generated functions agree with the full walk, on whole messages and on cut ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.kafka import table
from probes.protocols.kafka.plan import plan, positions
from probes.protocols.kafka.plan_source import ReplyFacts, RequestFacts
from probes.protocols.kafka.table import Direction, Field, Layout
from probes.protocols.kafka.walk import uuid_bytes, uuid_text
from tests.effort import lines_run
from tests.unit.kafka_messages import Fields, Golden, dicts, encoded, golden

APIS = sorted(table.apis())
BODY = 8  # any offset will do


def facts(api_key: int, version: int, direction: Direction, body: bytes, *, parts: bool = False) -> Any:
    """What the plan makes of a body, the tags of a flexible header before it; or what gives `parts` too."""
    compiled = (positions if parts else plan)(api_key, version, direction)
    api = table.api(api_key)
    assert compiled is not None
    assert api is not None
    header = bytes(BODY) + (b"\0" if api.header_tags(version, direction) else b"")
    answer = compiled(header + body, BODY, ())
    return RequestFacts(*answer) if direction == "request" else ReplyFacts(*answer)


def values(layout: Layout, message: Fields, wanted: Any, path: tuple[str, ...] = ()) -> list[Any]:
    """The untagged values of the fields that `wanted(field, path)` picks, in wire order."""
    found: list[Any] = []
    for field in layout.fields:
        value = message[field.name]
        if wanted(field, path):
            found += (value or []) if field.array else [value]
        elif field.struct is not None:
            for each in (value or []) if field.array else [value]:
                if each is not None:
                    found += values(field.struct, each, wanted, (*path, field.name))
    return found


def is_topic(field: Field, path: tuple[str, ...]) -> bool:
    return field.entity == "topicName" and "forgotten_topics_data" not in path


def is_topic_id(field: Field, path: tuple[str, ...]) -> bool:
    return field.name in ("topic_id", "topic_ids") and "forgotten_topics_data" not in path


def is_group(field: Field, path: tuple[str, ...]) -> bool:
    return field.entity == "groupId" or field.name == "group_id"


def is_error(field: Field, path: tuple[str, ...]) -> bool:
    return field.name.endswith("error_code")


@pytest.mark.parametrize("api_key", APIS)
def test_requests_are_asked_for_what_the_table_says(api_key: int) -> None:
    for each in golden():
        if each.api_key != api_key or each.direction == "response":
            continue
        found = facts(*each[:3], each.body)
        topics = values(each.layout, each.fields, is_topic)
        assert not found.cut
        resources = [item for item in found.names if item not in topics]
        assert [name for name in found.names if name not in resources] == topics, each[:3]
        assert api_key in (30, 32, 33, 44) or not resources  # ACLs and configurations
        assert list(found.ids) == [uuid_bytes(id) for id in values(each.layout, each.fields, is_topic_id)]
        assert list(found.groups) == [name for name in values(each.layout, each.fields, is_group) if name]
        for name in ("acks", "max_wait_ms", "min_bytes"):
            assert getattr(found, name) == each.fields.get(name)


@pytest.mark.parametrize("api_key", APIS)
def test_replies_are_asked_for_their_first_error_and_throttling(api_key: int) -> None:
    for each in golden():
        if each.api_key == api_key and each.direction == "response":
            found = facts(*each[:3], each.body)
            codes = values(each.layout, each.fields, is_error)
            if each.fields.get("error_code"):
                codes.insert(0, each.fields["error_code"])  # the whole message's comes first, wherever it stands
            assert found.code == next(filter(None, codes), 0), each[:3]
            assert found.throttle_ms == each.fields.get("throttle_time_ms"), each[:3]
            assert not found.cut


def prefix(whole: Any, part: Any) -> bool:
    """Whether a fact of a cut message is nothing but an earlier state of the whole one's."""
    if isinstance(whole, list | tuple):
        return list(whole[: len(part)]) == list(part)
    return part in (whole, None, 0)


@pytest.mark.parametrize("api_key", APIS)
def test_cut_bodies_give_nothing_wrong_and_say_what_is_missing(api_key: int) -> None:
    latest: dict[tuple[str, bool], Golden] = {}
    for each in golden():
        if each.api_key == api_key:
            latest[each.direction, each.layout.flexible] = each
    for each in latest.values():
        whole = facts(*each[:3], each.body)
        for size in range(0, len(each.body), 1 + len(each.body) // 800):
            found = facts(*each[:3], each.body[:size])
            if found.cut:
                # An error of a part may be all that is seen of the errors, a whole message's count more.
                later = "code" if isinstance(found, ReplyFacts) else "partitions"
                if isinstance(found, RequestFacts) and found.fetch is not None:
                    assert all(part in (there, None, 0) for part, there in zip(found.fetch, whole.fetch, strict=True))
                    found = found._replace(fetch=whole.fetch)
                for name in found._fields[1:]:
                    assert name == later or prefix(getattr(whole, name), getattr(found, name)), (each[:3], size, name)
            else:
                assert found == whole, (each[:3], size)


@pytest.mark.parametrize("api_key", [0, 1, 8, 78])
def test_positions_are_what_the_full_walk_reads(api_key: int) -> None:
    for each in golden():
        if each.api_key != api_key:
            continue
        found = facts(*each[:3], each.body, parts=True)
        assert not found.cut
        topics = [topic for topic in dicts(each.fields) if partitions_of(topic)]
        assert topics, each[:3]
        assert found.parts == [dict(offsets_of(topic, each.direction)) for topic in topics], each[:3]
        keys = [topic.get("topic_id") or topic.get("topic") or topic.get("name") for topic in topics]
        assert keys == ([uuid_text(id) for id in found.ids] or found.names)


INDEXES = ("partition", "partition_index", "index")
OFFSETS: dict[Direction, tuple[str, ...]] = {
    "request": ("fetch_offset", "committed_offset"),
    "response": ("high_watermark",),
}


def offsets_of(topic: Fields, direction: Direction) -> Iterator[tuple[int, int]]:
    """Of a topic's partitions the number and the offset, but of those with an error or an end that is not known."""
    for part in partitions_of(topic):
        (index,) = (part[name] for name in INDEXES if name in part)
        offset = next((part[name] for name in OFFSETS[direction] if name in part), None)
        if not part.get("error_code") and (direction == "request" or offset is None or offset >= 0):
            yield index, -1 if offset is None else offset


@pytest.mark.parametrize("api_key", [0, 1, 8, 78])
def test_what_gives_positions_gives_the_other_facts_too(api_key: int) -> None:
    for each in golden():
        if each.api_key != api_key:
            continue
        for size in range(0, len(each.body) + 1, 1 + len(each.body) // 100):
            plain = facts(*each[:3], each.body[:size])
            found = facts(*each[:3], each.body[:size], parts=True)._replace(parts=())
            if isinstance(plain, ReplyFacts):  # it names the topics of some replies that else go without
                found = found._replace(names=plain.names, ids=plain.ids)
                # Of a partition that is cut behind its error's code the one sees that, the other nothing.
                assert found.code == plain.code or (plain.cut and not found.code)
                found = found._replace(code=plain.code)
            assert found == plain, (each[:3], size)


def test_partitions_of_one_size_are_read_at_once_and_others_alike() -> None:
    plain = [{"partition": number, "fetch_offset": number * 7} for number in range(300)]
    directory = {"replica_directory_id": bytes(15) + b"\1"}  # a tag: such elements are longer
    for version, some in ((4, {}), (12, {}), (17, {}), (17, directory)):
        mixed = [part | some if number % 3 else part for number, part in enumerate(plain)]
        key: Fields = {"topic_id": bytes(16)} if version >= 13 else {"topic": "t"}
        topics = [key | {"partitions": parts} for parts in (plain, mixed, [], plain[:1])]
        body = encoded(1, version, "request", {"topics": topics})
        found = facts(1, version, "request", body, parts=True)
        whole = {part["partition"]: part["fetch_offset"] for part in plain}
        assert found.parts == [whole, whole, {}, {0: 0}]
        assert (found.partitions, found.cut) == (601, False)
        for size in (len(body) // 4, len(body) * 2 // 3):
            cut = facts(1, version, "request", body[:size], parts=True)
            assert cut.cut
            assert all(few.items() <= all_.items() for few, all_ in zip(cut.parts, found.parts, strict=False))
            assert sum(map(len, cut.parts)) > 100


def test_hundreds_of_partitions_cost_few_steps() -> None:
    topics = [{"topic": "t", "partitions": [{"partition": number} for number in range(300)]}]
    body = encoded(1, 12, "request", {"topics": topics})
    assert lines_run(lambda: facts(1, 12, "request", body, parts=True)) < 150


def partitions_of(node: Fields) -> list[Fields]:
    """The partitions of a node that is a topic, but not of one that is forgotten."""
    for name in ("partitions", "partition_data", "partition_responses"):
        if node.get(name) and isinstance(node[name][0], dict):
            found: list[Fields] = node[name]
            return found
    return []


def test_a_cut_record_batch_at_the_end_costs_nothing() -> None:
    topics = [{"name": "t", "partition_data": [{"index": 0, "records": bytes(9_000)}]}]
    body = encoded(0, 9, "request", {"acks": -1, "topic_data": topics})
    found = facts(0, 9, "request", body[:40])
    assert (found.cut, found.names, found.partitions) == (False, ["t"], 1)
    body = encoded(0, 9, "request", {"acks": -1, "topic_data": topics * 2})
    assert facts(0, 9, "request", body[:40]).cut


def test_an_error_is_seen_as_soon_as_its_code_is_there() -> None:
    part = {"index": 0, "error_code": 19, "base_offset": -1}
    body = encoded(0, 7, "response", {"responses": [{"name": "t", "partition_responses": [part]}]})
    at = body.index(b"\0\x13") + 2
    assert [facts(0, 7, "response", body[:size]).code for size in (at - 1, at)] == [0, 19]


def test_the_whole_messages_error_comes_first_also_where_it_stands_last() -> None:
    topics = [{"name": "t", "partitions": [{"partition_index": 0, "error_code": 3}]}]
    body = encoded(9, 5, "response", {"topics": topics, "error_code": 16})
    assert facts(9, 5, "response", body).code == 16
    assert facts(9, 5, "response", encoded(9, 5, "response", {"topics": topics})).code == 3


def test_forgotten_topics_are_no_targets() -> None:
    fields = {
        "topics": [{"topic": "kept", "partitions": []}],
        "forgotten_topics_data": [{"topic": "left", "partitions": [1]}],
    }
    assert facts(1, 12, "request", encoded(1, 12, "request", fields)).names == ["kept"]


def test_of_resources_only_topics_are_targets() -> None:
    resources = [
        {"resource_type": 4, "resource_name": "1"},
        {"resource_type": 2, "resource_name": "orders"},
    ]
    assert facts(32, 4, "request", encoded(32, 4, "request", {"resources": resources})).names == ["orders"]


@given(
    st.sampled_from([(each.api_key, each.version, each.direction) for each in golden()]),
    st.binary(max_size=300),
    st.binary(max_size=30),
)
def test_any_bytes_are_answered_without_an_error(kind: tuple[int, int, Direction], data: bytes, window: bytes) -> None:
    compiled = plan(*kind)
    assert compiled is not None
    compiled(data, 0, ((len(data) + 5, window),))


@pytest.mark.parametrize("filling", [b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff"])
def test_hostile_counts_end_with_the_bytes(filling: bytes) -> None:
    data = filling * 16_384
    for each in golden():
        compiled = plan(*each[:3])
        assert compiled is not None
        assert lines_run(partial(compiled, data, 0, ())) < 2 * len(data), each[:3]
