"""What is shown becomes a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probes.store.layout import MIN_BYTES
from probes.store.reader import Reader
from probes.store.view import View
from probes.store.writer import Writer
from tests.recording.replay import sessions
from tests.recording.test_follow import exchanges
from tests.recording.test_tap import SECRET
from tests.store.synthetic import SECOND, START_NS
from tests.tui.dashboard import dashboard
from tests.tui.preview import Moving
from tests.tui.screen import press
from tui.widgets.table import LineTable

NOW_NS = START_NS + 20 * SECOND


@pytest.fixture(scope="module")
def view() -> View:
    return Moving(20, still=True).view


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "there"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def lines(place: Path) -> list[dict[str, Any]]:
    (path,) = place.iterdir()
    assert path.suffix == ".jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_rows_of_a_table_by_their_columns(view: View, there: Path) -> None:
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "2", "E")
        tables = [table for table in app.query(LineTable) if table.is_on_screen and table.rows]
        shown = [row.cells for table in tables for row in table.rows]

    exported = lines(there)
    assert len(exported) == len(shown) > 3
    assert any(SECRET not in str(row) and "shop.orders" in row.values() for row in exported)


async def test_the_requests_that_fit_as_records(view: View, there: Path) -> None:
    async with dashboard(view, NOW_NS, filter_text="operation:find") as (_, pilot):
        await press(pilot, "4", "E")

    exported = lines(there)
    assert len(exported) > 100
    assert {record["operation"] for record in exported} == {"find"}
    assert [record["time_us"] for record in exported] != []
    assert "request" not in exported[0]


async def test_of_a_request_its_connection_as_a_recording(tmp_path: Path, there: Path) -> None:
    writer = Writer(MIN_BYTES, START_NS)
    for session in exchanges(tmp_path):
        writer.session(session)
    writer.flush(START_NS)
    async with dashboard(Reader(writer.fd), START_NS, filter_text="protocol:kafka") as (_, pilot):
        await press(pilot, "4", "enter", "E")
    writer.close()

    (path,) = there.iterdir()
    assert path.suffix == ".pcapng"
    found, _ = sessions(path)
    assert len(found) == 20
    assert {session.protocol for session in found} == {"kafka"}


async def test_what_cannot_be_written_is_said(view: View, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.export._path", lambda suffix: there / f"taken.{suffix}")
    (there / "taken.jsonl").write_text("mine")
    async with dashboard(view, NOW_NS) as (app, pilot):
        await press(pilot, "2", "E")
        assert any("File exists" in notice.message for notice in app._notifications)

    assert (there / "taken.jsonl").read_text() == "mine"
