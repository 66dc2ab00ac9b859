"""The key that begins and ends a recording, and the process that writes it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from probes.store.layout import MIN_BYTES
from probes.store.view import View
from probes.store.writer import Writer
from tests.recording.replay import packets
from tests.recording.test_follow import exchanges
from tests.store.synthetic import SECOND, START_NS
from tests.tui.dashboard import dashboard
from tests.tui.preview import Moving
from tests.tui.screen import lines, press
from tui.recorder import Recorder, Told

PATIENCE_S = 30


def wait_for(recorder: Recorder) -> Told:
    """What it says next."""
    deadline = time.monotonic() + PATIENCE_S
    while (told := recorder.look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return told


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "there"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_what_ends_between_two_presses_is_in_the_file(tmp_path: Path, there: Path) -> None:
    writer = Writer(MIN_BYTES, START_NS)
    recorder = Recorder(writer.fd, literals=False)
    recorder.toggle()
    begun = wait_for(recorder)
    for session in exchanges(tmp_path):
        writer.session(session)
    writer.flush(START_NS)
    assert recorder.is_on
    recorder.toggle()
    ended = wait_for(recorder)

    (path,) = there.iterdir()
    assert begun == Told(f"recording what ends from now on in {path}")
    assert ended == Told(f"40 requests recorded in {path}")
    assert not recorder.is_on
    assert len(list(packets(path))) > 80
    writer.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_nothing_can_be_written_it_says_so(there: Path) -> None:
    there.chmod(0o500)
    writer = Writer(MIN_BYTES, START_NS)
    recorder = Recorder(writer.fd, literals=False)
    recorder.toggle()
    assert wait_for(recorder).is_bad
    writer.close()


def test_where_a_file_is_in_the_way_it_says_so(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "taken.pcapng")
    (there / "taken.pcapng").write_text("mine")
    writer = Writer(MIN_BYTES, START_NS)
    recorder = Recorder(writer.fd, literals=False)
    recorder.toggle()
    told = wait_for(recorder)

    assert told.is_bad
    assert "taken.pcapng cannot be created: file exists" in told.sentence
    assert (there / "taken.pcapng").read_text() == "mine"
    assert not recorder.is_on
    writer.close()


class _Fake(Recorder):
    def __init__(self) -> None:
        self._on = False

    @property
    def is_on(self) -> bool:
        return self._on

    def toggle(self) -> None:
        self._on = not self._on

    def look(self) -> Told | None:
        return None


@pytest.fixture(scope="module")
def view() -> View:
    return Moving(20, still=True).view


async def test_the_header_says_that_a_recording_runs(view: View) -> None:
    async with dashboard(view, START_NS + 20 * SECOND, recorder=_Fake()) as (app, pilot):
        assert "REC" not in lines(app)[0]
        await press(pilot, "r")
        assert " REC " in lines(app)[0]
        await press(pilot, "r")
        assert "REC" not in lines(app)[0]


async def test_without_a_store_there_is_nothing_to_record_from(view: View) -> None:
    async with dashboard(view, START_NS + 20 * SECOND) as (app, pilot):
        await press(pilot, "r")
        assert "REC" not in lines(app)[0]
        assert any("nothing to record from" in notice.message for notice in app._notifications)
