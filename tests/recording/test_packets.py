"""What of heads becomes packets, and becomes the same heads again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.outputs.recording.files import Files
from probes.outputs.recording.packets import MOST_SEGMENT_BYTES, segments
from probes.outputs.recording.writer import Recording
from probes.records import Address, Connection, Head, Process
from probes.sources.marks import ConnectionMark, InterfaceMark
from tests.recording.replay import heads, packets
from tests.unit.mongodb_messages import command

HERE, THERE = Address("127.0.0.1", 27017), Address("127.0.0.1", 51544)
SERVER = Connection(1, Process(712, "mongod"), HERE, THERE, 4_026_531_840, "mongodb")
OFFSET_NS = 1_700_000_000_000_000_000
HEAD_BYTES, TAIL_BYTES = 1024, 512


def recorded(path: Path, *messages: tuple[Connection, Head]) -> Path:
    """A recording of these messages at `path`."""
    path.unlink(missing_ok=True)
    recording = Recording(Files(path), OFFSET_NS, literals=True)
    for connection, head in messages:
        recording.message(connection, head)
    recording.flush()
    recording.close()
    return path


def cut(data: bytes, number: int = 0, *, first_ns: int = 1_000, last_ns: int = 1_000, tail: bool = True) -> Head:
    """The head of a request as a source gives it; without its tail, where that was not kept."""
    end = data[max(HEAD_BYTES, len(data) - TAIL_BYTES) :] if tail else b""
    return Head(False, number, first_ns, last_ns, len(data), data[:HEAD_BYTES], end)


@pytest.mark.parametrize("size", [1, 40, 900, 1024, 1025, 5000, 63_000, 64_000, 130_000, 200_000])
@pytest.mark.parametrize("took_ns", [0, 5_000])
@pytest.mark.parametrize("tail", [False, True])
def test_a_message_of_any_length_is_read_again_as_it_was(tmp_path: Path, size: int, took_ns: int, tail: bool) -> None:
    data = command({"insert": "orders", "note": "x" * size, "$db": "shop"})
    head = cut(data, first_ns=7, last_ns=7 + took_ns, tail=tail)

    path = recorded(tmp_path / "one.pcapng", (SERVER, head))

    ((connection, again, _),) = heads(path)
    assert again is not None
    assert (connection.process, connection.near, connection.far) == (SERVER.process, HERE, THERE)
    assert connection.namespace == SERVER.namespace
    assert not again.outbound
    assert (again.first_ns - OFFSET_NS, again.last_ns - OFFSET_NS, again.total) == (7, 7 + took_ns, len(data))
    assert again.data == data[:HEAD_BYTES]
    # What follows an uncaptured stretch is a window to whoever frames a stream, and the tail what comes after it.
    windows = b"".join(window for _, window in again.windows)
    assert (windows + again.tail) == head.tail or len(data) <= HEAD_BYTES


@given(
    total=st.integers(1, 300_000),
    cuts=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 600)), max_size=4),
    kept=st.integers(0, 1100),
    tail=st.integers(0, 512),
    took_ns=st.integers(0, 1),
)
def test_segments_are_the_whole_message_in_order_and_hold_what_was_kept(
    total: int, cuts: list[tuple[int, int]], kept: int, tail: int, took_ns: int
) -> None:
    data = bytes(1 + at % 255 for at in range(total))
    windows = tuple((at, data[at : at + size]) for at, size in cuts if at < total)
    head = Head(True, 0, 0, took_ns, total, data[:kept], data[total - min(tail, total) :] if tail else b"", windows)

    parts = segments(head)

    assert [part.offset for part in parts] == [sum(part.length for part in parts[:i]) for i in range(len(parts))]
    assert sum(part.length for part in parts) == total
    assert all(0 < part.length <= MOST_SEGMENT_BYTES for part in parts)
    assert all(part.captured == data[part.offset : part.offset + len(part.captured)] for part in parts)
    assert all(len(part.captured) <= part.length for part in parts)
    assert parts[-1].ns == took_ns
    assert parts[0].ns == 0 or total == 1
    seen = {at for part in parts for at in range(part.offset, part.offset + len(part.captured))}
    assert seen == {
        *range(min(kept, total)),
        *(at for start, window in windows for at in range(start, start + len(window))),
        *(range(total - min(tail, total), total) if tail else ()),
    }


def test_a_lost_message_is_a_hole_in_the_stream(tmp_path: Path) -> None:
    data = command({"ping": 1, "$db": "shop"})
    path = recorded(tmp_path / "hole.pcapng", *((SERVER, cut(data, number)) for number in (5, 6, 9)))

    first, second, third = (packet.sequence for packet in packets(path))

    assert second - first == len(data)
    assert third - second > len(data)


@pytest.mark.parametrize(
    ("near", "far"),
    [
        (Address("/run/mongodb.sock", 0), Address("", 0)),
        (Address("", 0), Address("", 0)),
        (Address("::1", 27017), Address("::1", 4)),
        (Address("10.0.0.1", 27017), Address("::1", 4)),
    ],
)
def test_addresses_come_back_whatever_they_were(tmp_path: Path, near: Address, far: Address) -> None:
    connection = Connection(9, None, near, far, 0, "mongodb")
    path = recorded(tmp_path / "addresses.pcapng", (connection, cut(command({"ping": 1, "$db": "shop"}))))

    ((again, _, _),) = heads(path)

    assert (again.near, again.far, again.process) == (near, far, None)


def test_connections_without_addresses_are_told_apart(tmp_path: Path) -> None:
    data = command({"ping": 1, "$db": "shop"})
    sockets = [Connection(id, None, Address("/run/mongodb.sock", 0), protocol="mongodb") for id in (1, 2)]
    path = recorded(tmp_path / "sockets.pcapng", *((connection, cut(data)) for connection in sockets))

    assert len({(packet.source, packet.destination) for packet in packets(path)}) == 2
    assert [head.total for _, head, _ in heads(path) if head is not None] == [len(data)] * 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    process=st.none() | st.builds(Process, st.integers(1, 1 << 22), st.text(), st.text()),
    namespace=st.integers(0, 1 << 32),
)
def test_an_interface_mark_is_read_as_it_was_written(process: Process | None, namespace: int) -> None:
    mark = InterfaceMark(process, namespace)

    assert InterfaceMark.read(mark.text()) == mark
    assert ConnectionMark.read(mark.text()) is None


@given(st.text() | st.text().map(lambda text: f"l7top: {text}") | st.just('l7top: {"connection": {"near": [1]}}'))
def test_what_is_no_mark_is_none(text: str) -> None:
    assert InterfaceMark.read(text) is None
    assert ConnectionMark.read(text) is None


def test_tshark_reads_each_message(tmp_path: Path) -> None:
    data = command({"find": "orders", "filter": {"customer": "somebody"}, "$db": "shop"})
    long = command({"insert": "orders", "note": "x" * 200_000, "$db": "shop"})
    heads = cut(data, 0), cut(long, 1, last_ns=2_000), cut(data, 2, first_ns=3_000, last_ns=4_000)
    path = recorded(tmp_path / "tshark.pcapng", *((SERVER, head) for head in heads))

    lines = tshark(path, "-d", "tcp.port==27017,mongo", "-T", "fields", "-e", "tcp.len", "-e", "mongo.element.name")

    assert sum(int(line.split("\t")[0]) for line in lines) == 2 * len(data) + len(long)
    assert [line.split("\t")[1] for line in lines if "find" in line] == ["find,filter,customer,$db"] * 2
    assert any("insert" in line for line in lines)


def tshark(path: Path, *arguments: str) -> list[str]:
    """What tshark prints of a recording."""
    return subprocess.run(
        ["tshark", "-r", str(path), *arguments], capture_output=True, text=True, check=True
    ).stdout.splitlines()
