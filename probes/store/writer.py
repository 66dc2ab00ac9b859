"""The collector's end of the store: takes sessions, and publishes them where readers look.

Sessions are packed in batches, to be published once a drain. A session costs about as much as its parser; all that
follows from what it has in common with others is remembered (`kinds`).
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Sequence
from itertools import islice
from struct import Struct, error
from typing import Any

from probes.records import Address, Session
from probes.store import memory
from probes.store.details import CLIENT, MARSHAL_VERSION, Codec, More, codec
from probes.store.facts import dumps_facts
from probes.store.kinds import Codecs, Entry, Kinds, Known
from probes.store.layout import (
    INFLIGHT_HEADER,
    ROW,
    ROW_FORMAT,
    At,
    Layout,
    Records,
    counters,
    inflight_bytes,
    records,
)
from probes.store.rings import ByteRing, settle
from probes.store.slots import Slots
from probes.store.view import Facts

_BATCH = 64  # sessions that are packed at once
_FOLD_EVERY = 16384  # rows, where there are many in a second
_TIDY_EVERY_NS = 10_000_000_000
_ROW = Struct(ROW_FORMAT)
_HEADER_OF_INFLIGHT = Struct("<qqq")
_Waiting = tuple[int, int, int, Address, Address]


class Writer:
    """The one writer of a store of `memory_bytes`, which begins at `now_ns`.

    `fd` can be handed to readers: nothing can be written by it. `session` takes a session that has ended, which readers
    see after the next `flush` or `fold`; `count` takes one that is only to be counted in the rates.
    """

    def __init__(self, memory_bytes: int, now_ns: int) -> None:
        layout = Layout.of(memory_bytes)
        self.fd, self._memory = memory.create(layout)
        self._layout, self._header = layout, counters(self._memory)
        self._kinds = Kinds(self._memory, self._header, layout)
        self._slots = Slots(self._memory, self._header, layout, now_ns, self._kinds.cells.other)
        self._details = ByteRing(self._memory, self._header, layout.details, At.DETAILS_NEXT)
        self._rows = records(self._memory, ROW, *layout.rows)
        self._capacity = layout.rows[1]
        self._spare = max(_BATCH, self._capacity // 64)  # rows that are given up at once
        self._next = self._oldest = self._counted = 0  # row numbers
        self._codecs: dict[type[Any], Codec] = {}
        self._pending: list[Session] = []
        self._waiting: dict[_Waiting, tuple[int, bytes]] = {}
        self._tidied_ns = now_ns - _TIDY_EVERY_NS
        self.session = self._pending.append
        self._passing: list[Session] = []
        self.count = self._passing.append
        self._header[At.HEARTBEAT_NS] = now_ns

    def flush(self, now_ns: int) -> None:
        """Publish the sessions taken so far, and that the collector lives. Once a drain."""
        pending = self._pending
        for start in range(0, len(pending), _BATCH):
            self._append(self._pack(pending[start : start + _BATCH]))
            if self._next - self._counted >= min(_FOLD_EVERY, self._capacity // 4):
                self._count()  # before they are overwritten
        pending.clear()
        for start in range(0, len(self._passing), _BATCH):
            rows = self._pack(self._passing[start : start + _BATCH], kept=False)
            self._slots.add(records(b"".join(rows), ROW, 0, len(rows)))
        self._passing.clear()
        self._header[At.HEARTBEAT_NS] = now_ns

    def fold(self, now_ns: int) -> None:
        """Flush, and close a slot where a second of the clock is over. Once a drain, or once a second."""
        self.flush(now_ns)
        if not self._slots.due(now_ns):
            return
        self._count()
        with self._slots.changing():
            number, cells = self._slots.close(now_ns)
            self._kinds.cells.last_used[cells] = number
            if now_ns - self._tidied_ns >= _TIDY_EVERY_NS:
                self._tidy(number, now_ns)

    def finish(self, now_ns: int) -> None:
        """Publish what was counted of the last second, which will not be over: nothing more comes."""
        self.fold(now_ns)
        if self._slots.has_begun(now_ns):
            self._count()
            with self._slots.changing():
                self._slots.close(now_ns, early=True)

    def inflight(self, sessions: Sequence[Session], now_ns: int) -> None:
        """Publish what waits at `now_ns`, oldest first. Four times a second."""
        offset, bound = self._layout.inflight
        known, self._waiting = self._waiting, {}
        for session in islice(sessions, bound):
            key = _waiting_key(session)
            row = known.get(key)
            if row is None or row[0] < self._details.oldest:
                position = self._details.next
                (packed,) = self._pack([session])
                row = (position, packed)
            self._waiting[key] = row
        rows = [row for _, row in self._waiting.values()]
        count = self._header[At.INFLIGHT] + 1
        start = offset + count % 2 * inflight_bytes(bound)
        raw = _HEADER_OF_INFLIGHT.pack(now_ns, len(sessions), len(rows)).ljust(INFLIGHT_HEADER) + b"".join(rows)
        self._memory[start : start + len(raw)] = raw
        settle()
        self._header[At.INFLIGHT] = count

    def facts(self, facts: Facts) -> None:
        """Publish what the collector says of itself. Once a second."""
        offset, bound = self._layout.facts
        raw = dumps_facts(facts, bound - 8)
        count = self._header[At.FACTS] + 1
        start = offset + count % 2 * bound
        self._memory[start : start + 8 + len(raw)] = len(raw).to_bytes(8, "little") + raw
        settle()
        self._header[At.FACTS] = count

    def close(self) -> None:
        """Close the descriptor. What readers have mapped stays theirs."""
        os.close(self.fd)

    def _pack(self, sessions: list[Session], *, kept: bool = True) -> list[bytes]:
        """The sessions as rows, their details written where those are `kept`."""
        kinds, connections, details = self._kinds, self._kinds.connections, self._details
        codecs, learn, pack, pack_client = self._codecs, self._learn, _ROW.pack, CLIENT.pack
        oldest_shared, position, longest = kinds.oldest_shared, details.next, details.size // (2 * _BATCH)
        rows: list[bytes] = []
        heads: list[bytes] = []
        for session in sessions:
            connection = session.connection
            known = connections.get(connection.id)
            if (
                known is None
                or known.near is not connection.near
                or known.far is not connection.far
                or known.client is not session.client
                or known.side is not session.seen_from
            ):
                known = kinds.meet(session)
            request_codec = reply_codec = asked = answered = failed = failure = reply_id = None
            request_data = reply_data = b""
            request_id = 0
            request, reply = session.request, session.reply
            if request is not None:
                request_codec = codecs.get(request.__class__) or learn(request.__class__)
                asked = request_codec.take(request)
                request_id, request_data = request.id, request.data
            if reply is not None:
                reply_codec = codecs.get(reply.__class__) or learn(reply.__class__)
                answered = reply_codec.take(reply)
                reply_id, reply_data, failure = reply.id, reply.data, reply.failure
                if failure is not None:
                    failed = failure.code, failure.name, failure.fault
            request_first, request_last, reply_first, reply_last = session.times
            kind = session.status, asked, answered, failed, reply_id is not None, reply_last != 0
            entry = known.entries.get(kind)
            if entry is None or entry.shared[0] < oldest_shared:
                entry = kinds.enter(known, kind, session, (request_codec, reply_codec))
            client = known.client
            own = entry.details
            if (
                failure is not None
                or (reply_codec is not None and reply_codec.bulk is not None and reply_codec.bulk_of(reply))
                or (request_codec is not None and request_codec.bulk is not None and request_codec.bulk_of(request))
            ):
                own = _with_more(entry, session, (request_codec, reply_codec))
            elif client is not None:
                try:
                    own = entry.before_client + pack_client(client.id, *session.client_times or ())
                except error:  # without times, or beyond their fields
                    own = _with_more(entry, session, (request_codec, reply_codec))
            request_head = len(request_data)
            size = len(own) + request_head + len(reply_data)
            if kept and size <= longest:
                heads += own, request_data, reply_data
            else:
                size = 0
            try:
                row = pack(
                    request_first,
                    request_last,
                    reply_first,
                    reply_last,
                    request_id,
                    reply_id or 0,
                    connection.id,
                    position,
                    size,
                    request_head,
                    session.request_bytes,
                    session.reply_bytes,
                    entry.cell,
                    entry.targets,
                    known.client_port,
                    entry.key,
                )
            except error:
                row = _clipped(session, entry, known, (position, size, request_head))
            rows.append(row)
            position += size
        details.append(b"".join(heads))
        return rows

    def _learn(self, message: type[Any]) -> Codec:
        its = self._codecs[message] = codec(message)
        return its

    def _append(self, rows: list[bytes]) -> None:
        """Publish packed rows."""
        capacity, start = self._capacity, self._next % self._capacity
        self._next += len(rows)
        if self._next - self._oldest > capacity:
            self._oldest = self._next - capacity + self._spare
            self._header[At.ROWS_OLDEST] = self._oldest
            settle()
        before_end = capacity - start
        for at, part in ((start, rows[:before_end]), (0, rows[before_end:])):
            offset = self._layout.rows[0] + at * ROW.itemsize
            raw = b"".join(part)
            self._memory[offset : offset + len(raw)] = raw
        settle()
        self._header[At.ROWS_NEXT] = self._next

    def _count(self) -> None:
        """Count the new rows in the slot that is open."""
        for rows in self._kept(self._counted):
            self._slots.add(rows)
        self._counted = self._next

    def _kept(self, first: int) -> list[Records]:
        """The rows from number `first` on, in up to two pieces."""
        start, count = first % self._capacity, self._next - first
        return [self._rows[start : start + count], self._rows[: max(0, start + count - self._capacity)]]

    def _tidy(self, slot: int, now_ns: int) -> None:
        """Make room in the tables that are nearly full, where something is no longer used."""
        kinds = self._kinds
        names_short = kinds.names_short()
        if not names_short and kinds.cells.room >= kinds.cells.bound // 8:
            return
        self._tidied_ns = now_ns
        heirs = kinds.cells.retire(slot)
        if heirs is not None:
            self._slots.hand_over(heirs)
            kinds.forget()
        if names_short:
            waiting = b"".join(row for _, row in self._waiting.values())
            kinds.free_names([*self._kept(self._oldest), records(waiting, ROW, 0, len(self._waiting))])
            self._waiting = {}


def _waiting_key(session: Session) -> _Waiting:
    connection, request = session.connection, session.request
    id = 0 if request is None else request.id
    return connection.id, id, session.times.request_first, connection.near, connection.far


def _with_more(entry: Entry, session: Session, codecs: Codecs) -> bytes:
    """The details, but for the heads, of a session that has more to say than its kind."""
    failure = session.reply.failure if session.reply is not None else None
    request_bulk, reply_bulk = (
        codec.bulk_of(message) if codec is not None else ()
        for codec, message in zip(codecs, (session.request, session.reply), strict=True)
    )
    more = More(
        "" if failure is None else failure.message,
        0 if session.client is None else session.client.id,
        tuple(session.client_times or ()),
        request_bulk,
        reply_bulk,
    )
    return marshal.dumps((entry.shared, *entry.own, tuple(more)), MARSHAL_VERSION)


def _clipped(session: Session, entry: Entry, known: Known, head: tuple[int, int, int]) -> bytes:
    """The row of a session with numbers that are beyond their fields."""
    request_id = 0 if session.request is None else session.request.id
    reply_id = 0 if session.reply is None else session.reply.id or 0
    most = (1 << 32) - 1
    return _ROW.pack(
        *(max(-(1 << 63), min(each, (1 << 63) - 1)) for each in (*session.times, request_id, reply_id)),
        session.connection.id & 0xFFFF_FFFF_FFFF_FFFF,
        *head,
        *(max(0, min(each, most)) for each in (session.request_bytes, session.reply_bytes)),
        entry.cell,
        entry.targets,
        known.client_port,
        entry.key,
    )
