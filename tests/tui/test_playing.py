"""The keys that play a file, as the collector hears them; and the store that it sends back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from probes.playback import COMMAND_BYTES, Command, Order
from probes.playing import STORE
from probes.store.reader import Reader
from probes.store.writer import Writer
from tests.store.synthetic import SECOND, START_NS, Traffic
from tests.tui.dashboard import dashboard
from tests.tui.screen import lines, press
from tui.playing import Remote

KEYS = {
    "P": Command(Order.PAUSE),
    "X": Command(Order.PACE),
    "left_square_bracket": Command(Order.SEEK, -10),
    "right_square_bracket": Command(Order.SEEK, 10),
    "left_curly_bracket": Command(Order.SEEK, -60),
    "right_curly_bracket": Command(Order.SEEK, 60),
}


def stored(seconds: int, **facts: object) -> int:
    """The descriptor of a store with so many seconds of traffic."""
    traffic, writer, now_ns = Traffic(), Writer(64 << 20, START_NS), START_NS
    for _ in range(seconds):
        now_ns += SECOND
        for session in traffic.second(now_ns):
            writer.session(session)
        writer.fold(now_ns)
    told = replace(traffic.facts(now_ns), source="a.pcap", wall_offset_ns=0, **facts)  # type: ignore[arg-type]
    writer.facts(told)
    return writer.fd


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


async def test_each_key_is_said_to_the_collector(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    view = Reader(stored(2, playing="1x"))
    async with dashboard(view, START_NS + 2 * SECOND, remote=Remote(theirs)) as (_, pilot):
        for key, command in KEYS.items():
            await pilot.press(key)
            assert Command.read(ours.recv(COMMAND_BYTES)) == command


async def test_where_nothing_is_played_the_key_says_so() -> None:
    async with dashboard(Reader(stored(2)), START_NS + 2 * SECOND) as (app, pilot):
        await press(pilot, "P")
        assert "only a capture from a file is played" in next(iter(app._notifications)).message


@pytest.mark.parametrize(
    ("playing", "said"),
    [("max", "READING"), ("paused", "PAUSED"), ("seeking", "SEEKING"), ("1x", "PLAYING 1x"), ("", "READING")],
)
async def test_the_header_says_how_it_is_played(playing: str, said: str) -> None:
    view = Reader(stored(2, playing=playing, progress=0.42 if playing else None))
    async with dashboard(view, START_NS + 2 * SECOND) as (app, _):
        assert said in lines(app)[0]
        assert ("42%" in lines(app)[0]) == bool(playing)


async def test_another_store_is_shown_where_one_is(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    later, earlier = Reader(stored(9, playing="max")), stored(3, playing="paused")
    rows = [f"log {count:,}" for count in (later.span().next, Reader(earlier).span().next)]
    async with dashboard(later, None, remote=Remote(theirs)) as (app, pilot):
        await press(pilot, "4")
        assert rows[0] in lines(app)[2]
        socket.send_fds(ours, [STORE], [earlier])
        os.close(earlier)
        await pilot.pause(0.1)
        assert "PAUSED" in lines(app)[0]
        assert rows[1] in lines(app)[2]


async def test_where_the_collector_is_gone_the_screen_stays(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    async with dashboard(Reader(stored(2, playing="max")), None, remote=Remote(theirs)) as (app, pilot):
        ours.close()
        await press(pilot, "P")
        await press(pilot, "4")
        assert "READING" in lines(app)[0]
