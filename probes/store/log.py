"""A reader's end of the log: rows as they are committed, and what they were made of."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from probes.records import UNKNOWN_ADDRESS, Address, Connection, Reply, Request, Session, Side, Times
from probes.store.columns import asks_for, mask
from probes.store.details import DetailsReader, reply_of, request_of, restore
from probes.store.kinds import TARGETS_SEPARATOR, error_of, process_of
from probes.store.layout import NO_VERSION, ROW, SIDES, STATUSES, At, Flag, Layout, Records, records
from probes.store.names import NamesReader
from probes.store.rings import ByteRingReader, settle
from probes.store.shapes import UNREAD, Shapes, shaped
from probes.store.tally import Numbers
from probes.store.view import Condition, Exchange, Row, Span

_GROUPS_BUDGET_S, _MATCHING_BUDGET_S = 0.05, 0.5  # for reading shapes: once a second, and once a filter
_CHUNK = 1 << 13  # rows that are looked at at once: they stay in the processor's cache

_OF_EXCHANGE = (
    *("status", "flags", "request_first", "request_last", "reply_last"),
    *("request_id", "reply_id", "details", "details_bytes", "request_head"),
)
_HAS_REPLY_ID = int(Flag.HAS_REPLY_ID)

Fields = dict[str, Any]


class LogReader:
    """Rows by their number. What is handed out was whole when it was copied."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout, names: NamesReader) -> None:
        self._header = header
        self._names = names
        self._rows = records(memory, ROW, *layout.rows)
        self._details = DetailsReader(
            ByteRingReader(memory, header, layout.details, At.DETAILS_NEXT),
            ByteRingReader(memory, header, layout.shared, At.SHARED_NEXT),
        )
        self._shapes = Shapes(self._details, names, len(self._rows))

    @property
    def bound(self) -> int:
        return len(self._rows)

    @property
    def oldest(self) -> int:
        return self._header[At.ROWS_OLDEST]

    @property
    def next(self) -> int:
        return self._header[At.ROWS_NEXT]

    def span(self) -> Span:
        """Which rows are kept, and since when."""
        while True:
            oldest, count = self.oldest, self.next
            if oldest == count:
                return Span(oldest, count, self._header[At.STARTED_NS])
            row = self._rows[oldest % self.bound].copy()
            settle()
            if self.oldest == oldest:
                return Span(oldest, count, int(max(row["reply_last"], row["request_last"])))

    def pieces(self, first: int, end: int) -> Iterator[tuple[int, Records]]:
        """The rows from number `first` to before `end`, as views of the ring, each with its first number; oldest first.

        They may be overwritten while they are looked at: whatever is found in one that is before `oldest` afterwards
        means nothing.
        """
        first = max(first, self.oldest)
        while first < end:
            start = first % self.bound
            count = min(end - first, self.bound - start, _CHUNK)
            yield first, self._rows[start : start + count]
            first += count
            first = max(first, self.oldest)

    def fitting(self, where: Sequence[Condition], since_ns: int, *, shapes: bool = False) -> Records:
        """Copies of the rows that fit and ended at `since_ns` or later; with their `shapes`, as far as time allows."""
        if not shapes:
            return self._copied(where, since_ns)[1]
        others, of_shape = _apart(where)
        numbers, rows = self._copied(others, since_ns)
        rows = self._shapes.of(numbers, rows, self.next, _GROUPS_BUDGET_S)
        return rows[mask(of_shape, rows, self._names)]

    def matching(self, where: Sequence[Condition], first: int) -> tuple[Numbers, int]:
        """The numbers of the rows from `first` on that fit, and of the first one that was looked at."""
        end = self.next
        others, of_shape = _apart(where)
        if of_shape:
            numbers, rows = self._copied(others, 0, first)
            rows = self._shapes.of(numbers, rows, end, _MATCHING_BUDGET_S)
            unread = numbers[rows["shape"] == UNREAD]
            looked_at = int(unread[-1]) + 1 if len(unread) else first
            return numbers[(numbers >= looked_at) & mask(of_shape, rows, self._names)], looked_at
        found = [np.empty(0, np.int64)]
        for start, rows in self.pieces(first, end):
            found.append(start + np.flatnonzero(mask(where, rows, self._names)))
        return np.concatenate(found), first

    def with_shapes(self, waiting: Records) -> Records:
        """Requests in flight with their shapes."""
        return shaped(waiting, self._shapes.read(waiting))

    def _copied(self, where: Sequence[Condition], since_ns: int, first: int = 0) -> tuple[Numbers, Records]:
        """Copies of the rows that fit and ended at `since_ns` or later, and their numbers."""
        numbers, copies = [np.empty(0, np.int64)], [np.empty(0, ROW)]
        for start, rows in self.pieces(first, self.next):
            ended = np.maximum(rows["reply_last"], rows["request_last"]) >= since_ns
            found = np.flatnonzero(ended & mask(where, rows, self._names))
            copied = rows[found]
            settle()
            kept = start + found >= self.oldest
            numbers.append(start + found[kept])
            copies.append(copied[kept])
        return np.concatenate(numbers), np.concatenate(copies)

    def copies(self, numbers: Numbers) -> list[tuple[int, Fields]]:
        """The rows with these numbers that are kept."""
        numbers = numbers[(numbers >= self.oldest) & (numbers < self.next)]
        copied = self._rows[numbers % self.bound]
        settle()
        oldest = self.oldest
        return [
            (number, fields_of(row)) for number, row in zip(numbers.tolist(), copied, strict=True) if number >= oldest
        ]

    def row(self, number: int, fields: Fields) -> Row:
        """A row as it is shown."""
        text = self._names.text
        flags = fields["flags"]
        failure = error_of(text("error", fields["error"]))
        replied = bool(flags & Flag.REPLIED)
        return Row(
            number=number,
            protocol=text("protocol", fields["protocol"]),
            status=STATUSES[fields["status"]],
            operation=text("operation", fields["operation"]),
            version=None if fields["version"] == NO_VERSION else fields["version"],
            target=text("target", fields["target"]),
            opcode=text("opcode", fields["opcode"]),
            application=text("application", fields["application"]),
            error_code=None if failure is None else failure.code,
            error_name=text("error", fields["error"]) if failure is None else failure.name,
            error_fault=None if failure is None else failure.fault,
            start_ns=fields["request_first"],
            end_ns=fields["reply_last"] or fields["request_last"],
            duration_ns=max(0, fields["reply_first"] - fields["request_last"]) if replied else None,
            long_poll=bool(flags & Flag.LONG_POLL),
            truncated=bool(flags & (Flag.REQUEST_CUT | Flag.REPLY_CUT)),
            request_bytes=fields["request_bytes"],
            response_bytes=fields["reply_bytes"],
            request_id=fields["request_id"] if flags & Flag.HAS_REQUEST else None,
            response_id=fields["reply_id"] if flags & Flag.HAS_REPLY_ID else None,
            client=self._address(fields, "client"),
            server=self._address(fields, "server"),
            client_process=process_of(text("process", fields["client_process"])),
            server_process=process_of(text("process", fields["server_process"])),
            connection=fields["connection"],
            seen_from=SIDES[fields["side"]],
            has_heads=self._details.has(fields["details"], fields["details_bytes"]),
        )

    def session(self, fields: Fields) -> Session:
        """All that is known of the session behind a row."""
        read = self._details.read(fields["details"], fields["details_bytes"])
        if read is None:
            return self._plain_session(fields, b"")
        shared, own, heads = read
        return restore(self._plain_session(fields, heads), shared, own)

    def exchanges(self, numbers: Numbers) -> Iterator[Exchange]:
        """The messages of these rows, without those that are gone."""
        numbers = numbers[(numbers >= self.oldest) & (numbers < self.next)]
        copied = self._rows[numbers % self.bound]
        settle()
        kept = numbers >= self.oldest
        columns = (copied[name][kept].tolist() for name in _OF_EXCHANGE)
        for number, status, flags, begun, sent, ended, id, reply_id, place, size, head in zip(
            numbers[kept].tolist(), *columns, strict=True
        ):
            read = self._details.read(place, size)
            if read is not None:
                shared, own, heads = read
                request = request_of(id, heads[:head], shared, own)
                reply = reply_of(reply_id if flags & _HAS_REPLY_ID else None, heads[head:], shared, own)
                yield Exchange(number, STATUSES[status], begun, ended or sent, request, reply)

    def heads_since(self) -> int:
        """The number of the oldest row that has its heads, else of the next one."""
        oldest, end = self.oldest, self.next
        kept = self._header[At.DETAILS_OLDEST]
        while oldest < end:
            middle = (oldest + end) // 2
            if self._rows["details"][middle % self.bound] >= kept:
                end = middle
            else:
                oldest = middle + 1
        return oldest

    def _plain_session(self, fields: Fields, heads: bytes) -> Session:
        """The session as far as the row itself and its heads know it."""
        text, flags, side = self._names.text, fields["flags"], SIDES[fields["side"]]
        protocol = text("protocol", fields["protocol"])
        connection, client = self._connections(fields, protocol, side)
        return Session(
            protocol=protocol,
            status=STATUSES[fields["status"]],
            seen_from=side,
            connection=connection,
            request=self._request(fields, heads) if flags & Flag.HAS_REQUEST else None,
            reply=Reply(
                fields["reply_id"] if flags & Flag.HAS_REPLY_ID else None,
                heads[fields["request_head"] :],
                error_of(text("error", fields["error"])),
                truncated=bool(flags & Flag.REPLY_CUT),
            )
            if flags & Flag.HAS_REPLY
            else None,
            times=Times(*(fields[name] for name in ("request_first", "request_last", "reply_first", "reply_last"))),
            request_bytes=fields["request_bytes"],
            reply_bytes=fields["reply_bytes"],
            client=client,
        )

    def _request(self, fields: Fields, heads: bytes) -> Request:
        text, flags = self._names.text, fields["flags"]
        target, targets = text("target", fields["target"]), text("targets", fields["targets"])
        return Request(
            fields["request_id"],
            text("operation", fields["operation"]),
            heads[: fields["request_head"]],
            None if fields["version"] == NO_VERSION else fields["version"],
            target,
            tuple(targets.split(TARGETS_SEPARATOR)) if targets else (target,) if target else (),
            bool(flags & Flag.EXPECTS_REPLY),
            bool(flags & Flag.LONG_POLL),
            bool(flags & Flag.REQUEST_CUT),
        )

    def _connections(self, fields: Fields, protocol: str, side: Side) -> tuple[Connection, Connection | None]:
        """The session's connection, and the client's end where both were seen."""
        client, server = self._address(fields, "client"), self._address(fields, "server")
        client_process = process_of(self._names.text("process", fields["client_process"]))
        server_process = process_of(self._names.text("process", fields["server_process"]))
        number = fields["connection"]
        if side is Side.CLIENT:
            return Connection(number, client_process, client, server, 0, protocol), None
        connection = Connection(number, server_process, server, client, 0, protocol)
        if side is Side.SERVER:
            return connection, None
        return connection, Connection(0, client_process, client, server, 0, protocol)

    def _address(self, fields: Fields, end: str) -> Address:
        host, port = self._names.text("host", fields[f"{end}_host"]), fields[f"{end}_port"]
        return Address(host, port) if host else UNKNOWN_ADDRESS


def _apart(where: Sequence[Condition]) -> tuple[list[Condition], list[Condition]]:
    """Conditions that rows alone can answer, and those on shapes."""
    of_shape = [condition for condition in where if asks_for("shape", (condition,))]
    return [condition for condition in where if condition not in of_shape], of_shape


def fields_of(row: Any) -> Fields:
    """A row's columns by name, as Python's numbers; with its shape's, where it was given one."""
    return dict(zip(row.dtype.names, row.tolist(), strict=True))
