"""One connection as the TCP segments of its messages: no handshake, no acknowledgements of their own, nothing lost.

In: heads. Out: packets, each with its IP and TCP header, that together have the messages' true lengths: what was not
captured of a message is missing at the end of its segments. So the sequence numbers are right, and whoever reassembles
the stream finds the same heads.
"""

from __future__ import annotations

import ipaddress
from struct import Struct
from typing import NamedTuple

from probes.records import Address, Connection, Head

MOST_SEGMENT_BYTES = 64_000  # its packet has to stay below 64 KiB
SPLIT_AT = 12  # a whole message's first segment, where its first and last byte have two times: too short to mislead

_TCP_BYTES = 20
_TCP = Struct(">HHIIBBHHH")
_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_WORDS = Struct(">10H")
_IPPROTO_TCP, _HOPS = 6, 64
_FIN, _PUSH, _ACK = 0x01, 0x08, 0x10
_FIRST_SEQUENCE = 1
_DOCUMENTATION = int(ipaddress.IPv6Address("2001:db8::"))  # RFC 3849
_WELL_KNOWN = {"mongodb": 27017, "kafka": 9092}  # by these ports Wireshark knows what to expect
_ANY_PORT = 1024


class Segment(NamedTuple):
    """Bytes of a message from `offset` on, `length` of them, of which the first are `captured`."""

    offset: int
    length: int
    captured: bytes
    ns: int


class Packet(NamedTuple):
    """`captured` are the first bytes of a packet of `length` bytes."""

    outbound: bool
    ns: int
    captured: bytes
    length: int


class Flow:
    """A connection's two directions. `is_invented`: its addresses, for it has none of TCP that are known."""

    def __init__(self, connection: Connection) -> None:
        self.near, self.far = connection.near, connection.far
        near, far = _packed(self.near), _packed(self.far)
        self.is_invented = near is None or far is None or not (self.near.port and self.far.port)
        if near is None or far is None or self.is_invented:
            near, far = _invented(connection.id, 1), _invented(connection.id, 2)
            port = _WELL_KNOWN.get(connection.protocol, _ANY_PORT)
            self._ports = port, port
        else:
            self._ports = self.near.port, self.far.port
        if len(near) != len(far):
            near, far = _mapped(near), _mapped(far)
        self._ends = near, far
        self._next = [_FIRST_SEQUENCE, _FIRST_SEQUENCE]  # sequence numbers, inbound and outbound
        self._missing = [0, 0]  # messages before the next one
        self._numbers: list[int | None] = [None, None]  # of the messages that come next

    def is_of(self, connection: Connection) -> bool:
        """Whether the connection has still the same addresses."""
        return self.near == connection.near and self.far == connection.far

    def message(self, head: Head) -> list[Packet]:
        """The packets of the next message of its direction. One that was lost before it is a hole in the stream."""
        expected = self._numbers[head.outbound]
        if expected is not None and head.number > expected:
            self.miss(head.outbound, head.number - expected)
        self._advance(head.outbound, self._missing[head.outbound])
        self._missing[head.outbound] = 0
        self._numbers[head.outbound] = head.number + 1
        parts = segments(head)
        return [
            self._packet(head.outbound, part, _ACK | _PUSH if part is parts[-1] else _ACK, part.ns) for part in parts
        ]

    def miss(self, outbound: bool, count: int = 1) -> None:
        """So many messages are missing before the next one of this direction: nobody knows their lengths."""
        self._missing[outbound] += count

    def end(self, ns: int) -> list[Packet]:
        """Both directions end."""
        nothing = Segment(0, 0, b"", ns)
        return [self._packet(outbound, nothing, _ACK | _FIN, ns) for outbound in (True, False)]

    def _advance(self, outbound: bool, by: int) -> None:
        self._next[outbound] = self._next[outbound] + by & 0xFFFFFFFF

    def _packet(self, outbound: bool, segment: Segment, flags: int, ns: int) -> Packet:
        source, destination = (0, 1) if outbound else (1, 0)
        header = self._ip(source, destination, segment.length) + _TCP.pack(
            self._ports[source],
            self._ports[destination],
            self._next[outbound],
            self._next[not outbound],
            _TCP_BYTES // 4 << 4,
            flags,
            0xFFFF,
            0,
            0,
        )
        self._advance(outbound, segment.length + bool(flags & _FIN))
        return Packet(outbound, ns, header + segment.captured, len(header) + segment.length)

    def _ip(self, source: int, destination: int, length: int) -> bytes:
        here, there = self._ends[source], self._ends[destination]
        if len(here) == 16:
            return bytes(_IPV6.pack(6 << 28, _TCP_BYTES + length, _IPPROTO_TCP, _HOPS, here, there))
        size = _IPV4.size + _TCP_BYTES + length
        header: bytes = _IPV4.pack(0x45, 0, size, 0, 0x4000, _HOPS, _IPPROTO_TCP, 0, here, there)
        total: int = sum(_WORDS.unpack(header))
        checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return header[:10] + checksum.to_bytes(2, "big") + header[12:]


def segments(head: Head) -> list[Segment]:
    """The head, its windows and its tail as segments that together are the whole message."""
    starts = _pieces(head)
    found: list[tuple[int, int, bytes]] = []
    for index, (start, data) in enumerate(starts):
        end = starts[index + 1][0] if index + 1 < len(starts) else head.total
        for at in range(start, end, MOST_SEGMENT_BYTES):
            length = min(MOST_SEGMENT_BYTES, end - at)
            found.append((at, length, data[at - start : at - start + length]))
    if len(found) == 1 and head.first_ns != head.last_ns and head.total > 1:
        found = _in_two(*found[0])
    last = len(found) - 1
    return [Segment(*each, head.last_ns if index == last else head.first_ns) for index, each in enumerate(found)]


def _in_two(offset: int, length: int, captured: bytes) -> list[tuple[int, int, bytes]]:
    """A message in one segment as two, for it has two times.

    Wireshark puts none together of which bytes are missing: such a message's last byte, which is not there, is enough.
    """
    at = length - 1 if len(captured) < length else min(SPLIT_AT, length // 2)
    return [(offset, at, captured[:at]), (offset + at, length - at, captured[at:])]


def _pieces(head: Head) -> list[tuple[int, bytes]]:
    """What was kept of a message, by its offsets, the first of them 0; nothing twice, nothing beyond its end."""
    pieces = sorted([*head.windows, (max(0, head.total - len(head.tail)), head.tail[-head.total :])])
    kept = [(0, head.data[: head.total])]
    for start, data in pieces:
        end = kept[-1][0] + len(kept[-1][1])
        data = data[max(0, end - start) : max(0, head.total - start)]
        if data:
            kept.append((max(start, end), data))
    return kept


def _packed(address: Address) -> bytes | None:
    """An IP address's bytes; None where it is none."""
    try:
        return ipaddress.ip_address(address.host).packed
    except ValueError:
        return None


def _invented(number: int, end: int) -> bytes:
    """An address for one end (1, 2) of connection `number`."""
    return (_DOCUMENTATION | end << 64 | number & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(16, "big")


def _mapped(packed: bytes) -> bytes:
    """An IPv4 address as an IPv6 one."""
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
