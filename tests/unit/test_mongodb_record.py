"""The record's object `mongodb`, and what only `--literals` shows."""

import json
import struct
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.son import SON
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.records import Status
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    CONNECTION,
    LSID,
    REPLY_END,
    Doc,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    maybe_reply,
    maybe_request,
    message,
    op_msg,
    op_query,
    op_reply,
    record_of,
    reply_of,
    request_of,
    session,
)
from tests.unit.test_mongodb_replies import BULK_WRITE, DUPLICATE, WRITE_ERRORS
from tests.unit.test_mongodb_replies import CASES as REPLIES
from tests.unit.test_mongodb_requests import CASES as REQUESTS

INSERT = op_msg(kind0({"insert": "orders", "lsid": LSID, "$db": "shop"}), kind1("documents", [{"_id": 1}, {"_id": 2}]))
FIND = command({"find": "orders", "filter": {"email": "x"}, "$clusterTime": CLUSTER_TIME, "$db": "shop"})
CURSOR = {"cursor": {"firstBatch": [{"_id": 1}, {"_id": 2}], "id": Int64(2**63 - 1), "ns": "shop.orders"}, **REPLY_END}


def exchange(asked: bytes, answered: bytes) -> tuple[MongoRequest, MongoReply]:
    request = request_of(asked)
    return request, reply_of(answered, request)


def test_a_failed_insert() -> None:
    request, reply = exchange(INSERT, answer({"n": 0, "writeErrors": WRITE_ERRORS, **REPLY_END}, flags=1))
    assert record_of(request, reply) == {
        "opcode": 2013,
        "opcode_name": "OP_MSG",
        "response_opcode": 2013,
        "database": "shop",
        "collection": "orders",
        "shape": "insert orders {_id: num}",
        "n": 0,
        "session": "000102030405060708090a0b0c0d0e0f",
        "request_flags": [],
        "response_flags": ["checksumPresent"],
        "errors": [
            {"index": 3, "code": 11000, "name": "DuplicateKey"},
            {"index": 5, "code": 121, "name": "DocumentValidationFailure"},
        ],
        "error": "E11000 duplicate key error collection: shop.orders index: email_1 dup key: ?",
    }
    assert record_of(request, reply, literals=True)["error"] == DUPLICATE


def test_a_find() -> None:
    request, reply = exchange(FIND, answer(CURSOR))
    record = record_of(request, reply)
    assert (record["nreturned"], record["cursor_id"]) == (2, str(2**63 - 1))
    assert "error" not in record
    assert "errors" not in record
    assert "n" not in record
    assert "request" not in record
    json.dumps(record)


def test_a_get_more_tells_the_cursor_of_its_reply_else_the_one_it_asked_for() -> None:
    get_more = command({"getMore": Int64(77), "collection": "orders", "$db": "shop"})
    for id in (77, 0):
        cursor = {"nextBatch": [{}], "id": Int64(id), "ns": "shop.orders"}
        request, reply = exchange(get_more, answer({"cursor": cursor, "ok": 1.0}))
        record = record_of(request, reply)
        assert (record["cursor_id"], record["nreturned"]) == (str(id), 1)
    assert record_of(request)["cursor_id"] == "77"
    assert record_of(*exchange(get_more, answer({"ok": 0.0, "code": 43})))["cursor_id"] == "77"


def test_only_a_reply_that_has_a_cursor_tells_that_one_is_exhausted() -> None:
    ask = message(2005, bytes(4) + b"shop.orders\0" + bytes(4) + (77).to_bytes(8, "little"))
    assert record_of(*exchange(ask, op_reply({})))["cursor_id"] == "0"
    assert record_of(*exchange(ask, op_reply(flags=1)))["cursor_id"] == "77"  # it was not found
    assert "cursor_id" not in record_of(*exchange(op_query("shop.$cmd", {"ping": 1}), op_reply({"ok": 1.0})))
    assert "cursor_id" not in record_of(*exchange(op_query("shop.orders", {}), op_reply({"$err": "no"}, flags=2)))


def test_the_batch_of_a_cut_reply() -> None:
    data = answer({"cursor": {"firstBatch": [{"_id": n} for n in range(50)], "id": Int64(5), "ns": "a.b"}, "ok": 1.0})
    request = request_of(FIND)
    for cut in range(80, 800, 31):
        record = record_of(request, reply_of(head(data, cut), request))
        assert "nreturned" not in record
        assert 0 <= record["nreturned_at_least"] < 50
        assert "cursor_id" not in record
    assert record_of(request, reply_of(head(data, 700, tail=120), request))["cursor_id"] == "5"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LAST_ONES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    TEXTS.filter(lambda key: "\0" not in key), TEXTS | st.lists(st.just({})), max_size=3
)


@given(st.integers(30, 130), st.lists(LAST_ONES, max_size=3), st.integers(100, 700), st.sampled_from([{}, {"x": 1}]))
def test_the_batch_of_a_reply_whose_end_is_seen(count: int, last: list[Any], tail: int, more: dict[str, Any]) -> None:
    """The key of the last document tells how many there are, where that document is in the tail as a whole."""
    batch = [{"_id": n, "text": "x" * 20} for n in range(count)] + last
    data = answer({"cursor": {"nextBatch": batch, "id": Int64(5), "ns": "a.b"} | more, "ok": 1.0})
    request = request_of(command({"getMore": Int64(5), "collection": "b", "$db": "a"}))
    for asked in (request, replace(request, plain=False)):
        record = record_of(asked, reply_of(head(data, 300, tail=tail), asked))
        end = bson.encode({"a": batch[-1]})
        if len(end) + 90 < tail:
            assert record["nreturned"] == len(batch)
        else:
            assert record.get("nreturned", len(batch)) == len(batch)


def test_of_two_ends_of_a_batch_neither_is_taken() -> None:
    """Bytes that read as the last document of a longer batch, and end just where it ends."""
    size = 60
    fake = b"\x03999\0" + struct.pack("<i", size)
    document = {"_id": 1, "blob": fake.ljust(size + 4, b"x")}
    data = answer({"cursor": {"firstBatch": [{"_id": n} for n in range(90)] + [document], "id": Int64(0)}, "ok": 1.0})
    place = data.index(fake)
    batch_end = data.index(b"\x12id\0") - 1
    data = data.replace(fake, b"\x03999\0" + struct.pack("<i", batch_end - place - 5))
    record = record_of(request_of(FIND), reply_of(head(data, 300, tail=300), request_of(FIND)))
    assert "nreturned" not in record
    assert record["nreturned_at_least"] < 90


def test_what_find_and_modify_changed() -> None:
    request = request_of(command({"findAndModify": "orders", "$db": "shop"}))
    reply = reply_of(answer({"lastErrorObject": {"n": 1, "updatedExisting": True}, "value": {}, "ok": 1.0}), request)
    assert record_of(request, reply)["n"] == 1


def test_write_concern_and_bulk_write_errors() -> None:
    concern = {"code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out"}
    request, reply = exchange(INSERT, answer({"n": 2, "writeConcernError": concern, "ok": 1.0}))
    assert record_of(request, reply)["errors"] == [{"code": 64, "name": "WriteConcernTimeout", "write_concern": True}]
    reply = reply_of(REPLIES["bulkWrite"][0], BULK_WRITE)
    assert record_of(BULK_WRITE, reply)["errors"] == [{"index": 1, "code": 11000, "name": "DuplicateKey"}]


def test_legacy_opcodes() -> None:
    request, reply = exchange(op_query("shop.orders", {"a": 1}, flags=4 | 32), op_reply({}, {}, cursor_id=9, flags=8))
    record = record_of(request, reply, literals=True)
    assert record == {
        "opcode": 2004,
        "opcode_name": "OP_QUERY",
        "response_opcode": 1,
        "database": "shop",
        "collection": "orders",
        "shape": "query orders {a: num}",
        "nreturned": 2,
        "cursor_id": "9",
        "request_flags": ["secondaryOk", "awaitData"],
        "response_flags": ["awaitCapable"],
        "request": {"query": {"a": 1}},
        "response": {"documents": [{}, {}]},
    }
    names = {record_of(request_of(data))["opcode_name"] for data, *_ in REQUESTS.values()}
    assert len(names) == 10  # all but the two of replies and OP_COMPRESSED
    flags = {case: record_of(request_of(REQUESTS[case][0]))["request_flags"] for case in REQUESTS}
    assert flags["OP_INSERT"] == ["continueOnError"]
    assert flags["OP_UPDATE"] == ["upsert", "multiUpdate"]
    assert flags["OP_DELETE"] == ["singleRemove"]
    assert flags["moreToCome"] == ["moreToCome"]
    assert flags["exhaustAllowed"] == ["exhaustAllowed"]
    assert flags["a flag that may be ignored"] == ["bit 20"]


def test_the_client_is_named() -> None:
    protocol = MongoDB()
    memory = protocol.memory(CONNECTION)
    client = {"application": {"name": "billing"}, "driver": {"name": "nodejs", "version": "6.3.0"}}
    request_of(command({"hello": 1, "client": client, "$db": "admin"}), protocol, memory)
    record = record_of(request_of(FIND, protocol, memory))
    assert (record["app_name"], record["driver"]) == ("billing", "nodejs 6.3.0")
    nameless = protocol.memory(CONNECTION)
    request_of(command({"hello": 1, "client": {"driver": {"name": "x"}}, "$db": "admin"}), protocol, nameless)
    record = record_of(request_of(FIND, protocol, nameless))
    assert "app_name" not in record
    assert record["driver"] == "x"


def test_exhaust() -> None:
    request = request_of(command({"hello": 1, "maxAwaitTimeMS": 5, "$db": "admin"}, flags=1 << 16))
    first = reply_of(answer({"ok": 1.0}, flags=2), request)
    assert record_of(request, first)["exhaust"] is True
    # The next reply answers the first one: pairing hands on the request under that id.
    continued = replace(request, id=first.id or 0)
    assert record_of(continued, reply_of(answer({"ok": 1.0}, to=first.id or 0), continued))["exhaust"] is True
    assert record_of(continued)["exhaust"] is True
    assert "exhaust" not in record_of(request, reply_of(answer({"ok": 1.0}), request))


class TestLiterals:
    VALUES = SON(
        [
            ("text", "ü\x1b[0m"),
            ("int", 5),
            ("long", Int64(2**60)),
            ("double", 1.5),
            ("nan", float("nan")),
            ("decimal", Decimal128("1.10")),
            ("oid", ObjectId("0123456789abcdef01234567")),
            ("date", bson.DatetimeMS(10**17)),
            ("binary", Binary(b"\0\1", 4)),
            ("regex", Regex("a.*", "i")),
            ("code", Code("f()", {"x": 1})),
            ("ref", DBRef("c", 1, "d")),
            ("timestamp", Timestamp(1, 2)),
            ("max", MaxKey()),
            ("none", None),
            ("array", [1, [2, {"a": True}]]),
        ]
    )

    def test_every_type(self) -> None:
        request, reply = exchange(
            op_msg(kind0({"insert": "orders", "$db": "shop"}), kind1("documents", [self.VALUES, {"_id": 2}])),
            answer({"n": 2, "value": self.VALUES, "ok": 1.0}),
        )
        record = record_of(request, reply, literals=True)
        assert record["request"]["insert"] == "orders"
        assert [list(document) for document in record["request"]["documents"]] == [list(self.VALUES), ["_id"]]
        assert record["response"]["value"]["oid"] == {"$oid": "0123456789abcdef01234567"}
        assert record["response"]["value"]["array"] == [1, [2, {"a": True}]]
        assert "request_cut" not in record
        assert "response_cut" not in record
        json.dumps(record, allow_nan=False)

    def test_cut_at_every_length(self) -> None:
        asked = op_msg(kind0({"insert": "c", "x": self.VALUES, "$db": "d"}), kind1("documents", [self.VALUES] * 3))
        answered = answer({"n": 2, "value": self.VALUES, "ok": 1.0})
        request, reply = exchange(asked, answered)
        whole = record_of(request, reply, literals=True)
        for cut in range(21, len(asked)):
            cut_request = maybe_request(head(asked, cut))
            if cut_request is not None:
                record = record_of(cut_request, literals=True)
                assert part_of(record.get("request", {}), whole["request"])
                assert record.get("request_cut", "request" not in record) is True
        for cut in range(21, len(answered) - 1):
            cut_reply = maybe_reply(head(answered, cut), request)
            if cut_reply is not None:
                record = record_of(request, cut_reply, literals=True)
                assert part_of(record.get("response", {}), whole["response"])
                assert record.get("response_cut", "response" not in record) is True

    @pytest.mark.parametrize("case", REQUESTS)
    def test_every_request_shows_its_content(self, case: str) -> None:
        record = record_of(request_of(REQUESTS[case][0]), literals=True)
        json.dumps(record, allow_nan=False)
        if case in ("opcode 1000", "opcode 2003"):
            assert "request" not in record
        else:
            assert record["request"]

    def test_legacy_requests(self) -> None:
        def shown(case: str) -> Any:
            return record_of(request_of(REQUESTS[case][0]), literals=True)["request"]

        assert shown("OP_INSERT") == {"documents": [{"_id": 1}]}
        assert shown("OP_UPDATE") == {"selector": {"a": 1}, "update": {"b": 1}}
        assert shown("OP_DELETE") == {"selector": {"a": 1}}
        assert shown("OP_GET_MORE") == {"number_to_return": 100, "cursor_id": "77"}
        assert shown("OP_KILL_CURSORS") == {"cursor_ids": ["77", "78"]}
        assert shown("OP_QUERY") == {"query": {"a": 1}, "fields": {"b": 1}}
        assert shown("OP_QUERY command") == {"count": "orders", "query": {}}

    def test_deep_documents(self) -> None:
        def nest(depth: int) -> bytes:
            document = bson.encode({})
            for _ in range(depth):
                inner = b"\x03a\0" + document + b"\0"
                document = struct.pack("<i", len(inner) + 4) + inner
            return document

        for depth in (10, 100, 500, 1500, 5000):
            fields = b"\x02find\0\x02\0\0\0c\0\x03f\0" + nest(depth) + b"\x02$db\0\x02\0\0\0d\0\0"
            request = request_of(message(2013, bytes(5) + struct.pack("<i", len(fields) + 4) + fields))
            assert request.target == "d.c"
            record = record_of(request, literals=True)
            if depth <= 100:
                assert record["request"]["f"]

    @pytest.mark.parametrize("broken", [False, True])
    def test_of_many_values_the_first(self, broken: bool) -> None:
        asked = command({"find": "c", "filter": {"n": {"$in": list(range(2_000))}}, "limit": 5, "$db": "d"})
        if broken:  # then they are read one by one
            asked = asked.replace(b"\x10limit\0", b"\x0flimit\0")
        record = record_of(request_of(asked), literals=True)
        shown = record["request"]["filter"]["n"]["$in"]
        assert shown == list(range(len(shown)))
        assert 1_000 < len(shown) < 1_024
        assert record["request_cut"] is True

    @pytest.mark.parametrize(("count", "shown", "cut"), [(128, 128, False), (129, 128, True)])
    def test_of_many_documents_the_first(self, count: int, shown: int, cut: bool) -> None:
        documents = [{"_id": number} for number in range(count)]
        asked = op_msg(kind0({"insert": "c", "$db": "d"}), kind1("documents", documents))
        record = record_of(request_of(asked), literals=True)
        assert record["request"]["documents"] == documents[:shown]
        assert record.get("request_cut", False) is cut

    def test_of_many_bytes_the_first(self) -> None:
        documents = [{"_id": number, "text": "x" * 1_000} for number in range(100)]
        asked = compressed(op_msg(kind0({"insert": "c", "$db": "d"}), kind1("documents", documents)), 2)
        record = record_of(request_of(asked), literals=True)
        assert record["request"]["documents"][:15] == documents[:15]
        assert len(record["request"]["documents"]) < 18
        assert record["request_cut"] is True

    def test_undecodable_values_are_left_out(self) -> None:
        data = command({"find": "c", "text": "abcdef", "n": 5, "$db": "d"})
        broken = data.replace(b"\x02text\0", b"\x0ftext\0")
        request = request_of(broken)
        record = record_of(request, literals=True)
        assert record["request"]["find"] == "c"
        assert record["request_cut"] is True


def part_of(part: Any, whole: Any) -> bool:
    """Whether `part` is `whole` with some of its end missing."""
    if isinstance(part, dict):
        return all(key in whole and part_of(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) <= len(whole) and all(map(part_of, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("case", REPLIES)
def test_no_field_of_a_cut_record_is_wrong(case: str) -> None:
    data, request, _ = REPLIES[case]
    whole = record_of(request, reply_of(data, request))
    for cut in range(21, len(data)):
        reply = maybe_reply(head(data, cut), request)
        if reply is None:
            continue
        record = record_of(request, reply)
        for name, value in record.items():
            if name == "nreturned_at_least":
                assert value <= whole["nreturned"]
            elif name == "errors":
                assert all(error in whole["errors"] for error in value)
            elif name == "error":
                assert reply.failure
                assert value in ("", whole["error"]) or reply.truncated
            elif value != whole[name]:
                assert reply.truncated, (cut, name)
                assert name == "response_flags"
        if record != whole and cut < len(data) - 4:
            assert reply.truncated, cut


def test_sessions_that_are_not_all_there() -> None:
    protocol = MongoDB()
    for literals in (False, True):
        assert protocol.record(session(None, None, Status.UNPARSED), literals=literals) == {}
        assert (
            protocol.record(session(request_of(FIND), None, Status.INFLIGHT), literals=literals)["database"] == "shop"
        )
        alone = protocol.record(session(None, reply_of(answer(CURSOR), None)), literals=literals)
        assert alone["nreturned"] == 2


def test_a_compressed_exchange() -> None:
    request, reply = exchange(compressed(FIND, 2), compressed(answer(CURSOR), 2))
    record = record_of(request, reply, literals=True)
    assert record["compressor"] == "zlib"
    assert (record["opcode"], record["response_opcode"]) == (2013, 2013)
    assert record["nreturned"] == 2
    assert record["request"]["filter"] == {"email": "x"}
    assert record_of(*exchange(FIND, compressed(answer(CURSOR), 2)))["compressor"] == "zlib"


FIELDS = st.sampled_from(
    [
        {"lsid": LSID},
        {"lsid": {**LSID, "uid": Binary(bytes(32))}},
        {"readConcern": {"level": "majority"}},
        {"txnNumber": Int64(3), "autocommit": False},
        {"maxTimeMS": 500},
        {"filter": {"lsid": LSID, "hint": "no option"}},
        {"comment": "x" * 200},
        {"n": 3},
        {"n": Int64(3)},
        {"lastErrorObject": {"n": 1}},
        {"writeErrors": WRITE_ERRORS},
        {"errorLabels": ["RetryableWriteError"]},
        {"ok": 1.0, "$clusterTime": CLUSTER_TIME},
        {"cursor": {"firstBatch": [{"_id": 1}, {"s": "x" * 300}], "id": Int64(7), "ns": "shop.orders"}},
        {"cursor": {"nextBatch": [], "id": Int64(0), "ns": "shop.orders"}},
        {"cursor": {"id": Int64(7), "firstBatch": [{}]}},
        {"cursor": {"firstBatch": [{}], "nextBatch": [{}, {}], "ns": "no id"}},
        {"cursor": "of another type"},
    ]
)


@given(st.lists(FIELDS, max_size=5), st.lists(FIELDS, max_size=5), st.integers(25, 800))
def test_the_short_way_tells_what_the_long_one_does(asked: list[Doc], answered: list[Doc], visible: int) -> None:
    # A message with a checksum is always read the long way.
    records = []
    for flags in (0, 1):
        body = {key: value for part in ({"find": "orders"}, *asked, {"$db": "shop"}) for key, value in part.items()}
        request = request_of(command(body, flags=flags))
        data = answer({key: value for part in answered for key, value in part.items()}, flags=flags)
        reply = maybe_reply(head(data, visible if visible < len(data) - 4 * flags else None), request)
        record = record_of(request, reply)
        records.append({name: record[name] for name in record if not name.endswith("_flags")})
    assert records[0] == records[1]
