"""Credentials: wherever they may stand, they are in nothing that leaves the parser."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import bson
import pytest
from bson import Binary
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.records import Head
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    message,
    op_msg,
    op_query,
    op_reply,
    record_of,
    reply_of,
    request_of,
)

T = TypeVar("T")
SECRET = "Tr0ub4dor&3-correct-horse"
PAYLOAD = Binary(SECRET.encode())

START = {"saslStart": 1, "mechanism": "PLAIN", "payload": PAYLOAD, "options": {"skipEmptyExchange": True}}
SPECULATIVE = {"speculativeAuthenticate": {**START, "db": "admin"}}
HELLO = {"hello": 1, "client": {"driver": {"name": "d", "version": "1"}}, **SPECULATIVE}

REQUESTS: dict[str, dict[str, Any]] = {
    "saslStart": START,
    "saslContinue": {"saslContinue": 1, "conversationId": 1, "payload": PAYLOAD},
    "lower case": {"saslstart": 1, "payload": PAYLOAD},
    "upper case": {"SASLCONTINUE": 1, "PAYLOAD": PAYLOAD},
    "a payload as a string": {"saslStart": 1, "mechanism": "PLAIN", "payload": SECRET},
    "a payload of the old binary type": {"saslStart": 1, "payload": Binary(SECRET.encode(), 2)},
    "a payload in a document": {"saslStart": 1, "payload": {"jwt": [SECRET, {"x": PAYLOAD}]}},
    "a payload that is a regular expression": {"saslStart": 1, "payload": bson.Regex(SECRET)},
    "hello": HELLO,
    "isMaster": {"isMaster": 1, **SPECULATIVE},
    "ismaster": {"ismaster": 1, **SPECULATIVE},
    "createUser": {"createUser": "bob", "pwd": SECRET, "roles": ["readWrite"]},
    "updateUser": {"updateUser": "bob", "customData": {"a": 1}, "pwd": SECRET},
    "authenticate": {"authenticate": 1, "user": "bob", "nonce": "2375531c32080ae8", "key": SECRET},
    "copydb": {"copydb": 1, "fromhost": "other", "username": "bob", "nonce": "2375", "key": SECRET},
    "copydbsaslstart": {"copydbsaslstart": 1, "fromhost": "other", "mechanism": "PLAIN", "payload": PAYLOAD},
    "setParameter": {"setParameter": 1, "ldapQueryPassword": SECRET},
    "a user written by hand": {
        "insert": "system.users",
        "documents": [{"user": "bob", "credentials": {"SCRAM-SHA-1": {"storedKey": SECRET}}}],
    },
}
NESTED: dict[str, dict[str, Any]] = {
    "explain": {"explain": REQUESTS["createUser"], "verbosity": "queryPlanner"},
    "explain of an explain": {"explain": {"explain": REQUESTS["updateUser"]}},
    "explain of saslStart": {"explain": START},
    "explain of hello": {"explain": HELLO},
    "applyOps": {"applyOps": [{"op": "c", "ns": "admin.$cmd", "o": REQUESTS["createUser"]}]},
    "applyOps on users": {"applyOps": [{"op": "i", "ns": "admin.system.users", "o": {"credentials": {"x": SECRET}}}]},
    "applyOps in applyOps": {"applyOps": [{"op": "c", "o": {"applyOps": [{"o": REQUESTS["authenticate"]}]}}]},
    "bulkWrite": {"bulkWrite": 1, "ops": [{"insert": 0, "document": {"credentials": {"MONGODB-CR": SECRET}}}]},
    "$mergeCursors": {
        "aggregate": "orders",
        "pipeline": [{"$mergeCursors": {"remotes": [{"command": REQUESTS["createUser"]}]}}],
        "cursor": {},
    },
    "an internal command": {"_shardsvrForward": "orders", "command": REQUESTS["createUser"]},
    "a command of a later release": {"frobnicate": 1, "what": [{"with": REQUESTS["saslContinue"]}]},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "saslStart": {"conversationId": 1, "done": False, "payload": PAYLOAD, "ok": 1.0},
    "saslContinue": {"conversationId": 1, "done": True, "payload": PAYLOAD, "ok": 1.0},
    "hello": {"isWritablePrimary": True, "speculativeAuthenticate": {"done": False, "payload": PAYLOAD}, "ok": 1.0},
    "ismaster": {"ismaster": True, "speculativeAuthenticate": {"done": False, "payload": PAYLOAD}, "ok": 1.0},
}
USERS = {"users": [{"user": "bob", "credentials": {"SCRAM-SHA-256": {"salt": "a", "storedKey": SECRET}}}], "ok": 1.0}


def layouts(document: dict[str, Any]) -> Iterator[bytes]:
    """The ways in which a client might send this command."""
    body = kind0({**document, "$clusterTime": CLUSTER_TIME, "$db": "admin"})
    sequence = kind1("documents", [document, {"payload": PAYLOAD, "pwd": SECRET}])
    yield op_msg(body)
    yield op_msg(body, flags=1)
    yield op_msg(body, sequence)
    yield op_msg(sequence, body)
    yield op_query("admin.$cmd", document)
    yield op_query("admin.$cmd", document, {"payload": PAYLOAD})
    yield op_query("admin.$cmd", {"$query": document, "$readPreference": {"mode": "primary"}})
    yield op_query("admin.$cmd", {"$readPreference": {"mode": "primary"}, "$query": document})
    name = next(iter(document)).encode()
    yield message(2010, b"admin\0" + name + b"\0" + bson.encode(document) + bson.encode({}))
    for inner in (op_msg(body), op_msg(sequence, body), op_query("admin.$cmd", document)):
        for compressor in (0, 2, 3):  # 3: a literal that no one can inflate
            yield compressed(inner, compressor)


def traces(data: Any, secret: str = SECRET) -> bool:
    """Whether a part of the secret long enough to matter is to be seen."""
    text = repr(data)
    return any(secret[at : at + 6] in text for at in range(0, len(secret) - 5, 3))


def heads(data: bytes) -> Iterator[Head]:
    for cut in range(16, len(data) + 1):
        yield head(data, cut)
    for cut in range(20, len(data), 13):
        yield head(data, cut, tail=60)
        yield head(data, cut, windows=[(len(data) // 2, 90)])


def outcome(parse: Callable[..., T], *arguments: Any) -> T | ProtocolError:
    """What `parse` returns, or the error that it raises."""
    try:
        return parse(*arguments)
    except ProtocolError as error:
        return error


@pytest.mark.parametrize("name", REQUESTS)
def test_no_credential_leaves_a_request(name: str) -> None:
    seen = 0
    for data in layouts(REQUESTS[name]):
        for given_head in heads(data):
            request = outcome(request_of, given_head)
            assert not traces(request)
            if not isinstance(request, ProtocolError):
                seen += 1
                assert request.data[:16] == data[:16]
    assert seen > 1000


@pytest.mark.parametrize("name", REQUESTS)
def test_no_credential_is_in_a_record(name: str) -> None:
    for data in layouts(REQUESTS[name]):
        for cut in range(16, len(data) + 1, 7):
            try:
                request = request_of(head(data, cut))
            except ProtocolError:
                continue
            assert not traces(record_of(request, literals=True))
        assert not traces(record_of(request_of(data), literals=True))


@pytest.mark.parametrize("name", NESTED)
def test_no_credential_leaves_a_command_within_another_one(name: str) -> None:
    document = NESTED[name]
    body = kind0({**document, "$db": "admin"})
    first, *rest = document.items()
    sequences = [kind1(key, value) for key, value in rest if isinstance(value, list) and key == "ops"]
    body_apart = kind0(dict([first, ("$db", "admin")]))
    for data in (
        op_msg(body),
        op_msg(body, flags=1),
        op_query("admin.$cmd", document),
        op_query("admin.$cmd", {"$query": document, "$readPreference": {}}),
        message(2010, b"admin\0" + first[0].encode() + b"\0" + bson.encode(document) + bson.encode({})),
        compressed(op_msg(body), 0),
        compressed(op_msg(body), 2),
        *([op_msg(body_apart, *sequences), op_msg(*sequences, body_apart)] if sequences else []),
    ):
        for given_head in heads(data):
            request = outcome(request_of, given_head)
            assert not traces(request)
            if not isinstance(request, ProtocolError):
                assert not traces(record_of(request, literals=True))


def test_the_rest_of_a_command_with_another_one_stays() -> None:
    request = request_of(command({**NESTED["explain"], "comment": "why", "$db": "admin"}))
    record = record_of(request, literals=True)
    assert record["request"]["explain"] == {"createUser": "bob", "pwd": "*" * len(SECRET), "roles": ["readWrite"]}
    assert record["request"]["comment"] == "why"
    unchanged = command({"explain": {"find": "parcels", "filter": {"pwd": "x", "payload": 1}}, "$db": "shop"})
    assert request_of(unchanged).data == unchanged


@pytest.mark.parametrize("stage", [{"$lookup": {"from": "system.users"}}, {"$unionWith": "system.users"}])
def test_users_are_not_shown_in_an_aggregation_of_something_else(stage: dict[str, Any]) -> None:
    request = request_of(command({"aggregate": "orders", "pipeline": [stage], "cursor": {}, "$db": "admin"}))
    get_more = request_of(command({"getMore": bson.Int64(5), "collection": "orders", "$db": "admin"}))
    for name in ("firstBatch", "nextBatch"):
        document = {"cursor": {name: [{"found": USERS["users"]}], "id": bson.Int64(0), "ns": "admin.orders"}, "ok": 1.0}
        for given_head in heads(answer(document)):
            if len(given_head.data) > 20:
                assert not traces(reply_of(given_head, request))
                assert not traces(reply_of(given_head, get_more))


@pytest.mark.parametrize("name", ANSWERS)
def test_no_credential_leaves_a_reply(name: str) -> None:
    document = ANSWERS[name]
    requests = [request_of(data) for data in layouts(REQUESTS[name])]
    for data in (answer(document), answer(document, flags=1), op_reply(document), compressed(answer(document), 0)):
        for given_head in heads(data):
            for request in (*requests[:1], requests[-1], None):
                reply = outcome(reply_of, given_head, request)
                assert not traces(reply)
                if not isinstance(reply, ProtocolError):
                    assert not traces(record_of(request, reply, literals=True))


def test_the_servers_own_users_are_not_shown() -> None:
    users_info = request_of(command({"usersInfo": "bob", "showCredentials": True, "$db": "admin"}))
    find = request_of(command({"find": "system.users", "$db": "admin"}))
    get_more = request_of(command({"getMore": bson.Int64(5), "collection": "oplog.rs", "$db": "local"}))
    batch = {"cursor": {"firstBatch": USERS["users"], "id": bson.Int64(0), "ns": "admin.system.users"}, "ok": 1.0}
    for request in (users_info, find, get_more, None):
        for document in (USERS, batch):
            for given_head in heads(answer(document)):
                assert not traces(reply_of(given_head, request) if len(given_head.data) > 20 else "")


def test_the_rest_of_the_message_stays_as_it_was() -> None:
    """Overwritten at the same length, so that what is kept is still BSON."""
    request = request_of(command({**HELLO, "$db": "admin"}))
    kept = bson.decode(request.data[21:])
    assert kept["client"] == HELLO["client"]
    assert kept["speculativeAuthenticate"]["mechanism"] == "PLAIN"
    assert kept["speculativeAuthenticate"]["payload"] == b"*" * len(SECRET)
    created = request_of(command({**REQUESTS["createUser"], "$db": "admin"}))
    assert bson.decode(created.data[21:])["pwd"] == "*" * len(SECRET)
    assert (created.operation, created.target) == ("createUser", "admin")
    record = record_of(created, literals=True)
    assert record["request"]["roles"] == ["readWrite"]
    json.dumps(record)


def test_what_only_looks_like_a_credential_is_kept() -> None:
    data = command({"insert": "parcels", "documents": [{"payload": "ten bricks", "pwd": "x"}], "$db": "shop"})
    assert request_of(data).data == data


def test_a_reply_is_redacted_by_what_it_answers() -> None:
    document = {"cursor": {"firstBatch": [{"payload": "ten bricks"}], "id": bson.Int64(0), "ns": "a.b"}, "ok": 1.0}
    data = answer(document)
    assert reply_of(data, request_of(command({"find": "b", "$db": "a"}))).data == data
    assert b"bricks" not in reply_of(data, None).data  # it might be the answer to a saslStart


@given(
    name=st.sampled_from(sorted(REQUESTS)),
    layout=st.integers(0, 17),
    before=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6), st.integers(0, 9), max_size=3
    ),
    cut=st.integers(16, 600),
    flip=st.integers(0, 600),
)
def test_not_even_from_broken_messages(name: str, layout: int, before: dict[str, int], cut: int, flip: int) -> None:
    document = dict(REQUESTS[name])
    first = next(iter(document))
    data = bytearray(list(layouts({first: document.pop(first), **before, **document}))[layout])
    at = flip % len(data)
    if at > 40 and 0 < data[at] < 32 and data[12] != 0xDC:  # a length or a type, not what makes it a secret
        data[at] ^= 1 << flip % 8
    try:
        request = request_of(head(bytes(data), min(cut, len(data))))
    except ProtocolError:
        return
    assert not traces(request)
    assert not traces(record_of(request, literals=True))


def test_a_tail_that_begins_within_a_stored_credential_is_not_kept() -> None:
    stored = {"credentials": {"SCRAM-SHA-256": {"salt": "a", "storedKey": SECRET, "serverKey": SECRET}}}
    cursor = {"id": bson.Int64(0), "nextBatch": [{"text": "y" * 300}, stored], "ns": "shop.users"}
    data = op_msg(kind0({"cursor": cursor, "ok": 1.0}))
    asked = request_of(op_msg(kind0({"getMore": bson.Int64(7), "collection": "users", "$db": "shop"})))
    second = data.index(b"serverKey\0")
    for tail in range(len(data) - second, len(data) - data.index(b"storedKey\0")):
        assert not traces(reply_of(head(data, 128, tail=tail), asked).windows)
