"""Plugins find their messages in captures as they do on this host, and ports limit what is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.options import CaptureOptions
from probes.records import Status
from tests.captures.reading import sessions_of
from tests.captures.writing import SERVER, Wire, pcap
from tests.live.clients.resp import command
from tests.unit import mongodb_messages

PLUGIN = Path(__file__).parents[1] / "example_plugin" / "redis_resp.py"
REDIS = (SERVER[0], 6379)
NAMES = [f"key:{number}" for number in range(101)]


def exchange(most: int, lost: int = -1) -> bytes:
    """A pipelining client's connection, in segments of `most` bytes; the reply of this number was not captured."""
    wire = Wire(server=REDIS, most=most)
    wire.open()
    wire.send(True, b"".join(command("GET", name) for name in NAMES))
    for number, name in enumerate(NAMES):
        reply = b"$%d\r\n%s\r\n" % (len(name), name.encode())
        if number == lost:
            wire.lose(False, reply)
        else:
            wire.send(False, reply)
    return pcap(wire.packets)


def options(**more: object) -> CaptureOptions:
    return CaptureOptions("test.pcap", plugins=(str(PLUGIN),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 7, 1448, 32_000])
def test_each_command_is_a_session_wherever_the_segments_end(most: int) -> None:
    told = sessions_of(exchange(most), options())
    assert [(s.protocol, s.status, s.reply_bytes) for s in told.sessions] == [
        ("redis", Status.OK, len(name) + len(f"${len(name)}\r\n\r\n")) for name in NAMES
    ]
    assert told.ledger["seen"] == told.ledger["sessions"] == 2 * len(NAMES)


def test_after_a_loss_no_reply_is_taken_for_another_ones() -> None:
    told = sessions_of(exchange(1448, lost=50), options())
    assert [s.status for s in told.sessions] == [Status.OK] * 50 + [Status.DROPPED] * 51
    assert told.ledger["raw_lost"] == 1


def test_without_the_plugin_it_is_nothing() -> None:
    told = sessions_of(exchange(1448), CaptureOptions("test.pcap"))
    assert told.sessions == []


@pytest.mark.parametrize(("ports", "count"), [((SERVER[1],), 1), ((1, 2), 0)])
def test_ports_limit_what_is_looked_for(ports: tuple[int, ...], count: int) -> None:
    wire = Wire()
    wire.open()
    wire.send(True, mongodb_messages.command({"find": "orders", "$db": "shop"}))
    told = sessions_of(pcap(wire.packets), CaptureOptions("test.pcap", ports=(("mongodb", ports),)))
    assert len(told.waiting) + len(told.sessions) == count
