"""The README promises what the code keeps: fields, options, exit codes."""

import re
from pathlib import Path
from typing import Any

import bson
import pytest
from kafka.record import MemoryRecordsBuilder

from probes import cli
from probes.exit_codes import ExitCode
from probes.filters import FIELDS as FILTER_FIELDS
from probes.outputs.record import FIELDS as RECORD_FIELDS
from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB
from probes.records import Connection, Session, Side, Status, Times
from probes.sessions.causes import Cause
from probes.store.red import DEFAULT_BY as GROUPED_BY
from probes.store.red import FIELDS as GROUP_FIELDS
from probes.store.red import MAX_CELLS, Red
from tests.unit.kafka_messages import CONNECTION, exchange, framed, golden, head, request_header, session
from tests.unit.mongodb_messages import compressed, kind0, op_msg
from tests.unit.sample_sessions import samples

README = (Path(__file__).parents[2] / "README.md").read_text()

LIFTED = {"error", "trace_id", "span_id", "request", "response"}  # to the record's top level


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", README.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(heading: str, first: str) -> list[str]:
    """The code words in the first column of the table with that first column, below that heading."""
    rows = re.split(rf"^\| {re.escape(first)} \|", section(heading), maxsplit=1, flags=re.MULTILINE)[1].split("\n\n")[0]
    names: list[str] = []
    for row in rows.splitlines()[2:]:
        cell = row.split("|")[1]
        names += re.findall(r"`([^`]+)`", cell) or [cell.strip()]
    return names


def test_the_fields_of_the_record() -> None:
    assert [name for name in table("The record", "Field") if name not in ("mongodb", "kafka")] == list(RECORD_FIELDS)


def test_the_fields_of_a_filter() -> None:
    assert sorted(table("FILTER", "Field")) == sorted(FILTER_FIELDS)


def test_the_exit_codes() -> None:
    assert [int(code) for code in table("Exit codes", "Code")] == sorted(ExitCode)


def test_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    documented = {
        (command, row.split("`")[1].split()[0])
        for row in section("Commands").splitlines()
        if row.startswith("| `--")
        for command in row.split("|")[2].replace(",", " ").split()
    }
    offered = set()
    for command in cli.COMMANDS:
        cli.main([command, "--help"])
        usage = capsys.readouterr().out.split("\n\n")[0]
        offered |= {(command, option) for option in re.findall(r"--[a-z-]+", usage)}
    assert documented == offered


def test_the_fields_of_a_group() -> None:
    red = Red()
    red.add(samples())
    told = {name for group in red.groups() for name in group.row(1.0) if name not in GROUP_FIELDS}
    assert sorted(table("Rates, errors, durations", "In a group")) == sorted(told)
    taken = section("Rates, errors, durations").split("`--by` takes: ")[1].split("At most")[0]
    assert re.findall(r"`([a-z_]+)`", taken) == list(GROUP_FIELDS)
    assert f"{MAX_CELLS:,}" in section("Rates, errors, durations")
    assert ",".join(GROUPED_BY) in section("Commands")


def test_the_causes_of_the_ledger() -> None:
    assert sorted(table("Losses", "Cause")) == sorted(["seen", *Cause])


def test_every_status_is_explained() -> None:
    (row,) = (line for line in section("The record").splitlines() if line.startswith("| `status`"))
    assert set(Status) <= set(re.findall(r"`([a-z]+)`", row))


def test_what_only_kafka_has() -> None:
    kafka, messages = Kafka(), dict[tuple[int, int], dict[str, bytes]]()
    for each in golden():
        messages.setdefault((each.api_key, each.version), {})[each.direction] = each.message
    told, of_partitions = set[str](), set[str]()
    for sent in messages.values():
        memory = kafka.memory(CONNECTION)
        request = kafka.request(head(sent["request"]), memory)
        reply = kafka.reply(head(sent["response"]), request, memory)
        own = kafka.record(session(request, reply), literals=True)
        told |= own.keys()
        of_partitions |= {name for partition in own.get("partitions", ()) for name in partition}
    unknown = kafka.request(head(framed(request_header(0, 30))), kafka.memory(CONNECTION))
    told |= kafka.record(session(unknown, None), literals=True).keys()
    told |= exchange(11, 9, {"group_id": "billing", "reason": "rejoin"}, {}).record.keys()
    assert sorted(table("The record", "In `kafka`")) == sorted(told - LIFTED)
    of_partitions |= of_batches()
    assert sorted(table("The record", "In a partition")) == sorted(of_partitions)


def of_batches() -> set[str]:
    """What is told of partitions whose records are really batches."""
    builder = MemoryRecordsBuilder(2, 0, 1 << 20, transactional=True, producer_id=7, producer_epoch=2, base_sequence=0)
    builder.append(1_700_000_000_000, None, b"paid", [])
    builder.close()
    marker = bytearray(builder.buffer())
    marker[22] |= 0x20
    parts = [{"partition_index": 0, "high_watermark": 5, "records": bytes(marker) * 2}]
    topics = [{"topic": "orders", "partitions": parts}]
    asked = {"topics": [{"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": 1}]}]}
    whole = exchange(1, 12, asked, {"responses": topics}).record
    cut = exchange(1, 12, {}, {"responses": topics}, size=140).record
    return {name for record in (whole, cut) for part in record["partitions"] for name in part}


def test_what_only_mongodb_has() -> None:
    find = {"find": "orders", "filter": {"x": "y" * 500}}
    options = {
        "readConcern": {"level": "majority"},
        "writeConcern": {"w": 1},
        "$readPreference": {"mode": "nearest"},
        "maxTimeMS": 5,
        "hint": "a_1",
        "comment": "c",
        "lsid": {"id": bson.Binary(bytes(16), 4)},
        "txnNumber": bson.Int64(3),
        "autocommit": False,
    }
    client = {"application": {"name": "shop"}, "driver": {"name": "x"}, "platform": "y"}
    conflict = {"ok": 0.0, "code": 112, "errmsg": "", "errorLabels": ["TransientTransactionError"]}
    told = set[str]()
    exchanges: list[tuple[dict[str, Any], dict[str, Any], int | None, bool]] = [
        ({"hello": 1, "client": client}, {"ok": 1.0}, None, False),
        ({"insert": "orders"}, {"n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": ""}]}, None, False),
        ({**find, **options}, conflict, None, False),
        (find, {"cursor": {"firstBatch": [{}], "id": 7}, "ok": 1.0}, None, True),
        (find, {"cursor": {"id": 7, "firstBatch": [{"x": "y" * 100}] * 9}, "ok": 1.0}, 400, False),
    ]
    for command, answer, size, is_compressed in exchanges:
        told |= mongodb_record(command, answer, size, is_compressed).keys()
    assert sorted({*told, "exhaust", "wrong_checksums"} - LIFTED) == sorted(table("The record", "In `mongodb`"))
    assert "exhaust" in mongodb_record({"getMore": 7}, {"ok": 1.0}, None, False, reply_flags=2)


def mongodb_record(
    command: dict[str, Any], answer: dict[str, Any], size: int | None, is_compressed: bool, reply_flags: int = 0
) -> dict[str, Any]:
    """What MongoDB says of a command and its answer, of each of which `size` bytes were seen."""
    mongodb, connection = MongoDB(), Connection(1, None)
    memory = mongodb.memory(connection)
    asked, answered = op_msg(kind0({**command, "$db": "shop"})), op_msg(kind0(answer), flags=reply_flags)
    if is_compressed:
        asked, answered = compressed(asked, 2), compressed(answered, 2)
    request = mongodb.request(head(asked, size), memory)
    reply = mongodb.reply(head(answered, size), request, memory)
    times = Times(1, 2, 3, 4)
    return mongodb.record(
        Session("mongodb", Status.OK, Side.SERVER, connection, request, reply, times, 1, 1), literals=True
    )
