"""The store's answers, worked out in plain Python from whole sessions: slow, exact, and easy to believe.

What the shared memory answers is compared with it. Nothing is bounded here, so nothing is ever gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.filters import Predicate, Term, compile_terms
from probes.records import Session, Status
from probes.store.view import (
    GROUP_FIELDS,
    LOG_FIELDS,
    NO_VALUES,
    Condition,
    Exchange,
    Facts,
    Group,
    Groups,
    Heatmap,
    InFlight,
    Is,
    Key,
    Matches,
    Point,
    Quantiles,
    Row,
    Series,
    Span,
    StoreUse,
    Totals,
    Window,
)

SECOND = 1_000_000_000
BANDS_NS = tuple(round(10 ** (3 + band / 4)) for band in range(32))


@dataclass
class Slot:
    """What ended between two folds. `number` is the second that it stands for."""

    number: int
    start_ns: int
    end_ns: int
    sessions: list[Session] = field(default_factory=list)


class Model:
    """A store of unlimited size, filled by `add`, and a `View` of it. It begins at `now_ns`."""

    def __init__(self, now_ns: int) -> None:
        self.log: list[Session] = []
        self._slots: list[Slot] = []
        self._unfolded: list[Session] = []
        self._begun_ns = self._folded_ns = now_ns
        self._waiting: list[Session] = []
        self._waiting_ns = now_ns
        self._facts = Facts()

    # What the writer does.

    def add(self, session: Session) -> None:
        self.log.append(session)
        self._unfolded.append(session)

    def fold(self, now_ns: int) -> None:
        number = now_ns // SECOND - 1
        if number < self._folded_ns // SECOND:
            return
        self._slots.append(Slot(number, self._folded_ns, now_ns, self._unfolded))
        self._unfolded, self._folded_ns = [], now_ns

    def set_inflight(self, sessions: Sequence[Session], now_ns: int) -> None:
        self._waiting, self._waiting_ns = list(sessions), now_ns

    def set_facts(self, facts: Facts) -> None:
        self._facts = facts

    # What the reader answers.

    def facts(self) -> Facts:
        return self._facts

    def use(self) -> StoreUse:
        return StoreUse(1 << 28, 1 << 20, len(self.log), 1 << 20, self.span().since_ns, 0, 1, 16384, {})

    def heartbeat_ns(self) -> int:
        return self._folded_ns

    def groups(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> Groups:
        return self._grouped(by, window, self._within(window), where, self._waiting)

    def baseline(self, by: Sequence[str], where: Sequence[Condition] = ()) -> Groups:
        return self._grouped(by, Window.M15, self._before_last_minute(), where, ())

    def series(self, by: Sequence[str], window: Window, where: Sequence[Condition] = ()) -> tuple[Series, ...]:
        step_s, slots = self._steps(window)
        fits = predicate(where)
        series: dict[Key, list[Point | None]] = {}
        sessions = [list(filter(fits, slot.sessions)) if slot else [] for slot in slots]
        for key in sorted({key_of(session, by) for some in sessions for session in some}, key=repr):
            for slot, some in zip(slots, sessions, strict=True):
                its_own = totals(session for session in some if key_of(session, by) == key)
                series.setdefault(key, []).append(Point(slot.start_ns, slot.end_ns, its_own) if slot else None)
        return tuple(Series(key, step_s, self._folded_ns, tuple(points)) for key, points in series.items())

    def heatmap(self, window: Window, where: Sequence[Condition] = ()) -> Heatmap:
        step_s, slots = self._steps(window)
        fits = predicate(where)
        counts: list[tuple[int, ...] | None] = []
        for slot in slots:
            bands = [0] * len(BANDS_NS)
            for session in slot.sessions if slot else ():
                if fits(session) and answered(session) and not long_poll(session):
                    bands[max(0, sum(band <= session.times.duration for band in BANDS_NS) - 1)] += 1
            counts.append(tuple(bands) if slot else None)
        return Heatmap(step_s, self._folded_ns, BANDS_NS, tuple(counts))

    def inflight(self, where: Sequence[Condition] = ()) -> InFlight:
        waiting = list(filter(predicate(where), self._waiting))
        return InFlight(self._waiting_ns, len(waiting), tuple(row_of(-1, session) for session in waiting))

    def span(self) -> Span:
        return Span(0, len(self.log), end_ns(self.log[0]) if self.log else self._begun_ns)

    def rows(self, first: int, count: int) -> tuple[Row, ...]:
        return self.pick(range(first, min(first + count, len(self.log))))

    def pick(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Row, ...]:
        return tuple(row_of(int(number), self.log[number]) for number in numbers)

    def matching(self, where: Sequence[Condition], first: int = 0) -> Matches:
        fits = predicate(where)
        numbers = [number for number in range(first, len(self.log)) if fits(self.log[number])]
        return Matches(np.array(numbers, np.int64), 0, len(self.log))

    def exchanges(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Exchange]:
        for number in (int(each) for each in numbers):
            its = self.log[number]
            yield Exchange(number, its.status, its.times.request_first, end_ns(its), its.request, its.reply)

    def session(self, row: Row) -> Session | None:
        if row.number >= 0:
            return self.log[row.number]
        return next((s for s in self._waiting if row_of(-1, s).key == row.key), None)

    # How.

    def _within(self, window: Window) -> list[Slot]:
        last = self._slots[-1].number if self._slots else 0
        if window is Window.START:
            return self._slots
        if window is Window.M15:
            return [slot for slot in self._slots if slot.number // 10 > (last + 1) // 10 - 91]
        return [slot for slot in self._slots if slot.number > last - window]

    def _before_last_minute(self) -> list[Slot]:
        if not self._slots:
            return []
        end = (self._slots[-1].number - 59) // 10  # tens of seconds that were over a minute ago
        return [slot for slot in self._slots if end - 90 <= slot.number // 10 < end]

    def _steps(self, window: Window) -> tuple[int, list[Slot | None]]:
        """The slots of a series, None for those without a fold."""
        if not self._slots:
            return 1, []
        last = self._slots[-1].number
        if 0 < window <= Window.M1:
            by_number = {slot.number: slot for slot in self._slots}
            return 1, [by_number.get(number) for number in range(last - window + 1, last + 1)]
        tens: dict[int, Slot] = {}
        for slot in self._slots:
            ten = tens.setdefault(slot.number // 10, Slot(slot.number // 10, slot.start_ns, slot.end_ns))
            ten.end_ns = slot.end_ns
            ten.sessions.extend(slot.sessions)
        return 10, [tens.get(number) for number in range(last // 10 - 89, last // 10 + 1)]

    def _grouped(
        self,
        by: Sequence[str],
        window: Window,
        slots: list[Slot],
        where: Sequence[Condition],
        waiting: Iterable[Session],
    ) -> Groups:
        fits = predicate(where)
        ended: dict[Key, list[Session]] = defaultdict(list)
        inflight: dict[Key, int] = defaultdict(int)
        for slot in slots:
            for session in filter(fits, slot.sessions):
                ended[key_of(session, by)].append(session)
        for session in filter(fits, waiting):
            inflight[key_of(session, by)] += 1
        groups = [Group(key, totals(ended.get(key, ())), inflight.get(key, 0)) for key in {**ended, **inflight}]
        groups.sort(key=lambda group: (-group.totals.requests, repr(group.key)))
        start_ns, end_ns = (slots[0].start_ns, slots[-1].end_ns) if slots else (self._begun_ns, self._begun_ns)
        return Groups(tuple(by), window, start_ns, end_ns, (end_ns - start_ns) / 1e9, tuple(groups))


def answered(session: Session) -> bool:
    return session.times.reply_last != 0


def long_poll(session: Session) -> bool:
    return session.request is not None and session.request.long_poll


def end_ns(session: Session) -> int:
    return session.times.reply_last or session.times.request_last


def totals(sessions: Iterable[Session]) -> Totals:
    sessions = list(sessions)
    count: dict[Status, int] = defaultdict(int)
    for session in sessions:
        count[session.status] += 1
    replied = [session for session in sessions if answered(session)]
    return Totals(
        requests=len(sessions),
        responses=len(replied),
        errors=count[Status.ERROR],
        oneway=count[Status.ONEWAY],
        lost=count[Status.LOST],
        dropped=count[Status.DROPPED],
        unparsed=count[Status.UNPARSED],
        long_polls=sum(map(long_poll, replied)),
        request_bytes=sum(session.request_bytes for session in sessions),
        response_bytes=sum(session.reply_bytes for session in replied),
        durations=quantiles([session.times.duration for session in replied if not long_poll(session)]),
        waits=quantiles([session.times.duration for session in replied if long_poll(session)]),
    )


def quantiles(values: list[int]) -> Quantiles:
    if not values:
        return NO_VALUES
    values.sort()
    return Quantiles(len(values), *(values[ceil(len(values) * share) - 1] for share in (0.5, 0.9, 0.99, 1.0)))


def _request(name: str, otherwise: Any = "") -> Callable[[Session], Any]:
    return lambda session: getattr(session.request, name) if session.request else otherwise


def _process(session: Session) -> Any:
    return session.server_process or session.client_process


FIELDS: dict[str, Callable[[Session], Any]] = {
    "protocol": lambda session: session.protocol,
    "operation": _request("operation"),
    "version": _request("version", None),
    "target": _request("target"),
    "shape": _request("shape"),
    "opcode": _request("opcode_name"),
    "error_name": lambda session: session.reply.failure.name if session.reply and session.reply.failure else "",
    "client": lambda session: session.client_address.host,
    "application": _request("application"),
    "server": lambda session: str(session.server_address),
    "client_process": lambda session: session.client_process,
    "server_process": lambda session: session.server_process,
    "process": lambda session: _process(session).name if _process(session) else "",
    "pid": lambda session: _process(session).pid if _process(session) else None,
    "container": lambda session: _process(session).container if _process(session) else "",
    "seen_from": lambda session: str(session.seen_from),
}
assert set(FIELDS) == {*GROUP_FIELDS, *LOG_FIELDS}


def key_of(session: Session, by: Sequence[str]) -> Key:
    if not set(by) <= set(FIELDS):
        raise ValueError(f"cannot group by {by}")
    return tuple(FIELDS[name](session) for name in by)


def predicate(where: Sequence[Condition]) -> Predicate:
    terms = compile_terms([each for each in where if isinstance(each, Term)])
    exact = [each for each in where if isinstance(each, Is)]
    return lambda session: terms(session) and all(FIELDS[each.field](session) == each.value for each in exact)


def row_of(number: int, session: Session) -> Row:
    request, reply = session.request, session.reply
    failure = reply.failure if reply else None
    return Row(
        number=number,
        protocol=session.protocol,
        status=session.status,
        operation=request.operation if request else "",
        version=request.version if request else None,
        target=request.target if request else "",
        opcode=request.opcode_name if request else "",
        application=request.application if request else "",
        error_code=failure.code if failure else None,
        error_name=failure.name if failure else "",
        error_fault=failure.fault if failure else None,
        start_ns=session.times.request_first,
        end_ns=end_ns(session),
        duration_ns=session.times.duration if answered(session) else None,
        long_poll=long_poll(session),
        truncated=any(part is not None and part.truncated for part in (request, reply)),
        request_bytes=session.request_bytes,
        response_bytes=session.reply_bytes,
        request_id=request.id if request else None,
        response_id=reply.id if reply else None,
        client=session.client_address,
        server=session.server_address,
        client_process=session.client_process,
        server_process=session.server_process,
        connection=session.connection.id,
        seen_from=session.seen_from,
        has_heads=True,
    )
