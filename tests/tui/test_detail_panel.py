"""One request: its decoded parts, its times, its neighbours, and what becomes of one that waits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from bson import Int64

from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB
from probes.records import Connection, Session, Status, Times
from probes.store.view import Condition, Is, Row, View, Window
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS, Traffic
from tests.tui.mongodb_sessions import exchanged
from tests.tui.screen import check_snapshot, lines, press, staged, text
from tui.screens.detail import OF_SHAPE, SAME, DetailPanel

NOW_NS = START_NS + 60 * SECOND
INSERT = (Is("protocol", "mongodb"), Is("error_name", "DuplicateKey"))
PRODUCE = (Is("protocol", "kafka"), Is("error_name", "NOT_LEADER_OR_FOLLOWER"))


def panel(*, literals: bool = True) -> DetailPanel:
    return DetailPanel({"mongodb": MongoDB(), "kafka": Kafka()}, literals=literals)


def newest(view: View, where: Sequence[Condition]) -> Row:
    return view.pick(view.matching(where).numbers[-1:])[0]


@pytest.mark.parametrize("size", [(80, 21), (160, 47)])
@pytest.mark.parametrize(("name", "where"), [("insert", INSERT), ("produce", PRODUCE)])
@pytest.mark.parametrize("literals", [True, False])
async def test_what_is_shown_of_a_request(
    lively: View, name: str, where: tuple[Condition, ...], literals: bool, size: tuple[int, int]
) -> None:
    detail = panel(literals=literals)
    async with staged(detail, size) as (stage, pilot):
        detail.open(lively, newest(lively, where))
        detail.show(lively, Window.M1, (), NOW_NS)
        await press(pilot)
        check_snapshot(f"detail-{name}-{'literals' if literals else 'plain'}-{size[0]}", text(stage))


async def test_values_and_bytes_only_with_literals(lively: View) -> None:
    for literals in (False, True):
        detail = panel(literals=literals)
        async with staged(detail, (160, 90)) as (stage, pilot):
            detail.open(lively, newest(lively, INSERT))
            detail.focus_table()
            await press(pilot, "end", "enter")
            shown = text(stage)
            assert ("writeErrors" in shown) is literals
            assert ("hex of the request" in shown) is literals
            assert ("_id: 7" in shown) is literals
            assert ("f0 3f" in shown) is literals  # of ok: 1.0
            assert ("hidden: --literals shows them" in shown) is not literals
            assert "E11000 duplicate key" in shown


async def test_parts_close_and_open(lively: View) -> None:
    detail = panel()
    async with staged(detail, (80, 60)) as (stage, pilot):
        detail.open(lively, newest(lively, INSERT))
        detail.focus_table()
        await press(pilot, "down", "enter")
        assert lines(stage)[4].startswith(" ▸ error")
        assert lines(stage)[5].startswith(" ▾ request")
        await press(pilot, "enter")
        assert "DuplicateKey" in lines(stage)[5]


async def test_next_and_previous_on_the_connection(lively: View) -> None:
    detail = panel()
    async with staged(detail) as (_stage, pilot):
        row = newest(lively, INSERT)
        on_connection = [
            each.number for each in lively.rows(0, lively.span().next) if each.connection == row.connection
        ]
        place = on_connection.index(row.number)
        detail.open(lively, row)
        detail.focus_table()
        for key, number in (
            ("n", on_connection[place + 1]),
            ("p", row.number),
            ("p", on_connection[place - 1]),
        ):
            await press(pilot, key)
            assert detail.row is not None
            assert detail.row.number == number


async def test_a_field_is_compared_from_request_to_request(lively: View) -> None:
    detail = panel()
    async with staged(detail) as (_stage, pilot):
        detail.open(lively, newest(lively, INSERT))
        assert detail.table.move_to((("request", "id"), 0))
        detail.focus_table()
        await press(pilot, "n")
        assert detail.table.cursor_row is not None
        assert detail.row is not None
        assert detail.table.cursor_row.cells[1] == str(detail.row.request_id)


async def test_there_is_nothing_before_the_first(lively: View) -> None:
    detail = panel()
    async with staged(detail) as (_stage, pilot):
        first = lively.rows(0, 1)[0]
        detail.open(lively, first)
        detail.focus_table()
        await press(pilot, "p")
        assert detail.row == first


async def test_copy_is_the_record_as_json(lively: View) -> None:
    detail = panel()
    async with staged(detail) as (stage, pilot):
        row = newest(lively, PRODUCE)
        detail.open(lively, row)
        detail.focus_table()
        await press(pilot, "y")
        record = json.loads(stage.clipboard)
        assert record["error_name"] == "NOT_LEADER_OR_FOLLOWER"
        assert record["request_id"] == row.request_id
        assert record["time_us"] == (row.start_ns + lively.facts().wall_offset_ns) // 1000
        assert record["request"]["topic_data"][0]["name"] == "orders"


async def test_requests_like_it(lively: View) -> None:
    detail = panel()
    async with staged(detail, (160, 60)) as (stage, pilot):
        row = newest(lively, PRODUCE)
        detail.open(lively, row)
        detail.show(lively, Window.M1, (Is("client", "10.0.3.9"),), NOW_NS)
        assert detail.table.move_to(((SAME,), 0))
        detail.focus_table()
        await press(pilot, "enter")
        (drill,) = stage.drills
        like_it = (Is("protocol", "kafka"), Is("operation", "Produce"), Is("version", 9), Is("target", "orders"))
        assert drill == (Is("client", "10.0.3.9"), *like_it)
        group = lively.groups(("protocol",), Window.M1, drill).groups[0]
        assert f"{group.totals.requests / 60:.1f} req/s" in text(stage)


async def test_the_shape_and_the_cursor() -> None:
    cursor = {"firstBatch": [{}, {}], "id": Int64(77), "ns": "shop.audit"}
    more = {"nextBatch": [{}] * 3, "id": Int64(77), "ns": "shop.audit"}
    done = {"nextBatch": [{}], "id": Int64(0), "ns": "shop.audit"}
    model = Model(START_NS)
    find = {"find": "audit", "filter": {"n": 1}}
    get_more = {"getMore": Int64(77), "collection": "audit"}
    for each in (exchanged(find, {"cursor": cursor}, 0.1), exchanged(get_more, {"cursor": more}, 2.1)):
        model.add(each)
    detail = panel()
    async with staged(detail, (160, 60)) as (stage, pilot):
        row = model.rows(0, 1)[0]
        detail.open(model, row)
        detail.show(model, Window.START, (), NOW_NS)
        await press(pilot)
        assert "find and 1 getMore, 5 documents, still open, last used after 2.0 s" in text(stage)
        model.add(exchanged(get_more, {"cursor": done}, 3.1))
        detail.open(model, model.rows(2, 1)[0])
        detail.show(model, Window.START, (), NOW_NS)
        await press(pilot)
        assert "find and 2 getMore, 6 documents, exhausted after 3.0 s" in text(stage)
        detail.open(model, row)
        detail.show(model, Window.START, (), NOW_NS)
        assert detail.table.move_to(((OF_SHAPE,), 0))
        detail.focus_table()
        await press(pilot, "enter")
        assert "find and 2 getMore, 6 documents, exhausted after 3.0 s" in text(stage)
        (drill,) = stage.drills
        assert [each.number for each in model.pick(model.matching(drill).numbers)] == [0]


async def test_a_request_in_flight_grows_older_and_then_ends() -> None:
    traffic, model = Traffic(), Model(START_NS)
    waiting = traffic.waiting(START_NS + 60 * SECOND)
    model.set_inflight(waiting, NOW_NS)
    detail = panel()
    async with staged(detail) as (stage, pilot):
        in_flight = model.inflight().rows[0]
        detail.open(model, in_flight)
        detail.show(model, Window.M1, (), NOW_NS)
        await press(pilot)
        assert "no reply for 41 s" in text(stage)
        detail.show(model, Window.M1, (), NOW_NS + SECOND)
        await press(pilot)
        assert "no reply for 42 s" in text(stage)

        ended = waiting[0]
        other = traffic.second(NOW_NS)[0]
        model.set_inflight(waiting[1:], NOW_NS)
        times = Times(ended.times.request_first, ended.times.request_last, NOW_NS, NOW_NS + 1000)
        model.add(other)
        model.add(replace(ended, status=Status.OK, times=times, reply_bytes=99))
        detail.show(model, Window.M1, (), NOW_NS + 2 * SECOND)
        await press(pilot)
        assert detail.row is not None
        assert detail.row.number == 1
        assert "wait 41.0 s" in text(stage)

        detail.open(model, in_flight)  # who comes late finds the same
        assert detail.row.number == 1


async def test_what_is_seen_to_wait_no_longer_does_not_grow_older() -> None:
    model = Model(START_NS)
    model.set_inflight(Traffic().waiting(NOW_NS), NOW_NS)
    detail = panel()
    async with staged(detail) as (stage, pilot):
        detail.open(model, model.inflight().rows[0])
        detail.show(model, Window.M1, (), NOW_NS)
        model.set_inflight([], NOW_NS)
        detail.show(model, Window.M1, (), NOW_NS + 9 * SECOND)
        await press(pilot)
        assert "waits 41 s" in text(stage)
        assert "no longer seen to wait" in text(stage)


async def test_both_ends_are_compared(lively: View) -> None:
    model = Model(START_NS)
    session = next(each for each in Traffic().second(START_NS + SECOND) if each.status is Status.OK)
    session.client = Connection(99, None)
    times = session.times
    session.client_times = times._replace(request_last=times.request_last - 100_000)
    model.add(session)
    detail = panel()
    async with staged(detail, (160, 21)) as (stage, pilot):
        detail.open(model, model.rows(0, 1)[0])
        await press(pilot)
        assert "100 µs in network and queues" in text(stage)
        for width in range(64, 100):  # a sentence is whole, or not there
            await pilot.resize_terminal(width, 21)
            await press(pilot)
            assert lines(stage)[1].rstrip().endswith((" ms", " µs", " queues"))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status.ONEWAY, "no reply is due"),
        (Status.LOST, "the connection closed before a reply"),
        (Status.DROPPED, "its reply went by unseen"),
        (Status.UNPARSED, "its times are not known"),
    ],
)
async def test_why_there_is_no_reply(status: Status, said: str) -> None:
    model = Model(START_NS)
    session = next(each for each in Traffic().second(START_NS + SECOND) if each.status is Status.ONEWAY)
    session.status = status
    model.add(session)
    detail = panel()
    async with staged(detail) as (stage, pilot):
        detail.open(model, model.rows(0, 1)[0])
        await press(pilot)
        assert said in text(stage)


class AtLeast(MongoDB):
    def record(self, session: Session, *, literals: bool) -> dict[str, object]:
        return {"nreturned_at_least": 12}


async def test_what_was_cut_is_at_least_what_was_seen(lively: View) -> None:
    detail = DetailPanel({"mongodb": AtLeast()}, literals=False)
    async with staged(detail) as (stage, pilot):
        detail.open(lively, newest(lively, INSERT))
        await press(pilot)
        assert "nreturned           ≥ 12" in text(stage)


class Broken(MongoDB):
    def record(self, session: Session, *, literals: bool) -> dict[str, object]:
        raise RuntimeError("a bug")


async def test_a_parsers_bug_costs_a_part_and_not_the_screen(lively: View) -> None:
    detail = DetailPanel({"mongodb": Broken()}, literals=True)
    async with staged(detail) as (stage, pilot):
        detail.open(lively, newest(lively, INSERT))
        await press(pilot)
        assert "DuplicateKey" in text(stage)


async def test_what_the_store_gave_up_says_so() -> None:
    class Evicted(Model):
        def session(self, row: Row) -> None:
            return None

    model = Evicted(START_NS)
    model.add(Traffic().second(START_NS + SECOND)[0])
    detail = panel()
    async with staged(detail) as (stage, pilot):
        detail.open(model, model.rows(0, 1)[0])
        detail.focus_table()
        await press(pilot, "y")
        assert "is no longer kept" in text(stage)
        assert stage.clipboard == ""


async def test_heads_that_are_gone_are_said_to_be(lively: View) -> None:
    detail = panel()
    async with staged(detail) as (stage, pilot):
        detail.open(lively, replace(newest(lively, INSERT), has_heads=False))
        await press(pilot)
        assert "heads are no longer kept" in text(stage)
