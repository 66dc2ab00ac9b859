"""Sessions of captures are those that were: whole ones exactly, lost ones counted, and none that never was."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from probes.records import Session, Status
from probes.sources.captures.reassembly import GRACE
from tests.captures.reading import Told, sessions_of
from tests.captures.strangers import Steps, everyone
from tests.captures.writing import CLIENT, SERVER, Sent, Wire, pcap, pcapng
from tests.framing import messages as m
from tests.framing.messages import METADATA
from tests.framing.streams import Exchange
from tests.unit.kafka_messages import reply_bytes, request_bytes

STRANGERS = list(everyone())


def mongodb_exchange(n: int) -> Exchange:
    return m.op_msg(100 + n, padding=n % 5 * 500), m.op_msg(7000 + n, answers=100 + n, padding=n % 3 * 700)


def kafka_exchange(n: int) -> Exchange:
    topics = [{"name": f"orders-{topic}"} for topic in range(n % 4 * 50)]
    brokers = [{"host": f"broker-{broker}"} for broker in range(n % 5 * 30)]
    asked = request_bytes(METADATA, 9, {"topics": topics}, correlation_id=100 + n)
    return asked, reply_bytes(METADATA, 9, {"brokers": brokers}, correlation_id=100 + n)


EXCHANGES: dict[str, Callable[[int], Exchange]] = {"mongodb": mongodb_exchange, "kafka": kafka_exchange}
PROTOCOLS = pytest.mark.parametrize("protocol", EXCHANGES)


def play(wire: Wire, exchanges: Iterable[Exchange], *, acknowledge: bool = False) -> None:
    for request, reply in exchanges:
        wire.send(True, request, acknowledge=acknowledge)
        wire.send(False, reply, acknowledge=acknowledge)


def talk(protocol: str, count: int, **how: Any) -> Wire:
    """So many exchanges from the beginning to the end of a connection."""
    wire = Wire(**how)
    wire.open()
    play(wire, (EXCHANGES[protocol](n) for n in range(count)))
    wire.close()
    return wire


def check_account(told: Told) -> None:
    """Every message that was seen is under one cause."""
    ledger = told.ledger
    causes = ("sessions", "other_end", "waiting", "dropped", "unpaired", "unwatched", "unparsed", "foreign", "evicted")
    assert ledger["seen"] == sum(ledger.get(cause, 0) for cause in causes)
    assert ledger.get("parser_error", 0) == ledger.get("late", 0) == 0


def ids(sessions: Iterable[Session]) -> list[int]:
    return [session.request.id for session in sessions if session.request is not None]


def check_true(told: Told, exchanges: dict[int, Exchange]) -> None:
    """Each session is one of the exchanges, and none is told twice."""
    assert len(told.sessions) == len(set(ids(told.sessions)))
    for session in told.sessions:
        assert session.request is not None
        request, reply = exchanges[session.request.id]
        assert session.request_bytes == len(request)
        if session.reply is not None:
            assert (session.status, session.reply_bytes) == (Status.OK, len(reply))
            assert 0 < session.times.request_first <= session.times.request_last < session.times.reply_first


@PROTOCOLS
@pytest.mark.parametrize("most", [1, 7, 1448, 32_000])
def test_however_it_is_split_it_is_told_exactly(protocol: str, most: int) -> None:
    count = 12 if most == 1 else 101
    told = sessions_of(pcap(talk(protocol, count, most=most).packets))
    assert ids(told.sessions) == list(range(100, 100 + count))
    assert {session.status for session in told.sessions} == {Status.OK}
    check_true(told, {100 + n: EXCHANGES[protocol](n) for n in range(count)})
    check_account(told)


@PROTOCOLS
def test_what_comes_together_is_told_one_by_one(protocol: str) -> None:
    wire = Wire()
    wire.open()
    exchanges = [EXCHANGES[protocol](n) for n in range(101)]
    wire.send(True, b"".join(request for request, _ in exchanges))
    wire.send(False, b"".join(reply for _, reply in exchanges))
    told = sessions_of(pcap(wire.packets))
    assert sorted(ids(told.sessions)) == list(range(100, 201))
    assert {session.status for session in told.sessions} == {Status.OK}


@PROTOCOLS
@pytest.mark.parametrize("start", range(3, 60, 7))
def test_from_the_middle_of_a_connection_on(protocol: str, start: int) -> None:
    """The first session may be one whose request comes first; from then on all are told."""
    count = 30
    told = sessions_of(pcap(talk(protocol, count).packets[start:]))
    check_true(told, {100 + n: EXCHANGES[protocol](n) for n in range(count)})
    first = (start - 3) // 2 + 2  # whatever the capture cut, and one more
    assert set(range(100 + first, 100 + count)) <= set(ids(told.sessions))
    check_account(told)


@PROTOCOLS
@pytest.mark.parametrize("acknowledge", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_of_lost_packets_nothing_is_invented_and_the_rest_is_exact(protocol: str, acknowledge: bool, seed: int) -> None:
    count, chance = 400, random.Random(seed)
    wire = Wire(most=1448)
    wire.open()
    exchanges = {100 + n: EXCHANGES[protocol](n) for n in range(count)}
    hurt: set[int] = set()  # ids of exchanges of which a packet with data was lost
    kept = list(wire.packets)
    for id_, exchange in exchanges.items():
        wire.packets.clear()
        play(wire, [exchange], acknowledge=acknowledge)
        for packet in wire.packets:
            if chance.random() < 0.02:
                hurt.add(id_)
            else:
                kept.append(packet)
    wire.packets.clear()
    wire.close()
    told = sessions_of(pcap(kept + wire.packets))
    check_true(told, exchanges)
    check_account(told)
    answered = {session.request.id for session in told.sessions if session.reply is not None and session.request}
    whole = set(exchanges) - hurt
    # A message is looked for again where the next segment begins with one, so that later exchanges may be lost, too.
    near = {id_ + later for id_ in hurt for later in range(1, GRACE)}
    assert whole - near <= answered
    assert len(whole - answered) <= len(hurt)
    assert hurt
    # Nothing hangs and nothing was lost by the connection's end: what is missing was dropped, on our side.
    assert Counter(session.status for session in told.sessions if session.reply is None).keys() <= {Status.DROPPED}
    assert told.waiting == []


def shuffled(packets: list[Sent], seed: int) -> list[Sent]:
    """Each packet but the handshake's up to some places later; some of them twice."""
    chance = random.Random(seed)
    order = sorted(range(len(packets)), key=lambda n: n + chance.random() * 4 * (n > 2))
    again = [n for n in order for _ in range(1 + (chance.random() < 0.1))]
    times = sorted(packet.ns for packet in packets)
    return [packets[n]._replace(ns=times[min(place, len(times) - 1)]) for place, n in enumerate(again)]


@PROTOCOLS
@pytest.mark.parametrize("seed", range(5))
def test_out_of_order_and_twice_makes_no_difference(protocol: str, seed: int) -> None:
    packets = talk(protocol, 50, most=536, sequences=(2**32 - 1000, 2**32 - 2000), step_ns=100_000).packets
    told = sessions_of(pcap(shuffled(packets, seed)))
    assert sorted(ids(told.sessions)) == list(range(100, 150))
    assert {session.status for session in told.sessions} == {Status.OK}
    assert "holes" not in told.ledger
    assert told.ledger["duplicate_segments"] > 0


@PROTOCOLS
def test_the_same_segments_on_two_interfaces_count_once(protocol: str) -> None:
    packets = [each for packet in talk(protocol, 50).packets for each in (packet, packet._replace(ns=packet.ns + 900))]
    told = sessions_of(pcapng(packets, ("Ethernet", "Linux cooked v2")))
    assert ids(told.sessions) == list(range(100, 150))
    assert told.ledger["seen"] == 100
    assert told.ledger["duplicate_segments"] == 100


@PROTOCOLS
def test_snapped_packets_cost_no_session(protocol: str) -> None:
    packets = [packet.snapped(40 + 64) for packet in talk(protocol, 50).packets]
    told = sessions_of(pcap(packets))
    assert ids(told.sessions) == list(range(100, 150))
    assert {session.status for session in told.sessions} == {Status.OK}
    check_true(told, {100 + n: EXCHANGES[protocol](n) for n in range(50)})


@PROTOCOLS
def test_addresses_that_come_again_are_another_connection(protocol: str) -> None:
    packets = []
    for n in range(3):
        packets += talk(protocol, 5, sequences=(5 * n, 7_000_000 * n), begin_ns=10**18 + n * 10**6).packets
    told = sessions_of(pcap(packets))
    assert ids(told.sessions) == list(range(100, 105)) * 3
    assert len({session.connection.id for session in told.sessions}) == 3


@PROTOCOLS
@pytest.mark.parametrize("how", ["closed", "reset", "neither"])
def test_a_request_without_reply_waits_until_the_connection_ends(protocol: str, how: str) -> None:
    wire = Wire()
    wire.open()
    play(wire, [EXCHANGES[protocol](1)])
    wire.send(True, EXCHANGES[protocol](2)[0])
    if how == "closed":
        wire.close()
    elif how == "reset":
        wire.reset(False)
    told = sessions_of(pcap(wire.packets))
    expected = [Status.OK] if how == "neither" else [Status.OK, Status.LOST]
    assert [session.status for session in told.sessions] == expected
    assert ids(told.waiting) == ([102] if how == "neither" else [])


@PROTOCOLS
def test_a_last_reply_that_was_not_captured_is_known_by_its_acknowledgement(protocol: str) -> None:
    wire = Wire()
    wire.open()
    play(wire, [EXCHANGES[protocol](1)])
    request, reply = EXCHANGES[protocol](2)
    wire.send(True, request)
    wire.lose(False, reply)
    wire.acknowledge(True)
    wire.close()
    told = sessions_of(pcap(wire.packets))
    assert [session.status for session in told.sessions] == [Status.OK, Status.DROPPED]
    assert (told.ledger["holes"], told.ledger["lost_bytes"]) == (1, len(reply))


@pytest.mark.parametrize("young", [True, False])
@pytest.mark.parametrize(("name", "steps"), STRANGERS, ids=[name for name, _ in STRANGERS])
@pytest.mark.parametrize("most", [32_000, 11])
def test_strangers_are_not_taken_for_ours(name: str, steps: Steps, young: bool, most: int) -> None:
    told = strangers(steps, young=young, most=most, server=SERVER)
    assert told.sessions == told.waiting == []
    assert strangers(steps, young=young, most=most, server=("10.0.0.2", 9092)).sessions == []


def strangers(steps: Steps, *, young: bool, most: int, server: tuple[str, int]) -> Told:
    wire = Wire(CLIENT, server, most=most)
    if young:
        wire.open()
    for outbound, data in steps:
        wire.send(outbound, data)
    return sessions_of(pcap(wire.packets))
