"""What the dashboard records from its store replays to the sessions that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.options import CaptureOptions
from probes.outputs.recording.files import Files
from probes.outputs.recording.follow import Follower
from probes.outputs.recording.writer import Recording
from probes.records import Head, Session, Side, Status
from probes.sources.framing import ConnectionFraming
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
from tests.unit.mongodb_messages import REPLY_END, answer, command, kind0, kind1, op_msg
from tests.unit.test_mongodb_masking import EXCHANGES


@pytest.fixture
def store() -> Iterator[tuple[Writer, Reader]]:
    writer = Writer(4 * MIN_BYTES, START_NS)
    yield writer, Reader(writer.fd)
    writer.close()


def follow(view: Reader, path: Path, *, literals: bool = False) -> Follower:
    return Follower(view, Recording(Files(path), 0, literals=literals), literals=literals)


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


@pytest.mark.parametrize("literals", [False, True])
@pytest.mark.parametrize("head_bytes", [128, 300, 1024, 1200])
def test_it_replays_as_a_recording_of_the_capture_itself_does(
    tmp_path: Path, store: tuple[Writer, Reader], head_bytes: int, literals: bool
) -> None:
    """The messages' ends, too, and what is known from them alone."""
    writer, view = store
    host = Host(tmp_path / "host.pcapng", CaptureOptions(literals=literals))
    follower = follow(view, tmp_path / "it.pcapng", literals=literals)
    ends = host.connection(1, server=True), host.connection(2, server=False)
    framings = [ConnectionFraming(young=True, head_bytes=head_bytes) for _ in ends]
    last = len(list(every_exchange())) - 1
    for number, exchange in enumerate(every_exchange()):
        for outbound, message in zip((False, True), numbered_exchange(exchange, number), strict=True):
            ns = (1_000 + 10 * number) * MS
            for end, framing, away in zip(ends, framings, (outbound, not outbound), strict=True):
                heads = framing.feed(away, message, ns + MS * away, first_ns=ns)
                if (number, outbound) not in ((3, True), (last, True)):
                    host.pass_by((end, each) for each in heads)
        host.tick(0)
    for session in host.finish():
        if session.status is Status.INFLIGHT:
            writer.inflight([session], START_NS)
        else:
            writer.session(session)
    writer.flush(START_NS)
    follower.finish()

    by_itself, by_the_store = (
        sessions(tmp_path / name, head_bytes=head_bytes) for name in ("host.pcapng", "it.pcapng")
    )
    assert records(*by_the_store) == records(*by_itself)
    assert len(by_itself[0]) == last + 1
    assert {Status.DROPPED, Status.INFLIGHT} < {session.status for session in by_itself[0]}


def every_exchange() -> Iterator[tuple[bytes, bytes]]:
    """Requests and replies, short and long, whose ends tell what their beginnings do not."""
    yield from EXCHANGES.values()
    long = {"text": SECRET * 200}
    yield command({"find": "orders", "$db": "shop"}), answer(found(90, cursor=771))
    yield command({"insert": "orders", "documents": [long] * 3, "$db": "shop"}), answer({"n": 3, **REPLY_END})
    yield (
        op_msg(kind1("documents", [long] * 3), kind0({"insert": "orders", "$db": "shop"})),
        answer({"n": 3, "writeErrors": [{"index": 0, "code": 11000, "errmsg": SECRET * 200}] * 2, **REPLY_END}),
    )
    yield command({"explain": {"find": "orders"}, "$db": "shop"}), answer({"queryPlanner": long, "ok": 1.0})
    yield command({"aggregate": "orders", "$db": "shop"}), answer({"text": long, "ok": 0.0, "code": 50, "errmsg": ""})


def numbered_exchange(exchange: tuple[bytes, bytes], number: int) -> tuple[bytes, bytes]:
    """The same with ids of their own."""
    asked, answered = exchange
    id = number.to_bytes(4, "little")
    return asked[:4] + id + asked[8:], answered[:4] + (5000 + number).to_bytes(4, "little") + id + answered[12:]


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
