"""What changed: the last minute against the quarter of an hour before it.

Nothing is called new that was merely not seen yet: without a baseline of `LEAST_BASELINE_S` there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import zip_longest
from math import log, sqrt

from probes.records import Process
from probes.store.view import OTHER, UNKNOWN, Condition, Group, Groups, Is, Key, Point, Totals, View, Window

LEAST_BASELINE_S = 30.0
MOST_ROWS = 30_000  # of a log of which new shapes are told: to read those of a longer one would keep keys waiting

_RATIO = 2.0  # from which on a rate or a latency has moved
_LEAST_REQUESTS = 30  # in the minute, else chance moves them
_LEAST_MOVE_NS = 500_000


class Kind(IntEnum):
    """The kinds of change, those that matter most first."""

    ERROR = 0  # an error that was not there, or is more frequent
    SLOWER = 1
    CLIENT = 2  # was not there
    OPERATION = 3  # was not there
    SHAPE = 4  # of an operation that was there
    FEWER = 5  # requests
    MORE = 6
    FASTER = 7


_OPERATION = ("protocol", "operation", "version", "target")
_ERROR = (*_OPERATION, "error_name")
_CLIENT = ("protocol", "client", "application", "client_process")
_SHAPE = ("protocol", "operation", "target", "shape")


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `before` and `now` are requests or errors a second, of SLOWER and FASTER the p99 in ns.

    `key` says of which group by the kind's fields, `weight` orders the changes of one kind.
    """

    kind: Kind
    key: Key
    before: float
    now: float
    weight: float


def fields(kind: Kind) -> tuple[str, ...]:
    """The fields whose values are the keys of the changes of this kind."""
    return {Kind.ERROR: _ERROR, Kind.CLIENT: _CLIENT, Kind.SHAPE: _SHAPE}.get(kind, _OPERATION)


def where_of(kind: Kind, key: Key) -> tuple[Condition, ...]:
    """The conditions of the requests behind a change."""
    return tuple(Is(field, value) for field, value in zip(fields(kind), key, strict=True))


def changes(view: View, where: Sequence[Condition] = ()) -> tuple[float, list[Change]]:
    """How many seconds the baseline has, 0.0 where it is too short to compare with, and what changed since.

    Of each kind the weightiest comes first, what is new before all else, then of each kind the next; good news come
    last. Raises FilterError.
    """
    before = view.baseline(_OPERATION, where)
    if before.seconds < LEAST_BASELINE_S:
        return 0.0, []
    now = view.groups(_OPERATION, Window.M1, where)
    found = [
        *_errors(view.baseline(_ERROR, where), view.groups(_ERROR, Window.M1, where)),
        *_operations(before, now),
        *_clients(view.baseline(_CLIENT, where), view.groups(_CLIENT, Window.M1, where)),
        *_new_shapes(view, where, _by_key(before)),
    ]
    found.sort(key=lambda change: (change.before > 0, -change.weight))
    *bad, faster = ([change for change in found if change.kind is kind] for kind in Kind)
    return before.seconds, [change for some in zip_longest(*bad) for change in some if change is not None] + faster


def begun_ns(view: View, change: Change, where: Sequence[Condition] = ()) -> int | None:
    """When it began: the slot from which on the values lie on this side of the middle; None where that is not seen.

    Of a shape that is new: its first request. Raises FilterError where only the log can answer.
    """
    if change.kind is Kind.SHAPE:
        first = view.pick(view.matching((*where, *where_of(change.kind, change.key))).numbers[:1])
        return first[0].start_ns if first else None
    measure, middle = _MEASURES[change.kind], _middle(change)
    conditions = (*where, *where_of(change.kind, change.key))
    for window in (Window.M1, Window.M15):  # the first if it is within that minute, to the second
        for series in view.series(fields(change.kind), window, conditions):
            begun = _crossing(series.points, measure, middle, upwards=change.now > change.before)
            if begun is not None:
                return begun
    return None


def _errors(before: Groups, now: Groups) -> Iterator[Change]:
    known = _by_key(before)
    for group in now.groups:
        rate = now.rate(group.totals.errors)
        earlier = before.rate(known[group.key].totals.errors) if group.key in known else 0.0
        many = group.totals.errors >= _LEAST_REQUESTS and rate > _RATIO * earlier
        if group.totals.errors and OTHER not in group.key and (not earlier or many):
            yield Change(Kind.ERROR, group.key, earlier, rate, rate - earlier)


def _clients(before: Groups, now: Groups) -> Iterator[Change]:
    known = {_identity(key) for key in _by_key(before)}
    for key, group in _by_key(now).items():
        if _identity(key) not in known and OTHER not in key:
            rate = now.rate(group.totals.requests)
            yield Change(Kind.CLIENT, key, 0.0, rate, rate)


def _identity(key: Key) -> tuple[object, ...]:
    """Who a client is: a script that runs again under another process id is nobody new."""
    *rest, process = key
    return *rest, process.name if isinstance(process, Process) else ""


def _new_shapes(view: View, where: Sequence[Condition], known: Container[Key]) -> Iterable[Change]:
    span = view.span()
    if span.next - span.oldest > MOST_ROWS:
        return ()
    return _shapes(view.groups(_SHAPE, Window.START, where), view.groups(_SHAPE, Window.M1, where), known)


def _shapes(ever: Groups, now: Groups, known: Container[Key]) -> Iterator[Change]:
    """Those of which the log has requests of the last minute only, of operations that are `known`.

    Nothing where the log does not reach back, or where not all of it was read yet: it may have been there.
    """
    if ever.seconds < Window.M1 + LEAST_BASELINE_S or any({UNKNOWN, OTHER} & set(key) for key in _by_key(ever)):
        return
    later = _by_key(now)
    for key, group in _by_key(ever).items():
        protocol, operation, target, shape = key
        if shape and key in later and (protocol, operation, None, target) in known:
            requests = later[key].totals.requests
            if group.totals.requests <= requests:
                yield Change(Kind.SHAPE, key, 0.0, now.rate(requests), now.rate(requests))


def _operations(before: Groups, now: Groups) -> Iterator[Change]:
    earlier, later = _by_key(before), _by_key(now)
    for key in {**earlier, **later}:
        if OTHER in key:
            continue
        old = earlier[key].totals if key in earlier else Totals()
        new = later[key].totals if key in later else Totals()
        yield from _rate_moved(key, (old, before), (new, now))
        yield from _latency_moved(key, old, new)


def _rate_moved(key: Key, earlier: tuple[Totals, Groups], later: tuple[Totals, Groups]) -> Iterator[Change]:
    (old, before), (new, now) = earlier, later
    old_rate, new_rate = before.rate(old.requests), now.rate(new.requests)
    if not old.requests:
        if new.requests:
            yield Change(Kind.OPERATION, key, 0.0, new_rate, new_rate)
    elif new_rate > _RATIO * old_rate and new.requests >= _LEAST_REQUESTS:
        yield Change(Kind.MORE, key, old_rate, new_rate, new_rate - old_rate)
    elif old_rate > _RATIO * new_rate and old_rate * now.seconds >= _LEAST_REQUESTS:
        yield Change(Kind.FEWER, key, old_rate, new_rate, old_rate - new_rate)


def _latency_moved(key: Key, old: Totals, new: Totals) -> Iterator[Change]:
    was, is_ = old.durations, new.durations
    if min(was.count, is_.count) < _LEAST_REQUESTS or abs(is_.p99 - was.p99) < _LEAST_MOVE_NS:
        return
    ratio = is_.p99 / max(was.p99, 1)
    if ratio > _RATIO:
        yield Change(Kind.SLOWER, key, was.p99, is_.p99, log(ratio) * is_.count)
    elif ratio < 1 / _RATIO:
        yield Change(Kind.FASTER, key, was.p99, is_.p99, -log(ratio) * is_.count)


def _by_key(groups: Groups) -> dict[Key, Group]:
    return {group.key: group for group in groups.groups if group.totals.requests}


def _requests(point: Point) -> float:
    return point.rate(point.totals.requests)


def _error_rate(point: Point) -> float:
    return point.rate(point.totals.errors)


def _p99(point: Point) -> float | None:
    return point.totals.durations.p99 if point.totals.durations.count else None


_MEASURES: dict[Kind, Callable[[Point], float | None]] = {
    Kind.ERROR: _error_rate,
    Kind.SLOWER: _p99,
    Kind.FASTER: _p99,
    Kind.CLIENT: _requests,
    Kind.OPERATION: _requests,
    Kind.MORE: _requests,
    Kind.FEWER: _requests,
}


def _middle(change: Change) -> float:
    """What the values before and after it lie on different sides of."""
    return sqrt(change.before * change.now) if change.before and change.now else max(change.before, change.now) / 10


def _crossing(
    points: Iterable[Point | None], measure: Callable[[Point], float | None], middle: float, *, upwards: bool
) -> int | None:
    """The start of the first slot on the new side after the last two in a row that were on the old one."""
    begun, strays, crossed = None, 0, False
    for point in points:
        value = None if point is None else measure(point)
        if point is None or value is None:
            continue
        if (value > middle) is upwards:
            begun, strays = (point.start_ns if begun is None else begun), 0
        else:
            strays += 1
            if strays > 1 or begun is None:
                begun, crossed = None, True
    return begun if crossed else None
