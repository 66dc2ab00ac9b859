"""Where a reply to Fetch or ShareFetch goes on behind records, found while it goes by.

In: the beginning of a reply, and then the bytes that were asked for, as they come. Out: from where on more are needed.
Records are stepped over; what stands between them is read, as far as it takes to find the next ones. Raises nothing:
where the bytes make no sense, no more are asked for. Work is linear in the bytes and at most `MAX_ELEMENTS` rounds.

Nothing is asked for where the beginning ends before any records: how much of a message is looked at is not for this to
say. Nor behind the last partition's, where a record has nothing to tell of.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import NamedTuple

from probes.protocols.kafka.headers import REPLY_BODY
from probes.protocols.kafka.plan import uvarint
from probes.protocols.kafka.plan_source import FETCH, SHARE_FETCH
from probes.protocols.kafka.table import Layout, api, layout
from probes.protocols.kafka.walk import MAX_ELEMENTS

MAX_ASKED = 16  # requests of a connection that are remembered, for it has few under way: the oldest go first

_KEYS = frozenset(key.to_bytes(2, "big") for key in (FETCH, SHARE_FETCH))
_MOVE, _SKIP, _RECORDS, _ROUNDS, _AGAIN = range(5)
_VARINT = 5  # of bytes at most: no number of fixed size has as many


class _Step(NamedTuple):
    """One step of a program. All but _MOVE and _AGAIN read a number of `width` bytes (_VARINT: as an unsigned varint),
    and take `less` off it.

    _MOVE steps over `size` bytes, _SKIP over the number times `size`, _RECORDS over the number's bytes. _ROUNDS goes
    through the steps that follow, up to their _AGAIN, as often as the number says; `size` is the place of the step
    behind that, and of the _AGAIN's that of the first of them.
    """

    what: int
    width: int
    less: int
    size: int


Program = tuple[_Step, ...]


class FetchReplies:
    """A `probes.scope.Skim`: those of one connection."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[bytes, bytes] = {}  # api_key and version by correlation id, all as on the wire

    def request(self, header: bytes) -> None:
        if header[4:6] in _KEYS:
            self._asked[header[8:12]] = header[4:8]
            if len(self._asked) > MAX_ASKED:
                del self._asked[next(iter(self._asked))]

    def reply(self, data: bytes) -> Generator[int, bytes, None]:
        kind = self._asked.pop(data[4:REPLY_BODY], b"")
        return _skim(_program(kind), data)


def _skim(program: Program, data: bytes) -> Generator[int, bytes, None]:
    start, at = 0, REPLY_BODY  # where `data` begins in the message; the position in it
    rounds: list[int] = []  # that are still to come of the arrays around, this one included
    behind, left, step, end = False, MAX_ELEMENTS, 0, len(data)
    while step < len(program):
        what, width, less, size = program[step]
        step += 1
        if what == _MOVE:
            at += size
            continue
        if what == _AGAIN:
            left -= 1
            rounds[-1] -= 1
            if not left:
                return
            if rounds[-1]:
                step = size
            else:
                rounds.pop()
            continue
        while at + width > end:
            if not behind and what != _RECORDS:
                return
            done = min(at, end)
            data, start, at = data[done:] + (yield start + end), start + done, at - done
            end = len(data)
        if width == _VARINT:
            number, at = data[at], at + 1
            if number > 127:
                try:
                    number, at = uvarint(data, at, number)
                except IndexError:
                    return
            number -= less
        else:
            number = int.from_bytes(data[at : at + width], "big", signed=True)
            at += width
        if what == _ROUNDS:
            if number > 0:
                rounds.append(number)
            else:
                step = size
        elif number > 0:
            if what == _SKIP:
                at += number * size
                continue
            if max(rounds) == 1:
                return
            behind, at = True, at + number
            if at > end:
                data, start, at = (yield start + at), start + at, 0
                end = len(data)


@lru_cache(maxsize=256)
def _program(kind: bytes) -> Program:
    """The steps of a reply's body, with the header's tags before it; none where nothing is known of it."""
    if not kind:
        return ()
    api_key, version = int.from_bytes(kind[:2], "big"), int.from_bytes(kind[2:], "big")
    body, its = layout(api_key, version, "response"), api(api_key)
    steps: list[_Step] = []
    if body is not None and its is not None:
        if its.header_tags(version, "response"):
            _add_tags(steps)
        _add_fields(steps, body)
    return tuple(steps)


def _add_fields(steps: list[_Step], body: Layout) -> None:
    less = int(body.flexible)
    for field in body.fields:
        size, last = field.fixed_size, steps[-1] if steps else None
        width = _VARINT if body.flexible else 2 if field.type == "string" else 4
        if field.array and field.struct is not None and size is None:
            place = _begin(steps, width, less)
            _add_fields(steps, field.struct)
            _end(steps, place)
        elif field.struct is not None and not field.array:
            _add_fields(steps, field.struct)
        elif size is None or field.array:
            steps.append(_Step(_RECORDS if field.type == "records" else _SKIP, width, less, size or 1))
        elif last is not None and last.what == _MOVE:
            steps[-1] = last._replace(size=last.size + size)
        else:
            steps.append(_Step(_MOVE, 0, 0, size))
    if body.flexible:
        _add_tags(steps)


def _add_tags(steps: list[_Step]) -> None:
    """How many, and of each its number and its length (KIP-482)."""
    place = _begin(steps, _VARINT, 0)
    steps += _Step(_SKIP, _VARINT, 0, 0), _Step(_SKIP, _VARINT, 0, 1)
    _end(steps, place)


def _begin(steps: list[_Step], width: int, less: int) -> int:
    """Rounds begin here; their place."""
    steps.append(_Step(_ROUNDS, width, less, 0))
    return len(steps)


def _end(steps: list[_Step], place: int) -> None:
    """The rounds that begin at `place` end here."""
    steps.append(_Step(_AGAIN, 0, 0, place))
    steps[place - 1] = steps[place - 1]._replace(size=len(steps))
