"""Two views of one exchange become one session; a lone view stays what it is."""

from __future__ import annotations

from probes.records import Address, Connection, Ledger, Process, Reply, Request, Session, Side, Status, Times
from probes.sessions.causes import Cause
from probes.sessions.ends import MAX_ALONE, Ends

from .pairing_harness import MS

CLIENT, SERVER = Address("127.0.0.1", 51544), Address("127.0.0.1", 27017)


class Pair:
    """Both ends of one connection. Times in ms."""

    def __init__(
        self, *, near: Address = CLIENT, far: Address = SERVER, opened: bool = True, ticked: bool = True
    ) -> None:
        self.told: list[Session] = []
        self.ticked_at = 0.0
        self.ledger = Ledger()
        self.ends = Ends(self.told.append, self.ledger, hold_ns=100 * MS)
        self.client = Connection(1, Process(100, "app"), near, far, 4026, "fake")
        self.server = Connection(2, Process(200, "mongod"), far, near, 4026, "fake")
        if opened:
            self.ends.opened(self.client)
            self.ends.opened(self.server)
        if ticked:
            self.ends.tick(1)

    def view(
        self, side: Side, id: int | None = 5, status: Status = Status.OK, at: float = 10, took: float = 2
    ) -> Session:
        """The client's view begins a little earlier than the server's, and ends a little later."""
        server = side is Side.SERVER
        first = int(at * MS) + (1000 if server else 0)
        replied = status in (Status.OK, Status.ERROR)
        end = int((at + took) * MS) + (0 if server else 1000)
        return Session(
            "fake",
            status,
            side,
            self.server if server else self.client,
            None if id is None else Request(id, "ask", b""),
            Reply(900, b"") if replied else None,
            Times(first, first + 10, end, end + 10) if replied else Times(first, first + 10),
            100,
            50 if replied else 0,
        )

    def seen(self, side: Side, id: int | None = 5, status: Status = Status.OK, at: float = 10, took: float = 2) -> None:
        self.ends.session(self.view(side, id, status, at, took))

    def tick(self, at: float) -> None:
        """Ticks every 100 ms until `at`."""
        while self.ticked_at + 100 < at:
            self.ticked_at += 100
            self.ends.tick(int(self.ticked_at * MS))
        self.ticked_at = at
        self.ends.tick(int(at * MS))

    def summary(self) -> list[tuple[Side, Status]]:
        return [(session.seen_from, session.status) for session in self.told]


def test_two_views_are_one_session() -> None:
    for order in ((Side.SERVER, Side.CLIENT), (Side.CLIENT, Side.SERVER)):
        pair = Pair()
        pair.ledger.add(Cause.SESSIONS, 4)
        for side in order:
            pair.seen(side)
        (session,) = pair.told
        assert session.seen_from is Side.BOTH
        assert session.connection is pair.server
        assert session.client is pair.client
        assert session.times == pair.view(Side.SERVER).times
        assert session.client_times == pair.view(Side.CLIENT).times
        assert (session.client_process, session.server_process) == (Process(100, "app"), Process(200, "mongod"))
        assert (session.client_address, session.server_address) == (CLIENT, SERVER)
        for at in (100, 300, 500):
            pair.tick(at)
        assert len(pair.told) == 1
        assert pair.ledger.counts == {Cause.SESSIONS: 2, Cause.OTHER_END: 2}


def test_a_view_whose_opposite_end_is_unknown_does_not_wait() -> None:
    pair = Pair(near=Address("10.0.0.5", 51544), far=Address("10.0.0.9", 27017), opened=False)
    pair.ends.opened(pair.client)
    pair.seen(Side.CLIENT)
    assert pair.summary() == [(Side.CLIENT, Status.OK)]


def test_the_other_end_of_this_host_may_show_itself_a_little_later() -> None:
    pair = Pair(opened=False)
    pair.ends.opened(pair.server)
    pair.seen(Side.SERVER)
    assert pair.told == []
    pair.ends.opened(pair.client)
    pair.seen(Side.CLIENT)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_the_first_tick_tells_nothing_alone() -> None:
    pair = Pair(ticked=False)
    pair.seen(Side.SERVER, at=5000)
    pair.ends.tick(5010 * MS)
    pair.seen(Side.CLIENT, at=5000)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_a_collector_without_cpu_for_long_tells_nothing_alone_that_came_just_now() -> None:
    pair = Pair()
    pair.tick(100)
    pair.seen(Side.SERVER, at=5000)
    pair.ends.tick(5010 * MS)
    pair.seen(Side.CLIENT, at=5000)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_an_end_that_stays_alone_on_this_host_is_waited_for_only_at_first() -> None:
    pair = Pair(opened=False)
    pair.ends.opened(pair.server)
    pair.seen(Side.SERVER, at=10)
    for at in (10, 120, 230):
        pair.tick(at)
    assert pair.summary() == [(Side.SERVER, Status.OK)]
    pair.seen(Side.SERVER, id=6, at=400)
    assert pair.summary() == [(Side.SERVER, Status.OK)] * 2


def test_a_view_alone_is_told_after_the_hold() -> None:
    pair = Pair()
    pair.tick(1)
    pair.seen(Side.CLIENT, at=2)
    pair.tick(100)
    assert pair.told == []
    for at in (110, 220):
        pair.tick(at)
    assert pair.summary() == [(Side.CLIENT, Status.OK)]
    assert pair.told[0].client is None


def test_a_view_that_comes_too_late_is_not_told_again() -> None:
    pair = Pair()
    pair.seen(Side.SERVER)
    pair.tick(1000)
    pair.seen(Side.CLIENT, status=Status.LOST)
    for at in (2000, 3000):
        pair.tick(at)
    assert pair.summary() == [(Side.SERVER, Status.OK)]
    assert pair.ledger.counts[Cause.OTHER_END] == 1


def test_the_end_that_knows_the_reply_wins() -> None:
    for less in (Status.LOST, Status.DROPPED, Status.UNPARSED):
        for side, other in ((Side.SERVER, Side.CLIENT), (Side.CLIENT, Side.SERVER)):
            pair = Pair()
            pair.seen(side, status=less)
            pair.seen(other, status=Status.ERROR)
            (session,) = pair.told
            assert session.status is Status.ERROR
            assert session.reply is not None
            assert session.reply_bytes == 50
            assert session.times.duration > 0
            assert session.connection is pair.server


def test_dropped_says_more_than_lost() -> None:
    pair = Pair()
    pair.seen(Side.SERVER, status=Status.LOST)
    pair.seen(Side.CLIENT, status=Status.DROPPED)
    assert pair.summary() == [(Side.BOTH, Status.DROPPED)]


def test_an_id_that_comes_again_meets_its_own_time() -> None:
    pair = Pair()
    pair.seen(Side.SERVER, at=10)  # the client's view of this one was lost
    pair.tick(1000)
    pair.seen(Side.CLIENT, at=5000)
    pair.seen(Side.SERVER, at=5000)
    assert pair.summary() == [(Side.SERVER, Status.OK), (Side.BOTH, Status.OK)]
    assert pair.told[1].times.request_first == 5000 * MS + 1000


def test_views_with_one_id_meet_in_their_order() -> None:
    pair = Pair()
    for at in (10, 20, 30):
        pair.seen(Side.CLIENT, at=at)
    for at in (10, 20, 30):
        pair.seen(Side.SERVER, at=at)
    assert [session.times.request_first // MS for session in pair.told] == [10, 20, 30]
    assert all(
        session.client_times and session.client_times.request_first // MS == session.times.request_first // MS
        for session in pair.told
    )


def test_a_oneway_request_is_not_the_request_with_its_id() -> None:
    pair = Pair()
    pair.seen(Side.CLIENT, status=Status.ONEWAY, at=10)
    pair.seen(Side.SERVER, status=Status.OK, at=11)
    pair.seen(Side.SERVER, status=Status.ONEWAY, at=10)
    pair.seen(Side.CLIENT, status=Status.OK, at=11)
    assert pair.summary() == [(Side.BOTH, Status.ONEWAY), (Side.BOTH, Status.OK)]


def test_undecodable_requests_of_both_ends_are_one() -> None:
    pair = Pair()
    pair.seen(Side.CLIENT, id=None, status=Status.UNPARSED)
    pair.seen(Side.SERVER, id=None, status=Status.UNPARSED)
    assert pair.summary() == [(Side.BOTH, Status.UNPARSED)]


def test_a_loopback_address_means_something_only_within_a_namespace() -> None:
    pair = Pair(opened=False)
    pair.server.namespace = 4027
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.seen(Side.SERVER)
    pair.seen(Side.CLIENT)
    for at in (300, 600):
        pair.tick(at)
    assert pair.summary() == [(Side.SERVER, Status.OK), (Side.CLIENT, Status.OK)]


def test_other_addresses_meet_across_namespaces() -> None:
    pair = Pair(near=Address("172.17.0.2", 40000), far=Address("172.17.0.1", 9092), opened=False)
    pair.server.namespace = 4027
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.seen(Side.SERVER)
    pair.seen(Side.CLIENT)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_an_ipv4_address_may_be_written_as_ipv6() -> None:
    pair = Pair(opened=False)
    pair.server.near, pair.server.far = (Address("::ffff:" + a.host, a.port) for a in (SERVER, CLIENT))
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.seen(Side.SERVER)
    pair.seen(Side.CLIENT)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_addresses_may_become_known_late() -> None:
    pair = Pair(opened=False)
    near, pair.client.near = pair.client.near, Address("127.0.0.1", 0)  # before the connection is established
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.client.near = near
    pair.ends.addressed(pair.client)
    pair.seen(Side.SERVER)
    pair.seen(Side.CLIENT)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_addresses_are_looked_at_again_with_each_session_until_they_are_known() -> None:
    pair = Pair(opened=False)
    near, pair.client.near = pair.client.near, Address("", 0)
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.client.near = near
    pair.seen(Side.CLIENT)
    pair.seen(Side.SERVER)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_unix_sockets_have_no_opposite() -> None:
    pair = Pair(near=Address("", 0), far=Address("/tmp/mongodb-27017.sock", 0))
    pair.seen(Side.SERVER)
    assert pair.summary() == [(Side.SERVER, Status.OK)]


def test_the_ends_of_a_unix_socket_are_joined_by_their_inodes() -> None:
    pair = Pair(near=Address("", 0), far=Address("/tmp/mongodb-27017.sock", 0))
    pair.client.inodes, pair.server.inodes = (7, 8), (8, 7)
    pair.ends.addressed(pair.client)
    pair.ends.addressed(pair.server)
    pair.seen(Side.CLIENT)
    pair.seen(Side.SERVER)
    assert pair.summary() == [(Side.BOTH, Status.OK)]


def test_a_new_connection_may_have_the_addresses_of_an_old_one() -> None:
    pair = Pair()
    pair.ends.closed(pair.client, 20 * MS)
    pair.ends.closed(pair.server, 20 * MS)
    old = pair.server
    pair.client = Connection(3, Process(100, "app"), CLIENT, SERVER, 4026, "fake")
    pair.server = Connection(4, Process(200, "mongod"), SERVER, CLIENT, 4026, "fake")
    pair.ends.opened(pair.client)
    pair.ends.opened(pair.server)
    pair.seen(Side.CLIENT)
    assert pair.told == []
    pair.seen(Side.SERVER)
    assert pair.told[0].connection is pair.server is not old
    for at in (1100, 1200, 1300):
        pair.tick(at)
    pair.seen(Side.SERVER, at=1400)
    pair.seen(Side.CLIENT, at=1400)
    assert pair.summary() == [(Side.BOTH, Status.OK)] * 2


def test_an_end_is_forgotten_only_with_the_other() -> None:
    pair = Pair()
    pair.seen(Side.SERVER)
    pair.ends.closed(pair.server, 20 * MS)
    for at in range(100, 5000, 100):
        pair.tick(at)
    pair.ends.closed(pair.client, 5000 * MS)
    pair.seen(Side.CLIENT, status=Status.LOST)  # it never read the reply
    for at in range(5000, 9500, 100):
        pair.tick(at)
    assert pair.summary() == [(Side.SERVER, Status.OK)]
    pair.seen(Side.CLIENT, id=6)
    assert pair.summary()[1:] == [(Side.CLIENT, Status.OK)]


def test_what_is_remembered_of_lone_views_is_bounded() -> None:
    pair = Pair()
    for id in range(MAX_ALONE + 1):
        pair.seen(Side.SERVER, id=id)
    for at in (1000, 2000):
        pair.tick(at)
    assert len(pair.told) == MAX_ALONE + 1
    pair.seen(Side.CLIENT, id=MAX_ALONE)  # remembered
    pair.seen(Side.CLIENT, id=0)  # forgotten
    pair.tick(9000)
    assert len(pair.told) == MAX_ALONE + 2


def test_what_both_ends_wait_for_is_in_flight_once() -> None:
    pair = Pair()
    client, server = (pair.view(side, status=Status.INFLIGHT) for side in (Side.CLIENT, Side.SERVER))
    only_client = pair.view(Side.CLIENT, id=6, status=Status.INFLIGHT)
    merged = pair.ends.waiting([client, server, only_client])
    assert [(s.seen_from, s.connection) for s in merged] == [(Side.BOTH, pair.server), (Side.CLIENT, pair.client)]
    assert merged[0].client_times == client.times
    assert pair.told == []


def test_what_the_other_end_has_told_is_not_in_flight() -> None:
    pair = Pair()
    pair.seen(Side.SERVER)
    waiting = pair.view(Side.CLIENT, status=Status.INFLIGHT)
    assert pair.ends.waiting([waiting]) == []
    pair.tick(1000)
    assert pair.summary() == [(Side.SERVER, Status.OK)]
    assert pair.ends.waiting([waiting]) == []


def test_in_flight_sessions_without_an_opposite_stay() -> None:
    pair = Pair(opened=False)
    waiting = pair.view(Side.CLIENT, status=Status.INFLIGHT)
    assert pair.ends.waiting([waiting]) == [waiting]
