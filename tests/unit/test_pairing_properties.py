"""Whatever the traffic, its order and its losses: each message counts once, and nobody gets a stranger's reply."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from probes.records import Connection, Head, Ledger, Session, Status
from probes.sessions.causes import Cause
from probes.sessions.pairing import Pairing

from .fake_protocol import FAILED, ONEWAY, PLAIN, REPLY, REQUEST, FakeProtocol, head
from .pairing_harness import MS, Harness


@dataclass(frozen=True)
class Exchange:
    """Times in ms; `took` None was never answered. `late_…` is how much later than its time an event arrives."""

    gap: int
    took: int | None
    flags: bytes
    request_lost: bool
    reply_lost: bool
    late_request: int
    late_reply: int


def exchanges(*, losses: bool) -> st.SearchStrategy[list[Exchange]]:
    return st.lists(
        st.builds(
            Exchange,
            gap=st.integers(0, 150),
            took=st.none() | st.integers(1, 300),
            flags=st.sampled_from([PLAIN, PLAIN, FAILED, ONEWAY]),
            request_lost=st.booleans() if losses else st.just(False),
            reply_lost=st.booleans() if losses else st.just(False),
            late_request=st.integers(0, 40),
            late_reply=st.integers(0, 40),
        ),
        max_size=12,
    )


@dataclass
class Run:
    sessions: dict[int, list[Session]]
    counts: Counter[str]
    fed: int
    missed: int


def run(traffic: list[Exchange], *, in_order: bool, by_two: bool = False) -> Run:
    """Send `traffic` over one connection; the server answers `in_order` or each request after its own time.

    `by_two`: a reply that comes right behind a request is told together with it, whether it answers that or not.
    """
    asked: list[tuple[int, int]] = []  # ms, id
    answered: list[tuple[int, int]] = []
    now = done = 10
    for id, exchange in enumerate(traffic):
        now += exchange.gap
        asked.append((now, id))
        if exchange.took is None or exchange.flags == ONEWAY:
            continue
        done = max(done + 1, now + exchange.took) if in_order else now + exchange.took
        answered.append((done, id))
    answered.sort()
    end = max([now, *(at for at, _ in answered)]) + 1

    sessions: dict[int, list[Session]] = {}
    ledger = Ledger()
    pairing = Pairing(
        [FakeProtocol(confirms_alone=True)],
        lambda s: sessions.setdefault(s.request.id if s.request else -1, []).append(s),
        ledger,
        strict=True,
    )
    connection = Connection(1, None)
    pairing.opened(connection)
    pairing.message(connection, head(False, 0, 0, REQUEST, 999, flags=ONEWAY))  # confirms it
    events: list[tuple[int, Head]] = []
    for number, (at, id) in enumerate(asked, start=1):
        exchange = traffic[id]
        if not exchange.request_lost:
            flags = exchange.flags if exchange.flags == ONEWAY else PLAIN
            events.append((at + exchange.late_request, head(False, number, at * MS, REQUEST, id, flags=flags)))
    for number, (at, id) in enumerate(answered):
        exchange = traffic[id]
        if not exchange.reply_lost:
            message = head(True, number, at * MS, REPLY, 500 + id, id, flags=exchange.flags)
            events.append((at + exchange.late_reply, message))
    events.sort(key=lambda event: event[0])
    fed = 1 + len(events)
    ticks = iter(range(0, end + 10_000, 50))
    tick = next(ticks)
    while events:
        at, message = events.pop(0)
        while tick <= at:
            pairing.tick(tick * MS)
            tick = next(ticks)
        if by_two and not message.outbound and events and events[0][1].outbound and events[0][0] < tick:
            pairing.pair(connection, message, events.pop(0)[1])
        else:
            pairing.message(connection, message)
    pairing.unseen(connection, False, len(asked), end * MS)
    pairing.unseen(connection, True, len(answered) - 1, end * MS)
    pairing.closed(connection, end * MS)
    for tick in ticks:
        pairing.tick(tick * MS)
    return Run(sessions, Counter(ledger.counts), fed, 1 + len(asked) + len(answered) - fed)


def expected(exchange: Exchange) -> Status:
    """What becomes of an exchange of which nothing was lost."""
    if exchange.flags == ONEWAY:
        return Status.ONEWAY
    if exchange.took is None:
        return Status.LOST
    return Status.ERROR if exchange.flags == FAILED else Status.OK


@given(exchanges(losses=False))
def test_without_losses_each_request_gets_its_own_reply(traffic: list[Exchange]) -> None:
    told = run(traffic, in_order=False)
    assert {id: [s.status for s in sessions] for id, sessions in told.sessions.items() if id != 999} == {
        id: [expected(exchange)] for id, exchange in enumerate(traffic)
    }
    for id, (session,) in told.sessions.items():
        assert session.reply is None or session.reply.id == 500 + id
    assert told.counts == Counter({Cause.SESSIONS: told.fed})


@given(exchanges(losses=True))
def test_losses_are_told_as_dropped(traffic: list[Exchange]) -> None:
    # All are answered. A reply that came after its successor could be the lost one: nobody can tell.
    traffic = [replace(exchange, late_reply=0) for exchange in traffic if exchange.took is not None]
    told = run(traffic, in_order=True)
    for id, exchange in enumerate(traffic):
        statuses = [session.status for session in told.sessions.get(id, [])]
        if exchange.request_lost:
            assert statuses == []
        elif exchange.reply_lost and exchange.flags != ONEWAY:
            assert statuses == [Status.DROPPED]
        else:
            assert statuses == [expected(exchange)]
    assert told.counts[Cause.UNPAIRED] == 0
    assert told.counts[Cause.WAITING] == 0
    assert told.counts.total() == told.fed + told.missed


@given(exchanges(losses=True))
def test_each_message_is_counted_once_and_each_request_told_once(traffic: list[Exchange]) -> None:
    told = run(traffic, in_order=False)
    for id, exchange in enumerate(traffic):
        assert len(told.sessions.get(id, [])) == (0 if exchange.request_lost else 1)
    for id, (session,) in told.sessions.items():
        assert session.reply is None or session.reply.id == 500 + id
    assert told.counts.total() == told.fed + told.missed
    assert told.counts[Cause.WAITING] == 0


@given(exchanges(losses=True), st.booleans())
def test_messages_told_by_two_come_to_the_same(traffic: list[Exchange], in_order: bool) -> None:
    assert repr(run(traffic, in_order=in_order, by_two=True)) == repr(run(traffic, in_order=in_order))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.binary(max_size=14), st.integers(0, 300))),
    st.integers(1, 5),
)
def test_nonsense_is_counted_once_and_never_kept_beyond_the_bounds(
    messages: list[tuple[bool, int, bytes, int]], bound: int
) -> None:
    """Any bytes, numbers and times on a connection taken for ours."""
    wire = Harness(waiting_bound=bound, per_connection_bound=bound, strict=False)
    now = 10 * MS
    for outbound, number, data, later in messages:
        now += later * MS
        kind = REPLY if outbound else REQUEST
        wire.feed(Head(outbound, number, now, now, len(data) + 1, kind + data))
        assert len(wire.waiting()) <= bound
        wire.tick(now / MS)
    wire.pairing.closed(wire.connection, now)
    wire.tick(now / MS + 200)
    assert wire.ledger.counts[Cause.WAITING] == 0
    numbers = {(False, 0), *((outbound, number) for outbound, number, _, _ in messages)}
    if len(numbers) == len(messages) + 1:
        reached = sum(max((n + 1 for out, n in numbers if out is side), default=0) for side in (False, True))
        assert wire.balance() == reached - len(numbers)
