"""Requests meet their replies: ids, one-way requests, exhaust, order, what cannot be read, bounds."""

from __future__ import annotations

import pytest

from probes.records import Connection, Ledger, Process, Session, Side, Status, Times
from probes.sessions.pairing import MAX_EARLY, Pairing

from .fake_protocol import BROKEN, BUG, CONTINUES, FAILED, LONG, NO_ID, ONEWAY, REPLY, REQUEST, FakeProtocol, head
from .pairing_harness import MS, Harness


def test_a_pair_is_a_session() -> None:
    wire = Harness()
    wire.ask(5, at=10, total=200)
    wire.answer(5, at=12)
    (session,) = wire.sessions
    assert session.status is Status.OK
    assert session.protocol == "fake"
    assert session.connection is wire.connection
    assert session.seen_from is Side.SERVER
    assert session.request is not None
    assert session.request.id == 5
    assert session.reply is not None
    assert session.times == Times(10 * MS, 10 * MS + 1, 12 * MS, 12 * MS + 1)
    assert session.times.duration == 2 * MS - 1
    assert (session.request_bytes, session.reply_bytes) == (200, 50)
    assert wire.counts(at=20) == {"sessions": 3}


def test_a_process_that_asks_is_the_client() -> None:
    sessions: list[Session] = []
    pairing = Pairing([FakeProtocol()], sessions.append, Ledger(), strict=True)
    connection = Connection(3, Process(8, "app"))
    pairing.opened(connection)
    pairing.message(connection, head(True, 0, 10, REQUEST, 1))
    pairing.message(connection, head(False, 0, 20, REPLY, 9, 1))
    assert [session.seen_from for session in sessions] == [Side.CLIENT]
    assert connection.protocol == "fake"


def test_replies_are_paired_by_id_not_by_order() -> None:
    wire = Harness()
    for id in (1, 2, 3):
        wire.ask(id, at=id)
    for id in (2, 3, 1):
        wire.answer(id, at=10 + id)
    assert wire.told() == [(2, Status.OK), (3, Status.OK), (1, Status.OK)]


def test_the_same_id_on_two_connections_makes_two_pairs() -> None:
    wire = Harness()
    other = Connection(2, Process(7, "server"), protocol="fake")
    wire.pairing.opened(other)
    wire.ask(1, at=1)
    wire.pairing.message(other, head(False, 0, 2 * MS, REQUEST, 1))
    wire.pairing.message(other, head(True, 0, 3 * MS, REPLY, 9, 1))
    assert [session.connection for session in wire.sessions] == [other]
    assert wire.waiting() == [1]


def test_an_error_and_a_oneway_request() -> None:
    wire = Harness()
    wire.ask(1, at=1, flags=ONEWAY)
    wire.ask(1, at=2)  # PyMongo 3.4 uses one id for an OP_INSERT and the getlasterror after it
    wire.answer(1, at=3, flags=FAILED)
    assert wire.told() == [(1, Status.ONEWAY), (1, Status.ERROR)]
    assert wire.waiting() == []


def test_what_waits_is_in_flight_oldest_first() -> None:
    wire = Harness()
    for id, at in ((3, 30), (1, 10), (2, 20)):
        wire.ask(id, at=at)
    assert wire.waiting() == [1, 2, 3]
    sessions = wire.pairing.waiting(40 * MS, older_than_ns=15 * MS)
    assert [(s.request.id, s.status) for s in sessions if s.request] == [
        (1, Status.INFLIGHT),
        (2, Status.INFLIGHT),
    ]
    assert wire.told() == []
    assert wire.counts(at=50) == {"sessions": 1, "waiting": 3}


def test_each_exhaust_reply_is_a_session_that_starts_with_the_one_before() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    wire.answer(5, at=11, id=100, flags=CONTINUES)
    wire.answer(100, at=21, id=101, flags=CONTINUES)
    wire.answer(101, at=31, id=102)
    assert wire.told() == [(5, Status.OK), (100, Status.OK), (101, Status.OK)]
    first, second, third = wire.sessions
    assert first.request is not None
    assert second.request is not None
    assert not first.request.long_poll
    assert second.request.long_poll
    assert second.times == Times(11 * MS + 1, 11 * MS + 1, 21 * MS, 21 * MS + 1)
    assert (first.request_bytes, second.request_bytes, third.reply_bytes) == (100, 0, 50)
    assert wire.counts(at=40) == {"sessions": 5}


def test_an_awaited_exhaust_reply_is_in_flight_but_no_message() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    wire.answer(5, at=11, id=100, flags=CONTINUES)
    assert wire.waiting() == [100]
    assert wire.counts(at=20) == {"sessions": 3}
    wire.pairing.closed(wire.connection, 30 * MS)
    assert wire.counts(at=200) == {"sessions": 3}
    assert wire.told()[-1] == (100, Status.LOST)


def test_a_reply_without_an_id_answers_the_oldest_request_that_expects_one() -> None:
    wire = Harness()
    wire.ask(5, at=10, flags=NO_ID)
    wire.feed(head(True, 0, 11 * MS, REPLY, 0, total=3)._replace(data=b"tok"))
    wire.ask(6, at=12, flags=NO_ID)
    wire.answer(123456, at=13)
    assert wire.told() == [(5, Status.OK), (6, Status.OK)]
    wire.ask(7, at=14, flags=NO_ID)
    wire.ask(8, at=15)
    wire.answer(8, at=16)  # what has an id keeps it
    assert wire.waiting() == [7]
    assert wire.counts(at=20) == {"sessions": 7, "waiting": 1}


def test_a_reply_without_an_id_may_come_before_its_request() -> None:
    wire = Harness()
    wire.answer(123456, at=11)
    wire.ask(5, at=10, flags=NO_ID)
    wire.answer(123456, at=12)
    wire.ask(6, at=13, flags=NO_ID)
    assert wire.told() == [(5, Status.OK)]
    assert wire.waiting() == [6]


def test_a_reply_may_come_before_the_end_of_sending_its_request() -> None:
    wire = Harness()
    wire.answer(5, at=12)
    wire.ask(5, at=12.4)
    assert wire.told() == [(5, Status.OK)]
    wire.answer(6, at=14)
    wire.ask(6, at=16)
    assert wire.waiting() == [6]


def test_a_reply_that_comes_before_its_request() -> None:
    wire = Harness()
    wire.answer(5, at=12, id=100, flags=CONTINUES)
    wire.answer(100, at=13)
    wire.tick(at=900)
    assert wire.told() == []
    wire.ask(5, at=10)
    assert wire.told() == [(5, Status.OK), (100, Status.OK)]
    assert wire.counts(at=5000) == {"sessions": 4}


def test_a_reply_without_request_is_unpaired_after_a_second() -> None:
    wire = Harness()
    wire.answer(5, at=12)
    assert wire.counts(at=1011) == {"sessions": 1, "waiting": 1}
    assert wire.counts(at=1013) == {"sessions": 1, "unpaired": 1}
    wire.ask(5, at=2000)
    assert wire.told() == []


def test_a_waiting_reply_is_not_taken_for_a_later_request_with_its_id() -> None:
    wire = Harness()
    wire.answer(5, at=12)
    wire.ask(5, at=13)
    assert wire.told() == []
    wire.answer(5, at=14)
    assert wire.told() == [(5, Status.OK)]
    assert wire.counts(at=2000) == {"sessions": 3, "unwatched": 1}


def test_a_reply_to_what_was_asked_before_we_looked() -> None:
    wire = Harness(confirmed=False)
    wire.answer(4, at=9)
    wire.ask(5, at=10)
    wire.answer(5, at=11)
    assert wire.told() == [(5, Status.OK)]
    assert wire.counts(at=2000) == {"sessions": 2, "unwatched": 1}


def test_messages_that_cannot_be_read() -> None:
    wire = Harness()
    wire.ask(5, at=10, flags=BROKEN)
    wire.ask(6, at=11)
    wire.answer(6, at=12, flags=BROKEN)
    wire.feed(head(True, 1, 13 * MS, REPLY, 0, total=3)._replace(data=b"R.."))
    assert wire.told() == [(0, Status.UNPARSED), (6, Status.UNPARSED)]
    request_only, both = wire.sessions
    assert (request_only.request_bytes, request_only.reply_bytes) == (100, 0)
    assert both.reply is None
    assert both.reply_bytes == 50
    assert both.times.reply_first == 12 * MS
    assert wire.counts(at=20) == {"sessions": 2, "unparsed": 3}


def test_a_parsers_bug_is_contained_unless_strict() -> None:
    wire = Harness(strict=False)
    wire.ask(5, at=10, flags=BUG)
    wire.ask(6, at=11)
    wire.answer(6, at=12, flags=BUG)
    assert wire.told() == [(0, Status.UNPARSED), (6, Status.UNPARSED)]
    assert wire.counts(at=20) == {"sessions": 2, "parser_error": 2}
    with pytest.raises(ZeroDivisionError):
        Harness().ask(5, at=10, flags=BUG)


def test_a_long_poll_stays_one() -> None:
    wire = Harness()
    wire.ask(5, at=10, flags=LONG)
    wire.answer(5, at=510)
    assert wire.sessions[0].request is not None
    assert wire.sessions[0].request.long_poll


def test_an_id_that_is_asked_again_replaces_the_request_that_waits() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    wire.ask(5, at=20)
    wire.answer(5, at=21)
    assert wire.sessions[0].times.request_first == 20 * MS
    assert wire.counts(at=30) == {"sessions": 3, "evicted": 1}


def test_the_oldest_of_a_connection_give_way() -> None:
    wire = Harness(per_connection_bound=4)
    for id in range(7):
        wire.ask(id, at=10 + id)
    assert wire.waiting() == [3, 4, 5, 6]
    assert wire.counts(at=30) == {"sessions": 1, "waiting": 4, "evicted": 3}
    wire.answer(0, at=40)
    assert wire.counts(at=2000) == {"sessions": 1, "waiting": 4, "evicted": 3, "unpaired": 1}


def test_the_oldest_of_all_connections_give_way() -> None:
    wire = Harness(waiting_bound=32)
    other = Connection(2, None, protocol="fake")
    wire.pairing.opened(other)
    for number in range(20):
        wire.ask(number, at=10 + 2 * number)
        wire.pairing.message(other, head(False, number, (11 + 2 * number) * MS, REQUEST, number))
        assert len(wire.pairing.waiting(10**12)) <= 32
    left = [s.times.request_first // MS for s in wire.pairing.waiting(10**12)]
    assert left == list(range(50 - len(left), 50))
    counts = wire.counts(at=100)
    assert counts["evicted"] + counts["waiting"] == 40


def test_replies_that_wait_for_their_request_are_bounded() -> None:
    wire = Harness()
    for id in range(MAX_EARLY + 10):
        wire.answer(id, at=10)
    assert wire.counts(at=20) == {"sessions": 1, "waiting": MAX_EARLY, "unpaired": 10}


def test_a_message_after_the_end_is_late() -> None:
    wire = Harness()
    wire.pairing.closed(wire.connection, 10 * MS)
    wire.tick(at=200)
    wire.ask(5, at=201)
    assert wire.counts(at=300) == {"sessions": 1, "late": 1}


def test_a_request_of_before_its_end_became_quiet_gives_its_times_to_the_reply() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    replied = Times(0, 0, 30, 31)
    assert wire.pairing.exchange(wire.connection, 6, replied) == replied
    assert wire.pairing.exchange(wire.connection, 5, replied) == Times(10 * MS, 10 * MS + 1, 30, 31)
    assert wire.waiting() == []
    assert wire.told() == []
    assert wire.counts(at=5000) == {"sessions": 1, "other_end": 1}  # the first is the harness's


def test_what_waits_on_a_quiet_end_is_read_as_any_request() -> None:
    wire = Harness()
    session = wire.pairing.quiet_request(wire.connection, head(False, 0, 10 * MS, REQUEST, 5, total=100))
    assert session is not None
    assert session.request is not None
    assert (session.request.id, session.status, session.request_bytes) == (5, Status.INFLIGHT, 100)
    assert wire.pairing.quiet_request(wire.connection, head(False, 0, 10 * MS, REQUEST, 5, flags=BROKEN)) is None
    assert wire.counts(at=5000) == {"sessions": 1}
