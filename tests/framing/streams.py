"""What a stream case is, and how it is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from itertools import pairwise
from typing import NamedTuple


class Pass(Enum):
    """How the bytes of a step go by at the end that sends them."""

    SEEN = "in a buffer"
    BLIND = "their number is known (sendfile, a snapped packet)"
    UNSEEN = "not at all (splice, a lost packet)"


class Step(NamedTuple):
    outbound: bool
    data: bytes
    how: Pass = Pass.SEEN


class Case(NamedTuple):
    """`inbound` and `outbound`: the messages that the connecting end is to show, as they were sent."""

    name: str
    steps: tuple[Step, ...]
    outbound: tuple[bytes, ...]
    inbound: tuple[bytes, ...] = ()
    young: bool = True
    ignored: bool = False


Exchange = tuple[bytes, bytes]  # a request and its reply
Cutter = Callable[[bytes], list[bytes]]


def cut(data: bytes, *places: int) -> list[bytes]:
    """`data` in pieces that begin at 0 and at the given places, as far as it has them."""
    inside = [place for place in places if 0 < place < len(data)]
    return [data[a:b] for a, b in pairwise([0, *inside, len(data)])]


def whole(data: bytes) -> list[bytes]:
    return [data]


def each_byte(data: bytes) -> list[bytes]:
    return cut(data, *range(1, len(data)))


def at(*places: int) -> Cutter:
    """Cuts at these places; those below 0 count from the end."""
    return lambda data: cut(data, *(place if place > 0 else len(data) + place for place in places))


def every(size: int) -> Cutter:
    return lambda data: cut(data, *range(size, len(data), size))


def out(*chunks: bytes, how: Pass = Pass.SEEN) -> list[Step]:
    return [Step(True, chunk, how) for chunk in chunks]


def back(*chunks: bytes, how: Pass = Pass.SEEN) -> list[Step]:
    return [Step(False, chunk, how) for chunk in chunks]


def case(
    name: str,
    steps: Iterable[Step],
    outbound: Iterable[bytes],
    inbound: Iterable[bytes] = (),
    *,
    young: bool = True,
    ignored: bool = False,
) -> Case:
    return Case(name, tuple(steps), tuple(outbound), tuple(inbound), young, ignored)


def cut_exchanges(name: str, exchanges: Iterable[Exchange], cutter: Cutter, *, young: bool = True) -> Case:
    """Request and reply in turn, each cut by `cutter`; all of them are to be seen."""
    steps: list[Step] = []
    requests, replies = [], []
    for request, reply in exchanges:
        steps += out(*cutter(request)) + back(*cutter(reply))
        requests.append(request)
        replies.append(reply)
    return case(name, steps, requests, replies, young=young)
