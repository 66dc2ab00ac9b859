"""A connection with both ends on this host whose client's end tells no messages any more, only when they went by there.

The server's sessions wait here for those times, and the times for their session: what comes first waits, by the
request's id. What waits in vain is told as the server alone saw it.
"""

from __future__ import annotations

from collections.abc import Callable

from probes.records import Connection, Session, Side, Times

MAX_TIMES = 4096  # that wait for their session

_BOTH = Side.BOTH


class Shadow:
    """The client's end `client`; `emit` is handed each session of the server's end, completed."""

    __slots__ = ("_emit", "_old_sessions", "_old_times", "_sessions", "_times", "client")

    def __init__(self, client: Connection, emit: Callable[[Session], None]) -> None:
        self.client = client
        self._emit = emit
        self._sessions: dict[int | None, Session] = {}
        self._times: dict[int | None, Times] = {}
        # As they stood at the last turn.
        self._old_sessions: dict[int | None, Session] = {}
        self._old_times: dict[int | None, Times] = {}

    def __contains__(self, id: int | None) -> bool:
        """Whether a session with this id has ended, and waits."""
        return id in self._sessions

    def session(self, session: Session) -> None:
        """The server's view of an exchange that is over."""
        id = None if session.request is None else session.request.id
        times = self._times.pop(id, None) if self._times else None
        if times is not None and (times.reply_last or session.reply is None):
            self._join(session, times)
            return
        if times is not None:
            self._times[id] = times
        before = self._sessions.pop(id, None)
        if before is not None:
            self._emit(before)
        self._sessions[id] = session

    def exchange(self, id: int | None, times: Times) -> None:
        """When the request, the reply or both passed the client's end; 0 where that is told apart."""
        if self._times:
            earlier = self._times.pop(id, None)
            if earlier is not None and earlier.reply_last == 0 and times.request_last == 0:
                times = Times(earlier.request_first, earlier.request_last, times.reply_first, times.reply_last)
        session = self._sessions.get(id)
        if session is not None and (times.reply_last or session.reply is None):
            del self._sessions[id]
            self._join(session, times)
            return
        self._times[id] = times
        if len(self._times) > MAX_TIMES:
            del self._times[next(iter(self._times))]

    def turn(self) -> None:
        """To be called once in the time that anything may wait: tells and forgets what did so at the last turn."""
        if self._old_sessions:
            for id, session in self._old_sessions.items():
                if self._sessions.get(id) is session:
                    del self._sessions[id]
                    self._emit(session)
        for id, times in self._old_times.items():
            if self._times.get(id) is times:
                del self._times[id]
        self._old_sessions, self._old_times = self._sessions.copy(), self._times.copy()

    def end(self) -> None:
        """Nothing more will come: tells what still waits."""
        for session in self._sessions.values():
            self._emit(session)
        self._sessions = {}

    def _join(self, session: Session, times: Times) -> None:
        session.seen_from = _BOTH
        session.client = self.client
        if times.request_last:
            session.client_times = times
        self._emit(session)
