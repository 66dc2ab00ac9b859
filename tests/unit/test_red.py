"""Sessions add up to cells, and cells to the rows of `l7top stat --json`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.records import Address, Connection, Failure, Process, Reply, Request, Session, Side, Status, Times
from probes.store.red import DEFAULT_BY, FIELDS, OTHER, Red

MONGOD, APP = Process(712, "mongod", "c0ffee"), Process(9, "app")
SERVED = Connection(1, MONGOD, Address("10.0.0.9", 27017), Address("10.0.0.5", 51544))
SENT = Connection(2, APP, Address("10.0.0.9", 40000), Address("10.0.0.7", 9092))
NUMBERS = {"requests", "responses", "oneway", "lost", "errors", "request_bytes", "long_polls"}


def session(
    status: Status = Status.OK,
    *,
    operation: str = "find",
    version: int | None = None,
    target: str = "shop.orders",
    duration: int = 1_000,
    long_poll: bool = False,
    connection: Connection = SERVED,
    side: Side = Side.SERVER,
    protocol: str = "mongodb",
) -> Session:
    replied = status in (Status.OK, Status.ERROR)
    failure = Failure(11000, "DuplicateKey") if status is Status.ERROR else None
    return Session(
        protocol,
        status,
        side,
        connection,
        Request(1, operation, b"", version, target, long_poll=long_poll),
        Reply(2, b"", failure) if replied else None,
        Times(10, 20, 20 + duration, 30 + duration) if replied else Times(10, 20),
        100,
        50 if replied else 0,
    )


def rows(red: Red, *by: str, **more: Any) -> list[dict[str, Any]]:
    return [group.row(10.0) for group in red.groups(by or DEFAULT_BY, **more)]


def test_a_row_of_stat() -> None:
    red = Red()
    for duration in range(1_000, 101_000, 1_000):
        red.add([session(duration=duration)])
    for _ in range(25):
        red.add([session(Status.ERROR, duration=500_000)])
    for status in (Status.ONEWAY, Status.LOST, Status.DROPPED):
        red.add([session(status)])
    (row,) = rows(red, waiting=[session(Status.INFLIGHT), session(Status.INFLIGHT)])
    assert row.pop("p50_ns") == pytest.approx(63_000, rel=0.05)
    assert row.pop("p90_ns") == pytest.approx(500_000, rel=0.05)
    assert row.pop("p99_ns") == pytest.approx(500_000, rel=0.05)
    assert row == {
        "protocol": "mongodb",
        "operation": "find",
        "target": "shop.orders",
        "requests": 130,
        "responses": 125,
        "oneway": 1,
        "lost": 1,
        "dropped": 1,
        "unparsed": 0,
        "inflight": 2,
        "long_polls": 0,
        "rate": 13.0,
        "errors": 25,
        "error_ratio": 0.2,
        "max_ns": 500_000,
        "request_bytes": 13_000,
        "response_bytes": 6_250,
    }


def test_what_is_in_flight_is_in_no_cell() -> None:
    red = Red()
    assert rows(red, waiting=[session(Status.INFLIGHT)])[0]["inflight"] == 1
    assert rows(red) == []


def test_a_long_poll_is_out_of_the_durations() -> None:
    red = Red()
    red.add([session(operation="Fetch", duration=500_000_000, long_poll=True)])
    red.add([session(operation="Fetch", duration=1_000)])
    (row,) = rows(red)
    assert (row["long_polls"], row["responses"], row["max_ns"], row["p99_ns"]) == (1, 2, 1_000, 1_000)
    assert row["wait_max_ns"] == 500_000_000
    assert row["wait_p50_ns"] == pytest.approx(500_000_000, rel=0.05)


def test_what_is_unknown_is_absent() -> None:
    red = Red()
    red.add([session(Status.LOST, target="")])
    (row,) = rows(red)
    assert not {"target", "version", "error_ratio", "p50_ns", "p90_ns", "p99_ns", "max_ns"} & set(row)


def test_version_zero_is_known() -> None:
    red = Red()
    red.add([session(operation="ApiVersions", version=0)])
    red.add([session(operation="ApiVersions", version=3)])
    assert sorted(row["version"] for row in rows(red)) == [0, 3]


def test_an_undecodable_request_has_no_operation() -> None:
    red = Red()
    undecodable = session(Status.UNPARSED)
    undecodable.request = None
    red.add([undecodable])
    (row,) = rows(red)
    assert "operation" not in row
    assert (row["requests"], row["unparsed"], row["responses"]) == (1, 1, 0)


def test_a_reply_that_could_not_be_read_still_has_a_duration() -> None:
    red = Red()
    unread = session()
    unread.status, unread.reply = Status.UNPARSED, None
    red.add([unread])
    (row,) = rows(red)
    assert (row["responses"], row["unparsed"], row["max_ns"], row["errors"]) == (1, 1, 1_000, 0)


def test_grouping_by_who_asked_whom() -> None:
    red = Red()
    red.add([session()])
    red.add([session(connection=SENT, side=Side.CLIENT, protocol="kafka")])
    both = session()
    both.seen_from, both.client = Side.BOTH, Connection(3, APP)
    red.add([both])
    found = {
        (row.get("client"), row.get("server"), row.get("process"), row["pid"])
        for row in rows(red, "client", "server", "process", "pid")
    }
    assert found == {
        ("10.0.0.5", "10.0.0.9:27017", "mongod", 712),
        ("10.0.0.9", "10.0.0.7:9092", "app", 9),
    }
    by_process = {
        json.dumps([row.get("client_process"), row.get("server_process")])
        for row in rows(red, "client_process", "server_process")
    }
    app, mongod = {"pid": 9, "name": "app"}, {"pid": 712, "name": "mongod", "container": "c0ffee"}
    assert by_process == {json.dumps(pair) for pair in ([None, mongod], [app, None], [app, mongod])}


def test_without_a_process_the_field_is_absent() -> None:
    red = Red()
    red.add([session(connection=Connection(5, None))])
    (row,) = rows(red, "process", "pid", "container", "client", "server", "client_process")
    assert not {"process", "pid", "container", "client", "server", "client_process"} & set(row)


def test_grouping_by_error() -> None:
    red = Red()
    red.add([session()])
    red.add([session(Status.ERROR)])
    assert {row.get("error_name"): row["requests"] for row in rows(red, "error_name")} == {None: 1, "DuplicateKey": 1}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError):
        Red().groups(["colour"])


def test_busiest_first() -> None:
    red = Red()
    for operation, times in (("insert", 1), ("find", 3), ("update", 2)):
        for _ in range(times):
            red.add([session(operation=operation)])
    assert [row["operation"] for row in rows(red)] == ["find", "update", "insert"]


def test_addresses_that_become_known_change_the_cell() -> None:
    red, connection = Red(), Connection(6, MONGOD)
    red.add([session(connection=connection)])
    connection.near, connection.far = Address("10.0.0.9", 27017), Address("10.0.0.5", 51544)
    red.add([session(connection=connection)])
    assert [row.get("client") for row in rows(red, "client")] == [None, "10.0.0.5"]


def test_cells_are_bounded() -> None:
    red = Red(max_cells=10)
    for number in range(30):
        red.add([session(target=f"db.c{number}")])
    for number in range(30):
        far = Address(f"10.0.1.{number}", 1)
        red.add([session(connection=Connection(100 + number, MONGOD, Address("10.0.0.9", 27017), far))])
    red.add([session(target="db.c3")])
    targets = {row["target"]: row["requests"] for row in rows(red)}
    assert len(targets) == 11
    assert targets[OTHER] == red.overflowed == 50
    assert targets["db.c3"] == 2
    assert sum(targets.values()) == 61


@given(
    st.lists(
        st.builds(
            session,
            st.sampled_from([status for status in Status if status is not Status.INFLIGHT]),
            operation=st.sampled_from(["find", "insert"]),
            target=st.sampled_from(["a.b", "a.c", ""]),
            duration=st.integers(-5, 10**13),
            long_poll=st.booleans(),
            connection=st.sampled_from([SERVED, SENT]),
            side=st.sampled_from([Side.SERVER, Side.CLIENT]),
        )
    ),
    st.lists(st.sampled_from(list(FIELDS)), max_size=3, unique=True),
    st.integers(0, 12),
)
def test_however_it_is_grouped_nothing_is_lost(sessions: list[Session], by: list[str], max_cells: int) -> None:
    red = Red(max_cells=max_cells)
    for each in sessions:
        red.add([each])
    groups = red.groups(by)
    total = Counter[str]()
    for group in groups:
        row = group.row(1.0)
        json.dumps(row)
        total.update({name: value for name, value in row.items() if isinstance(value, int) and name in NUMBERS})
    statuses = Counter(each.status for each in sessions)
    answered = [each for each in sessions if each.times.reply_last]
    assert total["requests"] == len(sessions)
    assert total["responses"] == len(answered)
    assert total["errors"] == statuses[Status.ERROR]
    assert (total["oneway"], total["lost"]) == (statuses[Status.ONEWAY], statuses[Status.LOST])
    assert total["request_bytes"] == 100 * len(sessions)
    assert total["long_polls"] == sum(each.request is not None and each.request.long_poll for each in answered)
    counted = sum(sum(g.totals.durations.counts.values()) + sum(g.totals.waits.counts.values()) for g in groups)
    assert counted == len(answered)
