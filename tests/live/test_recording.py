"""A recording replays to what `l7top requests` printed at the same time, and tells nothing that users put into it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, OperationFailure

from probes.outputs.record import WallClock, session_record
from tests.live.recorder import Record
from tests.live.tool import TIMEOUT_S, Requests
from tests.recording.replay import sessions
from tests.recording.test_packets import tshark
from tests.servers import Mongod
from tests.tui.pty_session import REPOSITORY, pty_session

pytestmark = pytest.mark.live

SECRET = "s3cr3t-value"
# Two captures have two clocks, and a busy machine may show one of them but one end.
_OF_THE_MOMENT = {"time", "time_us", "duration_ns", "client_duration_ns", "wait_ns", "seen_from", "client_process"}
_HIDDEN = {"error"}


def replayed(path: Path) -> list[dict[str, Any]]:
    """The records of a recording's sessions."""
    found, protocols = sessions(path)
    clock = WallClock(0)
    return [session_record(s, protocols[s.protocol].record(s, literals=False), clock) for s in found]


def comparable(records: list[dict[str, Any]]) -> Counter[str]:
    """What does not depend on when one looked."""
    return Counter(
        repr(sorted((name, value) for name, value in record.items() if name not in _OF_THE_MOMENT | _HIDDEN))
        for record in records
        if record["operation"] not in ("hello", "isMaster", "ismaster")
    )


def work(mongod: Mongod, compressors: str) -> None:
    uri = f"{mongod.uri}&compressors={compressors}" if compressors else mongod.uri
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri, appname="billing") as client:
        orders: Collection[dict[str, Any]] = client["recorded"]["orders"]
        orders.drop()
        orders.create_index("number", unique=True)
        orders.insert_many({"number": n, "name": SECRET, "notes": SECRET * 20} for n in range(300))
        with pytest.raises(BulkWriteError):
            orders.insert_many([{"number": 1, "name": SECRET}, {"number": 2, "name": SECRET}], ordered=False)
        assert len(list(orders.find({"name": SECRET}, batch_size=100))) == 300
        assert orders.find_one({"number": 7}, comment=SECRET)
        orders.update_many({"name": SECRET}, {"$set": {"changed": SECRET}})
        with pytest.raises(OperationFailure):
            list(orders.aggregate([{"$match": {"$nonsense": SECRET}}]))
        with pytest.raises(OperationFailure):
            client["recorded"].command("createUser", SECRET, pwd=SECRET, roles=[SECRET])
        orders.with_options(write_concern=WriteConcern(w=0)).insert_one({"name": SECRET})
        orders.count_documents({"name": SECRET})


@pytest.mark.parametrize("compressors", ["", "zlib"])
def test_a_recording_replays_to_what_was_seen_and_hides_values(
    tmp_path: Path, mongod: Mongod, compressors: str
) -> None:
    path = tmp_path / "it.pcapng"
    with Requests() as requests, Record(path) as recorder:
        work(mongod, compressors)
        assert recorder.stop() == 0, recorder.narration
        printed = requests.stop()

    mine = [record for record in printed if record.get("target", "").startswith("recorded")]
    again = [record for record in replayed(path) if record.get("target", "").startswith("recorded")]
    assert len(mine) >= 12
    assert {record["seen_from"] for record in again} == {"both"}
    assert comparable(again) == comparable(mine)
    assert SECRET[:6].encode() not in path.read_bytes()
    operations = tshark(path, "-d", f"tcp.port=={mongod.port},mongo", "-T", "fields", "-e", "mongo.opcode")
    assert Counter(filter(None, operations))["2012" if compressors else "2013"] >= 20


@pytest.mark.parametrize("compressors", ["", "zlib"])
def test_what_the_dashboard_records_replays_to_the_same(tmp_path: Path, mongod: Mongod, compressors: str) -> None:
    environment, last = {"PYTHONPATH": REPOSITORY}, ["target:recorded.orders", "operation:aggregate"]
    with (
        pty_session(["-m", "tui.main", *last], columns=120, environment=environment, folder=tmp_path) as screen,
        Record(tmp_path / "it.pcapng") as recorder,
    ):
        assert screen.read_until("LIVE", TIMEOUT_S), screen.text
        screen.press("r")
        assert screen.read_until("recording what ends from now on", TIMEOUT_S), screen.text
        work(mongod, compressors)
        screen.press("4")
        assert screen.read_until(" log 2 of ", TIMEOUT_S), screen.text
        screen.press("r")
        assert screen.read_until("requests recorded", TIMEOUT_S), screen.text
        assert recorder.stop() == 0, recorder.narration
        screen.press("q")
        assert screen.process.wait(TIMEOUT_S) == 0

    (path,) = tmp_path.glob("l7top-*.pcapng")
    of_dashboard, of_command = (
        [record for record in replayed(each) if record.get("target", "").startswith("recorded")]
        for each in (path, tmp_path / "it.pcapng")
    )
    assert len(of_dashboard) >= 12
    assert comparable(of_dashboard) == comparable(of_command)


def test_with_literals_values_are_kept_and_passwords_are_not(tmp_path: Path, mongod: Mongod) -> None:
    path = tmp_path / "it.pcapng"
    client: MongoClient[dict[str, Any]] = MongoClient(mongod.uri)
    with Record(path, "--literals") as recorder, client:
        client["recorded"]["orders"].find_one({"name": SECRET})
        with pytest.raises(OperationFailure):
            client["recorded"].command("createUser", "somebody", pwd="p4ssw0rd", roles=["nonsense"])
        assert recorder.stop() == 0, recorder.narration

    assert SECRET.encode() in path.read_bytes()
    assert b"p4ssw0rd" not in path.read_bytes()
