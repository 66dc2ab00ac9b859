"""What tshark says beside what a record says: each fact that differs is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agreement import dissected
from tests.agreement.tshark import Message, Node, packets

CLIENT = "127.0.0.1:5"


def element(name: str, kind: int, inside: tuple[str, Any]) -> Node:
    return (("mongo.element.name", name), ("mongo.element.name_tree", (("mongo.element.type", hex(kind)), inside)))


def text(name: str, value: str) -> Node:
    return element(name, 0x02, ("mongo.element.value.string", value))


def number(name: str, value: int) -> Node:
    return element(name, 0x10, ("mongo.element.value.int", str(value)))


def document(name: str, *elements: Node, kind: int = 0x03) -> Node:
    return element(name, kind, ("mongo.document", body(*elements)))


def body(*elements: Node) -> Node:
    return (("mongo.document.length", "0"), ("mongo.elements", sum(elements, ())))


def op_msg(id: int, to: int, *elements: Node) -> Node:
    section = (("mongo.msg.sections.section.kind", "0"), ("mongo.msg.sections.section.body", body(*elements)))
    return (
        ("mongo.message_length", "90"),
        ("mongo.request_id", hex(id)),
        ("mongo.response_to", hex(to)),
        ("mongo.opcode", "2013"),
        ("mongo.msg.flags_tree", (("mongo.msg.flags.moretocome", "0"),)),
        ("mongo.msg.sections.section", section),
    )


FIND = Message(CLIENT, True, op_msg(0xFFFFFFFF, 0, text("find", "orders"), text("$db", "shop")))
BATCH = document("firstBatch", *(document(str(each)) for each in range(3)), kind=0x04)
FOUND = Message(CLIENT, False, op_msg(9, 0xFFFFFFFF, document("cursor", BATCH, number("id", 7)), number("ok", 1)))
FIND_RECORD = {
    "client": CLIENT,
    "operation": "find",
    "target": "shop.orders",
    "status": "ok",
    "request_id": -1,
    "request_bytes": 90,
    "response_id": 9,
    "response_bytes": 90,
    "truncated": False,
    "mongodb": {
        "opcode": 2013,
        "response_opcode": 2013,
        "database": "shop",
        "nreturned": 3,
        "cursor_id": "7",
        "request_flags": [],
        "response_flags": [],
    },
}

FETCHED_PART: Node = (("kafka.partition_id", "2"), ("kafka.error", "6"), ("kafka.offset", "41"))
FETCH = Message(
    CLIENT,
    True,
    (
        ("kafka.len", "86"),
        ("kafka.request_key", "1"),
        ("kafka.request.version", "11"),
        ("kafka.correlation_id", "4"),
        ("kafka.client_id", "app"),
        ("Topic", (("kafka.topic_name", "orders"), ("Partition", (("kafka.partition_id", "2"),)))),
    ),
)
FETCHED = Message(
    CLIENT,
    False,
    (
        ("kafka.len", "86"),
        ("kafka.correlation_id", "4"),
        ("kafka.response_key", "1"),
        ("kafka.throttle_time", "30"),
        ("kafka.error", "0"),
        ("Topic", (("kafka.topic_name", "orders"), ("Partition", FETCHED_PART))),
    ),
)
FETCH_RECORD = {
    "client": CLIENT,
    "operation": "Fetch",
    "targets": ["orders"],
    "status": "error",
    "error_code": 6,
    "request_id": 4,
    "request_bytes": 90,
    "response_id": 4,
    "response_bytes": 90,
    "truncated": False,
    "kafka": {
        "api_key": 1,
        "api_version": 11,
        "client_id": "app",
        "throttle_ms": 30,
        "partitions": [{"topic": "orders", "partition": 2, "error_code": 6, "high_watermark": 41}],
    },
}


def changed(record: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """The record with other facts, wherever they stand in it."""
    deeper = {
        name: changed(each, **facts) if isinstance(each, dict) else each
        for name, each in record.items()
        if name not in facts
    }
    return deeper | {name: value for name, value in facts.items() if name in record}


def test_what_is_the_same_agrees() -> None:
    for agreement in (
        dissected.mongodb([FIND, FOUND], [FIND_RECORD]),
        dissected.kafka([FETCH, FETCHED], [FETCH_RECORD]),
    ):
        assert agreement.agrees, agreement.table("tshark")
        assert agreement.requests.total() == 1
        assert not agreement.left_out


@pytest.mark.parametrize(
    "facts",
    [
        {"operation": "count"},
        {"target": "shop"},
        {"database": "other"},
        {"status": "error"},
        {"error_code": 3, "status": "ok", "request_bytes": 91},
        {"response_bytes": 91},
        {"opcode": 2004},
        {"response_flags": ["moreToCome"]},
        {"nreturned": 2},
        {"cursor_id": "8"},
        {"response_id": 10},
        {"request_id": 1},
    ],
)
def test_differences_of_mongodb_are_found(facts: dict[str, Any]) -> None:
    assert not dissected.mongodb([FIND, FOUND], [changed(FIND_RECORD, **facts)]).agrees


def test_a_cursor_that_is_exhausted_is_one_of_the_facts() -> None:
    exhausted = FOUND._replace(node=op_msg(9, 0xFFFFFFFF, document("cursor", BATCH, number("id", 0)), number("ok", 1)))
    for id, cut, agrees in (("0", False, True), ("7", False, False), ("7", True, True)):
        record = changed(FIND_RECORD, cursor_id=id, truncated=cut)
        assert dissected.mongodb([FIND, exhausted], [record]).agrees is agrees


@pytest.mark.parametrize(
    "facts",
    [
        {"api_version": 12},
        {"client_id": "other"},
        {"targets": ["other"]},
        {"error_code": 0},
        {"status": "ok"},
        {"throttle_ms": 0},
        {"response_bytes": 91},
        {"partitions": []},
        {"partitions": [{"topic": "orders", "partition": 2, "error_code": 6, "high_watermark": 40}]},
        {"partitions": [{"topic": "orders", "partition": 2, "error_code": 0, "high_watermark": 41}]},
        {"request_id": 1},
    ],
)
def test_differences_of_kafka_are_found(facts: dict[str, Any]) -> None:
    assert not dissected.kafka([FETCH, FETCHED], [changed(FETCH_RECORD, **facts)]).agrees


def test_what_a_cut_record_lacks_is_no_difference() -> None:
    own = {name: each for name, each in FIND_RECORD["mongodb"].items() if name != "nreturned"}  # type: ignore[attr-defined]
    cut = FIND_RECORD | {"mongodb": own}
    assert not dissected.mongodb([FIND, FOUND], [cut]).agrees
    agreement = dissected.mongodb([FIND, FOUND], [cut | {"truncated": True}])
    assert (agreement.agrees, agreement.truncated) == (True, 1)


def test_of_what_tshark_cannot_read_the_header_is_compared() -> None:
    unknown = (("kafka.request.version_tree", (("_ws.expert", (("kafka.unsupported_api_version", ""),)),)),)
    message = FETCH._replace(node=FETCH.node[:-1] + unknown)
    other = changed(FETCH_RECORD, targets=["other"], partitions=[])
    agreement = dissected.kafka([message], [other])
    assert (agreement.agrees, list(agreement.left_out.values())) == (True, [1])
    assert not dissected.kafka([message], [changed(other, api_key=0)]).agrees


def test_a_reply_to_what_was_sent_before_the_capture_has_no_record() -> None:
    agreement = dissected.mongodb([FOUND, FIND], [changed(FIND_RECORD, response_id=10)])
    assert (agreement.agrees, agreement.left_out.total()) == (True, 1)


def test_packets_are_read_one_at_a_time() -> None:
    lines = """[
  {
    "_source": {"layers": {"tcp": {"filtered": "tcp"}, "kafka": {"kafka.len": "1"}, "kafka": {"kafka.len": "2"}}}
  },
  {
    "_source": {"layers": {"kafka": {"kafka.len": "3"}}}
  }
]
""".splitlines(keepends=True)
    lengths = [[dict(node).get("kafka.len") for name, node in packet if name == "kafka"] for packet in packets(lines)]
    assert lengths == [["1", "2"], ["3"]]
