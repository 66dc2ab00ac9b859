"""Heads in, sessions out: every request meets its reply, by its id and on its own connection only.

A source tells what happens on its connections, roughly in the order of time: the events of two threads may be some
milliseconds out of order. Nothing here has a clock: time is that of the events, and `tick` says how far it has come.
What is never told as a session is counted in the ledger (see `Cause`), which is up to date after each tick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from heapq import nsmallest
from itertools import islice

from probes.protocols.interface import RAW, Abort, Pass, ProtocolError, SwitchedOff, WireProtocol
from probes.records import Connection, Head, Ledger, Reply, Request, Session, Side, Status, Times
from probes.sessions.causes import Cause
from probes.sessions.confirmation import lone_request, may_speak, requests_outbound
from probes.sessions.numbers import Gap, Numbers
from probes.sessions.stream import Reader, Stream, Waiting, session

REORDER_NS = 100_000_000  # events are no further out of order than this
EARLY_NS = 1_000_000_000  # how long a reply waits for its request
SENT_NS = 500_000  # a request may be timed by the end of its sending, which its reply is ahead of by so much at most
LONE_NS = 300_000_000  # how long the only message of a connection waits before it is shown as a request
MAX_HELD = 16  # heads kept of a connection until it is confirmed
MAX_TRIES = 64  # heads after which an unconfirmed connection is ignored
MAX_EARLY = 64  # replies of a connection that wait for their request
MAX_KEPT = 4096  # heads of both kinds, of all connections

_OK, _ERROR = Status.OK, Status.ERROR
_new = object.__new__
_new_tuple = tuple.__new__  # past a NamedTuple's own constructor, which costs three times as much


class Pairing:
    """Pairs the requests and replies of all connections.

    `emit` is called with each session as soon as it is complete. At most `waiting_bound` requests wait for their
    reply, `per_connection_bound` of them on one connection; past that the oldest are given up and counted. An
    exception of a parser other than ProtocolError is a bug: contained and counted, unless `strict`.
    """

    def __init__(
        self,
        protocols: Sequence[WireProtocol],
        emit: Callable[[Session], None],
        ledger: Ledger,
        *,
        waiting_bound: int = 65536,
        per_connection_bound: int = 1024,
        strict: bool = False,
    ) -> None:
        self._protocols = tuple(protocols)
        self._emit = emit
        self._ledger = ledger
        self._waiting_bound = waiting_bound
        self._per_connection_bound = per_connection_bound
        self._strict = strict
        self._streams: dict[int, Stream] = {}
        self._unsettled: dict[int, Stream] = {}
        self._unconfirmed: dict[int, Stream] = {}  # those with held heads, oldest first
        self._closing: dict[int, Stream] = {}
        self._waiting = 0  # entries in all `waiting`
        self._continued = 0  # those of them without a message of their own
        self._kept = 0  # heads in all `held` and `early`
        self._told = 0  # messages in sessions since the last tick

    # What a source tells.

    def opened(self, connection: Connection) -> None:
        """A connection exists from now on. Only its messages between this and 100 ms after its end are taken."""
        self._streams.setdefault(connection.id, Stream(connection))

    def message(self, connection: Connection, head: Head) -> None:
        """A message went by."""
        stream = self._streams.get(connection.id)
        if stream is None:
            self._ledger.add(Cause.LATE)
        elif stream.protocol is None:
            self._hold(stream, head)
        elif head.outbound == stream.asks:
            self._request(stream, stream.protocol, head)
        else:
            self._reply(stream, stream.protocol, head)

    def pair(self, connection: Connection, asked: Head, replied: Head) -> None:
        """Two messages went by, one right behind the other: a request and what is most likely its reply."""
        stream = self._streams.get(connection.id)
        protocol = None if stream is None else stream.protocol
        # Taken apart at once: a look at one of a tuple's names costs as much.
        _, number, first_ns, last_ns, total, _, _, _, _ = asked
        if (
            stream is None
            or protocol is None
            or stream.waiting
            or stream.early
            or number != stream.requests.next
            or replied[1] != stream.replies.next
        ):
            self.message(connection, asked)
            self.message(connection, replied)
            return
        memory = stream.memory
        stream.requests.next = number + 1
        try:
            request = protocol.request(asked, memory)
        except Exception as error:
            self._not_answered(stream, asked, error)
            self._reply(stream, protocol, replied)
            return
        try:
            id = protocol.reply_to(replied, memory)
        except Exception:
            id = None  # why, will show where it is taken for itself
        if id == request.id and request.expects_reply:
            stream.replies.next += 1
            self._answer(stream, protocol, (request, first_ns, last_ns, total, number), replied)
        else:
            self._sent(stream, request, asked)
            self._reply(stream, protocol, replied)

    def exchange(self, connection: Connection, id: int, times: Times) -> Times:
        """Of a quiet end: when the reply to request `id` went by. With the request's times, where that waits here."""
        stream = self._streams.get(connection.id)
        if stream is None or id not in stream.waiting:
            return times
        entry = self._take(stream, id)
        stream.apart.pop(id, None)
        self._ledger.add(Cause.OTHER_END, bool(entry[3]))
        return Times(entry[1], entry[2], times.reply_first, times.reply_last)

    def asks(self, connection: Connection) -> bool | None:
        """Which direction of the connection carries the requests (True: outbound); None until that is confirmed."""
        stream = self._streams.get(connection.id)
        return None if stream is None or stream.protocol is None else stream.asks

    def quiet_request(self, connection: Connection, head: Head) -> Session | None:
        """The request that waits on a quiet end, as a session (INFLIGHT); None where it cannot be read."""
        stream = self._streams.get(connection.id)
        if stream is None or stream.protocol is None:
            return None
        try:
            request = stream.protocol.request(head, stream.protocol.memory(connection))
        except Exception as error:
            self._refused(error, messages=0)
            return None
        return session(stream, Status.INFLIGHT, request, head.first_ns, head.last_ns, head.total)

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        """By `ns` the messages of this direction up to `last_number` had gone by, whether they are seen or not."""
        stream = self._streams.get(connection.id)
        if stream is None:
            return
        numbers = stream.numbers[outbound]
        gap = numbers.reach(last_number + 1, ns)
        if gap is not None:
            if stream.protocol is not None and numbers is stream.replies:
                gap.bound = stream.requests.next
            self._unsettled[connection.id] = stream

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        """The message of that number went by unseen, and perhaps more of that direction."""
        stream = self._streams.get(connection.id)
        gap = None if stream is None else stream.numbers[outbound].reach(number + 1, ns)
        if stream is not None and gap is not None:
            gap.at_least = True
            self._unsettled[connection.id] = stream

    def give_up(self, connection: Connection) -> None:
        """The replies to all that waits on this connection went by unseen, or cannot be told from others."""
        stream = self._streams.get(connection.id)
        if stream is None:
            return
        while stream.early:
            self._pop_early(stream)
            self._ledger.add(Cause.DROPPED)
        for id in list(stream.waiting):
            self._give_up(stream, id, Status.DROPPED)

    def closed(self, connection: Connection, ns: int) -> None:
        """The connection ended at `ns`. What belongs to it may still come for 100 ms."""
        stream = self._streams.get(connection.id)
        if stream is not None and stream.closed_ns is None:
            stream.closed_ns = ns
            self._closing[connection.id] = stream

    def tick(self, now_ns: int) -> None:
        """The events have come to `now_ns`: decides what is old enough and brings the ledger up to date.

        To be called about every 100 ms of the events' time.
        """
        for id, stream in list(self._unsettled.items()):
            self._settle(stream, now_ns)
            if not stream.unsettled:
                del self._unsettled[id]
        for id, stream in list(self._closing.items()):
            if stream.closed_ns is not None and now_ns - stream.closed_ns >= REORDER_NS:
                self._end(stream)
                del self._closing[id], self._streams[id]
                self._unsettled.pop(id, None)
        self._ledger.add(Cause.SESSIONS, self._told)
        self._told = 0
        self._ledger.counts[Cause.WAITING] = self._waiting - self._continued + self._kept

    def waiting(self, now_ns: int, *, older_than_ns: int = 0) -> list[Session]:
        """What is in flight for at least `older_than_ns` at `now_ns`, oldest first, as sessions (INFLIGHT).

        Among them what has waited for long on a connection with no other message: the label is then likely, not sure.
        """
        latest = now_ns - older_than_ns
        sessions = [
            session(stream, Status.INFLIGHT, *entry[:4], _name(stream.apart.get(id)))
            for stream in self._streams.values()
            for id, entry in stream.waiting.items()
            if entry[2] <= latest and stream.apart.get(id, stream) is not None
        ]
        for stream in self._unconfirmed.values():
            if len(stream.held) == 1 and stream.held[0].last_ns <= min(latest, now_ns - LONE_NS):
                lone = self._lone(stream)
                if lone is not None:
                    sessions.append(lone)
        sessions.sort(key=lambda session: session.times.request_first)
        return sessions

    def _lone(self, stream: Stream) -> Session | None:
        """The one message of a connection as a session, if it can be a request. Looked at once, however often asked."""
        (head,) = stream.held
        if stream.guess is None or stream.guess[0] is not head:
            stream.guess = head, self._guess(stream.connection, head)
        return stream.guess[1]

    def _guess(self, connection: Connection, head: Head) -> Session | None:
        for protocol in self._protocols:
            if not may_speak(protocol, connection):
                continue
            try:
                request = lone_request(protocol, connection, head)
            except Exception as error:
                self._refused(error, messages=0)
                continue
            if request is not None:
                side = Side.CLIENT if head.outbound else Side.SERVER
                times = Times(head.first_ns, head.last_ns)
                return Session(protocol.name, Status.INFLIGHT, side, connection, request, None, times, head.total)
        return None

    # A connection that is not confirmed yet.

    def _hold(self, stream: Stream, head: Head) -> None:
        connection = stream.connection
        stream.held.append(head)
        self._kept += 1
        self._unconfirmed[connection.id] = stream
        stream.tries += 1
        protocols = [p for p in self._protocols if may_speak(p, connection)]
        if not protocols:
            self._let_go(stream, Cause.FILTERED)
        elif stream.tries > MAX_TRIES:
            self._let_go(stream, Cause.FOREIGN)
        elif not self._confirmed(stream, protocols):
            if len(stream.held) >= MAX_HELD:
                self._let_go(stream, Cause.FOREIGN, keep=MAX_HELD - 1)
            if self._kept > MAX_KEPT:
                self._let_go(next(iter(self._unconfirmed.values())), Cause.FOREIGN)

    def _confirmed(self, stream: Stream, protocols: Sequence[WireProtocol]) -> bool:
        """Whether one of them takes the connection, or says that nobody is to."""
        try:
            return any(self._try(stream, protocols[place:]) for place in range(len(protocols)))
        except (Abort, ProtocolError) as decided:
            self._let_go(stream, _cause(decided))
            stream.tries = 0
            return True

    def _try(self, stream: Stream, protocols: Sequence[WireProtocol]) -> bool:
        """Whether what is held confirms that the connection speaks the first of them; it is then paired."""
        connection, held = stream.connection, stream.held
        protocol, *others = protocols
        try:
            asks = requests_outbound(protocol, connection, held, others)
        except (Abort, ProtocolError):
            raise
        except Exception as error:
            self._refused(error, messages=0)
            return False
        if asks is None:
            return False
        stream.protocol = protocol
        stream.asks = asks
        stream.side = Side.CLIENT if asks else Side.SERVER
        stream.memory = connection.memory if protocol.framing == RAW else protocol.memory(connection)
        stream.others = tuple(
            (other, other.memory(connection)) for other in others if other.framing == protocol.framing
        )
        stream.requests, stream.replies = stream.numbers[asks], stream.numbers[not asks]
        stream.since_ns = min(head.first_ns for head in held if head.outbound == asks)
        connection.protocol, connection.asks = protocol.name, asks
        del self._unconfirmed[connection.id]
        self._kept -= len(held)
        stream.held = []
        for head in held:
            self.message(connection, head)
        return True

    def _let_go(self, stream: Stream, cause: Cause, keep: int = 0) -> None:
        """Count the held heads under `cause`, but for the last `keep`."""
        while len(stream.held) > keep:
            head = stream.held.pop(0)
            self._kept -= 1
            self._see(stream, stream.numbers[head.outbound], head)
            self._ledger.add(cause)
        if not keep:
            self._unconfirmed.pop(stream.connection.id, None)

    # A confirmed connection.

    def _request(self, stream: Stream, protocol: WireProtocol, head: Head) -> None:
        number = head.number
        if number == stream.requests.next:
            stream.requests.next = number + 1
        else:
            self._see(stream, stream.requests, head)
        try:
            request = protocol.request(head, stream.memory)
        except Exception as error:
            self._not_answered(stream, head, error)
            return
        self._sent(stream, request, head)

    def _sent(self, stream: Stream, request: Request, head: Head) -> None:
        if request.expects_reply:
            self._await(stream, (request, head.first_ns, head.last_ns, head.total, head.number))
        else:
            self._told += 1
            self._emit(session(stream, Status.ONEWAY, request, head.first_ns, head.last_ns, head.total))

    def _not_answered(self, stream: Stream, head: Head, decided: Exception) -> None:
        """The connection's protocol made no request of this head: it passes, or aborts, or its parser broke."""
        if isinstance(decided, Pass):
            for other, memory in stream.others:
                try:
                    request = other.request(head, memory)
                except Pass:
                    continue
                except Exception as error:
                    decided = error
                    break
                if not request.expects_reply:
                    self._told += 1
                    times = head.first_ns, head.last_ns, head.total
                    self._emit(session(stream, Status.ONEWAY, request, *times, other.name))
                    return
                self._await_apart(stream, request, head, (other, memory))
                return
            else:
                self._ledger.add(Cause.FOREIGN)
                return
        if not isinstance(decided, Abort):
            self._refused(decided)
            self._emit(session(stream, Status.UNPARSED, None, head.first_ns, head.last_ns, head.total))
        elif decided.awaited is not None:
            self._await_apart(stream, decided.awaited, head, None)
        else:
            self._ledger.add(_cause(decided))

    def _await_apart(self, stream: Stream, request: Request, head: Head, reader: Reader | None) -> None:
        """The reply to this request is another protocol's to read, or nobody's."""
        stream.apart[request.id] = reader
        self._await(stream, (request, head.first_ns, head.last_ns, head.total, head.number))

    def _reply(self, stream: Stream, protocol: WireProtocol, head: Head) -> None:
        number = head.number
        if number == stream.replies.next:
            stream.replies.next = number + 1
        else:
            self._see(stream, stream.replies, head)
        try:
            id = protocol.reply_to(head, stream.memory)
        except Exception as error:
            if isinstance(error, Abort):
                self._ledger.add(_cause(error))
            elif not self._answer_in_order(stream, protocol, head):
                self._refused(error)
            return
        if id is None:
            if not self._answer_in_order(stream, protocol, head):
                self._keep_early(stream, ~number, head)
            return
        entry = stream.waiting.pop(id, None)
        if entry is not None:
            self._waiting -= 1
            self._answer(stream, protocol, entry, head)
        elif not self._answer_in_order(stream, protocol, head):
            self._keep_early(stream, id, head)

    def _answer_in_order(self, stream: Stream, protocol: WireProtocol, head: Head) -> bool:
        """Whether this reply without a known id is what the oldest waiting request expects: one without an id."""
        oldest = next(iter(stream.waiting.values()), None)
        if oldest is None or not oldest[0].in_order or head.first_ns < oldest[1]:
            return False
        self._answer(stream, protocol, self._take(stream, oldest[0].id), head)
        return True

    def _answer(self, stream: Stream, protocol: WireProtocol, entry: Waiting, head: Head) -> None:
        request, first_ns, last_ns, total, number = entry
        _, reply_number, reply_first_ns, reply_last_ns, reply_total, _, _, _, _ = head
        memory = stream.memory
        if stream.apart and request.id in stream.apart:
            reader = stream.apart.pop(request.id)
            if reader is None:
                self._ledger.add(Cause.ABORTED, 2)
                return
            protocol, memory = reader
        if not stream.answered_ns:
            stream.answered_ns = reply_first_ns
        if stream.replies.gaps:
            for gap in stream.replies.gaps:
                if gap.bound is None and gap.end <= reply_number:
                    gap.bound = number
        if total:
            self._told += 1
        else:
            self._continued -= 1
        reply = None
        try:
            reply = protocol.reply(head, request, memory)
            self._told += 1
            status = _OK if reply.failure is None else _ERROR
        except Abort as abort:
            self._told -= bool(total)
            self._ledger.add(_cause(abort), 1 + bool(total))
            return
        except Exception as error:
            self._refused(error)
            status = Status.UNPARSED
        # Field by field: half of what Session's own constructor costs.
        ended = _new(Session)
        ended.protocol = protocol.name
        ended.status = status
        ended.seen_from = stream.side
        ended.connection = stream.connection
        ended.request = request
        ended.reply = reply
        ended.times = _new_tuple(Times, (first_ns, last_ns, reply_first_ns, reply_last_ns))
        ended.request_bytes = total
        ended.reply_bytes = reply_total
        ended.client = ended.client_times = None
        self._emit(ended)
        if reply is not None and reply.continues:
            self._continue(stream, request, reply, reply_last_ns, number)

    def _continue(self, stream: Stream, request: Request, reply: Reply, ns: int, number: int) -> None:
        """A further reply will come and answer this one: it is awaited as if this one had asked for it."""
        if reply.id is None:
            return
        request = copy(request)
        request.id = reply.id
        request.long_poll = True
        stream.exhaust = reply.id
        self._continued += 1
        self._await(stream, (request, ns, ns, 0, number))

    def _await(self, stream: Stream, entry: Waiting) -> None:
        id = entry[0].id
        if stream.early and stream.protocol is not None:
            early = stream.early
            keys, since_ns = (early, entry[1]) if entry[0].in_order else ((id,), entry[1] - SENT_NS)
            key = next((k for k in keys if k in early and early[k].first_ns >= since_ns), None)
            if key is not None:
                self._kept -= 1
                self._answer(stream, stream.protocol, entry, early.pop(key))
                return
        waiting = stream.waiting
        if id in waiting:
            self._evict(stream, id)
        waiting[id] = entry
        self._waiting += 1
        if len(waiting) > self._per_connection_bound:
            self._evict(stream, next(iter(waiting)))
        elif self._waiting > self._waiting_bound:
            self._evict_oldest()

    def _take(self, stream: Stream, id: int) -> Waiting:
        entry = stream.waiting.pop(id)
        self._waiting -= 1
        self._continued -= not entry[3]
        return entry

    def _evict(self, stream: Stream, id: int) -> None:
        stream.apart.pop(id, None)
        if self._take(stream, id)[3]:
            self._ledger.add(Cause.EVICTED)

    def _evict_oldest(self) -> None:
        """Give up a sixteenth of all that waits, so that the search for the oldest pays."""
        waiting = ((entry[2], id, s) for s in self._streams.values() for id, entry in s.waiting.items())
        for _, id, stream in nsmallest(self._waiting_bound // 16 + 1, waiting, key=lambda item: item[0]):
            self._evict(stream, id)

    def _keep_early(self, stream: Stream, id: int, head: Head) -> None:
        older = stream.early.pop(id, None)
        if older is not None:
            self._kept -= 1
            self._judge(stream, older)
        stream.early[id] = head
        self._kept += 1
        self._unsettled[stream.connection.id] = stream
        if len(stream.early) > MAX_EARLY or self._kept > MAX_KEPT:
            self._judge(stream, self._pop_early(stream))

    def _pop_early(self, stream: Stream) -> Head:
        self._kept -= 1
        return stream.early.pop(next(iter(stream.early)))

    # Losses.

    def _see(self, stream: Stream, numbers: Numbers, head: Head) -> None:
        back = numbers.see(head.number, head.last_ns)
        if back:
            self._ledger.add(Cause.DROPPED, -back)
        if numbers.gaps:
            self._unsettled[stream.connection.id] = stream

    def _settle(self, stream: Stream, now_ns: int) -> None:
        """Decide what has been open for long enough."""
        if stream.protocol is None:
            return  # the heads still held would fill the gaps
        for gap in [gap for gap in stream.requests.gaps if now_ns - gap.ns >= REORDER_NS]:
            self._ledger.add(Cause.DROPPED, stream.requests.count(gap))
            stream.lost_requests += gap.missing
            stream.requests.settle(gap)
        for gap in [gap for gap in stream.replies.gaps if now_ns - gap.ns >= REORDER_NS]:
            self._ledger.add(Cause.DROPPED, stream.replies.count(gap))
            if gap.bound is not None:
                self._drop(stream, gap, gap.bound)
                stream.replies.settle(gap)
        while stream.early and now_ns - next(iter(stream.early.values())).last_ns >= EARLY_NS:
            self._judge(stream, self._pop_early(stream))

    def _drop(self, stream: Stream, lost: Gap, bound: int) -> None:
        """The replies to as many requests before number `bound` as were `lost`, oldest first, went by unseen."""
        unanswered = (id for id, entry in stream.waiting.items() if entry[4] < bound)
        for id in list(islice(unanswered, lost.within(len(stream.waiting)))):
            self._give_up(stream, id, Status.DROPPED)

    def _judge(self, stream: Stream, head: Head) -> None:
        """Why has this reply no request?"""
        exhaust, protocol = stream.exhaust, stream.protocol
        if (
            protocol is not None
            and exhaust is not None
            and exhaust in stream.waiting
            and stream.replies.missing_before(head.number)
        ):
            self._resume(stream, protocol, exhaust, head)
        elif stream.lost_requests + stream.requests.missing_before(stream.requests.next) > 0:
            stream.lost_requests -= 1
            self._ledger.add(Cause.DROPPED)
        elif head.first_ns < stream.since_ns or head.first_ns < stream.answered_ns:
            # Requests may have been on their way when the first one was seen, and their replies come first.
            self._ledger.add(Cause.UNWATCHED)
        else:
            self._ledger.add(Cause.UNPAIRED)

    def _resume(self, stream: Stream, protocol: WireProtocol, exhaust: int, head: Head) -> None:
        """Exhaust replies were lost, and `head` answers a lost one: the series goes on from here."""
        request, *_, number = stream.waiting[exhaust]
        self._give_up(stream, exhaust, Status.DROPPED)
        try:
            reply = protocol.reply(head, request, stream.memory)
        except Exception as error:
            self._refused(error)
            return
        self._ledger.add(Cause.DROPPED)
        if reply.continues:
            self._continue(stream, request, reply, head.last_ns, number)

    def _end(self, stream: Stream) -> None:
        """The connection is over: nothing more will come."""
        self._let_go(stream, Cause.FOREIGN)
        while stream.early:
            self._judge(stream, self._pop_early(stream))
        for numbers in stream.numbers:
            for gap in numbers.gaps:
                self._ledger.add(Cause.DROPPED, numbers.count(gap))
        for gap in stream.replies.gaps:
            self._drop(stream, gap, stream.requests.next if gap.bound is None else gap.bound)
        while stream.waiting:
            self._give_up(stream, next(iter(stream.waiting)), Status.LOST)

    def _give_up(self, stream: Stream, id: int, status: Status) -> None:
        entry = self._take(stream, id)
        reader = stream.apart.pop(id, stream)
        if reader is None:
            self._ledger.add(Cause.ABORTED)
            return
        self._told += bool(entry[3])
        self._emit(session(stream, status, *entry[:4], _name(reader)))

    def _refused(self, error: Exception, messages: int = 1) -> None:
        """A parser raised. The one place that contains what is not ProtocolError."""
        if isinstance(error, ProtocolError):
            self._ledger.add(Cause.UNPARSED, messages)
        elif self._strict:
            raise error
        else:
            self._ledger.add(Cause.PARSER_ERROR, messages)


def _name(reader: object) -> str:
    """The protocol that read a request apart from the others of its connection, "" for the usual one."""
    return reader[0].name if isinstance(reader, tuple) else ""


def _cause(decided: Abort | ProtocolError) -> Cause:
    if isinstance(decided, SwitchedOff):
        return Cause.SWITCHED_OFF
    return Cause.ABORTED if isinstance(decided, Abort) else Cause.UNPARSED
