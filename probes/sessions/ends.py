"""Both ends of a connection may be on this host: their two views of an exchange become one session.

The ends find each other by their addresses, the views by the request's id. A view waits a moment for its
counterpart; one that comes later still is known to be told already. So each exchange is told exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from probes.records import Address, Connection, Ledger, Session, Side, Status, Times
from probes.sessions.causes import Cause
from probes.sessions.shadows import Shadow

HOLD_NS = 1_000_000_000  # a client that is short of CPU reads late: told alone, its view would be lost
SLACK_NS = 100_000_000  # an event's time may be this much later than what it tells of
LINGER_NS = 3_000_000_000  # the last views of a connection come within this after its end
MAX_ALONE = 256  # views of one end that were told alone and are remembered
MAX_CLOSED = 65536  # ended connections that are remembered

_SERVER, _BOTH, _ONEWAY = Side.SERVER, Side.BOTH, Status.ONEWAY
_KNOWS = {Status.OK: 3, Status.ERROR: 3, Status.ONEWAY: 3, Status.UNPARSED: 2, Status.DROPPED: 1}  # of the reply

_UNIX = "unix"
_Key = tuple[Address, Address, int]  # near, far, network namespace


class _Alone(NamedTuple):
    """What is remembered of a view that was told alone."""

    id: int | None
    seen_from: Side
    status: Status
    times: Times


class _End:
    __slots__ = ("alone", "closed_ns", "connection", "key", "peer", "shadow", "since_ns", "views")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.key: _Key | None = None
        self.peer: _End | None = None
        self.closed_ns: int | None = None
        self.since_ns: int | None = None  # the beginning of the first exchange told
        self.views: dict[int | None, list[Session | _Alone]] = {}  # by id, not joined, oldest first
        self.alone: list[_Alone] = []  # those of them that were told alone, oldest first
        self.shadow: Shadow | None = None  # of both ends, once the client's tells but times


class Ends:
    """Joins the sessions of both ends of a connection; tells all others as they are.

    Only where the opposite end is known, or must soon be, does a session wait: for `hold_ns` of the events' time, at
    most twice that.
    Messages of a view that is not told on its own move from `sessions` to `other_end` in the ledger.

    `quieten` is called with the connection of a client's end as soon as an exchange was seen from both ends: from then
    on the source may tell but times of it (`exchange`), and no messages. It returns whether it does. `asked` is given
    the times of a reply whose request was told before that, and adds when that one went by.
    """

    def __init__(
        self,
        emit: Callable[[Session], None],
        ledger: Ledger | None = None,
        *,
        hold_ns: int = HOLD_NS,
        quieten: Callable[[Connection], bool] = lambda _: False,
        asked: Callable[[Connection, int, Times], Times] = lambda connection, id, times: times,
    ) -> None:
        self._emit = emit
        self._ledger = ledger if ledger is not None else Ledger()
        self._hold_ns = hold_ns
        self._quieten = quieten
        self._asked = asked
        self._now = 0
        self._ends: dict[int, _End] = {}
        self._by_key: dict[_Key, _End] = {}
        self._closed: dict[int, _End] = {}
        self._held: list[tuple[_End, Session]] = []  # since `_turned`
        self._held_longer: list[tuple[_End, Session]] = []
        self._turned = 0  # the tick at which `_held` was begun, 0 before the first
        self._doubled = 0  # messages of views that were not told, since the last tick
        self._shadowed = 0  # messages of which only times were told, since the last tick

    def opened(self, connection: Connection) -> None:
        """A connection exists from now on."""
        end = self._ends.get(connection.id)
        if end is None:
            end = self._ends[connection.id] = _End(connection)
        self._find_peer(end)

    addressed = opened  # its addresses have become known

    def closed(self, connection: Connection, ns: int) -> None:
        """The connection ended at `ns`; its last sessions come after this."""
        end = self._ends.get(connection.id)
        if end is not None and end.closed_ns is None:
            end.closed_ns = ns
            self._closed[connection.id] = end
            if len(self._closed) > MAX_CLOSED:
                self._forget(next(iter(self._closed.values())))

    def session(self, session: Session) -> None:
        """One end's view of an exchange that is over."""
        end = self._ends.get(session.connection.id)
        if end is not None and end.shadow is not None:
            if session.seen_from is _SERVER:
                end.shadow.session(session)
                return
            self._of_quiet_end(end.shadow, session)
            return
        if end is not None and end.key is None:
            self._find_peer(end)
        if end is None or (end.peer is None and not self._expects_peer(end, session)):
            self._emit(session)
            return
        request, peer = session.request, end.peer
        id = None if request is None else request.id
        views = None if peer is None else peer.views.get(id)
        if peer is not None and views:
            for place, view in enumerate(views):
                if _same(view, session):
                    del views[place]
                    if not views:
                        del peer.views[id]
                    self._meet(peer, view, session)
                    return
        self._held.append((end, session))
        views = end.views.get(id)
        if views is None:
            end.views[id] = [session]
        else:
            views.append(session)

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        """A quiet end saw `messages` messages of the exchange `id`, at these times; 0 where it did not."""
        self._shadowed += messages
        _, request_last, _, _ = times
        if not request_last:
            times = self._asked(connection, id, times)
        end = self._ends.get(connection.id)
        if end is not None and end.shadow is not None:
            end.shadow.exchange(id, times)

    def tick(self, now_ns: int) -> None:
        """The events have come to `now_ns`: what has waited long enough is told alone.

        To be called before the same tick of the pairing, so that what this tells there is not late here.
        """
        self._turned = self._turned or now_ns
        passed = now_ns - self._turned
        if passed >= self._hold_ns:
            # One turn, however much time has passed: what was held just now has its other end still to come, where the
            # collector itself got no CPU for long.
            held, self._held_longer, self._held = self._held_longer, self._held, []
            self._turned = now_ns
            for end, session in held:
                self._tell_alone(end, session)
            for end in self._ends.values():
                if end.shadow is not None and end.connection is not end.shadow.client:
                    end.shadow.turn()
        for end in [e for e in self._closed.values() if _over(e, self._now)]:  # at the tick before, and told
            self._forget(end)
        self._now = now_ns
        self._ledger.add(Cause.SESSIONS, -self._doubled)
        self._ledger.add(Cause.OTHER_END, self._doubled + self._shadowed)
        self._doubled = self._shadowed = 0

    def waiting(self, sessions: Iterable[Session]) -> list[Session]:
        """The same sessions in flight, those that both ends wait for joined, none that was told already."""
        result: list[Session] = []
        places: dict[tuple[int, int | None], list[int]] = {}  # of what the other end may see as well
        for session in sessions:
            end = self._ends.get(session.connection.id)
            peer = None if end is None else end.peer
            if peer is None:
                result.append(session)
                continue
            id = _id(session)
            if any(_same(view, session) for view in peer.views.get(id, ())):
                continue
            if peer.shadow is not None and id in peer.shadow:
                continue
            others = places.get((peer.connection.id, id))
            if others:
                place = others.pop(0)
                result[place] = _join(*_by_side(result[place], session))
            else:
                places.setdefault((session.connection.id, id), []).append(len(result))
                result.append(session)
        for session in result:
            end = self._ends.get(session.connection.id)
            if end is not None and end.shadow is not None and session.seen_from is _SERVER:
                session.seen_from, session.client = _BOTH, end.shadow.client
        return result

    def _expects_peer(self, end: _End, session: Session) -> bool:
        """Whether the other end must be on this host, and may just not have shown itself yet."""
        if end.key is None or end.key[0].host != end.key[1].host:
            return False
        if end.since_ns is None:
            end.since_ns = session.times.request_first
        return session.times.request_first - end.since_ns < self._hold_ns

    def _find_peer(self, end: _End) -> None:
        key = _key(end.connection)
        if key is None or key == end.key:
            return
        if end.key is not None and self._by_key.get(end.key) is end:
            del self._by_key[end.key]
        end.key = key
        self._by_key[key] = end
        near, far, namespace = key
        peer = self._by_key.get((far, near, namespace))
        if peer is not None and peer is not end and peer.peer is None and peer.closed_ns is None:
            end.peer, peer.peer = peer, end

    def _meet(self, peer: _End, view: Session | _Alone, session: Session) -> None:
        """`view`, of the peer's end, and `session` are the same exchange."""
        if isinstance(view, _Alone):
            peer.alone.remove(view)
            self._doubled += _messages(session)
            return
        server, client = _by_side(view, session)
        self._doubled += _messages(client)
        shadow = peer.shadow or self._shadow(peer, client.connection)
        self._emit(_join(server, client))
        if shadow is not None:
            self._hand_over(shadow, peer)

    def _shadow(self, end: _End, client: Connection) -> Shadow | None:
        """Both ends are known: from now on the client's need not tell messages."""
        if end.peer is None or not self._quieten(client):
            return None
        end.shadow = end.peer.shadow = Shadow(client, self._emit, self._count_double)
        return end.shadow

    def _hand_over(self, shadow: Shadow, end: _End) -> None:
        """What still waits of either end waits there from now on."""
        for each in (end, end.peer):
            views = {} if each is None else each.views
            for id, view in [(id, view) for id, some in views.items() for view in some if isinstance(view, Session)]:
                views[id].remove(view)
                if not views[id]:
                    del views[id]
                if view.seen_from is _SERVER:
                    shadow.session(view)
                else:
                    self._of_quiet_end(shadow, view)

    def _of_quiet_end(self, shadow: Shadow, view: Session) -> None:
        """The client's view of an exchange of before, or of a request that gets no reply."""
        if view.reply is None:
            shadow.view(view)
        else:
            self._count_double(view)
            shadow.exchange(_id(view), view.times)

    def _count_double(self, session: Session) -> None:
        self._doubled += _messages(session)

    def _tell_alone(self, end: _End, session: Session) -> None:
        id = _id(session)
        views = end.views.get(id, [])
        for place, view in enumerate(views):
            if view is session:
                views[place] = alone = _Alone(id, session.seen_from, session.status, session.times)
                end.alone.append(alone)
                self._emit(session)
                break
        if len(end.alone) > MAX_ALONE:
            alone = end.alone.pop(0)
            end.views[alone.id].remove(alone)
            if not end.views[alone.id]:
                del end.views[alone.id]

    def _forget(self, end: _End) -> None:
        id = end.connection.id
        del self._ends[id], self._closed[id]
        if end.shadow is not None:
            end.shadow.end()
        if end.key is not None and self._by_key.get(end.key) is end:
            del self._by_key[end.key]
        if end.peer is not None:
            end.peer.peer = None


def _id(session: Session) -> int | None:
    return None if session.request is None else session.request.id


def _key(connection: Connection) -> _Key | None:
    """None where the addresses are not known. Of a unix socket the inodes stand for them."""
    if all(connection.inodes):
        own, peer = connection.inodes
        return Address(_UNIX, own), Address(_UNIX, peer), 0
    near, far = _plain(connection.near), _plain(connection.far)
    if near is None or far is None:
        return None
    return near, far, connection.namespace if _loopback(near) else 0


def _plain(address: Address) -> Address | None:
    """An IPv4 address may be written as an IPv6 one at the end that listens on both."""
    if not address.host or not address.port:
        return None
    return Address(address.host.lower().removeprefix("::ffff:"), address.port)


def _loopback(address: Address) -> bool:
    return address.host.startswith("127.") or address.host == "::1"


def _over(end: _End, now_ns: int) -> bool:
    """Whether no view of either end can come any more."""
    ends = (end,) if end.peer is None else (end, end.peer)
    return all(e.closed_ns is not None and e.closed_ns + LINGER_NS <= now_ns for e in ends)


def _messages(session: Session) -> int:
    """How many messages the ledger counts under `sessions` for it."""
    return (session.request is not None and session.request_bytes > 0) + (session.reply is not None)


def _same(one: Session | _Alone, other: Session) -> bool:
    """Whether two views whose ids agree may be of the same exchange: ids come again."""
    server, client = (one, other) if one.seen_from is _SERVER else (other, one)
    if server.seen_from is client.seen_from:
        return False
    if one.status is not other.status and _ONEWAY in (one.status, other.status):
        return False
    there, here = server.times, client.times
    if here.request_first > there.request_last + SLACK_NS:
        return False
    return not here.reply_last or there.reply_first <= here.reply_last + SLACK_NS


def _by_side(one: Session, other: Session) -> tuple[Session, Session]:
    """The server's view and the client's."""
    return (one, other) if one.seen_from is _SERVER else (other, one)


def _join(server: Session, client: Session) -> Session:
    """The server's view, completed by the client's; the client's end may know more of the reply."""
    server.seen_from = _BOTH
    server.client = client.connection
    server.client_times = client.times
    if client.status is not server.status and _KNOWS.get(client.status, 0) > _KNOWS.get(server.status, 0):
        server.status, server.reply = client.status, client.reply
        server.times, server.reply_bytes = client.times, client.reply_bytes
    return server
