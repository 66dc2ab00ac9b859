"""Any interleaving of the two ends' events tells each exchange exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from probes.records import Address, Connection, Head, Ledger, Process, Session, Side, Status
from probes.sessions.causes import Cause
from probes.sessions.ends import Ends
from probes.sessions.pairing import Pairing

from .fake_protocol import CONTINUES, FAILED, ONEWAY, PLAIN, REPLY, REQUEST, FakeProtocol, head
from .pairing_harness import MS

CLIENT, SERVER = Address("10.0.0.5", 51544), Address("10.0.0.9", 27017)
LATER = 10_000  # ms: after everything


@dataclass(frozen=True)
class Exchange:
    """Times in ms."""

    flags: bytes
    took: int
    pause: int


exchanges = st.lists(
    st.builds(
        Exchange,
        flags=st.sampled_from([PLAIN, FAILED, ONEWAY, CONTINUES]),
        took=st.integers(1, 300),
        pause=st.integers(1, 300),
    ),
    min_size=1,
    max_size=8,
)


class Host:
    """Pairing and ends with both ends of one connection."""

    def __init__(self) -> None:
        self.told: list[Session] = []
        self.ledger = Ledger()
        self.ends = Ends(self.told.append, self.ledger, hold_ns=100 * MS)
        self.pairing = Pairing([FakeProtocol(confirms_alone=True)], self.ends.session, self.ledger, strict=True)
        self.connections = {
            Side.CLIENT: Connection(1, Process(100, "app"), CLIENT, SERVER),
            Side.SERVER: Connection(2, Process(200, "mongod"), SERVER, CLIENT),
        }
        for connection in self.connections.values():
            self.ends.opened(connection)
            self.pairing.opened(connection)
        self.fed = 0

    def message(self, side: Side, message: Head) -> None:
        self.fed += 1
        self.pairing.message(self.connections[side], message)

    def close(self, side: Side, ms: int) -> None:
        self.pairing.closed(self.connections[side], ms * MS)
        self.ends.closed(self.connections[side], ms * MS)

    def tick(self, ms: int) -> None:
        self.ends.tick(ms * MS)
        self.pairing.tick(ms * MS)


def events(traffic: list[Exchange], ids: list[int], *, unread: bool) -> dict[Side, list[Head]]:
    """What each end sees of the exchanges, one after the other; a continued reply is followed by a plain one.

    `unread`: the client closes before it reads the last one's reply.
    """
    seen: dict[Side, list[Head]] = {Side.CLIENT: [], Side.SERVER: []}
    requests = replies = 0
    now = 10
    for place, (exchange, id) in enumerate(zip(traffic, ids, strict=True)):
        now += exchange.pause
        flags = ONEWAY if exchange.flags == ONEWAY else PLAIN
        ask = head(True, requests, now * MS, REQUEST, id, flags=flags)
        requests += 1
        seen[Side.CLIENT].append(ask)
        seen[Side.SERVER].append(ask._replace(outbound=False, first_ns=ask.first_ns + 50, last_ns=ask.last_ns + 50))
        if exchange.flags == ONEWAY:
            continue
        answers = [(id, exchange.flags)]
        if exchange.flags == CONTINUES:
            answers.append((10_000 + replies, PLAIN))
        for to, reply_flags in answers:
            now += exchange.took
            answer = head(True, replies, now * MS, REPLY, 10_000 + replies, to, flags=reply_flags)
            replies += 1
            seen[Side.SERVER].append(answer)
            if not (unread and place == len(traffic) - 1):
                seen[Side.CLIENT].append(
                    answer._replace(outbound=False, first_ns=answer.first_ns + 50, last_ns=answer.last_ns + 50)
                )
    return seen


@given(exchanges, st.booleans(), st.booleans(), st.data())
def test_each_exchange_is_told_exactly_once(
    traffic: list[Exchange], reuse_ids: bool, unread: bool, data: st.DataObject
) -> None:
    """The two ends' events in any interleaving, with ticks anywhere; ids may come again."""
    ids = [place % 2 if reuse_ids else place for place in range(len(traffic))]
    seen = events(traffic, ids, unread=unread)
    host = Host()
    tick = 0
    left = {side: list(heads) for side, heads in seen.items()}
    while left[Side.CLIENT] or left[Side.SERVER]:
        step = data.draw(st.sampled_from([*(side for side in left if left[side]), None]))
        if step is None:
            tick += 30
            host.tick(tick)
        else:
            host.message(step, left[step].pop(0))
    for side in (Side.CLIENT, Side.SERVER):
        host.close(side, LATER)
    for ms in range(LATER, LATER + 2000, 50):
        host.tick(ms)

    wanted = Counter[int]()
    for exchange, id in zip(traffic, ids, strict=True):
        wanted[id] += 1
        if exchange.flags == CONTINUES:
            wanted[-1] += 1  # the second reply's session, whose id is the first reply's
    told = Counter(s.request.id if s.request and s.request.id < 10_000 else -1 for s in host.told)
    assert told == wanted
    assert sum(host.ledger.counts.values()) == host.fed
    assert set(host.ledger.counts) <= {Cause.SESSIONS, Cause.OTHER_END, Cause.WAITING}
    assert host.pairing.waiting(10**15) == []


@given(exchanges, st.data())
def test_what_is_told_and_what_is_in_flight_are_each_exchange_once(
    traffic: list[Exchange], data: st.DataObject
) -> None:
    """At any moment in the order of time: in flight and told together never hold an exchange twice."""
    ids = list(range(len(traffic)))
    seen = events(traffic, ids, unread=False)
    in_time = sorted(
        ((head.first_ns, side, head) for side, heads in seen.items() for head in heads), key=lambda event: event[0]
    )
    host = Host()
    tick = 0
    cut = data.draw(st.integers(0, len(in_time)))
    for ns, side, message in in_time[:cut]:
        while tick * MS < ns:
            tick += 50
            host.tick(tick)
        host.message(side, message)
    waiting = host.ends.waiting(host.pairing.waiting(10**15))
    for later in range(50, 500, 50):
        host.tick(tick + later)
    keys = [s.request.id for s in [*host.told, *waiting] if s.request]
    assert len(keys) == len(set(keys)) == len(host.told) + len(waiting)
    assert all(s.status is not Status.INFLIGHT for s in host.told)
