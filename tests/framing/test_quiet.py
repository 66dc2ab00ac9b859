"""A client's end that the kernel keeps quiet tells no messages, but when they went by, and keeps what waits."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

import pytest

from probes.records import Head
from probes.sources.live import LiveSource
from tests.framing import messages as m
from tests.framing.player import (
    End,
    Receive,
    Send,
    connect,
    play,
    read,
    readv,
    recv,
    recvmsg,
    send,
    sendmsg,
    write,
    writev,
)
from tests.framing.streams import Step, back, cut, out
from tests.framing.watch import Seen, Watch

pytestmark = pytest.mark.live


def keep_quiet(watch: Watch, pid: int, end: End) -> None:
    """The kernel tells the first message of this end, and no further one."""
    id_ = watch.kernel.maps["descriptors"].lookup(struct.pack("<Q", pid << 32 | end.sock.fileno()))
    assert id_ is not None
    watch.kernel.quieten(id_[:8])


def quiet(
    watch: Watch, pair: tuple[End, End], *steps: Iterable[Step], send: Send = write, receive: Receive = read
) -> Seen:
    """What was told of the connecting end: quiet as soon as the kernel has told that it exists."""

    def script() -> list[End]:
        for step in steps:
            play(step, *pair, send, receive)
        return list(pair)

    with watch.child(script, scan=True, before=lambda pid: keep_quiet(watch, pid, pair[0])) as (pid, _):
        pass
    for end in pair:
        end.sock.close()
    client, server = watch.recorder.of(pid)
    assert client.closed
    assert client.connection.near.port == pair[0].ports[0]
    assert not server.exchanges
    return client


def ids(seen: Seen) -> list[tuple[int, bool, bool]]:
    """Of each exchange its id, and whether the request and the reply are told."""
    for _, times, messages in seen.exchanges:
        told = [t for t in (times[:2], times[2:]) if any(t)]
        assert len(told) == messages
        assert all(0 < first <= last for first, last in told)
    return [(id_, bool(times.request_last), bool(times.reply_last)) for id_, times, _ in seen.exchanges]


def each_once(told: list[tuple[int, bool, bool]]) -> dict[int, list[int]]:
    """By id, how often the request and the reply are told."""
    counts: dict[int, list[int]] = {}
    for id_, *both in told:
        counts[id_] = [a + b for a, b in zip(counts.get(id_, (0, 0)), both, strict=True)]
    return counts


CALLS = pytest.mark.parametrize(
    ("send", "receive"),
    [(write, read), (send, recv), (writev, readv), (sendmsg, recvmsg)],
    ids=["write-read", "send-recv", "writev-readv", "sendmsg-recvmsg"],
)


@CALLS
def test_exchanges_one_after_the_other(watch: Watch, send: Send, receive: Receive) -> None:
    rounds = range(1, 102)
    steps = [s for n in rounds for s in (out(m.op_msg(n, padding=n)), back(m.op_msg(900, answers=n, padding=n)))]
    seen = quiet(watch, connect(), *steps, send=send, receive=receive)
    asked = [head.data[4] for head in seen.heads]  # of before, and those of which too little was seen at first
    assert asked == ([1] if send not in (writev, sendmsg) else list(rounds))
    assert each_once(ids(seen)) == {n: [n not in asked, 1] for n in rounds}
    assert seen.whole == [0, len(asked)]
    times = [t for _, both, _ in seen.exchanges for t in (both[:2], both[2:]) if any(t)]
    assert times == sorted(times)


def test_pieces_and_large_messages(watch: Watch) -> None:
    big = m.op_msg(2, padding=200_000)
    steps = [out(m.op_msg(1)), back(m.op_msg(900, answers=1))]
    steps += [out(*cut(big, 4, 16, 100, 70_000)), back(*cut(m.op_msg(901, answers=2, padding=90_000), 16, 50_000))]
    steps += [out(*cut(m.op_msg(3), 1, 2, 30)), back(*cut(m.op_msg(902, answers=3), 4, 15))]
    steps += [out(*cut(m.op_msg(4), 40)), back(m.op_msg(903, answers=4))]
    seen = quiet(watch, connect(), *steps)
    # The header alone of 2 does not say yet whether there will be a reply.
    assert [head.data[4] for head in seen.heads] == [1, 2]
    assert ids(seen) == [(1, False, True), (2, False, True), (3, True, True), (4, True, True)]


def test_several_at_once(watch: Watch) -> None:
    steps = [out(m.kafka_request(1)), back(m.kafka_reply(1))]
    steps += [out(m.kafka_request(2), m.kafka_request(3), m.kafka_request(4))]
    steps += [back(*cut(m.kafka_reply(2), 4)), back(m.kafka_reply(3) + m.kafka_reply(4))]
    steps += [out(m.kafka_request(5) + m.kafka_request(6)), back(m.kafka_reply(5)), back(m.kafka_reply(6))]
    seen = quiet(watch, connect(), *steps)
    assert each_once(ids(seen)) == {1: [0, 1], **{n: [1, 1] for n in range(2, 7)}}


def test_what_may_get_no_reply_is_told_as_ever(watch: Watch) -> None:
    steps = [out(m.op_msg(1)), back(m.op_msg(900, answers=1))]
    oneway = [m.op_msg(n, flags=m.MORE_TO_COME) for n in (2, 3)]
    seen = quiet(watch, connect(), *steps, *map(out, oneway), out(m.op_msg(4)), back(m.op_msg(901, answers=4)))
    assert [head.data for head in seen.heads] == [m.op_msg(1), *oneway]
    assert [head.number for head in seen.heads] == [0, 1, 2]
    assert ids(seen) == [(1, False, True), (4, True, True)]
    assert seen.whole == [0, 3]
    produce = m.kafka_request(2, api_key=m.PRODUCE)
    seen = quiet(
        watch, connect(), out(m.kafka_request(1)), back(m.kafka_reply(1)), out(produce), back(m.kafka_reply(2))
    )
    assert [head.data for head in seen.heads] == [m.kafka_request(1), produce]
    assert ids(seen) == [(1, False, True), (2, False, True)]


def test_a_request_without_its_reply_is_told_at_the_end(watch: Watch) -> None:
    steps = [out(m.op_msg(1)), back(m.op_msg(900, answers=1)), out(m.op_msg(2))]
    assert ids(quiet(watch, connect(), *steps)) == [(1, False, True), (2, True, False)]


@pytest.mark.parametrize("padding", [0, 300, 30_000])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_waits_is_kept(watch: Watch, padding: int, family: socket.AddressFamily) -> None:
    pair, waiting = connect(family), m.op_msg(2, padding=padding)
    found: list[Head] = []

    def script() -> list[End]:
        for steps in (out(m.op_msg(1)), back(m.op_msg(900, answers=1)), out(waiting)):
            play(steps, *pair, write, read)
        return list(pair)

    source: LiveSource = watch.source
    seen_before = {c.id for c in source.connections()}

    with watch.child(script, scan=True, before=lambda pid: keep_quiet(watch, pid, pair[0])):
        (client,) = [c for c in source.connections() if c.id not in seen_before and c.near.port == pair[0].ports[0]]
        source._quiet.add(client.id)
        found += [head for connection, head in source.quiet_requests(0, 1 << 62) if connection is client]
    for end in pair:
        end.sock.close()
    (head,) = found
    assert head.total == len(waiting)
    assert len(head.data) >= min(len(waiting), 448)
    assert waiting.startswith(head.data)
    assert client.id not in source._quiet  # closed by now
