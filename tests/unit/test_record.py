"""The session record: the contract with scripts."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.outputs.escape import UNSAFE
from probes.outputs.record import FIELDS, Recorder, WallClock, iso_time, json_line, plain, session_record
from probes.records import Address, Connection, Failure, Process, Session, Side, Status, Times
from tests.unit.sample_sessions import (
    FakeProtocol,
    duplicate_key,
    fetch,
    find,
    hanging,
    samples,
    undecodable,
)

CLOCK = WallClock(1_795_420_801_123_455_000)  # 2026-11-23T08:00:01.123455Z at 0


def record(session: Session, **own: Any) -> dict[str, Any]:
    return session_record(session, own, CLOCK)


def test_a_session_seen_from_both_ends_with_every_fact_there_is() -> None:
    own = {
        "opcode": 2013,
        "error": "E11000 dup key: { _id: ? }",
        "request": {"insert": "orders"},
        "response": {"ok": 1.0},
    }
    assert record(duplicate_key(), **own) == {
        "time": "2026-11-23T08:00:01.123456Z",
        "time_us": 1795420801123456,
        "protocol": "mongodb",
        "operation": "insert",
        "target": "shop.orders",
        "targets": ["shop.orders"],
        "status": "error",
        "error_code": 11000,
        "error_name": "DuplicateKey",
        "error": "E11000 dup key: { _id: ? }",
        "error_side": "client",
        "duration_ns": 2_000_000,
        "client_duration_ns": 3_000_000,
        "long_poll": False,
        "request_bytes": 212,
        "response_bytes": 301,
        "request_id": 17,
        "response_id": 5512,
        "truncated": False,
        "client": "10.0.0.5:51544",
        "server": "10.0.0.9:27017",
        "seen_from": "both",
        "client_process": {"pid": 4711, "name": "billing", "container": "f00d"},
        "server_process": {"pid": 712, "name": "mongod"},
        "attributes": {"shard": 2},
        "mongodb": {"opcode": 2013},
        "request": {"insert": "orders"},
        "response": {"ok": 1.0},
    }


def test_the_order_of_a_line_is_the_documented_one() -> None:
    own = {"x": 1, "error": "e", "trace_id": "t", "span_id": "s", "request": {}, "response": {}}
    for session in samples():
        names = [name for name in record(session, **own) if name != session.protocol]
        assert names == sorted(names, key=FIELDS.index)


def test_all_documented_fields_exist() -> None:
    own = {"x": 1, "error": "e", "trace_id": "t", "span_id": "s", "request": {}, "response": {}}
    seen = {name for session in samples() for name in record(session, **own)}
    assert seen - {"mongodb", "kafka"} == set(FIELDS)


def test_a_long_poll_has_a_wait_and_no_duration() -> None:
    line = record(fetch())
    assert line["long_poll"] is True
    assert line["wait_ns"] == 500_000_000
    assert "duration_ns" not in line
    assert (line["version"], line["targets"]) == (13, ["orders", "lines"])
    assert line["client_process"]["name"] == "billing"
    assert "server_process" not in line
    assert "response_id" not in line


def test_a_request_without_reply_has_neither() -> None:
    line = record(hanging())
    assert line["status"] == "inflight"
    assert not {"duration_ns", "wait_ns", "response_bytes", "response_id"} & line.keys()


def test_of_an_undecodable_message_only_what_is_known() -> None:
    assert record(undecodable()) == {
        "time": "2026-11-23T08:00:01.123456Z",
        "time_us": 1795420801123456,
        "protocol": "mongodb",
        "status": "unparsed",
        "long_poll": False,
        "request_bytes": 212,
        "truncated": False,
        "client": "10.0.0.5:51544",
        "server": "10.0.0.9:27017",
        "seen_from": "server",
        "server_process": {"pid": 712, "name": "mongod"},
    }


def test_a_reply_alone_is_timed_by_itself_and_has_no_duration() -> None:
    session = replace(undecodable(), times=Times(0, 0, 3000, 4000), request_bytes=0, reply_bytes=9)
    line = record(session)
    assert line["time_us"] == 1795420801123458
    assert "duration_ns" not in line


def test_what_an_exhaust_reply_starts_was_never_sent() -> None:
    assert "request_bytes" not in record(replace(find(), request_bytes=0))


def test_unknown_addresses_and_processes_are_absent() -> None:
    line = record(replace(find(), connection=Connection(9, None)))
    assert not {"client", "server", "server_process", "client_process"} & line.keys()


def test_a_unix_socket_is_its_path() -> None:
    connection = Connection(9, Process(712, "mongod"), near=Address("/tmp/mongodb-27017.sock", 0))
    assert record(replace(find(), connection=connection))["server"] == "/tmp/mongodb-27017.sock"


def test_a_head_that_was_cut_on_either_way_is_told() -> None:
    assert record(find(truncated=True))["truncated"] is True
    session = find()
    assert session.reply is not None
    session.reply.truncated = True
    assert record(session)["truncated"] is True


def test_an_error_text_comes_from_the_protocol_alone_which_hides_literals() -> None:
    session = duplicate_key()
    assert "error" not in record(session)
    protocol = FakeProtocol("mongodb", {"error": "E11000"})
    for literals in (False, True):
        line = Recorder(literals=literals).line(session, protocol)  # type: ignore[arg-type]
        assert json.loads(line)["error"] == "E11000"
    assert protocol.asked_for_literals == [False, True]


def test_a_protocol_that_cannot_describe_costs_its_part_of_the_record() -> None:
    recorder = Recorder(literals=False)
    protocol = FakeProtocol("mongodb", {})
    protocol.own = None  # type: ignore[assignment] # dict(None) is the bug
    line = json.loads(recorder.line(find(), protocol))  # type: ignore[arg-type]
    assert (line["operation"], "mongodb" in line, recorder.undescribed) == ("find", False, 1)
    assert "mongodb" not in json.loads(recorder.line(find(), None))
    assert recorder.undescribed == 1


def test_an_error_without_a_name_has_none() -> None:
    session = duplicate_key()
    assert session.reply is not None
    session.reply.failure = Failure(4242, "")
    line = record(session)
    assert "error_name" not in line
    assert line["error_side"] == "server"


def test_an_error_whose_code_was_cut_away_has_neither_code_nor_side() -> None:
    session = duplicate_key()
    assert session.reply is not None
    session.reply.failure = Failure(0, "")
    line = record(session)
    assert line["status"] == "error"
    assert not {"error_code", "error_name", "error_side"} & set(line)


def test_numbers_that_would_be_rounded_are_strings() -> None:
    own = {"big": 2**53 + 1, "small": -(2**53) - 1, "fits": 2**53, "nan": float("nan"), "list": [2**60], "flag": True}
    assert record(find(), **own)["mongodb"] == {
        "big": "9007199254740993",
        "small": "-9007199254740993",
        "fits": 2**53,
        "nan": "nan",
        "list": ["1152921504606846976"],
        "flag": True,
    }


def test_what_json_has_no_type_for_becomes_text() -> None:
    assert plain({1: b"a\xff", "t": (1, None), "o": Address("h", 1), "e": Status.OK, "x": 1j}) == {
        "1": "a\\xff",
        "t": [1, None],
        "o": ["h", 1],
        "e": "ok",
        "x": "1j",
    }


def test_depth_is_bounded() -> None:
    nested: Any = 1
    for _ in range(10_000):
        nested = [nested]
    assert json.loads(json_line({"x": plain(nested)}))["x"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("é漢", "é漢".encode()),
        ("\x1b]52;c;\x07", b"\\u001b]52;c;\\u0007"),
        ("\x9b\x7f", b"\\u009b\\u007f"),
        ("\u202e\u2028", b"\\u202e\\u2028"),
        ("\U000e0041", b"\\udb40\\udc41"),
        ("\ud800", "�".encode()),
        ('"\\\n', b'\\"\\\\\\n'),
    ],
)
def test_a_line_is_utf8_and_holds_nothing_that_a_terminal_obeys(text: str, written: bytes) -> None:
    assert json_line({"x": text}) == b'{"x": "' + written + b'"}\n'


TEXT = st.text(st.characters(codec=None)) | st.sampled_from(["\ud800", "\x1b[2J", "a\u2028b", "\x00", "\x85"])
VALUE = st.recursive(
    TEXT | st.integers() | st.floats() | st.booleans() | st.none() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def integers(value: Any) -> list[int]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in integers(item)]
    return [value] if isinstance(value, int) else []


@given(TEXT, TEXT, TEXT, st.dictionaries(TEXT, VALUE, max_size=4), st.sampled_from(list(Side)), st.integers(0, 2**61))
def test_whatever_was_captured_one_line_of_json_comes_out(
    operation: str, target: str, name: str, own: dict[str, Any], side: Side, ns: int
) -> None:
    session = find(operation=operation, target=target)
    session.seen_from = side
    session.connection = Connection(1, Process(7, name), near=Address(name, 1))
    session.times = Times(ns, ns, ns + 1, ns + 1)
    line = json_line(record(session, **{f"own {key}": value for key, value in own.items()}))
    assert line.endswith(b"\n")
    text = line[:-1].decode()
    assert not UNSAFE.search(text)
    assert len(text.splitlines()) == 1
    parsed = json.loads(text)
    assert all(abs(number) <= 2**53 for number in integers(parsed))
    if not any("\ud800" <= char <= "\udfff" for char in operation):
        assert parsed["operation"] == operation


def test_time_before_and_after_the_epoch() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000000Z"
    assert iso_time(-1) == "1969-12-31T23:59:59.999999Z"


def test_the_wall_clock_is_followed_where_it_was_set_and_else_kept() -> None:
    clock = WallClock()
    offset = clock.offset_ns
    clock.refresh()
    assert clock.offset_ns == offset
    clock.offset_ns -= 3_600_000_000_000
    clock.refresh()
    assert abs(clock.offset_ns - offset) < 1_000_000_000
