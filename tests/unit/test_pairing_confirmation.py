"""Which connections are believed to speak a protocol, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from probes.records import Head, Side, Status, Verdict
from probes.sessions.confirmation import requests_outbound
from probes.sessions.pairing import MAX_HELD, MAX_TRIES

from .fake_protocol import FAILED, ONEWAY, REPLY, REQUEST, FakeProtocol, head
from .pairing_harness import MS, Harness


def decided(protocol: FakeProtocol, heads: Sequence[Head]) -> bool | None:
    return requests_outbound(protocol, Harness().connection, heads)


def noise(outbound: bool, number: int = 0) -> Head:
    return head(outbound, number, 5, b"?", 0)


def test_one_request_is_not_enough() -> None:
    assert decided(FakeProtocol(), [head(True, 0, 5, REQUEST, 1)]) is None


def test_one_whole_request_is_enough_where_the_protocol_says_so() -> None:
    protocol = FakeProtocol(confirms_alone=True)
    whole = head(True, 0, 5, REQUEST, 1)
    assert decided(protocol, [whole]) is True
    assert decided(protocol, [whole._replace(total=5000)]) is None


def test_a_second_request_confirms() -> None:
    assert decided(FakeProtocol(), [head(False, n, 5, REQUEST, n) for n in (0, 1)]) is False


def test_a_second_request_after_noise_does_not() -> None:
    heads = [head(True, 0, 5, REQUEST, 1), noise(True, 1), head(True, 2, 5, REQUEST, 2)]
    assert decided(FakeProtocol(), heads) is None
    assert decided(FakeProtocol(), [*heads, head(True, 3, 5, REQUEST, 3)]) is True


def test_a_reply_with_the_id_confirms() -> None:
    ask, answer = head(True, 0, 5, REQUEST, 1), head(False, 0, 6, REPLY, 9, 1)
    assert decided(FakeProtocol(), [ask, answer]) is True
    assert decided(FakeProtocol(), [answer, ask]) is True
    assert decided(FakeProtocol(), [ask, head(False, 0, 6, REPLY, 9, 2)]) is None
    assert decided(FakeProtocol(), [ask, answer._replace(data=b"R")]) is None


def test_two_directions_that_look_like_requests_need_a_pair() -> None:
    heads = [head(outbound, n, 5, REQUEST, 10 + n) for n in (0, 1) for outbound in (True, False)]
    assert decided(FakeProtocol(confirms_alone=True), heads) is None
    assert decided(FakeProtocol(), [*heads, head(False, 2, 6, REPLY, 9, 11)]) is True


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([REPLY, b"?"])), max_size=20))
def test_nothing_but_requests_confirms(kinds: list[tuple[bool, bytes]]) -> None:
    protocol = FakeProtocol(knows_replies=True, confirms_alone=True)
    heads = [head(outbound, n, 5, kind, 0, 0) for n, (outbound, kind) in enumerate(kinds)]
    assert decided(protocol, heads) is None


def test_what_was_held_is_paired_in_order_once_confirmed() -> None:
    wire = Harness(FakeProtocol(), confirmed=False)
    wire.ask(1, at=10)
    assert wire.told() == []
    assert wire.counts(at=11) == {"waiting": 1}
    wire.ask(2, at=12)
    assert wire.waiting() == [1, 2]
    wire.answer(1, at=13)
    wire.answer(2, at=14, flags=FAILED)
    assert wire.told() == [(1, Status.OK), (2, Status.ERROR)]
    assert wire.counts(at=20) == {"sessions": 4}


def test_protocols_are_tried_in_their_order_where_there_is_no_label() -> None:
    first, second = FakeProtocol("first"), FakeProtocol("second", confirms_alone=True)
    wire = Harness(first, second, confirmed=False, label="")
    wire.ask(1, at=10)
    wire.answer(1, at=11)
    assert [session.protocol for session in wire.sessions] == ["second"]
    wire = Harness(first, FakeProtocol("second"), confirmed=False, label="")
    wire.ask(1, at=10)
    wire.answer(1, at=11)
    assert [session.protocol for session in wire.sessions] == ["first"]
    assert wire.connection.protocol == "first"


def test_a_label_is_kept() -> None:
    first, second = FakeProtocol("first"), FakeProtocol("second")
    wire = Harness(first, second, confirmed=False, label="second")
    wire.ask(1, at=10)
    wire.answer(1, at=11)
    assert [session.protocol for session in wire.sessions] == ["second"]


def test_a_protocol_that_is_switched_off() -> None:
    wire = Harness(FakeProtocol("other"), confirmed=False, label="fake")
    wire.ask(1, at=10)
    assert wire.counts(at=20) == {"filtered": 1}


def test_a_foreign_connection_is_counted_and_holds_little() -> None:
    wire = Harness(confirmed=False)
    for number in range(MAX_HELD + 3):
        wire.feed(noise(True, number))
    counts = wire.counts(at=20)
    assert counts == {"foreign": 4, "waiting": MAX_HELD - 1}
    for number in range(MAX_HELD + 3, MAX_TRIES + 1):
        wire.feed(noise(True, number))
    assert wire.counts(at=30) == {"foreign": MAX_TRIES + 1}
    wire.ask(1, at=40)  # too late to be believed
    wire.answer(1, at=41)
    assert wire.told() == []
    assert wire.counts(at=50) == {"foreign": MAX_TRIES + 3}
    assert wire.balance() == 0


def test_a_connection_that_closes_unconfirmed_is_foreign() -> None:
    wire = Harness(FakeProtocol(), confirmed=False)
    wire.ask(1, at=10)
    wire.pairing.closed(wire.connection, 20 * MS)
    assert wire.counts(at=200) == {"foreign": 1}
    assert wire.told() == []


def test_a_bug_in_identify_leaves_the_other_protocols_their_chance() -> None:
    class Broken(FakeProtocol):
        def identify(self, data: bytes, total: int) -> Verdict:
            raise KeyError(total)

    wire = Harness(Broken("broken"), FakeProtocol(), confirmed=False, label="", strict=False)
    wire.ask(1, at=10)
    wire.answer(1, at=11)
    assert wire.told() == [(1, Status.OK)]
    assert wire.balance() == -2  # fed, and not in the ledger before a tick
    assert wire.counts(at=20) == {"sessions": 2}


def test_a_request_that_is_alone_on_its_connection_and_hangs_is_shown_waiting() -> None:
    run = Harness(FakeProtocol(), confirmed=False, label="")
    run.ask(5, at=10)
    assert run.waiting(at=100) == []  # its reply may be on its way, and tell
    assert run.waiting(at=400) == [5]
    (session,) = run.pairing.waiting(400 * MS)
    assert (session.status, session.seen_from, session.protocol) == (Status.INFLIGHT, Side.SERVER, "fake")
    assert run.pairing.waiting(400 * MS, older_than_ns=395 * MS) == []
    assert run.sessions == []
    assert run.connection.protocol == ""  # it is still not believed
    run.answer(5, at=500)
    assert run.waiting(at=600) == []
    assert run.told() == [(5, Status.OK)]


def test_of_what_is_no_whole_request_or_not_alone_nothing_is_invented() -> None:
    for message in (
        noise(False),
        head(False, 0, 5, REPLY, 5),
        head(False, 0, 5, REQUEST, 5, flags=ONEWAY),
        head(False, 0, 5, REQUEST, 5)._replace(total=5000),
        head(False, 0, 5, REQUEST, 5)._replace(data=REQUEST),
    ):
        run = Harness(FakeProtocol(), confirmed=False, label="")
        run.feed(message)
        assert run.waiting(at=1000) == []
    run = Harness(FakeProtocol(), confirmed=False, label="")
    run.feed(head(False, 0, 5, REQUEST, 5))
    run.feed(noise(True))
    assert run.waiting(at=1000) == []


def test_a_lone_request_of_a_connection_that_closes_is_told_as_foreign() -> None:
    run = Harness(FakeProtocol(), confirmed=False, label="")
    run.ask(5, at=10)
    assert run.waiting(at=400) == [5]
    run.pairing.closed(run.connection, 500 * MS)
    run.tick(700)
    assert run.waiting(at=800) == []
    assert run.told() == []
    assert run.counts(800) == {"foreign": 1}
