"""A connection with both ends on this host whose client's end tells no messages any more, only when they went by there.

The server's sessions wait here for those times, and the times for their session: what comes first waits, by the
request's id. What waits in vain is told as the server alone saw it. Of requests that get no reply the client's end
goes on telling all: the server may never read them.
"""

from __future__ import annotations

from collections.abc import Callable

from probes.records import Connection, Session, Side, Times

MAX_TIMES = 4096  # that wait for their session
MAX_ALONE = 256  # requests that the client's end alone told, and are remembered

_BOTH = Side.BOTH


class Shadow:
    """The client's end `client`; `emit` is handed each session of the server's end, completed.

    `doubled` is handed the session of an end that is not told, because it is the other end's, too.
    """

    __slots__ = (
        "_alone",
        "_doubled",
        "_emit",
        "_old_sessions",
        "_old_times",
        "_old_views",
        "_sessions",
        "_times",
        "_views",
        "client",
    )

    def __init__(self, client: Connection, emit: Callable[[Session], None], doubled: Callable[[Session], None]) -> None:
        self.client = client
        self._emit = emit
        self._doubled = doubled
        self._views: dict[int | None, Session] = {}  # of the client's end, without a reply
        self._old_views: dict[int | None, Session] = {}
        self._alone: dict[int | None, None] = {}  # ids of those that were told, oldest first
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
        request = session.request
        id = None if request is None else request.id
        if session.reply is None and self._was_seen(id, session):
            return
        if self._times and (times := self._times.get(id)) is not None and (times.reply_last or session.reply is None):
            del self._times[id]
            self._join(session, times)
            return
        sessions = self._sessions
        if id in sessions:
            self._emit(sessions.pop(id))
        sessions[id] = session

    def _was_seen(self, id: int | None, session: Session) -> bool:
        """Whether the client's end has told of this request, which gets no reply; `session` is then told, or was."""
        view = self._views.pop(id, None)
        if view is not None:
            self._doubled(view)
            self._join(session, view.times)
            return True
        if id in self._alone:
            del self._alone[id]
            self._doubled(session)
            return True
        return False

    def view(self, view: Session) -> None:
        """The client's view of a request that gets no reply."""
        id = None if view.request is None else view.request.id
        session = self._sessions.get(id)
        if session is not None and session.reply is None:
            del self._sessions[id]
            self._doubled(view)
            self._join(session, view.times)
            return
        before = self._views.pop(id, None)
        if before is not None:
            self._emit(before)
        self._views[id] = view

    def exchange(self, id: int | None, times: Times) -> None:
        """When the request, the reply or both passed the client's end; 0 where that is told apart."""
        _, request_last, reply_first, reply_last = times
        if self._times:
            earlier = self._times.pop(id, None)
            if earlier is not None and earlier.reply_last == 0 and request_last == 0:
                times = Times(earlier.request_first, earlier.request_last, reply_first, reply_last)
        session = self._sessions.get(id)
        if session is not None and (reply_last or session.reply is None):
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
        for id, view in self._old_views.items():
            if self._views.get(id) is view:
                del self._views[id]
                self._emit(view)
                self._alone[id] = None
                if len(self._alone) > MAX_ALONE:
                    del self._alone[next(iter(self._alone))]
        self._old_views = self._views.copy()
        for id, times in self._old_times.items():
            if self._times.get(id) is times:
                del self._times[id]
        self._old_sessions, self._old_times = self._sessions.copy(), self._times.copy()

    def end(self) -> None:
        """Nothing more will come: tells what still waits."""
        for session in (*self._sessions.values(), *self._views.values()):
            self._emit(session)
        self._sessions, self._views = {}, {}

    def _join(self, session: Session, times: Times) -> None:
        session.seen_from = _BOTH
        session.client = self.client
        if times.request_last:
            session.client_times = times
        self._emit(session)
