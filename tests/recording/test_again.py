"""A capture becomes a recording, and a recording another one, without changing what they tell."""

from __future__ import annotations

from pathlib import Path

from probes import headless
from probes.options import CaptureOptions
from probes.outputs.recording.files import NO_ROTATION, Rotation
from tests.recording.replay import sessions
from tests.recording.test_follow import exchanges
from tests.recording.test_tap import SECRET, records


def record(source: Path, path: Path, rotation: Rotation = NO_ROTATION, *, literals: bool = False) -> None:
    headless.record(CaptureOptions(source=str(source), literals=literals), path, rotation)


def shown(path: Path) -> list[dict[str, object]]:
    found, protocols = sessions(path)
    return records(found, protocols)


def test_a_recording_of_a_recording_tells_the_same(tmp_path: Path) -> None:
    exchanges(tmp_path)
    first = tmp_path / "host.pcapng"
    for number in range(2):
        record(first, tmp_path / f"{number}.pcapng")
        assert shown(tmp_path / f"{number}.pcapng") == shown(first)
        first = tmp_path / f"{number}.pcapng"
    assert len(shown(first)) == 40


def test_literals_that_were_kept_can_be_hidden_later(tmp_path: Path) -> None:
    plain, masked = tmp_path / "plain.pcapng", tmp_path / "masked.pcapng"
    exchanges(tmp_path, literals=True)
    record(tmp_path / "host.pcapng", plain, literals=True)
    record(plain, masked)

    assert SECRET.encode() in plain.read_bytes()
    assert SECRET.encode()[:5] not in masked.read_bytes()
    assert shown(masked) == shown(plain)


def test_files_that_follow_each_other_tell_together_what_one_does(tmp_path: Path) -> None:
    exchanges(tmp_path)
    record(tmp_path / "host.pcapng", tmp_path / "part.pcapng", Rotation(size_bytes=6_000))

    parts = sorted(tmp_path.glob("part_*.pcapng"))
    assert len(parts) > 3
    assert sum(len(shown(part)) for part in parts) >= 40
