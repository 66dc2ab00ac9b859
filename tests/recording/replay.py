"""A small reader of recordings, enough to know what was written: no losses, no reordering, raw IP only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import NamedTuple

from probes.options import CaptureOptions
from probes.protocols.chosen import known_protocols
from probes.protocols.interface import WireProtocol
from probes.records import Address, Connection, Head, Session
from probes.sources.framing import ConnectionFraming
from probes.sources.marks import ConnectionMark, InterfaceMark
from tests.captures.reading import sessions_of

_FIN = 1
_SECOND_NS = 1_000_000_000


class Packet(NamedTuple):
    """One packet of a recording; `length` is its payload's, of which the first bytes are there."""

    interface: InterfaceMark
    outbound: bool
    ns: int
    source: Address
    destination: Address
    sequence: int
    flags: int
    payload: bytes
    length: int
    comment: str


def packets(path: Path) -> Iterator[Packet]:
    data, at, interfaces = path.read_bytes(), 0, list[InterfaceMark]()
    while at < len(data):
        kind, size = unpack_from("<II", data, at)
        assert data[at + size - 4 : at + size] == data[at + 4 : at + 8]
        if kind == 1:
            mark = InterfaceMark.read(_options(data[at + 16 : at + size - 4])[3].decode())
            assert mark is not None
            interfaces.append(mark)
        elif kind == 6:
            number, high, low, captured, length = unpack_from("<IIIII", data, at + 8)
            options = _options(data[at + 28 + captured + -captured % 4 : at + size - 4])
            outbound = int.from_bytes(options[2], "little") == 2
            comment = options.get(1, b"").decode()
            raw = data[at + 28 : at + 28 + captured]
            yield _packet(interfaces[number], outbound, high << 32 | low, raw, length, comment)
        at += size
    assert at == len(data)


def _options(data: bytes) -> dict[int, bytes]:
    found, at = dict[int, bytes](), 0
    while at < len(data):
        code, size = unpack_from("<HH", data, at)
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return found


def _packet(mark: InterfaceMark, outbound: bool, ns: int, raw: bytes, length: int, comment: str) -> Packet:
    if raw[0] >> 4 == 4:
        hosts, start = (raw[12:16], raw[16:20]), 20
        assert unpack_from(">H", raw, 2)[0] == length
    else:
        hosts, start = (raw[8:24], raw[24:40]), 40
        assert unpack_from(">H", raw, 4)[0] == length - 40
    source, destination = (str(ipaddress.ip_address(host)) for host in hosts)
    ports, sequence = unpack_from(">HH", raw, start), unpack_from(">I", raw, start + 4)[0]
    flags, payload = raw[start + 13], raw[start + 20 :]
    ends = Address(source, ports[0]), Address(destination, ports[1])
    return Packet(mark, outbound, ns, *ends, sequence, flags, payload, length - start - 20, comment)


class _Stream(NamedTuple):
    connection: Connection
    framing: ConnectionFraming
    next: dict[bool, int]


def heads(path: Path, *, head_bytes: int = 1024) -> Iterator[tuple[Connection, Head | None, int]]:
    """Each message of a recording with its connection; None where that ends. The time of either."""
    streams: dict[tuple[InterfaceMark, Address, Address], _Stream] = {}
    count = 0
    for packet in packets(path):
        near, far = (packet.source, packet.destination)[:: 1 if packet.outbound else -1]
        key = packet.interface, near, far
        mark = ConnectionMark.read(packet.comment)
        if mark is not None:
            count += 1
            connection = Connection(count, packet.interface.process, mark.near, mark.far, packet.interface.namespace)
            framing = ConnectionFraming(young=True, head_bytes=head_bytes)
            streams[key] = _Stream(connection, framing, {packet.outbound: packet.sequence})
        stream = streams[key]
        expected = stream.next.get(packet.outbound, packet.sequence)
        assert packet.sequence >= expected, "in order"
        if packet.sequence > expected:
            stream.framing.gap(packet.outbound)
        stream.next[packet.outbound] = packet.sequence + packet.length
        for head in stream.framing.feed(packet.outbound, packet.payload, packet.ns, length=packet.length):
            yield stream.connection, head, packet.ns
        if packet.flags & _FIN and packet.outbound:
            yield stream.connection, None, packet.ns


def sessions(path: Path, *, head_bytes: int = 1024) -> tuple[list[Session], dict[str, WireProtocol]]:
    """What a recording replays to, what waits at its end last; and the protocols that describe it."""
    told = sessions_of(path.read_bytes(), CaptureOptions(str(path), head_bytes=head_bytes))
    assert told.damage == ""
    return told.sessions + told.waiting, known_protocols()
