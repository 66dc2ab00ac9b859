"""The files of a recording: whose they are, when the next one begins, and what stays when no more can be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from probes.exit_codes import ExitCode, Refusal
from probes.outputs.recording.files import Files, RecordingEndedError, Rotation
from probes.outputs.recording.pcapng import section, whole_blocks
from probes.outputs.recording.writer import Recording
from tests.recording.replay import heads, packets
from tests.recording.test_packets import SERVER, cut, tshark
from tests.unit.mongodb_messages import command

DATA = command({"ping": 1, "comment": "x" * 200, "$db": "shop"})
SECOND_NS = 1_000_000_000


def record(files: Files, count: int, *, every_ns: int = 0) -> Recording:
    recording = Recording(files, 0, literals=False)
    for number in range(count):
        ns = number * every_ns
        recording.message(SERVER, cut(DATA, number, first_ns=ns, last_ns=ns))
    recording.flush()
    return recording


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    record(Files(tmp_path / "it.pcapng"), 1).close()

    status = (tmp_path / "it.pcapng").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for it is about giving its rights up")
def test_under_sudo_it_is_the_callers_and_made_with_their_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    theirs, roots = tmp_path / "theirs", tmp_path / "roots"
    for place in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        place.chmod(0o755)
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    roots.mkdir(0o755)

    Files(theirs / "it.pcapng").close()
    with pytest.raises(Refusal, match="permission denied"):
        Files(roots / "it.pcapng")

    status = (theirs / "it.pcapng").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65534, 0o600)
    assert os.geteuid() == 0
    assert not list(roots.iterdir())


def test_what_exists_is_left_as_it_is(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious", tmp_path / "link"
    precious.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")

    for path in (precious, link):
        with pytest.raises(Refusal, match="exists") as refusal:
            Files(path)
        assert refusal.value.exit_code is ExitCode.OUTPUT

    assert precious.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_size_begins_the_next_file_and_each_can_be_read_alone(tmp_path: Path) -> None:
    record(Files(tmp_path / "it.pcapng", Rotation(size_bytes=4096)), 40).close()

    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths[:2]] == ["it_00001.pcapng", "it_00002.pcapng"]
    assert len(paths) > 2
    assert all(path.stat().st_size <= 4096 for path in paths)
    found = [(connection.near, head.data) for path in paths for connection, head, _ in heads(path) if head]
    assert found == [(SERVER.near, DATA)] * 40
    assert all(tshark(path) for path in paths)


def test_a_time_begins_the_next_file_and_only_the_last_are_kept(tmp_path: Path) -> None:
    rotation = Rotation(seconds=10, keep=2)
    record(Files(tmp_path / "it.pcapng", rotation), 35, every_ns=SECOND_NS).close()

    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ["it_00003.pcapng", "it_00004.pcapng"]
    assert [len(list(packets(path))) for path in paths] == [10, 5]


def test_a_message_longer_than_a_file_may_be_has_one_of_its_own(tmp_path: Path) -> None:
    record(Files(tmp_path / "it.pcapng", Rotation(size_bytes=64)), 3).close()

    assert [len(list(packets(path))) for path in sorted(tmp_path.iterdir())] == [1, 1, 1]


def test_where_there_is_no_room_all_that_was_written_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 3_000
    write = os.write

    def until_full(fd: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(fd, data[:room])
        room -= written
        return written

    files = Files(tmp_path / "it.pcapng")
    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(RecordingEndedError, match=r"it\.pcapng: no space left on device"):
        record(files, 40)

    found = [head for _, head, _ in heads(tmp_path / "it.pcapng") if head]
    assert 0 < len(found) < 40
    assert all(head.data == DATA for head in found)


@pytest.mark.parametrize("most", range(0, 140, 7))
def test_whole_blocks(most: int) -> None:
    blocks = section("a", "b") + section("long " * 9, "comment")

    end = whole_blocks(blocks, min(most, len(blocks)))

    first = len(section("a", "b"))
    assert end == (len(blocks) if most >= len(blocks) else first if most >= first else 0)
