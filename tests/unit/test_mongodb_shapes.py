"""Query shapes: the same for the same query, whatever its values and whoever sends it."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import example, given

from probes.protocols.mongodb import shapes
from probes.protocols.mongodb.shapes import MAX_TEXT, shape_of
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    LSID,
    command,
    compressed,
    head,
    kind0,
    kind1,
    message,
    op_msg,
    op_query,
    record_of,
    request_of,
)
from tests.unit.test_mongodb_hostile import DOCUMENTS, FIRSTS, HOSTILE, MESSAGES, VALUES
from tests.unit.test_mongodb_requests import CASES

SESSION = {"lsid": LSID, "$clusterTime": CLUSTER_TIME, "$db": "shop"}


def shape(document: dict[str, Any]) -> str:
    return request_of(command({**document, "$db": "shop"})).shape


def filtered(filter: dict[str, Any]) -> str:
    text = shape({"find": "orders", "filter": filter})
    assert text.startswith("find orders")
    return text.removeprefix("find orders").strip()


def test_values_are_named_by_their_type() -> None:
    values = {
        "a": "x",
        "b": ObjectId(),
        "c": DatetimeMS(1),
        "d": True,
        "e": None,
        "f": Binary(b"x"),
        "g": Regex("x"),
        "h": Timestamp(1, 2),
        "i": MinKey(),
        "j": MaxKey(),
        "k": Code("f()"),
        "l": Code("f()", {"x": 1}),
    }
    assert filtered(values) == (
        "{a: str, b: oid, c: date, d: bool, e: null, f: bin, g: regex, h: ts, i: min, j: max, k: code, l: code}"
    )
    for number in (1, Int64(1), 1.0, Decimal128("1")):
        assert filtered({"n": number}) == "{n: num}"


def test_arrays_are_folded() -> None:
    assert filtered({"a": {"$in": [1, 2.5, Int64(3)]}}) == "{a: {$in: [num]}}"
    assert filtered({"a": {"$in": ["x", 1, "y"]}}) == filtered({"a": {"$in": [1, "x"]}}) == "{a: {$in: [num, str]}}"
    assert filtered({"a": []}) == "{a: []}"
    assert filtered({"$or": [{"a": 1}, {"b": 2}, {"a": 3}]}) == "{$or: [{a: num}, {b: num}]}"


def test_the_order_of_keys_counts_only_where_it_means_something() -> None:
    assert filtered({"b": {"$lt": 1, "$gt": 0}, "a": 1}) == filtered({"a": 1, "b": {"$gt": 0, "$lt": 1}})
    by_a, by_b = ({"find": "orders", "sort": sort} for sort in ({"a": 1, "b": 1}, {"b": 1, "a": 1}))
    assert (shape(by_a), shape(by_b)) == ("find orders sort {a: num, b: num}", "find orders sort {b: num, a: num}")


def test_a_pipeline_keeps_its_stages() -> None:
    pipeline = [
        {"$match": {"status": "new"}},
        {"$lookup": {"from": "x", "pipeline": [{"$match": {}}, {"$match": {}}], "as": "y"}},
        {"$sort": {"b": 1, "a": -1}},
        {"$match": {"status": "x"}},
    ]
    assert shape({"aggregate": "orders", "pipeline": pipeline, "cursor": {"batchSize": 5}}) == (
        "aggregate orders [{$match: {status: str}}, {$lookup: {as: str, from: str, pipeline: "
        "[{$match: {}}, {$match: {}}]}}, {$sort: {b: num, a: num}}, {$match: {status: str}}]"
    )
    assert (
        shape({"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}) == "aggregate [{$changeStream: {}}]"
    )


UPDATE = {"q": {"_id": 1}, "u": {"$set": {"n": 2}}, "multi": False, "upsert": False}
WRITES: dict[str, tuple[bytes, ...]] = {
    "insert orders {_id: num, text: str}": (
        op_msg(kind0({"insert": "orders", **SESSION}), kind1("documents", [{"_id": 1, "text": "x"}])),
        op_msg(
            kind0({"insert": "orders", "$db": "s"}), kind1("documents", [{"_id": 2.0, "text": "x" * 300}, {"b": 1}])
        ),
        op_msg(kind1("documents", [{"text": "x", "_id": 1}]), kind0({"insert": "orders", "$db": "shop"})),
        command({"insert": "orders", "documents": [{"_id": 1, "text": "x"}], "ordered": True, **SESSION}, flags=2),
        message(2002, bytes(4) + b"shop.orders\0" + bson.encode({"_id": 7, "text": ""})),
    ),
    "update orders {_id: num} u {$set: {n: num}}": (
        op_msg(kind0({"update": "orders", **SESSION}), kind1("updates", [UPDATE, UPDATE])),
        command({"update": "orders", "updates": [UPDATE], "ordered": True, "$db": "shop"}),
        message(
            2001, bytes(4) + b"shop.orders\0" + bytes(4) + bson.encode({"_id": 7}) + bson.encode({"$set": {"n": 1}})
        ),
    ),
    "delete orders {a: {$gt: num}}": (
        op_msg(kind0({"delete": "orders", **SESSION}), kind1("deletes", [{"q": {"a": {"$gt": 1}}, "limit": 1}])),
        command({"delete": "orders", "deletes": [{"q": {"a": {"$gt": 1}}, "limit": 0}], "$db": "shop"}),
        message(2006, bytes(4) + b"shop.orders\0" + bytes(4) + bson.encode({"a": {"$gt": 1}})),
    ),
    "find orders {a: num} sort {b: num}": (
        command({"find": "orders", "filter": {"a": 1}, "sort": {"b": 1}, "limit": 1, "singleBatch": True, **SESSION}),
        command({"find": "orders", "sort": {"b": -1.0}, "filter": {"a": Int64(5)}, "$db": "shop", "lsid": LSID}),
        compressed(command({"find": "orders", "filter": {"a": 5}, "sort": {"b": 1}, "projection": {}, **SESSION}), 2),
        op_query(
            "shop.$cmd", {"$query": {"find": "orders", "filter": {"a": 1}, "sort": {"b": 1}}, "$readPreference": {}}
        ),
    ),
    "query orders {a: num} $orderby {b: num}": (
        op_query("shop.orders", {"$query": {"a": 1}, "$orderby": {"b": 1}}),
        op_query("shop.orders", {"$orderby": {"b": 1.5}, "$query": {"a": 1}, "$comment": "x"}),
    ),
    "getMore orders": (
        command({"getMore": Int64(1), "collection": "orders", "batchSize": 5, **SESSION}),
        command({"getMore": Int64(77), "collection": "orders", "maxTimeMS": 5, "$db": "other"}),
        message(2005, bytes(4) + b"shop.orders\0" + bytes(12)),
    ),
    "findAndModify orders {a: num} update {$inc: {n: num}} fields {n: num}": (
        command(
            {"findAndModify": "orders", "query": {"a": 1}, "fields": {"n": 1}, "update": {"$inc": {"n": 1}}, **SESSION}
        ),
    ),
    "count orders {a: str}": (
        command({"count": "orders", "query": {"a": "x"}, "$db": "shop"}),
        message(2010, b"shop\0count\0" + bson.encode({}) + bson.encode({"count": "orders", "query": {"a": "yy"}})),
    ),
    "explain find orders {a: num}": (
        command({"explain": {"find": "orders", "filter": {"a": 1}}, "verbosity": "queryPlanner", "$db": "shop"}),
    ),
    "hello": (command({"hello": 1, "client": {"driver": {"name": "x"}}, "$db": "admin"}),),
}


@pytest.mark.parametrize("text", WRITES)
def test_every_way_to_send_it_has_one_shape(text: str) -> None:
    for data in WRITES[text]:
        assert shape_of(data) == text
        request = request_of(data)
        assert record_of(request)["shape"] == request.shape == text


def test_a_cut_request_tells_how_far_it_was_seen() -> None:
    data = op_msg(
        kind0({"insert": "orders", **SESSION}), kind1("documents", [{"_id": 1, "text": "x" * 300, "z": 1}] * 9)
    )
    assert request_of(head(data, 300)).shape == "insert orders {_id: num, text: str, …}"
    assert request_of(head(data, 700)).shape == "insert orders {_id: num, text: str, z: num}"
    find = command({"find": "orders", "filter": {"a": "x" * 900, "b": 1}, "$db": "shop"})
    assert request_of(head(find, 200)).shape == "find orders {a: str, …}"
    node = command({"insert": "orders", "documents": [{"_id": 1, "text": "x", "z": 1}] * 90, **SESSION})
    assert request_of(head(node, 300)).shape == "insert orders {_id: num, text: str, z: num}"
    for cut in range(60, len(data), 7):
        text = shape_of(data[:cut])
        assert text.startswith("insert orders")
        assert "…" in text or "z: num" in text


def test_what_is_not_kept_has_no_shape() -> None:
    for data in (b"", bytes(16), command({"find": "orders"})[:16], HOSTILE["zeros"], HOSTILE["2^31 documents"]):
        assert shape_of(data) == ""
    many = request_of(command({"find": "c", "filter": {f"key{n}": 1 for n in range(400)}, "$db": "d"})).shape
    assert len(many) == MAX_TEXT
    assert many.endswith("…")


@pytest.mark.parametrize("case", CASES)
def test_every_request_has_one(case: str) -> None:
    request = request_of(CASES[case][0])
    known = case not in ("opcode 1000", "opcode 2003")
    assert bool(request.shape) == known


@given(FIRSTS, VALUES, DOCUMENTS, DOCUMENTS, DOCUMENTS)
@example("find", "orders", {"lsid": {"id": Binary(bytes(16), 4), "x": 1}}, {"lsid": LSID}, {"": 0})
def test_the_quick_way_says_what_the_slow_one_says(
    name: str, value: Any, filter: dict[str, Any], document: dict[str, Any], more: dict[str, Any]
) -> None:
    body = {name: value, "filter": filter, **{key: item for key, item in more.items() if key != name}, "lsid": LSID}
    for data in (op_msg(kind0(body)), op_msg(kind0(body), kind1("documents", [document, {}]))):
        for _ in range(2):
            assert shape_of(data) == shapes._read(data)


def test_what_is_remembered_is_bounded() -> None:
    for n in range(9000):
        shape_of(command({"find": f"c{n}", "filter": {"a": 1}, "$db": "shop"}))
    assert len(shapes._known) <= 4096


@pytest.mark.parametrize("data", MESSAGES + list(HOSTILE.values()))
def test_any_message_has_a_text(data: bytes) -> None:
    for cut in range(0, len(data), 1 + len(data) // 50):
        assert len(shape_of(data[:cut])) <= MAX_TEXT
