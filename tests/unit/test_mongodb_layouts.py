"""Commands recognised by their layout are read exactly as all others are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from bson import Binary, Code, Int64, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.commands import Role
from probes.protocols.mongodb.layouts import MAX_DOCUMENT_BYTES, Layouts
from probes.records import Request
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    CONNECTION,
    LSID,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    op_msg,
    reply_of,
    request_of,
)

OTHER_LSID = {"id": Binary(bytes(range(16, 32)), 4)}
ENOUGH = 2  # messages of a kind, after which it is known


def find(value: Any, **others: Any) -> dict[str, Any]:
    return {"find": "orders", "filter": {"a": value}, "lsid": LSID, "$db": "shop"} | others


def known_after(document: Mapping[str, Any], times: int = ENOUGH) -> Layouts[str]:
    layouts: Layouts[str] = Layouts()
    for _ in range(times):
        data = command(document)
        layouts.missed(data, len(data), "known")
    return layouts


def test_one_message_makes_no_layout() -> None:
    assert known_after(find(1), times=1).find(command(find(1))) is None


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, 2),
        (Int64(1), Int64(-1)),
        (0.5, 1e300),
        ("tea", "cup"),
        (ObjectId(bytes(12)), ObjectId(b"\xff" * 12)),
        (Timestamp(1, 2), Timestamp(3, 4)),
        (Binary(b"abc", 4), Binary(b"xyz", 4)),
        ({"$gt": 5, "$lt": {"b": "x"}}, {"$gt": 6, "$lt": {"b": "y"}}),
        ([1, "two"], [3, "six"]),
        (Code("f()"), Code("g()")),
    ],
)
def test_other_values_are_known(value: Any, other: Any) -> None:
    layouts = known_after(find(value))
    assert layouts.find(command(find(other, lsid=OTHER_LSID))) == "known"


@pytest.mark.parametrize(
    "other",
    [
        find(Int64(1)),
        find(True),
        find(1, singleBatch=True),
        find(1) | {"filter": {"b": 1}},
        find(1) | {"find": "others"},
        find(1) | {"$db": "shot"},
        find(1) | {"lsid": {"id": Binary(bytes(16), 3)}},
        find(1) | {"lsid": {"jd": Binary(bytes(range(16)), 4)}},
        {"fine" if key == "find" else key: value for key, value in find(1).items()},
        {**find(1), "more": True},
    ],
)
def test_all_else_is_another_layout(other: Mapping[str, Any]) -> None:
    assert known_after(find(1)).find(command(other)) is None


def test_flags_are_part_of_a_layout() -> None:
    assert known_after(find(1)).find(command(find(1), flags=1 << 16)) is None


def test_what_has_no_fixed_place_is_compared() -> None:
    layouts = known_after(find(Regex("^a", "i")))
    assert layouts.find(command(find(Regex("^a", "i")))) == "known"
    assert layouts.find(command(find(Regex("^b", "i")))) is None


def test_a_cut_document_is_not_known() -> None:
    assert known_after(find(1)).find(command(find(1))[:-1]) is None


@pytest.mark.parametrize("document", [find("x" * MAX_DOCUMENT_BYTES), find(list(range(100)))])
def test_long_documents_have_no_layout(document: Mapping[str, Any]) -> None:
    assert known_after(document).find(command(document)) is None


def test_a_broken_document_has_no_layout() -> None:
    data = command(find("tea"))[:-1] + b"\1"
    broken = data.replace(b"\2a\0", b"\x55a\0")
    layouts: Layouts[str] = Layouts()
    for _ in range(ENOUGH):
        layouts.missed(broken, len(broken), "known")
    assert layouts.find(broken) is None


def test_two_kinds_with_the_same_beginning_are_both_known() -> None:
    layouts = known_after(find(1))
    other = command(find(1) | {"filter": {"b": 1}})
    for _ in range(100):
        if layouts.find(other) is None:
            layouts.missed(other, len(other), "other")
        assert layouts.find(command(find(2))) in ("known", None)
    assert layouts.find(other) == "other"


def test_what_never_comes_again_is_hardly_ever_learned() -> None:
    layouts: Layouts[int] = Layouts()
    for number in range(5000):
        data = command(find(1) | {"filter": {f"{number:04}": 1}})
        assert layouts.find(data) is None
        layouts.missed(data, len(data), number)
    again = [command(find(1) | {"filter": {f"{number:04}": 1}}) for number in range(5000)]
    assert sum(layouts.find(data) is not None for data in again) <= 2


def test_the_number_of_beginnings_is_bounded() -> None:
    layouts: Layouts[int] = Layouts()
    for number in range(5000):
        data = command({f"command{number:04}": 1, "$db": "shop"})
        for _ in range(ENOUGH):
            layouts.missed(data, len(data), number)
        assert layouts.find(data) == number
    first = command({"command0000": 1, "$db": "shop"})
    assert layouts.find(first) is None


# The same requests, with and without layouts.

VALUES = st.one_of(
    st.integers(-5, 5),
    st.sampled_from(["awaitData", "$changeStream", "maxTimeMS", "$mergeCursors", "system.users", "x", ""]),
    st.booleans(),
    st.floats(),
    st.none(),
    st.binary(max_size=20),
    st.builds(Int64, st.integers(0, 3)),
    st.builds(ObjectId, st.binary(min_size=12, max_size=12)),
)
KEYS = st.sampled_from(
    ["a", "b", "awaitData", "tailable", "maxTimeMS", "collection", "$db", "batchSize", "$changeStream", "writeErrors"]
)
NESTED = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=4
)
NAMES = st.sampled_from(
    ["find", "aggregate", "getMore", "insert", "ping", "hello", "saslStart", "explain", "bulkWrite", "killCursors"]
)
STAGES = st.sampled_from(
    [{"$match": {"a": 1}}, {"$changeStream": {}}, {"$mergeCursors": {}}, {"$lookup": {"from": "system.users"}}]
)


@st.composite
def commands(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(NAMES)
    first = Int64(7) if name == "getMore" else draw(st.sampled_from(["orders", "system.users", 1, 1.0]))
    document = {name: first} | draw(st.dictionaries(KEYS, NESTED, max_size=4))
    if name == "getMore":
        document = {name: first, "collection": "orders"} | document
    if name == "aggregate":
        document["pipeline"] = draw(st.lists(STAGES, max_size=2))
    return document | {"lsid": LSID, "$db": "shop"} | draw(st.sampled_from([{}, {"$clusterTime": CLUSTER_TIME}]))


def outcome(protocol: MongoDB, data: bytes, cut: int | None = None) -> Request | None:
    try:
        return protocol.request(head(data, cut), protocol.memory(CONNECTION))
    except ProtocolError:
        return None


def taught(data: bytes) -> MongoDB:
    protocol = MongoDB()
    for _ in range(ENOUGH):
        outcome(protocol, data)
    return protocol


@given(
    document=commands(),
    flags=st.sampled_from([0, 2, 1 << 16, 1, 4]),
    sequences=st.integers(0, 2),
    changes=st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 255)), max_size=3),
    words=st.lists(st.tuples(st.integers(0, 4096), st.sampled_from([b"awaitData\0", b"system.", b"storedKey\0"]))),
    cut=st.none() | st.integers(0, 200),
    compressor=st.none() | st.sampled_from([0, 2]),
)
def test_a_request_is_the_same_with_and_without_layouts(
    document: dict[str, Any],
    flags: int,
    sequences: int,
    changes: list[tuple[int, int]],
    words: list[tuple[int, bytes]],
    cut: int | None,
    compressor: int | None,
) -> None:
    parts = [kind1("documents", [{"_id": 1}]) for _ in range(sequences)]
    original = op_msg(kind0(document), *parts, flags=flags)
    changed = bytearray(original)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    for at, word in words:
        at %= len(changed)
        changed[at : at + len(word)] = word[: len(changed) - at]
    data = bytes(changed) if compressor is None else compressed(bytes(changed), compressor)
    protocol = taught(original)
    for each in (original, data):
        request = outcome(protocol, each, cut)
        assert request == outcome(MongoDB(), each, cut)
        assert request is None or request.shape == request.shape_of(request.data)


@pytest.mark.parametrize("collection", ["system.users", "oplog.rs", "oplog.$main"])
def test_values_that_matter_in_an_aggregation_are_looked_at(collection: str) -> None:
    def aggregate(source: str) -> bytes:
        return command(
            {"aggregate": "orders", "pipeline": [{"$lookup": {"from": source}}], "lsid": LSID, "$db": "shop"}
        )

    protocol = taught(aggregate("x" * len(collection)))
    for secret in (request_of(aggregate(collection), protocol), request_of(aggregate(collection))):
        assert secret.command.role is Role.SECRET


def test_a_request_by_its_layout_is_its_own() -> None:
    protocol = taught(command(find(1)))
    asked = command(find(2, lsid=OTHER_LSID), id=99)
    request = request_of(asked, protocol)
    assert (request.id, request.data, request.plain) == (99, asked, True)
    request.target = "changed"
    assert request_of(command(find(3)), protocol).target == "shop.orders"


# Replies of the usual kind

BATCH = {"firstBatch": [{"writeErrors": [1], "writeConcernError": {}}], "id": Int64(0), "ns": "shop.orders"}


@pytest.mark.parametrize(
    "end",
    [
        {"ok": 1.0},
        {"ok": 1.0, "$clusterTime": CLUSTER_TIME},
        {"n": 1, "ok": 1.0},
        {"n": 1, "nModified": 1, "ok": 1.0, "operationTime": Timestamp(1, 2)},
    ],
)
def test_a_good_reply_is_whole_and_tells_of_nothing(end: Mapping[str, Any]) -> None:
    find_request = request_of(command(find(1)))
    for document in (end, {"cursor": BATCH, **end}):
        reply = reply_of(answer(document), find_request)
        assert (reply.failure, reply.truncated, reply.data) == (None, False, answer(document))


@pytest.mark.parametrize("before", [{}, {"cursor": BATCH}, {"n": 1}])
@pytest.mark.parametrize("after", [{}, {"$clusterTime": CLUSTER_TIME}])
def test_errors_behind_ok_are_seen(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    document = {**before, "ok": 1.0, **after, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "E11000"}]}
    failure = reply_of(answer(document), request_of(command(find(1)))).failure
    assert failure is not None
    assert failure.code == 11000


def test_an_answer_that_is_not_ok_is_none_of_the_usual_kind() -> None:
    for ok in (0.0, 1.0):
        failure = reply_of(answer({"cursor": BATCH, "ok": ok, "code": 59}), request_of(command(find(1)))).failure
        assert (failure is None) == (ok == 1.0)
