"""Writes captures: TCP connections as packets of any link, in pcap or pcapng."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from probes.sources.captures import segments
from probes.sources.captures.segments import ACK, FIN, RST, SYN

BEGIN_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000  # between packets
MOST_PAYLOAD = 32_000
CLIENT, SERVER = ("10.0.0.1", 40_000), ("10.0.0.2", 27_017)
CLIENT6, SERVER6 = ("fd00::1", 40_000), ("fd00::2", 27_017)
PSH = 0x08

_MASK = (1 << 32) - 1

Host = tuple[str, int]


class Sent(NamedTuple):
    """A packet from its IP header on, at `ns`; of `length` bytes, where fewer were captured."""

    ns: int
    data: bytes
    length: int

    def snapped(self, size: int) -> Sent:
        return self._replace(data=self.data[:size])


def ip_packet(source: Host, target: Host, tcp: bytes, *, fragment: int = 0, protocol: int = 6) -> bytes:
    addresses = ip_address(source[0]).packed + ip_address(target[0]).packed
    if len(addresses) == 8:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, fragment, 64, protocol, 0) + addresses + tcp
    return struct.pack(">IHBB", 6 << 28, len(tcp), protocol, 64) + addresses + tcp


def tcp_segment(
    source: int, target: int, sequence: int, ack: int, flags: int, data: bytes, options: bytes = b""
) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH", source, target, sequence & _MASK, ack & _MASK, (20 + len(options)) << 2, flags, 4096, 0, 0
    )
    return head + options + data


class Wire:
    """One connection, whose packets are in `packets`, in the order in which they were sent, one each `step_ns`."""

    def __init__(
        self,
        client: Host = CLIENT,
        server: Host = SERVER,
        *,
        sequences: tuple[int, int] = (1000, 2000),
        begin_ns: int = BEGIN_NS,
        step_ns: int = STEP_NS,
        most: int = MOST_PAYLOAD,
    ) -> None:
        self.packets: list[Sent] = []
        self._hosts = server, client  # by the direction: outbound is from the client
        self._next = [sequences[1], sequences[0]]
        self._ns = begin_ns
        self._step_ns = step_ns
        self._most = most

    def open(self) -> None:
        """The handshake."""
        self._send(True, SYN)
        self._next[True] += 1
        self._send(False, SYN | ACK)
        self._next[False] += 1
        self._send(True, ACK)

    def send(self, outbound: bool, data: bytes, *, captured: int | None = None, acknowledge: bool = False) -> None:
        """In as many segments as it takes; of each the first `captured` bytes."""
        for at in range(0, len(data), self._most):
            part = data[at : at + self._most]
            self._send(outbound, ACK | PSH, part)
            if captured is not None:
                last = self.packets[-1]
                self.packets[-1] = last.snapped(len(last.data) - len(part) + captured)
            self._next[outbound] += len(part)
            if acknowledge:
                self._send(not outbound, ACK)

    def lose(self, outbound: bool, data: bytes) -> None:
        """Sent, but not captured."""
        self._next[outbound] += len(data)
        self._ns += self._step_ns

    def acknowledge(self, outbound: bool) -> None:
        """A segment without data, in this direction."""
        self._send(outbound, ACK)

    def close(self) -> None:
        for outbound in (True, False):
            self._send(outbound, FIN | ACK)
            self._next[outbound] += 1
        self._send(True, ACK)

    def reset(self, outbound: bool) -> None:
        self._send(outbound, RST | ACK)

    def wait(self, ns: int) -> None:
        self._ns += ns

    def _send(self, outbound: bool, flags: int, data: bytes = b"") -> None:
        source, target = self._hosts[outbound], self._hosts[not outbound]
        acknowledged = self._next[not outbound] if flags & ACK else 0
        tcp = tcp_segment(source[1], target[1], self._next[outbound], acknowledged, flags, data)
        packet = ip_packet(source, target, tcp)
        self.packets.append(Sent(self._ns, packet, len(packet)))
        self._ns += self._step_ns


Link = Callable[[bytes], bytes]


def _type(packet: bytes) -> bytes:
    return b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"


LINKS: dict[str, tuple[int, Link]] = {
    "Ethernet": (segments.ETHERNET, lambda packet: bytes(12) + _type(packet) + packet),
    "VLAN": (segments.ETHERNET, lambda packet: bytes(12) + b"\x81\x00\x00\x07" + _type(packet) + packet),
    "VLAN in VLAN": (
        segments.ETHERNET,
        lambda packet: bytes(12) + b"\x88\xa8\x00\x01\x81\x00\x00\x07" + _type(packet) + packet,
    ),
    "Linux cooked": (segments.SLL, lambda packet: bytes(14) + _type(packet) + packet),
    "Linux cooked v2": (segments.SLL2, lambda packet: _type(packet) + bytes(18) + packet),
    "raw IP": (101, lambda packet: packet),
    "null": (segments.NULL, lambda packet: struct.pack("<I", 2 if packet[0] >> 4 == 4 else 30) + packet),
    "loopback": (segments.LOOP, lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 24) + packet),
}


def pcap(packets: Iterable[Sent], link: str = "Ethernet", *, order: str = "<", nanoseconds: bool = True) -> bytes:
    number, wrap = LINKS[link]
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    blocks = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, number)]
    for ns, data, length in packets:
        frame = wrap(data)
        seconds, rest = divmod(ns, 1_000_000_000)
        sizes = len(frame), len(frame) - len(data) + length
        blocks += struct.pack(f"{order}IIII", seconds, rest // unit, *sizes), frame
    return b"".join(blocks)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: str, resolution: int = 9, offset_s: int = 0, *, snaplen: int = 0) -> bytes:
    options = option(order, 9, bytes([resolution])) + option(order, 14, struct.pack(f"{order}q", offset_s))
    return block(order, 1, struct.pack(f"{order}HHI", LINKS[link][0], 0, snaplen) + options + bytes(4))


def enhanced(order: str, number: int, link: str, packet: Sent, ticks: int, options: bytes = b"") -> bytes:
    frame = LINKS[link][1](packet.data)
    sizes = len(frame), len(frame) - len(packet.data) + packet.length
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & _MASK, *sizes)
    return block(order, 6, head + frame + bytes(-len(frame) % 4) + options)


def pcapng(packets: Sequence[Sent], links: Sequence[str] = ("Ethernet",), *, order: str = "<") -> bytes:
    """Each packet on the next one of the interfaces."""
    blocks = [section(order), *(interface(order, link) for link in links)]
    for n, packet in enumerate(packets):
        number = n % len(links)
        blocks.append(enhanced(order, number, links[number], packet, packet.ns))
    return b"".join(blocks)
