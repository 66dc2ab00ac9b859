"""`--side` and `--pid`."""

from __future__ import annotations

import pytest

from probes.records import Connection, Process, Session, Side, Status, Times
from probes.sessions.selection import selected


def session(seen_from: Side, process: Process | None = None, client: Process | None = None) -> Session:
    end = None if client is None else Connection(2, client)
    return Session("fake", Status.OK, seen_from, Connection(1, process), None, None, Times(0, 0), 0, client=end)


@pytest.mark.parametrize(
    ("side", "passes"),
    [
        (Side.SERVER, [Side.SERVER, Side.BOTH]),
        (Side.CLIENT, [Side.CLIENT, Side.BOTH]),
        (Side.BOTH, [Side.SERVER, Side.CLIENT, Side.BOTH]),
    ],
)
def test_side(side: Side, passes: list[Side]) -> None:
    predicate = selected(side, ())
    assert [each for each in (Side.SERVER, Side.CLIENT, Side.BOTH) if predicate(session(each))] == passes


def test_pid_is_of_either_end() -> None:
    predicate = selected(Side.BOTH, {7, 8})
    app, mongod, stranger = Process(7, "app"), Process(8, "mongod"), Process(9, "x")
    assert predicate(session(Side.CLIENT, app))
    assert predicate(session(Side.SERVER, mongod))
    assert predicate(session(Side.BOTH, stranger, app))
    assert not predicate(session(Side.BOTH, stranger, stranger))
    assert not predicate(session(Side.SERVER, None))


def test_both_have_to_hold() -> None:
    predicate = selected(Side.CLIENT, {7})
    assert not predicate(session(Side.SERVER, Process(7, "app")))
    assert predicate(session(Side.CLIENT, Process(7, "app")))
