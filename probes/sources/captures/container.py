"""The packets of a pcap or pcapng capture, as its bytes come.

In: bytes, cut anywhere. Out: a `Packet` for each one that is there whole. Raises CaptureError, and nothing else, where
the bytes are no such capture, or are damaged: what came before has been told. At most one block is held, of at most
MAX_BLOCK bytes; a longer one that is no packet is passed over.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from probes.sources.marks import InterfaceMark

MAX_BLOCK = 1 << 24
MAX_INTERFACES = 65_536
MAX_PACKET = 1 << 18  # libpcap's MAXIMUM_SNAPLEN

_MICROSECONDS, _NANOSECONDS = 1_000_000, 1_000_000_000  # ticks a second
_MOST_NS = (1 << 63) - 1
_new_tuple = tuple.__new__


class CaptureError(ValueError):
    """The bytes are no capture, or a damaged one: the message says so, after the capture's name."""


@dataclass(slots=True, eq=False)
class Interface:
    """Where packets were captured. `link` is the LINKTYPE_ number of what they begin with."""

    link: int
    snaplen: int = 0
    ticks_per_s: int = _MICROSECONDS
    offset_s: int = 0
    mark: InterfaceMark | None = None  # of a recording
    number: int = 0  # among those of all sections
    dropped: int = 0  # packets that the capturing program says it missed

    def ns(self, ticks: int) -> int:
        """Since the epoch. Never 0, which stands for no time."""
        ns = ticks * _NANOSECONDS // self.ticks_per_s + self.offset_s * _NANOSECONDS
        return max(1, min(ns, _MOST_NS))


class Packet(NamedTuple):
    """`data` are the first bytes of a packet of `length` bytes. `options` are pcapng's, in byte order `order`."""

    interface: Interface
    ns: int
    data: bytes
    length: int
    options: bytes = b""
    order: str = "<"


class Container:
    """The reader of one capture, which is of the one or the other form."""

    def __init__(self) -> None:
        self._form: Pcap | Pcapng | None = None
        self._begun = b""

    @property
    def is_whole(self) -> bool:
        """Whether the capture may end here."""
        return self._form is not None and self._form.is_whole

    @property
    def is_recognised(self) -> bool:
        return self._form is not None

    @property
    def dropped(self) -> int:
        """Packets that the capturing program says it missed."""
        return 0 if self._form is None else sum(interface.dropped for interface in self._form.interfaces)

    def receive(self, data: bytes) -> Iterator[Packet]:
        """The packets that end in `data`, which are the capture's next bytes."""
        if self._form is None:
            self._begun += data
            form = _form_of(self._begun)
            if form is None:
                return
            self._form, data, self._begun = form, self._begun, b""
        yield from self._form.receive(data)


def _form_of(begin: bytes) -> Pcap | Pcapng | None:
    """None as long as more bytes are needed. Raises CaptureError."""
    if len(begin) >= 4:
        if begin[:4] == Pcapng.MAGIC:
            return Pcapng()
        for order in "<>":
            if Struct(f"{order}I").unpack_from(begin)[0] in Pcap.TICKS:
                return Pcap(order) if len(begin) >= Pcap.HEADER_BYTES else None
        raise CaptureError("is neither pcap nor pcapng")
    return None


class Pcap:
    """The older form: one header, one interface."""

    TICKS = {0xA1B2C3D4: _MICROSECONDS, 0xA1B23C4D: _NANOSECONDS}  # noqa: RUF012 - by magic number
    HEADER_BYTES = 24

    def __init__(self, order: str) -> None:
        self.interfaces: list[Interface] = []
        self._header = Struct(f"{order}IHHiIII")
        self._record = Struct(f"{order}IIII")
        self._rest = b""

    @property
    def is_whole(self) -> bool:
        return not self._rest

    def receive(self, data: bytes) -> Iterator[Packet]:
        at = 0
        data = self._rest + data
        if not self.interfaces:
            magic, _, _, _, _, snaplen, link = self._header.unpack_from(data)
            # The upper bits say whether packets end in a checksum of the link: TCP does not reach so far.
            self.interfaces = [Interface(link & 0x0FFF_FFFF, snaplen, self.TICKS[magic])]
            at = self.HEADER_BYTES
        (interface,) = self.interfaces
        most = max(MAX_PACKET, min(interface.snaplen, MAX_BLOCK))
        unit, size, unpack, end = (
            _NANOSECONDS // interface.ticks_per_s,
            self._record.size,
            self._record.unpack_from,
            len(data),
        )
        while at + size <= end:
            seconds, ticks, captured, length = unpack(data, at)
            if captured > most:
                self._rest = b""
                raise CaptureError(f"is damaged: it holds a packet of {captured} bytes")
            start = at + size
            if start + captured > end:
                break
            at = start + captured
            ns = seconds * _NANOSECONDS + ticks * unit or 1
            yield _new_tuple(Packet, (interface, ns, data[start:at], length, b"", "<"))
        self._rest = data[at:]


class Pcapng:
    """The newer form: blocks."""

    MAGIC = b"\x0a\x0d\x0d\x0a"  # the same in both orders
    _ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}  # noqa: RUF012
    _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 1, 2, 3, 5, 6  # types of blocks
    _PACKETS = _OLD_PACKET, _SIMPLE_PACKET, _PACKET
    _DESCRIPTION, _RESOLUTION, _OFFSET = 3, 9, 14  # an interface's options
    _DROPPED, _DROPPED_BY_SYSTEM = 5, 7  # a statistic's

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []  # of all sections
        self._first = 0  # of this section
        self._rest = b""
        self._skip = 0  # bytes of a block that is passed over, still to come
        self._last_ns = 1
        self._use("<")

    @property
    def is_whole(self) -> bool:
        return not self._rest and not self._skip

    def _use(self, order: str) -> None:
        self._order = order
        self._head = Struct(f"{order}II")  # type, length
        self._packet = Struct(f"{order}IIIIIII")  # type, length, interface, time (high, low), captured, on the wire
        self._old_packet = Struct(f"{order}HHIIII")  # interface, drops, time (high, low), captured, on the wire

    def receive(self, data: bytes) -> Iterator[Packet]:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        data = self._rest + data
        at, end = 0, len(data)
        while at + 12 <= end:
            if data[at : at + 4] == self.MAGIC:
                self._use(self._order_of(data[at + 8 : at + 12]))
            kind, size = self._head.unpack_from(data, at)
            if size < 12 or size % 4:
                raise self._damaged(f"a block of {size} bytes")
            if size > MAX_BLOCK:
                if kind in self._PACKETS or kind == self._INTERFACE:
                    raise self._damaged(f"a block of {size} bytes")
                self._skip = max(0, at + size - end)
                at += size
                continue
            if at + size > end:
                break
            if kind == self._PACKET:
                if size < 32:
                    raise self._damaged("a packet without its length")
                _, _, number, high, low, captured, length = self._packet.unpack_from(data, at)
                yield self._enhanced(data, at + 28, at + size - 4, number, high << 32 | low, captured, length)
            else:
                packet = self._other(kind, data, at + 8, at + size - 4)
                if packet is not None:
                    yield packet
            at += size
        self._rest = data[at:]

    def _damaged(self, what: str) -> CaptureError:
        self._rest = b""
        return CaptureError(f"is damaged: it holds {what}")

    def _order_of(self, magic: bytes) -> str:
        if magic not in self._ORDERS:
            raise self._damaged("a section of unknown byte order")
        self._first = len(self.interfaces)
        return self._ORDERS[magic]

    def _enhanced(
        self, data: bytes, start: int, end: int, number: int, ticks: int, captured: int, length: int
    ) -> Packet:
        interface = self._interface(number)
        stop = start + captured
        if stop > end:
            raise self._damaged(f"a packet of {captured} bytes in a shorter block")
        ns = self._last_ns = interface.ns(ticks)
        options = data[stop + -captured % 4 : end]
        return _new_tuple(Packet, (interface, ns, data[start:stop], length, options, self._order))

    def _interface(self, number: int) -> Interface:
        place = self._first + number
        if place >= len(self.interfaces):
            raise self._damaged(f"a packet of an interface {number} that it does not describe")
        return self.interfaces[place]

    def _other(self, kind: int, data: bytes, start: int, end: int) -> Packet | None:
        """Any block but an enhanced packet; its body is from `start` to `end`."""
        if kind == self._INTERFACE and end - start >= 8:
            self._describe(data[start:end])
        elif kind == self._SIMPLE_PACKET and end - start >= 4:
            (length,) = Struct(f"{self._order}I").unpack_from(data, start)
            interface = self._interface(0)
            captured = min(length, end - start - 4, interface.snaplen or length)
            return Packet(interface, self._last_ns, data[start + 4 : start + 4 + captured], length, b"", self._order)
        elif kind == self._OLD_PACKET and end - start >= 20:
            number, _, high, low, captured, length = self._old_packet.unpack_from(data, start)
            return self._enhanced(data, start + 20, end, number, high << 32 | low, captured, length)
        elif kind == self._STATISTICS and end - start >= 12:
            (number,) = Struct(f"{self._order}I").unpack_from(data, start)
            place = self._first + number
            if place < len(self.interfaces):
                self._note_drops(self.interfaces[place], data[start + 12 : end])
        return None

    def _describe(self, body: bytes) -> None:
        if len(self.interfaces) >= MAX_INTERFACES:
            raise self._damaged(f"more than {MAX_INTERFACES} interfaces")
        link, _, snaplen = Struct(f"{self._order}HHI").unpack_from(body)
        interface = Interface(link, snaplen, number=len(self.interfaces))
        for option, value in options(body[8:], self._order):
            if option == self._RESOLUTION and value:
                exponent = value[0] & 0x7F  # a power of 2 where the highest bit is set, else of 10
                interface.ticks_per_s = 2**exponent if value[0] & 0x80 else 10**exponent
            elif option == self._OFFSET and len(value) == 8:
                (interface.offset_s,) = Struct(f"{self._order}q").unpack(value)
            elif option == self._DESCRIPTION:
                interface.mark = InterfaceMark.read(value.decode(errors="replace"))
        self.interfaces.append(interface)

    def _note_drops(self, interface: Interface, raw: bytes) -> None:
        counts = [
            int.from_bytes(value, "little" if self._order == "<" else "big")
            for option, value in options(raw, self._order)
            if option in (self._DROPPED, self._DROPPED_BY_SYSTEM) and len(value) == 8
        ]
        interface.dropped = max(interface.dropped, sum(counts))  # since the capture's beginning


def options(raw: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The options at a block's end, as code and value, as far as they are whole."""
    head, at = Struct(f"{order}HH"), 0
    while at + 4 <= len(raw):
        code, size = head.unpack_from(raw, at)
        at += 4
        if not code or at + size > len(raw):
            return
        yield code, raw[at : at + size]
        at += size + -size % 4
