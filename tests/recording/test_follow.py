"""What the dashboard records from its store replays to the sessions that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.options import CaptureOptions
from probes.outputs.recording.files import Files
from probes.outputs.recording.follow import Follower
from probes.outputs.recording.writer import Recording
from probes.records import Head, Session, Side
from probes.store.layout import MIN_BYTES
from probes.store.reader import Reader
from probes.store.writer import Writer
from tests.recording.replay import sessions
from tests.recording.test_packets import tshark
from tests.recording.test_tap import FIND, MS, SECRET, Host, found, head, records
from tests.store.small import small_store
from tests.store.synthetic import START_NS
from tests.store.test_wrap import numbered
from tests.unit.kafka_messages import encoded, framed, reply_header, request_header
from tests.unit.mongodb_messages import answer, command


@pytest.fixture
def store() -> Iterator[tuple[Writer, Reader]]:
    writer = Writer(4 * MIN_BYTES, START_NS)
    yield writer, Reader(writer.fd)
    writer.close()


def follow(view: Reader, path: Path) -> Follower:
    return Follower(view, Recording(Files(path), 0, literals=False), literals=False)


def exchanges(tmp_path: Path, *, literals: bool = False) -> list[Session]:
    """Sessions of MongoDB seen from both ends, of Kafka from the server's, some without a reply.

    They are recorded in host.pcapng.
    """
    host = Host(tmp_path / "host.pcapng", CaptureOptions(literals=literals))
    server, client = host.connection(1, server=True), host.connection(2, server=False)
    alone = host.connection(3, server=True, client_port=4)
    for number in range(20):
        ns = (1_000 + number * 10) * MS
        asked = command(FIND, id=number, flags=2 if number % 5 == 4 else 0)
        reply = answer(found(number), id=500 + number, to=number)
        events = [(client, _at(asked, number, ns, True)), (server, _at(asked, number, ns + MS, False))]
        if number % 5 != 4:
            place = number - number // 5
            events += [(server, _at(reply, place, ns + 2 * MS, True)), (client, _at(reply, place, ns + 3 * MS, False))]
        host.pass_by(events)
        fetch = framed(request_header(1, 11, number) + encoded(1, 11, "request", {"topics": [{"topic": "orders"}]}))
        fetched = framed(reply_header(1, 11, number) + encoded(1, 11, "response", {"error_code": 6 * (number % 2)}))
        host.pass_by([(alone, _at(fetch, number, ns, False)), (alone, _at(fetched, number, ns + MS, True))])
    return host.finish()


def _at(data: bytes, number: int, ns: int, outbound: bool) -> Head:
    return head(data, number, ns, outbound=outbound, took_ns=1_000)


def test_what_ends_from_now_on_replays_as_it_was(tmp_path: Path, store: tuple[Writer, Reader]) -> None:
    writer, view = store
    all_of_them = exchanges(tmp_path)
    for session in all_of_them[:6]:
        writer.session(session)
    writer.flush(START_NS)
    follower = follow(view, tmp_path / "it.pcapng")
    for start in range(6, len(all_of_them), 9):
        for session in all_of_them[start : start + 9]:
            writer.session(session)
        writer.flush(START_NS)
        follower.turn()

    kept = [each for row in view.rows(6, 1 << 20) if (each := view.session(row)) is not None]
    again, protocols = sessions(tmp_path / "it.pcapng")
    assert (follower.written, follower.gone) == (len(all_of_them) - 6, 0)
    assert records(again, protocols) == records(kept, protocols)
    assert {session.seen_from for session in again} == {Side.BOTH, Side.SERVER}
    assert SECRET.encode()[:5] not in (tmp_path / "it.pcapng").read_bytes()
    assert tshark(tmp_path / "it.pcapng")


def test_what_was_overwritten_before_it_could_be_written_is_counted(tmp_path: Path) -> None:
    with small_store(rows=200) as (writer, view):
        follower = follow(view, tmp_path / "it.pcapng")
        for number in range(1000):
            writer.session(numbered(number))
        writer.flush(START_NS)
        follower.turn()

    assert follower.written + follower.gone == 1000
    assert follower.gone >= 800
    assert "were gone before they could be written" in follower.told()
