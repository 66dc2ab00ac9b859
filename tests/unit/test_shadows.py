"""Sessions of a server's end meet the times that its quiet client's end tells, in whatever order they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.records import Address, Connection, Ledger, Process, Reply, Request, Session, Side, Status, Times
from probes.sessions.causes import Cause
from probes.sessions.ends import Ends
from probes.sessions.shadows import MAX_TIMES, Shadow

from .pairing_harness import MS

CLIENT, SERVER = Address("127.0.0.1", 51544), Address("127.0.0.1", 27017)
ASKED, REPLIED = (10, 11), (20, 21)
NONE = (0, 0)


class Pair:
    """A shadow, and what it told."""

    def __init__(self) -> None:
        self.told: list[Session] = []
        self.client = Connection(1, Process(100, "app"), CLIENT, SERVER, 4026, "fake")
        self.server = Connection(2, Process(200, "mongod"), SERVER, CLIENT, 4026, "fake")
        self.doubled: list[Session] = []
        self.shadow = Shadow(self.client, self.told.append, self.doubled.append)

    def session(self, id: int, status: Status = Status.OK) -> Session:
        reply = Reply(900, b"") if status is Status.OK else None
        times = Times(12, 13, 18, 19) if reply else Times(12, 13)
        return Session("fake", status, Side.SERVER, self.server, Request(id, "ask", b""), reply, times, 100, 50)

    def client_view(self, id: int) -> Session:
        request = Request(id, "ask", b"", expects_reply=False)
        return Session("fake", Status.ONEWAY, Side.CLIENT, self.client, request, None, Times(*ASKED), 100)

    def seen(self, id: int, status: Status = Status.OK) -> None:
        self.shadow.session(self.session(id, status))

    def went_by(self, id: int, asked: tuple[int, int] = ASKED, replied: tuple[int, int] = REPLIED) -> None:
        self.shadow.exchange(id, Times(*asked, *replied))

    def summary(self) -> list[tuple[int, Side, Times | None]]:
        return [(s.request.id, s.seen_from, s.client_times) for s in self.told if s.request]


@pytest.mark.parametrize("order", ["st", "ts"])
def test_session_and_times_meet(order: str) -> None:
    pair = Pair()
    for what in order:
        assert not pair.told
        pair.seen(5) if what == "s" else pair.went_by(5)
    assert pair.summary() == [(5, Side.BOTH, Times(*ASKED, *REPLIED))]
    assert pair.told[0].client is pair.client
    for _ in range(3):
        pair.shadow.turn()
    assert len(pair.told) == 1


@pytest.mark.parametrize("order", ["sar", "asr", "ars"])
def test_times_that_come_apart(order: str) -> None:
    pair = Pair()
    tell = {
        "s": lambda: pair.seen(5),
        "a": lambda: pair.went_by(5, replied=NONE),
        "r": lambda: pair.went_by(5, asked=NONE),
    }
    for what in order:
        tell[what]()
    assert pair.summary() == [(5, Side.BOTH, Times(*ASKED, *REPLIED))]


@pytest.mark.parametrize("first", ["server", "client"])
def test_a_request_that_gets_no_reply_is_told_once(first: str) -> None:
    pair = Pair()
    view = pair.client_view(5)
    if first == "server":
        pair.seen(5, Status.ONEWAY)
    pair.shadow.view(view)
    if first == "client":
        assert not pair.told
        pair.seen(5, Status.ONEWAY)
    assert pair.summary() == [(5, Side.BOTH, Times(*ASKED))]
    assert pair.told[0].connection is pair.server
    assert pair.doubled == [view]


def test_a_request_that_its_server_never_read_is_told_as_the_client_saw_it() -> None:
    pair = Pair()
    pair.shadow.view(pair.client_view(5))
    pair.shadow.view(pair.client_view(6))
    pair.shadow.turn()
    assert not pair.told
    pair.shadow.turn()
    assert pair.summary() == [(5, Side.CLIENT, None), (6, Side.CLIENT, None)]
    pair.seen(5, Status.ONEWAY)  # it was only late
    pair.shadow.turn()
    pair.shadow.turn()
    assert len(pair.told) == 2
    assert [s.seen_from for s in pair.doubled] == [Side.SERVER]
    pair.shadow.view(pair.client_view(7))
    pair.shadow.end()
    assert len(pair.told) == 3


@pytest.mark.parametrize("first", ["session", "times"])
def test_what_gets_no_reply_needs_only_the_request(first: str) -> None:
    pair = Pair()
    if first == "session":
        pair.seen(5, Status.ONEWAY)
    pair.went_by(5, replied=NONE)
    if first == "times":
        pair.seen(5, Status.ONEWAY)
    assert pair.summary() == [(5, Side.BOTH, Times(*ASKED))]


def test_without_the_requests_times_there_is_no_clients_duration() -> None:
    pair = Pair()
    pair.seen(5)
    pair.went_by(5, asked=NONE)
    assert pair.summary() == [(5, Side.BOTH, None)]


def test_what_waits_in_vain_is_told_as_the_server_saw_it_and_times_that_come_later_find_nothing() -> None:
    pair = Pair()
    pair.seen(5)
    assert 5 in pair.shadow
    pair.shadow.turn()
    assert not pair.told
    pair.shadow.turn()
    assert pair.summary() == [(5, Side.SERVER, None)]
    pair.went_by(5)
    pair.shadow.turn()
    pair.shadow.turn()
    pair.seen(5)  # ids come again
    assert 5 in pair.shadow


def test_an_id_that_comes_again_loses_no_session() -> None:
    pair = Pair()
    pair.seen(5)
    pair.seen(5)
    pair.went_by(5)
    assert pair.summary() == [(5, Side.SERVER, None), (5, Side.BOTH, Times(*ASKED, *REPLIED))]


def test_times_without_sessions_are_bounded() -> None:
    pair = Pair()
    for id in range(MAX_TIMES + 10):
        pair.went_by(id)
    for id in range(MAX_TIMES + 10):
        pair.seen(id)
    assert len(pair.told) == MAX_TIMES


@given(st.lists(st.tuples(st.sampled_from("sart"), st.integers(0, 3)), max_size=40))
def test_each_session_is_told_once(events: list[tuple[str, int]]) -> None:
    pair = Pair()
    sessions = []
    for what, id in events:
        if what == "s":
            sessions.append(pair.session(id))
            pair.shadow.session(sessions[-1])
        elif what == "t":
            pair.shadow.turn()
        else:
            pair.went_by(id, *((ASKED, NONE) if what == "a" else (NONE, REPLIED)))
    pair.shadow.turn()
    pair.shadow.turn()
    assert sorted(map(id_of, pair.told)) == sorted(map(id_of, sessions))


def id_of(session: Session) -> int:
    return id(session)


class Both(Pair):
    """Both ends under `Ends`, whose source keeps a client's end quiet when it is asked to."""

    def __init__(self, *, willing: bool = True) -> None:
        super().__init__()
        self.quiet: list[Connection] = []
        self.ledger = Ledger()
        self.ends = Ends(self.told.append, self.ledger, hold_ns=100 * MS, quieten=self._quieten)
        self.willing = willing
        self.ends.opened(self.client)
        self.ends.opened(self.server)
        self.ends.tick(1)

    def _quieten(self, connection: Connection) -> bool:
        self.quiet.append(connection)
        return self.willing

    def view(self, side: Side, id: int) -> None:
        session = self.session(id)
        if side is Side.CLIENT:
            session.connection, session.seen_from, session.times = self.client, side, Times(*ASKED, *REPLIED)
        self.ends.session(session)


def test_the_first_exchange_seen_from_both_ends_makes_the_clients_quiet() -> None:
    pair = Both()
    pair.view(Side.SERVER, 5)
    assert not pair.quiet
    pair.view(Side.CLIENT, 5)
    assert pair.quiet == [pair.client]
    pair.view(Side.SERVER, 6)
    pair.ends.exchange(pair.client, 6, Times(*ASKED, *REPLIED), 2)
    pair.view(Side.CLIENT, 7)  # of before
    pair.view(Side.SERVER, 7)
    both = Times(*ASKED, *REPLIED)
    assert pair.summary() == [(id, Side.BOTH, both) for id in (5, 6, 7)]
    pair.ledger.add(Cause.SESSIONS, 2 + 2 + 2 + 2 + 2)  # 5 and 7 from both ends, 6 from one
    pair.ends.tick(2)
    assert pair.ledger.counts == {Cause.SESSIONS: 6, Cause.OTHER_END: 6}


def test_what_waited_when_the_end_became_quiet_is_told_once() -> None:
    pair = Both()
    for id in (4, 5, 6):
        pair.view(Side.SERVER, id)
    pair.view(Side.CLIENT, 7)
    pair.view(Side.CLIENT, 5)
    pair.ends.exchange(pair.client, 6, Times(0, 0, *REPLIED), 1)
    pair.view(Side.SERVER, 7)
    for at in (200, 400, 600):
        pair.ends.tick(at * MS)
    assert sorted((id, side) for id, side, _ in pair.summary()) == [
        (4, Side.SERVER),
        (5, Side.BOTH),
        (6, Side.BOTH),
        (7, Side.BOTH),
    ]


def test_a_source_that_does_not_keep_quiet_goes_on_as_before() -> None:
    pair = Both(willing=False)
    for id in (5, 6):
        pair.view(Side.SERVER, id)
        pair.view(Side.CLIENT, id)
    assert [side for _, side, _ in pair.summary()] == [Side.BOTH] * 2


def test_what_waits_at_the_end_of_a_connection_is_told() -> None:
    pair = Both()
    pair.view(Side.SERVER, 5)
    pair.view(Side.CLIENT, 5)
    pair.view(Side.SERVER, 6)
    pair.ends.closed(pair.client, 10)
    pair.ends.closed(pair.server, 10)
    for at in range(1, 100):
        pair.ends.tick(at * 100 * MS)
    assert [id for id, _, _ in pair.summary()] == [5, 6]
    assert pair.ends.waiting([]) == []


def test_a_request_in_flight_is_told_with_both_ends() -> None:
    pair = Both()
    pair.view(Side.SERVER, 5)
    pair.view(Side.CLIENT, 5)
    (waiting,) = pair.ends.waiting([pair.session(6, Status.INFLIGHT)])
    assert (waiting.seen_from, waiting.client) == (Side.BOTH, pair.client)
    of_client = pair.session(7, Status.INFLIGHT)
    of_client.connection, of_client.seen_from = pair.client, Side.CLIENT
    pair.view(Side.SERVER, 7)  # answered, but not read yet
    assert pair.ends.waiting([of_client]) == []
