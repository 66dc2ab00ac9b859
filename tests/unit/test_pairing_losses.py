"""What we lost is told as such: gaps in the numbers, tails that nobody saw, connections that end."""

from __future__ import annotations

from probes.records import Status
from probes.sessions.numbers import MAX_GAPS, Numbers

from .fake_protocol import CONTINUES
from .pairing_harness import MS, Harness


def test_a_request_whose_reply_we_lost_is_dropped_and_does_not_hang() -> None:
    wire = Harness()
    wire.ask(1, at=10)
    wire.ask(2, at=12)
    wire.answer(2, at=13, number=1)
    wire.tick(at=50)
    assert wire.waiting() == [1]  # its reply might only be out of order
    wire.tick(at=114)
    assert wire.told() == [(2, Status.OK), (1, Status.DROPPED)]
    assert wire.waiting() == []
    assert wire.counts(at=200) == {"sessions": 4, "dropped": 1}
    assert wire.balance() == 1


def test_a_request_younger_than_the_next_reply_is_not_taken_for_the_lost_one() -> None:
    wire = Harness()
    wire.ask(1, at=10, number=2)  # request number 1 was lost, and so was its reply
    wire.ask(2, at=11)
    wire.ask(3, at=12)
    wire.answer(1, at=13, number=1)
    wire.tick(at=500)
    assert wire.told() == [(1, Status.OK)]
    assert wire.waiting() == [2, 3]
    assert wire.counts(at=500) == {"sessions": 3, "dropped": 2, "waiting": 2}


def test_no_more_requests_are_dropped_than_replies_were_lost() -> None:
    wire = Harness()
    for id in (1, 2, 3, 4):
        wire.ask(id, at=10 + id)
    wire.answer(4, at=20, number=2)
    wire.tick(at=500)
    assert wire.told() == [(4, Status.OK), (1, Status.DROPPED), (2, Status.DROPPED)]
    assert wire.waiting() == [3]


def test_replies_out_of_order_are_no_loss() -> None:
    wire = Harness()
    wire.ask(1, at=10)
    wire.ask(2, at=11)
    wire.answer(2, at=13, number=1)
    wire.answer(1, at=12, number=0)
    assert wire.counts(at=500) == {"sessions": 5}


def test_a_loss_that_comes_after_all_is_taken_back() -> None:
    wire = Harness()
    wire.ask(9, at=8)
    wire.answer(9, at=9, number=0)
    wire.ask(1, at=10)
    wire.ask(2, at=11)
    wire.answer(2, at=13, number=2)
    assert wire.counts(at=500) == {"sessions": 6, "dropped": 1}
    wire.answer(1, at=12, number=1)
    assert wire.counts(at=5000) == {"sessions": 6, "unpaired": 1}


def test_replies_to_requests_that_we_lost_are_explained() -> None:
    wire = Harness()
    wire.ask(3, at=13, number=3)
    for id in (1, 2, 3, 77):
        wire.answer(id, at=20)
    assert wire.told() == [(3, Status.OK)]
    assert wire.counts(at=2000) == {"sessions": 3, "dropped": 4, "unpaired": 1}
    assert wire.balance() == 2


def test_an_exhaust_series_goes_on_after_lost_replies() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    wire.answer(5, at=11, id=100, flags=CONTINUES)
    wire.answer(101, at=13, id=102, flags=CONTINUES, number=2)  # it answers the lost reply 101
    wire.answer(102, at=14, id=103, flags=CONTINUES)
    wire.tick(at=1500)
    assert wire.told() == [(5, Status.OK), (100, Status.DROPPED), (102, Status.OK)]
    assert wire.waiting() == [103]
    assert wire.counts(at=1500) == {"sessions": 4, "dropped": 2}
    assert wire.balance() == 1


def test_exhaust_replies_out_of_order() -> None:
    wire = Harness()
    wire.ask(5, at=10)
    wire.answer(101, at=13, id=102, number=2)
    wire.answer(5, at=11, id=100, flags=CONTINUES, number=0)
    wire.answer(100, at=12, id=101, flags=CONTINUES, number=1)
    assert wire.told() == [(5, Status.OK), (100, Status.OK), (101, Status.OK)]
    assert wire.counts(at=1500) == {"sessions": 5}


def test_what_waits_at_the_end_is_lost() -> None:
    wire = Harness()
    wire.ask(1, at=10)
    wire.ask(2, at=11)
    wire.pairing.closed(wire.connection, 20 * MS)
    wire.tick(at=110)
    wire.answer(1, at=19)  # its event comes late
    wire.tick(at=121)
    assert wire.told() == [(1, Status.OK), (2, Status.LOST)]
    assert wire.waiting() == []
    assert wire.counts(at=200) == {"sessions": 4}


def test_a_tail_that_the_kernel_counted_is_dropped_not_lost() -> None:
    wire = Harness()
    for id in (1, 2, 3):
        wire.ask(id, at=10 + id)
    wire.pairing.unseen(wire.connection, True, 1, 19 * MS)
    wire.pairing.closed(wire.connection, 20 * MS)
    wire.tick(at=200)
    assert wire.told() == [(1, Status.DROPPED), (2, Status.DROPPED), (3, Status.LOST)]
    assert wire.counts(at=200) == {"sessions": 4, "dropped": 2}
    assert wire.balance() == 2


def test_a_tail_that_still_comes_is_no_loss() -> None:
    wire = Harness()
    wire.ask(1, at=10)
    wire.pairing.unseen(wire.connection, True, 0, 12 * MS)
    wire.answer(1, at=11)
    wire.pairing.unseen(wire.connection, True, 0, 13 * MS)
    assert wire.counts(at=500) == {"sessions": 3}


def test_an_unseen_reply_ends_a_wait_without_a_later_message() -> None:
    wire = Harness()
    wire.ask(1, at=10)
    wire.pairing.unseen(wire.connection, True, 0, 12 * MS)
    wire.ask(2, at=13)
    wire.tick(at=500)
    assert wire.told() == [(1, Status.DROPPED)]
    assert wire.waiting() == [2]


def test_a_connection_that_nobody_saw() -> None:
    wire = Harness(confirmed=False)
    wire.pairing.unseen(wire.connection, False, 4, 12 * MS)
    wire.pairing.unseen(wire.connection, True, 4, 12 * MS)
    wire.answer(1, at=10)
    wire.pairing.closed(wire.connection, 20 * MS)
    assert wire.counts(at=500) == {"dropped": 9, "foreign": 1}
    assert wire.balance() == 9


def test_heads_of_a_connection_confirmed_late_fill_what_was_counted() -> None:
    wire = Harness(confirmed=False)
    wire.answer(1, at=10)
    wire.pairing.unseen(wire.connection, True, 2, 12 * MS)
    wire.tick(at=500)
    wire.ask(7, at=600)
    wire.answer(7, at=601, number=3)
    assert wire.counts(at=5000) == {"sessions": 2, "unwatched": 1, "dropped": 2}
    assert wire.balance() == 2


def test_gaps_are_bounded_and_keep_their_sum() -> None:
    numbers = Numbers()
    for number in range(0, 4 * MAX_GAPS, 2):
        numbers.see(number + 1, number)
    assert len(numbers.gaps) == MAX_GAPS
    assert numbers.missing_before(numbers.next) == 2 * MAX_GAPS
    assert numbers.see(0, 0) == 0
    assert numbers.missing_before(numbers.next) == 2 * MAX_GAPS - 1


def test_a_gap_that_was_told_is_taken_back_once() -> None:
    numbers = Numbers()
    gap = numbers.reach(3, 0)
    assert gap is not None
    assert numbers.count(gap) == 3
    assert numbers.count(gap) == 0
    assert numbers.see(1, 0) == 1
    numbers.settle(gap)
    assert [numbers.see(0, 0), numbers.see(2, 0), numbers.see(2, 0)] == [1, 1, 0]
