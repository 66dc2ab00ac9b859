"""Requests: every opcode and section layout, whole and cut at every length."""

import struct
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.records import Head
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    CONNECTION,
    LSID,
    answer,
    command,
    head,
    kind0,
    kind1,
    kind2,
    maybe_request,
    message,
    op_msg,
    op_query,
    op_reply,
    record_of,
    reply_of,
    request_of,
)

SESSION = {"lsid": LSID, "$clusterTime": CLUSTER_TIME, "$db": "shop"}
NAMESPACE = b"shop.orders\0"
DOCUMENTS = [{"_id": n, "text": "x" * 40} for n in range(5)]

# What is sent, and the operation, target and whether a reply is due.
CASES: dict[str, tuple[bytes, str, str, bool]] = {
    "find": (command({"find": "orders", "filter": {"a": 1}, **SESSION}), "find", "shop.orders", True),
    "aggregate": (
        command({"aggregate": "orders", "pipeline": [], "cursor": {}, **SESSION}),
        "aggregate",
        "shop.orders",
        True,
    ),
    "aggregate 1": (command({"aggregate": 1, "pipeline": [], **SESSION}), "aggregate", "shop", True),
    "getMore": (command({"getMore": Int64(99), "collection": "orders", **SESSION}), "getMore", "shop.orders", True),
    "a double first": (command({"dbStats": 1.0, **SESSION}), "dbStats", "shop", True),
    "ping": (command({"ping": 1, "$db": "admin"}), "ping", "admin", True),
    "lower case": (command({"buildinfo": 1, "$db": "admin"}), "buildinfo", "admin", True),
    "unknown command": (command({"frobnicate": "orders", **SESSION}), "frobnicate", "shop", True),
    "explain": (command({"explain": {"find": "orders"}, **SESSION}), "explain", "shop", True),
    "createRole": (command({"createRole": "reader", **SESSION}), "createRole", "shop", True),
    "renameCollection": (
        command({"renameCollection": "shop.orders", "to": "shop.old", "$db": "admin"}),
        "renameCollection",
        "shop.orders",
        True,
    ),
    "after $db": (
        command({"find": "orders", "$db": "shop", "$readPreference": {"mode": "primary"}}),
        "find",
        "shop.orders",
        True,
    ),
    "documents in the body (Node)": (
        command({"insert": "orders", "documents": DOCUMENTS, **SESSION}),
        "insert",
        "shop.orders",
        True,
    ),
    "documents behind the body": (
        op_msg(kind0({"insert": "orders", **SESSION}), kind1("documents", DOCUMENTS)),
        "insert",
        "shop.orders",
        True,
    ),
    "documents before the body": (
        op_msg(kind1("documents", DOCUMENTS), kind0({"insert": "orders", **SESSION})),
        "insert",
        "shop.orders",
        True,
    ),
    "two sequences": (
        op_msg(
            kind0({"bulkWrite": 1, "$db": "admin"}),
            kind1("ops", [{"insert": 0, "document": {}}]),
            kind1("nsInfo", [{"ns": "shop.orders"}]),
        ),
        "bulkWrite",
        "admin",
        True,
    ),
    "checksum": (command({"find": "orders", **SESSION}, flags=1), "find", "shop.orders", True),
    "checksum and sequence": (
        op_msg(kind0({"update": "orders", **SESSION}), kind1("updates", [{"q": {}, "u": {}}]), flags=1),
        "update",
        "shop.orders",
        True,
    ),
    "moreToCome": (command({"insert": "orders", **SESSION}, flags=2), "insert", "shop.orders", False),
    "exhaustAllowed": (
        command({"getMore": Int64(5), "collection": "orders", **SESSION}, flags=1 << 16),
        "getMore",
        "shop.orders",
        True,
    ),
    "a flag that may be ignored": (command({"ping": 1, **SESSION}, flags=1 << 20), "ping", "shop", True),
    "OP_QUERY": (op_query("shop.orders", {"a": 1}, {"b": 1}), "query", "shop.orders", True),
    "OP_QUERY command": (op_query("shop.$cmd", {"count": "orders", "query": {}}), "count", "shop.orders", True),
    "OP_QUERY handshake": (op_query("admin.$cmd", {"isMaster": 1, "client": {}}), "isMaster", "admin", True),
    "OP_QUERY wrapped": (
        op_query("shop.$cmd", {"$query": {"distinct": "orders", "key": "a"}, "$readPreference": {}}),
        "distinct",
        "shop.orders",
        True,
    ),
    "OP_QUERY wrapped the other way": (
        op_query("shop.$cmd", {"$readPreference": {}, "$query": {"distinct": "orders", "key": "a"}}),
        "distinct",
        "shop.orders",
        True,
    ),
    "OP_INSERT": (
        message(2002, struct.pack("<i", 1) + NAMESPACE + bson.encode({"_id": 1})),
        "insert",
        "shop.orders",
        False,
    ),
    "OP_UPDATE": (
        message(2001, bytes(4) + NAMESPACE + struct.pack("<i", 3) + bson.encode({"a": 1}) + bson.encode({"b": 1})),
        "update",
        "shop.orders",
        False,
    ),
    "OP_DELETE": (
        message(2006, bytes(4) + NAMESPACE + struct.pack("<i", 1) + bson.encode({"a": 1})),
        "delete",
        "shop.orders",
        False,
    ),
    "OP_GET_MORE": (message(2005, bytes(4) + NAMESPACE + struct.pack("<iq", 100, 77)), "getMore", "shop.orders", True),
    "OP_KILL_CURSORS": (message(2007, bytes(4) + struct.pack("<iqq", 2, 77, 78)), "killCursors", "", False),
    "OP_COMMAND": (
        message(2010, b"shop\0count\0" + bson.encode({"count": "orders"}) + bson.encode({})),
        "count",
        "shop.orders",
        True,
    ),
    "OP_COMMAND, metadata first": (
        message(2010, b"shop\0count\0" + bson.encode({}) + bson.encode({"count": "orders"})),
        "count",
        "shop.orders",
        True,
    ),
    "opcode 1000": (message(1000, b"hello there\0"), "msg", "", True),
    "opcode 2003": (message(2003, b""), "reserved", "", False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_request(case: str) -> None:
    data, operation, target, expects_reply = CASES[case]
    request = request_of(data)
    assert (request.operation, request.target, request.expects_reply) == (operation, target, expects_reply)
    assert request.targets == ((target,) if target else ())
    assert request.id == 17
    assert request.opcode == struct.unpack_from("<i", data, 12)[0]
    assert not request.truncated
    assert not request.long_poll
    assert request.data == (data[:16] if case == "opcode 1000" else data)


@pytest.mark.parametrize("case", CASES)
def test_a_cut_request_has_no_wrong_field(case: str) -> None:
    data, operation, target, expects_reply = CASES[case]
    seen = 0
    for cut in range(len(data)):
        request = maybe_request(head(data, cut))
        if request is None:
            continue
        seen += 1
        assert request.operation == operation, cut
        assert request.expects_reply == expects_reply, cut
        assert data.startswith(request.data), cut
        if request.target != target:
            assert request.truncated, cut
            assert not request.target, cut
    assert seen or len(data) < 24


def test_the_database_is_in_the_tail_where_the_documents_come_before_it() -> None:
    data = command({"insert": "orders", "documents": DOCUMENTS * 20, **SESSION})
    for cut in range(80, 1024, 59):
        request = request_of(head(data, cut, tail=512))
        assert (request.operation, request.target) == ("insert", "shop.orders")


def test_the_tail_is_found_where_the_head_does_not_tell_the_way_to_it() -> None:
    # Two long values: where the first one ends is known, but not where the second one does.
    data = command({"findAndModify": "orders", "query": {"q": "x" * 900}, "update": {"u": "x" * 900}, **SESSION})
    request = request_of(head(data, 512, tail=512))
    assert (request.operation, request.target) == ("findAndModify", "shop.orders")
    assert request.truncated


def test_a_message_whose_head_and_tail_are_all_of_it_is_whole() -> None:
    data = command({"find": "orders", "filter": {"x": "y" * 300}, **SESSION})
    request = request_of(head(data, len(data) - 300, tail=400))
    assert not request.truncated
    assert request.data == data


class TestSequencesFirst:
    DATA = op_msg(kind1("updates", [{"q": {}, "u": {"x": "y" * 50}}] * 40), kind0({"update": "orders", **SESSION}))
    BODY_AT = 20 + len(kind1("updates", [{"q": {}, "u": {"x": "y" * 50}}] * 40))

    def test_the_sequence_says_which_command_it_is(self) -> None:
        request = request_of(head(self.DATA, 600))
        assert (request.operation, request.target, request.truncated) == ("update", "", True)
        assert request.data == self.DATA[:16]  # the body that was not seen might say anything

    def test_a_window_at_the_body_shows_the_command(self) -> None:
        request = request_of(head(self.DATA, 600, windows=[(self.BODY_AT, 250)]))
        assert (request.operation, request.target, request.truncated) == ("update", "shop.orders", False)
        body = kind0({"update": "orders", **SESSION})
        assert request.data == self.DATA[:20] + body + self.DATA[20:600]  # as it might as well have been sent

    def test_a_window_may_be_cut_too(self) -> None:
        for size in range(8, 200):
            request = request_of(head(self.DATA, 600, windows=[(self.BODY_AT, size)]))
            assert request.operation == "update"
            assert request.target in ("", "shop.orders")
            assert request.target or request.truncated

    def test_the_tail_is_a_window(self) -> None:
        request = request_of(head(self.DATA, 600, tail=512))
        assert (request.operation, request.target, request.truncated) == ("update", "shop.orders", False)
        assert request.shape == "update orders u {x: str}"
        assert record_of(request)["session"] == LSID["id"].hex()

    def test_a_sequence_of_unknown_name(self) -> None:
        data = op_msg(kind1("things", DOCUMENTS * 9), kind0({"frobnicate": 1, "$db": "shop"}))
        request = request_of(head(data, 300))
        assert (request.operation, request.truncated) == ("unknown", True)


class TestHostileValues:
    """Strings that hold what a parser looks for."""

    FAKE = "\x02$db\x00\x05\x00\x00\x00evil"

    @pytest.mark.parametrize("cut", [None, 150])
    def test_a_string_before_the_database(self, cut: int | None) -> None:
        data = command({"find": "orders", "comment": self.FAKE, "$db": "shop", "x": "y" * 200})
        assert request_of(head(data, cut)).target == "shop.orders"

    def test_a_string_after_the_database(self) -> None:
        assert request_of(command({"find": "orders", "$db": "shop", "comment": self.FAKE})).target == "shop.orders"

    def test_a_string_instead_of_the_database(self) -> None:
        assert request_of(command({"find": "orders", "comment": self.FAKE})).target == ""

    def test_a_nested_database(self) -> None:
        data = command({"insert": "orders", "documents": [{"$ref": "a", "$db": "evil"}], "$db": "shop"})
        assert request_of(data).target == "shop.orders"

    def test_a_string_in_the_tail(self) -> None:
        data = command({"insert": "orders", "documents": [{"x": "y" * 3000}], "comment": self.FAKE, **SESSION})
        assert request_of(head(data, 1024, tail=512)).target == "shop.orders"
        # Where the way to the tail is not known either, two candidates are as good as none.
        lost = command({"a": "orders", "b": "x" * 900, "c": "y" * 900, "comment": self.FAKE, **SESSION})
        assert request_of(head(lost, 512, tail=512)).target == ""

    def test_names_with_control_characters(self) -> None:
        request = request_of(command({"find": "a\x1b[31m", "$db": "\x00"}))
        assert request.target == "\x00.a\x1b[31m"

    def test_names_that_are_not_utf8(self) -> None:
        data = command({"find": "orders", "$db": "shop"}).replace(b"orders", b"\xff\xfeders")
        assert request_of(data).target == "shop.\ufffd\ufffdders"


class TestLongPolls:
    def test_a_hello_that_may_wait(self) -> None:
        topology = {"processId": ObjectId(), "counter": Int64(3)}
        data = command({"hello": 1, "topologyVersion": topology, "maxAwaitTimeMS": 10000, "$db": "admin"})
        assert request_of(data).long_poll
        assert not request_of(command({"hello": 1, "$db": "admin"})).long_poll

    @pytest.mark.parametrize(
        "opener",
        [
            {"find": "oplog", "tailable": True, "awaitData": True, "$db": "shop"},
            {"find": "oplog.rs", "tailable": True, "awaitData": True, "$db": "local"},
            {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}, "$db": "shop"},
        ],
    )
    def test_a_get_more_on_a_cursor_that_waits(self, opener: dict[str, Any]) -> None:
        protocol = MongoDB()
        get_more = command({"getMore": Int64(4321), "collection": "oplog", "$db": "shop"})
        assert not request_of(get_more, protocol).long_poll
        opened = request_of(command(opener), protocol)
        assert not opened.long_poll
        cursor = {"cursor": {"firstBatch": [], "id": Int64(4321), "ns": "shop.oplog"}, "ok": 1.0}
        reply_of(answer(cursor), opened, protocol)
        waits = request_of(get_more, protocol)
        assert waits.long_poll
        # The answer that ends the cursor ends this too: ids are used again.
        reply_of(answer({"cursor": {"nextBatch": [], "id": Int64(0), "ns": "shop.oplog"}, "ok": 1.0}), waits, protocol)
        assert not request_of(get_more, protocol).long_poll

    def test_a_get_more_with_a_time_limit(self) -> None:
        # The server refuses it on any other cursor.
        data = command({"getMore": Int64(9), "collection": "oplog", "maxTimeMS": 1000, "$db": "shop"})
        assert request_of(data).long_poll

    def test_other_cursors_do_not_wait(self) -> None:
        protocol = MongoDB()
        for opener in (
            {"find": "orders", "tailable": True, "$db": "shop"},
            {"find": "orders", "filter": {"awaitData": True}, "$db": "shop"},
            {"aggregate": "orders", "pipeline": [{"$match": {"$changeStream": 1}}], "$db": "shop"},
        ):
            opened = request_of(command(opener), protocol)
            reply_of(answer({"cursor": {"firstBatch": [], "id": Int64(5), "ns": "a.b"}, "ok": 1.0}), opened, protocol)
            assert not request_of(
                command({"getMore": Int64(5), "collection": "orders", "$db": "shop"}), protocol
            ).long_poll

    def test_legacy_tailing(self) -> None:
        protocol = MongoDB()
        opened = request_of(op_query("local.log", {}, flags=2 | 32), protocol)
        reply_of(op_reply({"a": 1}, cursor_id=66), opened, protocol)
        get_more = message(2005, bytes(4) + b"local.log\0" + struct.pack("<iq", 0, 66))
        assert request_of(get_more, protocol).long_poll
        assert not request_of(get_more).long_poll

    def test_the_cursors_remembered_are_bounded(self) -> None:
        protocol = MongoDB()
        opened = request_of(command({"find": "log", "tailable": True, "awaitData": True, "$db": "a"}), protocol)
        for id in range(1, 20_000):
            reply_of(answer({"cursor": {"firstBatch": [], "id": Int64(id), "ns": "a.log"}, "ok": 1}), opened, protocol)
        newest, oldest = (
            request_of(command({"getMore": Int64(id), "collection": "log", "$db": "a"}), protocol).long_poll
            for id in (19_999, 1)
        )
        assert newest
        assert not oldest


def test_the_names_remembered_are_bounded() -> None:
    protocol = MongoDB()
    memory = protocol.memory(CONNECTION)
    for n in range(10_000):
        request = protocol.request(head(command({"find": f"c{n}", "$db": "shop"})), memory)
        assert request.target == f"shop.c{n}"
    assert len(protocol._commands) <= 4096


def test_what_a_client_said_of_itself_goes_with_its_requests() -> None:
    protocol = MongoDB()
    memory, other = protocol.memory(CONNECTION), protocol.memory(CONNECTION)
    client: dict[str, Any] = {"application": {"name": "billing"}, "driver": {"name": "PyMongo|c", "version": "4.9"}}
    client |= {"os": {"type": "Linux", "name": "Linux", "architecture": "x86_64"}, "platform": "CPython 3.11.2"}
    hello = request_of(op_query("admin.$cmd", {"ismaster": 1, "helloOk": True, "client": client}), protocol, memory)
    assert hello.client == ("billing", "PyMongo|c 4.9", "CPython 3.11.2, Linux x86_64")
    find = command({"find": "orders", "$db": "shop"})
    assert request_of(find, protocol, memory).client == ("billing", "PyMongo|c 4.9", "CPython 3.11.2, Linux x86_64")
    assert request_of(find, protocol, other).client is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(15),
        bytes(16),
        message(2013, b""),
        message(9999, bytes(20)),
        message(2012, struct.pack("<iiB", 2012, 20, 0)),
        message(2012, struct.pack("<iiB", 2013, -1, 0)),
        op_msg(kind0({})),
        op_msg(kind0({"": "orders", "$db": "shop"})),
        op_msg(kind0({"ping": 1}), flags=4),
        op_msg(kind1("documents", [])),
        op_msg(kind0({"ping": 1}), kind0({"ping": 1})),
        op_msg(b"\3" + bytes(8)),
        op_msg(b"\0" + struct.pack("<i", 1 << 30) + bytes(9)),
        op_msg(b"\0" + struct.pack("<i", -5) + bytes(9)),
        op_msg(b"\1" + struct.pack("<i", -5) + bytes(9)),
        answer({"ok": 1})[:16] + b"\1",
        op_reply({"ok": 1}),
        message(2004, bytes(4) + b"no end"),
        message(2010, b"shop\0"),
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        request_of(data)


def test_a_length_that_lies() -> None:
    with pytest.raises(ProtocolError):
        request_of(struct.pack("<iiii", -1, 1, 0, 2013) + bytes(30))
    with pytest.raises(ProtocolError):
        request_of(struct.pack("<iiii", 1 << 30, 1, 0, 2013) + bytes(30))
    # More bytes than the message has are not part of it.
    data = command({"find": "orders", "$db": "shop"})
    given = Head(True, 0, 1, 2, len(data), data + b"\x02$db\x00\x05\x00\x00\x00evil\x00")
    assert request_of(given).target == "shop.orders"


def test_a_token_is_not_kept() -> None:
    body = kind0({"find": "orders", **SESSION})
    for data in (op_msg(kind2("secret-token"), body), op_msg(body, kind2("secret-token"))):
        for cut in range(20, len(data) + 1):
            request = maybe_request(head(data, cut))
            if request is not None:
                assert b"ecret" not in request.data
                assert request.operation == "find"
    token = b"\2" + bson.encode({"authenticatedUser": "secret"})
    request = request_of(op_msg(token, body))
    assert request.target == "shop.orders"
    assert b"secret" not in request.data
