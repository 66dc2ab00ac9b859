"""The TCP segment that a packet carries, if it does.

In: a packet's first bytes and the LINKTYPE_ number of what they begin with. Out: a `Segment`, or None, the reason
counted. Nothing is raised, whatever the bytes are.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple

from probes.records import Address

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

# LINKTYPE_: https://www.tcpdump.org/linktypes.html
NULL, ETHERNET, LOOP, SLL, SLL2 = 0, 1, 108, 113, 276
_RAW = frozenset({12, 14, 101, 228, 229})  # DLT_RAW of two systems, RAW, IPV4, IPV6
_BARE = -1
_TYPE_AT = {ETHERNET: (12, 14), SLL: (14, 16), SLL2: (0, 20)}  # where the EtherType is, and the header's length
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = frozenset({0x8100, 0x88A8, 0x9100})
_MOST_VLANS = 4
_TCP = 6
_MOST_EXTENSIONS = 8
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = frozenset({0, 43, 60, _FRAGMENT, _AUTHENTICATION, 135})  # RFC 8200, 4302, 6275

_V4 = Struct(">BxHxxHxB")  # version and header length, total length, fragment, protocol; up to the addresses
_V6 = Struct(">4xHB")  # payload length, next header
_T = Struct(">4xIIBB")  # after the ports: sequence, acknowledgement, data offset, flags
_new_tuple = tuple.__new__


class Segment(NamedTuple):
    """`payload` is what was captured of `length` bytes. `flow` is both addresses and both ports, the sender's first."""

    flow: bytes
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes
    length: int


def reverse(flow: bytes) -> bytes:
    """The flow of the other direction."""
    half = (len(flow) - 4) // 2
    return flow[half:-4] + flow[:half] + flow[-2:] + flow[-4:-2]


def within(flow: bytes, space: int) -> bytes:
    """The same flow in an address space of its own: unlike that of any other."""
    half = (len(flow) - 4) // 2
    number = space.to_bytes(4, "big")
    return flow[:half] + number + flow[half:-4] + number + flow[-4:]


class Decoder:
    """`counts` says what packets were that carried none: "other", "fragments", "malformed", "headers_cut"."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def segment(self, link: int, data: bytes, length: int) -> Segment | None:
        at = 0
        kind = _BARE
        place = _TYPE_AT.get(link)
        if place is not None:
            type_at, at = place
            kind = data[type_at] << 8 | data[type_at + 1] if len(data) >= at else _BARE
            if kind in _VLANS:
                kind, at = _inside_vlans(kind, data, at)
        elif link in (NULL, LOOP):
            at = 4  # an address family, whose numbers differ from system to system
        elif link not in _RAW:
            return self._none("other")
        if len(data) <= at:
            return self._none("headers_cut")
        version = data[at] >> 4
        if version == 4 and kind in (_BARE, _IPV4):
            return self._over_ipv4(data, at, length)
        if version == 6 and kind in (_BARE, _IPV6):
            return self._over_ipv6(data, at, length)
        return self._none("other")

    def _none(self, why: str) -> Segment | None:
        self.counts[why] += 1
        return None

    def _over_ipv4(self, data: bytes, at: int, length: int) -> Segment | None:
        tcp = at + 4 * (data[at] & 0x0F)
        if len(data) < tcp + 20:
            return self._none("headers_cut" if length > len(data) else "other")
        _, total, fragment, protocol = _V4.unpack_from(data, at)
        if protocol != _TCP:
            return self._none("other")
        if fragment & 0x3FFF:  # more fragments, or not the first
            return self._none("fragments")
        if tcp < at + 20:
            return self._none("malformed")
        return self._tcp(data, tcp, at + total if total else length, data[at + 12 : at + 20])

    def _over_ipv6(self, data: bytes, at: int, length: int) -> Segment | None:
        if len(data) < at + 40:
            return self._none("headers_cut")
        size, kind = _V6.unpack_from(data, at)
        end, addresses = at + 40 + size if size else length, data[at + 8 : at + 40]
        at += 40
        for _ in range(_MOST_EXTENSIONS):
            if kind not in _EXTENSIONS:
                break
            if len(data) < at + 8:
                return self._none("headers_cut")
            if kind == _FRAGMENT and data[at + 2] << 8 | data[at + 3] & 0xF9:
                return self._none("fragments")
            kind, at = data[at], at + _extension_bytes(kind, data[at + 1])
        if kind != _TCP:
            return self._none("other")
        if len(data) < at + 20:
            return self._none("headers_cut")
        return self._tcp(data, at, end, addresses)

    def _tcp(self, data: bytes, at: int, end: int, addresses: bytes) -> Segment | None:
        sequence, acknowledged, offset, flags = _T.unpack_from(data, at)
        start = at + (offset >> 4) * 4
        if start < at + 20 or start > end:
            return self._none("malformed")
        flow = addresses + data[at : at + 4]
        return _new_tuple(Segment, (flow, sequence, acknowledged, flags, data[start:end], end - start))


def _inside_vlans(kind: int, data: bytes, at: int) -> tuple[int, int]:
    for _ in range(_MOST_VLANS):
        if kind not in _VLANS or len(data) < at + 4:
            break
        kind, at = data[at + 2] << 8 | data[at + 3], at + 4
    return kind, at


def _extension_bytes(kind: int, size: int) -> int:
    if kind == _FRAGMENT:
        return 8
    return 4 * size + 8 if kind == _AUTHENTICATION else 8 * size + 8


def addresses(flow: bytes) -> tuple[Address, Address]:
    """The sender's address and the receiver's."""
    hosts, ports = flow[:-4], flow[-4:]
    half = len(hosts) // 2
    return (
        Address(str(ip_address(hosts[:half])), int.from_bytes(ports[:2], "big")),
        Address(str(ip_address(hosts[half:])), int.from_bytes(ports[2:], "big")),
    )
