"""What a user put into a request shows nowhere without --literals: not in records, not in the store's, on no screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.outputs.record import Recorder
from probes.protocols.chosen import known_protocols
from probes.records import Address, Connection, Process, Session, Side, Status, Times
from probes.store.reader import Reader
from probes.store.writer import Writer
from tests.store.synthetic import SECOND, START_NS
from tests.tui.dashboard import dashboard
from tests.tui.screen import lines, press
from tests.unit import kafka_messages, mongodb_messages

SECRET = "S3CRET"
VALUE = "q\"} S3CRETa'"
NEAR, FAR = Address("10.0.0.9", 27017), Address("10.0.0.5", 51544)
FIND = "Executor error during find command :: caused by :: "
ERRORS = [  # as mongod 6.0 writes them
    (11000, f'E11000 duplicate key error collection: shop.orders index: email_1 dup key: {{ email: "{VALUE}" }}'),
    (11000, f'E11000 duplicate key error collection: shop.orders index: ab dup key: {{ a: "{VALUE}", b: 1 }}'),
    (8, f"{FIND}uncaught exception: S3CRETa"),
    (139, f"{FIND}ReferenceError: S3CRETa is not defined :\n@:1:15\n"),
    (139, "MapReduce internal error :: caused by :: Error: S3CRETa :\n@:1:19\n"),
    (2, "Unknown type name alias: S3CRETa"),
    (31, "Could not find role: S3CRETa@shop"),
    (11, 'Could not find user "S3CRETa" for db "shop"'),
    (51003, 'User "S3CRETu@shop" already exists'),
    (2, "Unrecognized action: S3CRETact"),
    (241, "Failed to optimize pipeline :: caused by :: Failed to parse number 'S3CRETa' in $convert"),
    (241, "Failed to optimize pipeline :: caused by :: Error parsing date string 'S3CRETa'; 1: Unexpected character"),
    (17276, "Invalid $project :: caused by :: Use of undefined variable: S3CRETa"),
    (28, f"Cannot create field 'S3CRETa' in element {{email: \"{VALUE}\"}}"),
    (67, "Error in specification { key: { n: \"S3CRETa\" } } :: caused by :: Unknown index plugin 'S3CRETa'"),
    (2, "Field 'locale' is invalid in: { locale: \"S3CRETa\" }"),
    (96, "No log named 'S3CRETa'"),
    (0, "S3CRETa is what a later release begins with"),
]
COMMANDS: list[dict[str, Any]] = [
    {"find": "orders", "filter": {"a": VALUE, "$where": "throw 'S3CRETa'"}},
    {"insert": "orders", "documents": [{"a": {"b": [VALUE]}}]},
    {"update": "orders", "updates": [{"q": {"a": VALUE}, "u": {"$set": {"a": VALUE}}}]},
    {"aggregate": "orders", "pipeline": [{"$match": {"a": {"$type": VALUE}}}], "cursor": {}},
    {"mapReduce": "orders", "map": "function() { emit('S3CRETa') }", "reduce": "S3CRETa"},
    {"createRole": "S3CRETa", "privileges": [], "roles": ["S3CRETb"]},
    {"grantRolesToUser": "S3CRETa", "roles": ["S3CRETb"]},
    {"dropRole": "S3CRETa"},
    {"eval": "function() { return 'S3CRETa' }"},
    {"frobnicate": "S3CRETa"},
    {"explain": {"find": "orders", "filter": {"a": VALUE}}},
]


def _session(protocol: str, request: bytes, reply: bytes, number: int) -> Session:
    known = known_protocols()[protocol]
    connection = Connection(number, Process(712, "server"), near=NEAR, far=FAR, protocol=protocol)
    memory = known.memory(connection)
    asked = known.request(kafka_messages.head(request), memory)
    answered = known.reply(kafka_messages.head(reply), asked, memory)
    status = Status.OK if answered.failure is None else Status.ERROR
    at = START_NS + number
    times = Times(at, at, at + 1000, at + 1000)
    return Session(protocol, status, Side.SERVER, connection, asked, answered, times, len(request), len(reply))


def _failed(command: dict[str, Any], code: int, text: str, number: int) -> Iterator[Session]:
    request = mongodb_messages.command({**command, "$db": "shop"})
    for reply in (
        {"ok": 0.0, "errmsg": text, "code": code},
        {"n": 0, "writeErrors": [{"index": 0, "code": code, "errmsg": text}], "ok": 1.0},
        {"n": 1, "writeConcernError": {"code": code, "errmsg": text}, "ok": 1.0},
    ):
        yield _session("mongodb", request, mongodb_messages.answer(reply), number)


def _all() -> Iterator[Session]:
    for number, (code, text) in enumerate(ERRORS):
        yield from _failed(COMMANDS[number % len(COMMANDS)], code, text, 10 * number + 1)
    for number, command in enumerate(COMMANDS):
        yield from _failed(command, *ERRORS[number], 1000 + number)
    asked = kafka_messages.request_bytes(19, 5, {"topics": [{"name": "t", "configs": [{"name": "x", "value": VALUE}]}]})
    for number, text in enumerate(("Invalid value S3CRETa for configuration x: S3CRETb", "S3CRETa", VALUE)):
        fields = {"topics": [{"name": "t", "error_code": 40, "error_message": text}]}
        yield _session("kafka", asked, kafka_messages.reply_bytes(19, 5, fields), 2000 + number)


@pytest.fixture(scope="module")
def stored() -> Reader:
    writer = Writer(16 << 20, START_NS)
    for session in _all():
        writer.session(session)
    writer.fold(START_NS + SECOND)
    return Reader(writer.fd)


@pytest.mark.parametrize("literals", [False, True])
def test_records(stored: Reader, literals: bool) -> None:
    recorder, protocols = Recorder(literals=literals), known_protocols()
    rows = stored.rows(0, stored.span().next)
    assert len(rows) == len(list(_all()))
    for row in rows:
        session = stored.session(row)
        assert session is not None
        line = recorder.line(session, protocols[session.protocol])
        assert (SECRET.encode() in line) is literals


async def test_screens(stored: Reader) -> None:
    count = len(stored.rows(0, stored.span().next))
    async with dashboard(stored, START_NS + 2 * SECOND, (200, 110)) as (app, pilot):
        for key in "123456":
            await press(pilot, key)
            assert SECRET not in "\n".join(lines(app))
        await press(pilot, "4", "end", "enter")
        shown = ""
        for _ in range(count):
            shown += "\n".join(lines(app))
            await press(pilot, "escape", "up", "enter")
    assert SECRET not in shown
    assert "E11000 duplicate key error collection: shop.orders index: email_1 dup key: ?" in shown


VALUES = st.recursive(
    st.just(VALUE),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("abc$.", max_size=3), inner, min_size=1, max_size=3)
    ),
)


@given(VALUES, st.sampled_from(ERRORS), st.sampled_from(["find", "insert", "aggregate", "update", "frob"]))
def test_records_of_any_document(value: Any, error: tuple[int, str], command: str) -> None:
    recorder, protocols = Recorder(literals=False), known_protocols()
    for session in _failed({command: "orders", "filter": value, "documents": [value]}, *error, 1):
        assert SECRET.encode() not in recorder.line(session, protocols["mongodb"])
