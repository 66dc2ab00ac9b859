"""The kernel program and the framing in Python show the same heads of the same system calls."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence

import pytest

from probes.feeding import SHORT_HEAD_BYTES
from probes.kernel.compiler import STEPS
from probes.kernel.loader import Kernel
from probes.records import Head
from probes.scope import PortUse, Scope
from probes.sources.framing import ConnectionFraming
from tests.framing import messages as m
from tests.framing.conftest import LACKING
from tests.framing.corpus import CUTS, OTHERS, SPLITS
from tests.framing.player import (
    End,
    Receive,
    Send,
    connect,
    discard,
    peek_first,
    play,
    read,
    readv,
    recv,
    recvmsg,
    send,
    sendmsg,
    splice,
    take,
    waiting,
    write,
    writev,
)
from tests.framing.streams import Case, back, cut, out
from tests.framing.watch import HEAD_BYTES, EndLog, Script, Seen, Watch, framed, timeless

pytestmark = pytest.mark.live

CHAINED = 33  # walks of one call, by tail calls


def look(watch: Watch, script: Script, *, scan: bool = False) -> list[tuple[EndLog, Seen | None]]:
    """What happened at each end of the script, and what was told of it, to the end of the connections."""
    with watch.child(script, scan=scan) as (pid, logs):
        told = watch.recorder.of(pid)
        by_ports = {seen.ports: seen for seen in told}
        assert len(by_ports) == len(told)
        assert by_ports.keys() <= {log.ports for log in logs}
    assert all(seen.closed for seen in told)
    return [(log, by_ports.get(log.ports)) for log in logs]


def check(name: str, log: EndLog, seen: Seen | None, *, young: bool = True) -> list[Head]:
    """The kernel told the same heads as the framing in Python makes of the same calls: those."""
    heads, whole = framed(log.chunks, young=young)
    assert timeless(seen.heads if seen is not None else []) == heads, name
    assert (seen.whole if seen is not None else [0, 0]) == whole, name
    return heads


@pytest.mark.parametrize("young", [True, False], ids=["young", "old"])
@pytest.mark.parametrize("cases", [CUTS, SPLITS, OTHERS], ids=["cuts", "splits", "others"])
@pytest.mark.parametrize(
    ("send", "receive"),
    [(write, read), (send, recv), (writev, readv), (sendmsg, recvmsg), (send, peek_first)],
    ids=["write-read", "send-recv", "writev-readv", "sendmsg-recvmsg", "send-peek"],
)
def test_corpus(watch: Watch, cases: Sequence[Case], send: Send, receive: Receive, young: bool) -> None:
    vectored = send in (writev, sendmsg)
    mine = [case for case in cases if case.young is young]
    inherited = [] if young else [connect() for _ in mine]

    def script() -> list[End]:
        ends: list[End] = []
        for case, pair in zip(mine, inherited or [connect() for _ in mine], strict=True):
            play(case.steps, *pair, send, receive, vain=receive is peek_first)
            ends += pair
        return ends

    seen = look(watch, script, scan=not young)
    for pair in inherited:
        for end in pair:
            end.sock.close()
    for case, near, far in zip(mine, seen[::2], seen[1::2], strict=True):
        heads = check(f"{case.name}, connecting end", *near, young=young)
        check(f"{case.name}, accepting end", *far, young=young)
        if not vectored:  # the steps are the calls
            assert len(heads) == len(case.inbound) + len(case.outbound), case.name


@pytest.mark.parametrize("everywhere", [PortUse.NONE, PortUse.MONGODB, PortUse.KAFKA])
@pytest.mark.parametrize("by_port", [PortUse.NONE, PortUse.MONGODB, PortUse.KAFKA, PortUse(7)])
def test_the_verifier_accepts_whatever_is_looked_for(everywhere: PortUse, by_port: PortUse) -> None:
    """Its bound is on instructions looked at, and what it can leave out differs between such programs."""
    if everywhere or by_port:
        scope = Scope(everywhere, {9999: by_port} if by_port else {})
        Kernel(head_bytes=16384, ring_bytes=1 << 20, max_connections=64, scope=scope).close()


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_it_fits_the_stack_of_a_program_as_built_for_aarch64(lacking: tuple[str, ...]) -> None:
    Kernel(head_bytes=16384, ring_bytes=1 << 20, max_connections=64, without=("X86_64", *lacking)).close()


def test_ignored_connections_are_told_with_a_reason(watch: Watch) -> None:
    cases = [case for case in OTHERS if case.ignored]

    def script() -> list[End]:
        ends: list[End] = []
        for case in cases:
            pair = connect()
            play(case.steps, *pair, write, read)
            ends += pair
        return ends

    with watch.child(script) as (pid, _):
        told = [ignored.tls for ignored in watch.source.ignored.values() if ignored.pid == pid]
    expected = []
    for case in cases:
        framing = ConnectionFraming(young=True)
        for step in case.steps:
            framing.feed(step.outbound, step.data, 1)
        assert framing.ignored
        assert framing.tls is case.name.startswith("tls")
        expected += [framing.tls] * 2
    assert told == expected


def test_many_small_vectors(watch: Watch) -> None:
    most = os.sysconf("SC_IOV_MAX")
    stream = b"".join(m.op_msg(n, padding=n) for n in range(1, 60))

    def script() -> list[End]:
        client, server = connect()
        for at in range(0, len(stream), most):
            pieces = [stream[i : i + 1] for i in range(at, min(at + most, len(stream)))]
            client.note(True, pieces, os.writev(client.sock.fileno(), pieces))
            buffers = [bytearray(1) for _ in range(most)]
            while waiting(server) < len(pieces):
                pass
            server.note(False, buffers, os.readv(server.sock.fileno(), buffers))
        return [client, server]

    for log, seen in look(watch, script):
        assert len(log.chunks) == len(stream)
        assert len(check("one byte a vector", log, seen)) == 59


@pytest.mark.parametrize("surplus", [0, 1, 100])
def test_more_messages_in_a_call_than_a_walk_can_see(watch: Watch, surplus: int) -> None:
    most = CHAINED * STEPS // 2  # two steps a message
    small = [m.kafka_request(n) for n in range(most + surplus)]
    last = m.kafka_request(5000)

    def script() -> list[End]:
        client, server = connect()
        play(out(b"".join(small), last), client, server, write, read)
        return [client, server]

    for log, seen in look(watch, script):
        outbound = log.chunks[0].outbound
        framing = ConnectionFraming(young=True)
        expected = framing.feed(outbound, b"".join(small[:most]), 1)
        if surplus:
            framing.gap(outbound)
        expected += framing.feed(outbound, last, 1)
        assert seen is not None
        assert timeless(seen.heads) == [head._replace(first_ns=0, last_ns=0) for head in expected]
        assert len(seen.heads) == most + 1


def test_bytes_dropped_by_the_reader(watch: Watch) -> None:
    request, second = m.op_msg(1, padding=3000), m.op_msg(2)

    def script() -> list[End]:
        client, server = connect()
        write(client, request + second)
        take(server, 40, recv)
        take(server, 900, discard)
        take(server, 60, recv)
        take(server, len(request) - 1000, discard)
        take(server, len(second), recv)
        return [client, server]

    (sent, _), (received, seen) = look(watch, script)
    assert [chunk.length for chunk in received.chunks] == [40, 900, 60, len(request) - 1000, len(second)]
    first, last = check("MSG_TRUNC", received, seen)
    assert (first.data, first.windows) == (request[:40], ((940, request[940:1000]),))
    assert last.data == second
    assert sum(chunk.length for chunk in sent.chunks) == len(request + second)


def test_a_number_that_is_used_again(watch: Watch) -> None:
    rounds = 101

    def script() -> list[End]:
        gone, numbers = [], set()
        for n in range(rounds):
            client, server = connect()
            numbers.add((client.sock.fileno(), server.sock.fileno()))
            half = m.op_msg(n, padding=500)[:100]
            play(out(m.op_msg(n), half) + back(m.op_msg(n, answers=n)), client, server, write, read)
            client.sock.close()
            server.sock.close()
            gone += [client, server]
        assert len(numbers) == 1
        return gone

    with watch.child(script) as (pid, logs):
        told = watch.recorder.of(pid)
    assert len(told) == 2 * rounds
    for seen in told:
        assert seen.closed
        assert seen.whole == [1, 1]
    assert sorted(timeless(seen.heads) for seen in told) == sorted(framed(log.chunks)[0] for log in logs)


def test_duplicates_of_a_descriptor(watch: Watch) -> None:
    def script() -> list[End]:
        client, server = connect()
        for n in range(3):
            number = client.sock.fileno()
            duplicate = os.dup(number) if n == 0 else os.dup2(number, 200 + n, inheritable=n == 1)
            again = End(socket.socket(fileno=duplicate))  # by fcntl, dup2, dup3
            again.log = client.log
            play(out(m.op_msg(n)[:30]), client, server, write, read)
            client.sock.close()  # one of two
            client = again
            play(out(m.op_msg(n)[30:]) + back(m.op_msg(n, answers=n)), client, server, write, read)
        os.dup2(client.sock.fileno(), client.sock.fileno())
        play(out(m.op_msg(7)), client, server, write, read)
        return [client, server]

    for log, seen in look(watch, script):
        assert len(check("duplicates", log, seen)) == 7


def test_threads_that_write_to_one_connection(watch: Watch) -> None:
    threads, each = 8, 251
    sent = {m.op_msg(n, padding=n % 300) for n in range(threads * each)}
    size = sum(map(len, sent))

    def script() -> list[End]:
        client, server = connect()

        def write_some(first: int) -> None:
            for n in range(first, first + each):
                data = m.op_msg(n, padding=n % 300)
                assert os.write(client.sock.fileno(), data) == len(data)

        writers = [threading.Thread(target=write_some, args=(n * each,)) for n in range(threads)]
        for writer in writers:
            writer.start()
        taken = 0
        while taken < size:
            taken += read(server, 65536)
        for writer in writers:
            writer.join()
        return [client, server]

    (_, sender), (log, receiver) = look(watch, script)
    check("reader", log, receiver)
    for seen in (sender, receiver):
        assert seen is not None
        assert [head.number for head in seen.heads] == list(range(threads * each))
        assert {head.data for head in seen.heads} == sent


def test_connections_take_turns(watch: Watch) -> None:
    """Two connections, every message of either cut by those of the other."""

    def script() -> list[End]:
        mongodb, kafka = connect(), connect()
        for n in range(50):
            requests = cut(m.op_msg(n, padding=200), 4, 16, 100), cut(m.kafka_request(n, body=m.filler(90)), 4, 13, 60)
            replies = cut(m.op_msg(n, answers=n), 16), cut(m.kafka_reply(n), 4)
            for build, pieces in ((out, requests), (back, replies)):
                for one, other in zip(*pieces, strict=True):
                    play(build(one), *mongodb, write, read)
                    play(build(other), *kafka, send, recv)
        return [*mongodb, *kafka]

    for log, seen in look(watch, script):
        assert len(check("turns", log, seen)) == 100


@pytest.mark.parametrize("family", [socket.AF_INET6, socket.AF_UNIX], ids=["ipv6", "unix"])
def test_other_families(watch: Watch, family: socket.AddressFamily) -> None:
    case = next(case for case in CUTS if case.name == "mongodb young whole")

    def script() -> list[End]:
        client, server = connect(family)
        play(case.steps, client, server, write, read)
        return [client, server]

    with watch.child(script) as (pid, logs):
        told = watch.recorder.of(pid)
    assert [timeless(seen.heads) for seen in told] == [framed(log.chunks)[0] for log in logs]
    assert all(seen.closed for seen in told)


def test_times_are_those_of_the_first_and_the_last_byte(watch: Watch) -> None:
    request = m.op_msg(1, padding=2000)

    def script() -> list[End]:
        client, server = connect()
        play(out(*cut(request, 4, 1000)), client, server, write, read)
        return [client, server]

    (_, sender), (_, receiver) = look(watch, script)
    assert sender is not None
    assert receiver is not None
    (sent,), (received,) = sender.heads, receiver.heads
    assert sent.first_ns < received.first_ns < sent.last_ns < received.last_ns


def test_heads_are_short_while_the_host_is_spared(watch: Watch) -> None:
    requests = [m.op_msg(id_, padding=2000) for id_ in range(3)]

    def script() -> list[End]:
        client, server = connect()
        play(out(*requests, m.op_msg(4)), client, server, write, read)
        return [client, server]

    for sparing, size in ((True, SHORT_HEAD_BYTES), (False, HEAD_BYTES)):
        watch.kernel.enable(True, sparing=sparing)
        for log, seen in look(watch, script):
            assert seen is not None
            assert [head.data for head in seen.heads] == [*(each[:size] for each in requests), m.op_msg(4)]
            assert [head.total for head in seen.heads] == [len(each) for each in (*requests, m.op_msg(4))]
            assert framed(log.chunks)[1] == seen.whole


def test_bytes_by_an_unwatched_way_are_no_part_of_a_message(watch: Watch) -> None:
    def script() -> list[End]:
        client, server = connect()
        write(client, m.op_msg(1))
        assert splice(client, m.op_msg(2)) == len(m.op_msg(2))
        write(client, m.op_msg(3))
        take(server, waiting(server), read)
        return [client, server]

    (_, sender), (_, receiver) = look(watch, script)
    assert sender is not None
    assert receiver is not None
    assert [head.data for head in sender.heads] == [m.op_msg(1), m.op_msg(3)]
    assert [head.data for head in receiver.heads] == [m.op_msg(n) for n in (1, 2, 3)]
