"""MongoDB and Kafka: what the keys group by, and that a row leads to the requests it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bson import Binary, Int64

from probes.filters import Term
from probes.protocols.kafka.facts import GroupFacts, KafkaFacts, RoundFacts
from probes.protocols.mongodb.lives import Lives
from probes.store.view import Is, View, Window
from tests.store.model import Model
from tests.store.synthetic import LOADS, SECOND, START_NS, Traffic
from tests.tui.mongodb_sessions import exchanged
from tests.tui.screen import check_snapshot, lines, press, staged, text
from tests.unit import kafka_messages
from tests.unit.mongodb_messages import LSID
from tui.screens.consumers import round_rows
from tui.screens.grouped import GroupedPanel
from tui.screens.kafka import KafkaPanel
from tui.screens.lives import OpenTable
from tui.screens.mongodb import MongoDBPanel, opcodes_line
from tui.widgets.table import LineTable

NOW_NS = START_NS + 60 * SECOND
SIZES = ((80, 21), (160, 47))  # what the frame leaves of 80×24 and 160×50
PANELS: tuple[tuple[type[GroupedPanel], str], ...] = (
    *((MongoDBPanel, key) for key in "ocnhaep"),
    *((KafkaPanel, key) for key in "vtgcep"),
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("panel_type", "key"), PANELS)
async def test_what_each_key_shows(
    lively: View, panel_type: type[GroupedPanel], key: str, size: tuple[int, int]
) -> None:
    panel = panel_type()
    async with staged(panel, size) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, key)
        check_snapshot(f"{panel.ident}-{key}-{size[0]}", text(stage))


@pytest.mark.parametrize(("panel_type", "key"), PANELS)
async def test_a_row_leads_to_the_requests_behind_it(lively: View, panel_type: type[GroupedPanel], key: str) -> None:
    panel = panel_type()
    where = (Term("target", "!=", "shop.lines"),)
    async with staged(panel) as (stage, pilot):
        panel.show(lively, Window.START, where, NOW_NS)
        panel.focus_table()
        await press(pilot, key, "down", "enter")
        (drill,) = stage.drills
        assert drill[:2] == (*where, Is("protocol", panel.protocol))
        row = panel.table.cursor_row
        assert row is not None
        assert isinstance(row.key, tuple)
        by = panel._groupings[panel.grouping].by
        (group,) = (each for each in lively.groups(by, Window.START, drill).groups if each.key == row.key)
        assert group.totals.requests == len(lively.matching(drill).numbers)
        assert group.inflight == lively.inflight(drill).total
        assert group.totals.requests > 0


@pytest.mark.parametrize(("width", "shown"), [(120, ["kafka-more"]), (160, ["kafka-consumers", "kafka-more"])])
async def test_the_lower_tables_stand_side_by_side_where_their_names_fit(
    lively: View, width: int, shown: list[str]
) -> None:
    panel = KafkaPanel()
    async with staged(panel, (width, 47)) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, "c")
        assert [table.id for table in panel.query("#kafka-lower LineTable") if table.display] == shown
        (row,) = (line for line in lines(stage) if " zstd" in line)
        assert "shop-1 " in row


def test_a_rebalance_that_leaves_nobody_takes_no_time() -> None:
    last = RoundFacts(2, SECOND, SECOND, 0, True, "left billing-1")
    group = GroupFacts("billing", "classic", "Empty", 2, 0, True, None, True, None, 2, (last,))
    (row,) = round_rows(KafkaFacts(groups=(group,)), 0)
    assert row.cells[4] == "–"


async def test_a_group_of_consumers_leads_to_its_requests(lively: View) -> None:
    panel = KafkaPanel()
    async with staged(panel) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.query_one("#kafka-consumers", LineTable).focus()
        await press(pilot, "enter")
        assert stage.drills == [(Is("protocol", "kafka"), Is("target", "billing"))]


@pytest.mark.parametrize(
    ("key", "conditions"),
    [
        ("t", (Is("target", "orders"),)),
        ("g", (Is("target", "billing"),)),
        ("c", (Is("operation", "Produce"), Is("application", "metrics"), Is("client", "10.0.3.8"))),
    ],
)
async def test_the_lower_table_leads_to_the_requests_behind_it(
    lively: View, key: str, conditions: tuple[Is, ...]
) -> None:
    panel = KafkaPanel()
    async with staged(panel) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, key)
        panel.query_one("#kafka-more", LineTable).focus()
        await press(pilot, "enter")
        assert stage.drills == [(Is("protocol", "kafka"), *conditions)]


async def test_what_is_not_known_is_no_number() -> None:
    """A group of which only its requests are known, before anything was learned of it."""
    panel, traffic, model = KafkaPanel(), Traffic(loads=LOADS[-1:]), Model(START_NS)
    for session in traffic.second(START_NS + SECOND):
        model.add(session)
    model.fold(START_NS + SECOND)
    async with staged(panel) as (stage, pilot):
        panel.show(model, Window.M1, (), START_NS + SECOND)
        await press(pilot)
        (row,) = (line.split() for line in lines(stage) if line.startswith("billing ") and "OffsetCommit" not in line)
        assert row == ["billing", "?", "?", "?", "?", "0", "?"]


async def test_sorting_is_kept_and_so_is_the_cursor(lively: View) -> None:
    panel = MongoDBPanel()
    async with staged(panel) as (stage, pilot):
        panel.show(lively, Window.M1, (), NOW_NS)
        panel.focus_table()
        await press(pilot, "down", "down")
        assert panel.table.cursor_key == ("insert", "shop.orders")
        for _ in range(3):
            await press(pilot, "greater_than_sign")
        assert panel.table.sort_name == "p90"
        assert lines(stage)[2].startswith("aggregate")
        panel.show(lively, Window.S10, (), NOW_NS)
        await press(pilot)
        assert panel.table.cursor_key == ("insert", "shop.orders")
        assert lines(stage)[2].startswith("aggregate")
        await press(pilot, "I")
        assert lines(stage)[2].startswith("insert")


async def test_a_filter_that_the_log_answers_says_since_when(lively: View) -> None:
    panel = MongoDBPanel()
    async with staged(panel, (120, 21)) as (stage, pilot):
        panel.show(lively, Window.M1, (Term("duration", ">", "1ms"),), NOW_NS)
        await press(pilot)
        assert "from the log, since 08:16:41" in lines(stage)[0]


@pytest.mark.parametrize("panel_type", [MongoDBPanel, KafkaPanel])
async def test_nothing_to_show_is_said(panel_type: type[GroupedPanel]) -> None:
    panel = panel_type()
    async with staged(panel) as (stage, pilot):
        panel.show(Model(START_NS), Window.M1, (), START_NS)
        panel.focus_table()
        await press(pilot, "down", "enter", *(key for each, key in PANELS if each is panel_type))
        assert f"no {panel.title} request in this window" in text(stage)
        assert stage.drills == []


async def test_what_is_open_is_shown_with_its_age() -> None:
    session = {"lsid": LSID, "txnNumber": Int64(1), "autocommit": False}
    cursor = {"firstBatch": [{}, {}], "id": Int64(77), "ns": "shop.audit"}
    stream = {"firstBatch": [], "id": Int64(78), "ns": "shop.orders"}
    watch = {"aggregate": "orders", "pipeline": [{"$changeStream": {}}], "cursor": {}}
    more = {"nextBatch": [{}] * 3, "id": Int64(77), "ns": "shop.audit"}
    done = {"nextBatch": [{}], "id": Int64(0), "ns": "shop.lines"}
    conflict = {"ok": 0.0, "code": 112, "codeName": "WriteConflict", "errmsg": "x"}
    another = {**session, "lsid": {"id": Binary(bytes(16), 4)}}
    sessions = [
        exchanged({"find": "audit", "filter": {}}, {"cursor": cursor}, 0.1),
        exchanged({"insert": "orders", "startTransaction": True, **session}, {"n": 1}, 0.2, compressor=2),
        exchanged(watch, {"cursor": stream}, 0.3),
        exchanged({"insert": "orders", "startTransaction": True, **another}, {"n": 1}, 0.4),
        exchanged({"update": "orders", **another}, conflict, 0.5),
        exchanged({"getMore": Int64(77), "collection": "audit"}, {"cursor": more}, 0.6),
        exchanged({"getMore": Int64(5), "collection": "lines"}, {"cursor": done}, 0.7),
    ]
    model = Model(START_NS)
    for each in sessions:
        model.add(each)
    model.fold(START_NS + SECOND)
    panel = MongoDBPanel()
    now_ns = START_NS + 41 * SECOND
    async with staged(panel, (160, 47)) as (stage, pilot):
        panel.show(model, Window.M1, (), now_ns)
        await press(pilot)
        check_snapshot("mongodb-open-160", "\n".join(line.rstrip() for line in lines(stage)[:33]))
        await pilot.resize_terminal(60, 47)
        await press(pilot)
        assert " cursors  2 open, oldest 41 s: find shop.audit…  exhausted 1\n" in text(stage)
        assert " transactions  1 open, oldest 41 s: transaction shop.orders…\n" in text(stage)
        panel.query_one(OpenTable).focus()
        await press(pilot, "down", "down", "enter")
        assert [row.operation for row in stage.details] == ["insert"]
        assert stage.drills == []


async def test_clients_are_shown_with_their_software() -> None:
    said = {"client_software_name": "apache-kafka-java", "client_software_version": "3.7.0"}
    request = kafka_messages.request_bytes(18, 3, said, client_id="consumer-1")
    load = replace(LOADS[-1], request=request, reply=kafka_messages.reply_bytes(18, 3, {}))
    traffic, model = Traffic(loads=(load,)), Model(START_NS)
    for session in traffic.second(START_NS + SECOND):
        model.add(session)
    model.fold(START_NS + SECOND)
    panel = KafkaPanel()
    async with staged(panel, (160, 47)) as (stage, pilot):
        panel.show(model, Window.M1, (), START_NS + SECOND)
        panel.focus_table()
        await press(pilot, "c")
        assert "apache-kafka-java 3.7.0" in text(stage)


def test_the_line_of_opcodes_says_nothing_by_half(lively: View) -> None:
    groups = lively.groups(("opcode",), Window.M1, (Is("protocol", "mongodb"),))
    whole = [part.text for part in opcodes_line(groups, Lives(), 200)]
    assert whole[-1].startswith(" legacy")
    for width in range(200):
        shown = [part.text for part in opcodes_line(groups, Lives(), width)]
        assert sum(map(len, shown)) <= width
        assert set(shown) <= set(whole)
