"""Records sessions from what a store keeps of them: what was kept of requests and replies, as both ends' times have it.

What the store does not keep is not in the recording: replies to nothing, messages that were not to be decoded, and
whatever was evicted. A reply that went by unseen, or was not decoded, is a hole in the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from probes.outputs.recording.tap import recordable
from probes.outputs.recording.writer import Recording
from probes.protocols.interface import WireProtocol
from probes.records import Connection, Head, Reply, Request, Session, Side, Status, Times


class SessionRecorder:
    """Writes sessions to `recording`. Raises RecordingEndedError where no more can be written."""

    def __init__(self, recording: Recording, protocols: Mapping[str, WireProtocol], *, literals: bool) -> None:
        self._recording, self._protocols, self._literals = recording, protocols, literals

    def session(self, session: Session) -> None:
        """The messages of a session, from each end that saw it."""
        for connection, times, asks in _views(session):
            for head, message in _heads(session, times, asks):
                request = None if message is session.request else session.request
                protocol = self._protocols.get(session.protocol)
                kept = recordable(protocol, head, message, request, self._literals)
                self._recording.message(connection, kept)
            if session.reply is None and session.status in (Status.DROPPED, Status.UNPARSED):
                self._recording.missed(connection, outbound=not asks)
            if session.status is Status.LOST:
                self._recording.ended(connection, times.request_last)


def _views(session: Session) -> Iterator[tuple[Connection, Times, bool]]:
    """Each end's connection, the times as it saw them, and whether it asks."""
    connection, client = session.connection, session.client
    if client is not None and session.client_times is not None:
        if not (connection.near.port and connection.far.port):  # a unix socket, of which the ids tell who is whose peer
            connection = replace(connection, inodes=(connection.id, client.id))
            client = replace(client, inodes=connection.inodes[::-1])
        yield client, session.client_times, True
    yield connection, session.times, session.seen_from is Side.CLIENT


def _heads(session: Session, times: Times, asks: bool) -> Iterator[tuple[Head, Request | Reply]]:
    """The heads of the messages that were sent, with what was parsed of them."""
    request, reply = session.request, session.reply
    if request is not None and session.request_bytes and times.request_first:
        yield _head(request, asks, times.request_first, times.request_last, session.request_bytes), request
    if reply is not None and times.reply_first:
        yield _head(reply, not asks, times.reply_first, times.reply_last, session.reply_bytes), reply


def _head(message: Request | Reply, outbound: bool, first_ns: int, last_ns: int, total: int) -> Head:
    """The head that a message came with, as far as it kept it."""
    data, windows = message.data, getattr(message, "windows", ())
    if windows and windows[0][0] <= len(data):
        data = data[: windows[0][0]] + windows[0][1]
        windows = windows[1:]
    return Head(outbound, 0, first_ns, last_ns, total, data, windows=windows)
