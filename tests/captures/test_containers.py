"""What holds packets: both containers, every link, times, interfaces, and bytes that are damaged or come in pieces."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.sources.captures.container import CaptureError, Container, Packet
from probes.sources.captures.inflate import PIECE, Inflation
from probes.sources.captures.segments import ACK, SLL, Decoder, addresses, reverse
from tests.captures.reading import heads_of
from tests.captures.writing import (
    BEGIN_NS,
    CLIENT,
    CLIENT6,
    LINKS,
    SERVER,
    SERVER6,
    Sent,
    Wire,
    block,
    enhanced,
    interface,
    ip_packet,
    option,
    pcap,
    pcapng,
    section,
    tcp_segment,
)
from tests.framing import messages as m

HOSTS = {"IPv4": (CLIENT, SERVER), "IPv6": (CLIENT6, SERVER6)}


def read(data: bytes, pieces: Iterable[int] = ()) -> list[Packet]:
    """The packets of a capture that comes in pieces of these sizes, its rest at once."""
    container, packets = Container(), list[Packet]()
    for size in (*pieces, len(data)):
        packets += container.receive(data[:size])
        data = data[size:]
    assert container.is_whole
    return packets


def two(client: tuple[str, int] = CLIENT, server: tuple[str, int] = SERVER) -> list[Sent]:
    wire = Wire(client, server)
    wire.send(True, m.op_msg(1))
    wire.send(False, m.op_msg(2, answers=1))
    return wire.packets


@pytest.mark.parametrize("hosts", HOSTS)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("order", "<>")
def test_every_link_carries_the_same_segments(link: str, order: str, hosts: str) -> None:
    client, server = HOSTS[hosts]
    sent = two(client, server)
    for data in (pcap(sent, link, order=order), pcapng(sent, (link,), order=order)):
        decoder = Decoder()
        found = [decoder.segment(each.interface.link, each.data, each.length) for each in read(data)]
        assert [each is not None and each.payload for each in found] == [m.op_msg(1), m.op_msg(2, answers=1)]
        (first, second) = found
        assert first is not None
        assert second is not None
        assert [tuple(address) for address in addresses(first.flow)] == [client, server]
        assert second.flow == reverse(first.flow)
        assert not decoder.counts


def test_padding_of_short_frames_is_no_payload() -> None:
    frame = bytes(12) + b"\x08\x00" + ip_packet(CLIENT, SERVER, tcp_segment(1, 2, 3, 4, ACK, b"")) + bytes(6)
    segment = Decoder().segment(1, frame, len(frame))
    assert segment is not None
    assert (segment.payload, segment.length) == (b"", 0)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("nanoseconds", "ns"), [(True, BEGIN_NS + 123_456_789), (False, BEGIN_NS + 123_456_000)])
def test_pcap_has_times_in_micro_or_nanoseconds(order: str, nanoseconds: bool, ns: int) -> None:
    (packet,) = read(pcap([Sent(ns, b"x", 1)], "raw IP", order=order, nanoseconds=nanoseconds))
    assert packet.ns == ns


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks", "ns"),
    [
        (6, 0, 1_700_000_000_123_456, BEGIN_NS + 123_456_000),
        (9, 0, BEGIN_NS + 123_456_789, BEGIN_NS + 123_456_789),
        (9, 1_700_000_000, 123_456_789, BEGIN_NS + 123_456_789),
        (3, 0, 1_700_000_000_123, BEGIN_NS + 123_000_000),
        (0x80 | 10, 0, 1_700_000_000 << 10 | 512, BEGIN_NS + 500_000_000),
        (127, 0, 5, 1),  # finer than any clock
    ],
)
def test_pcapng_has_times_of_any_unit(order: str, resolution: int, offset_s: int, ticks: int, ns: int) -> None:
    packet = enhanced(order, 0, "raw IP", Sent(0, b"x", 1), ticks)
    (found,) = read(section(order) + interface(order, "raw IP", resolution, offset_s) + packet)
    assert found.ns == ns


def test_sections_interfaces_and_older_blocks() -> None:
    sent = Sent(BEGIN_NS, b"packet", 6)
    little = section("<") + interface("<", "raw IP") + interface("<", "Ethernet")
    old = block("<", 2, struct.pack("<HHIIII", 0, 0, BEGIN_NS >> 32, BEGIN_NS & 0xFFFFFFFF, 6, 9) + b"packet")
    simple = block("<", 3, struct.pack("<I", 6) + b"packet")
    unknown = block("<", 0x0BAD, bytes(5000))
    dropped = block("<", 5, struct.pack("<III", 1, 0, 0) + option("<", 5, struct.pack("<Q", 17)) + bytes(4))
    big = section(">") + interface(">", "Linux cooked") + enhanced(">", 0, "raw IP", sent, BEGIN_NS)
    data = little + enhanced("<", 0, "raw IP", sent, BEGIN_NS) + unknown + old + simple + dropped + big
    found = read(data)
    assert [packet.data for packet in found] == [b"packet"] * 4
    assert [packet.length for packet in found] == [6, 9, 6, 6]
    assert [packet.ns for packet in found] == [BEGIN_NS] * 4
    assert [packet.interface.link for packet in found] == [101, 101, 101, SLL]
    container = Container()
    assert len(list(container.receive(data))) == 4
    assert container.dropped == 17


@given(st.lists(st.integers(0, 400), max_size=30), st.sampled_from("<>"), st.booleans())
def test_pieces_make_no_difference(pieces: list[int], order: str, newer: bool) -> None:
    data = pcapng(two(), ("Ethernet", "Ethernet"), order=order) if newer else pcap(two(), order=order)
    compressed, found = gzip.compress(data), list[Packet]()
    assert [packet[1:] for packet in read(data, pieces)] == [packet[1:] for packet in read(data)]
    inflation, container = Inflation(), Container()
    for size in (*pieces, len(compressed)):
        for piece in inflation.receive(compressed[:size]):
            found += container.receive(piece)
        compressed = compressed[size:]
    assert inflation.is_whole
    assert container.is_whole
    assert [packet[1:] for packet in found] == [packet[1:] for packet in read(data)]


def test_members_of_gzip_follow_each_other_and_a_bomb_comes_in_pieces() -> None:
    inflation = Inflation()
    data = gzip.compress(b"one") + gzip.compress(b"two") + bytes(100)
    assert b"".join(inflation.receive(data)) == b"onetwo"
    assert inflation.is_whole
    sizes = [len(piece) for piece in Inflation().receive(gzip.compress(bytes(20 << 20)))]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 20 << 20


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PK\3\4zip", "neither pcap nor pcapng"),
        (section() + struct.pack("<II", 6, 13) + bytes(100), "a block of 13 bytes"),
        (section() + struct.pack("<II", 6, 1 << 30) + bytes(100), "a block of 1073741824 bytes"),
        (section() + enhanced("<", 0, "raw IP", Sent(0, b"x", 1), 1), "an interface 0 that it does not describe"),
        (section()[:8] + b"what" + bytes(100), "a section of unknown byte order"),
        (pcap([])[:24] + struct.pack("<IIII", 1, 1, 1 << 24, 1 << 24) + bytes(100), "a packet of 16777216 bytes"),
    ],
)
def test_damage_is_told(data: bytes, sentence: str) -> None:
    with pytest.raises(CaptureError, match=sentence):
        list(Container().receive(data))


def test_a_block_too_long_to_hold_is_passed_over() -> None:
    container, size = Container(), 32 << 20
    begin = section() + interface("<", "raw IP") + struct.pack("<II", 0x0BAD, size)
    assert list(container.receive(begin)) == []
    left = size - 8
    while left:
        piece = min(left, 1 << 20)
        assert list(container.receive(bytes(piece))) == []
        left -= piece
    (packet,) = container.receive(enhanced("<", 0, "raw IP", Sent(0, b"x", 1), BEGIN_NS))
    assert packet.data == b"x"


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (ip_packet(CLIENT, SERVER, bytes(30), protocol=17), "other"),
        (ip_packet(CLIENT, SERVER, bytes(30), fragment=0x2000), "fragments"),
        (ip_packet(CLIENT, SERVER, bytes(30), fragment=0x0010), "fragments"),
        (ip_packet(CLIENT, SERVER, tcp_segment(1, 2, 3, 4, ACK, b"")[:12] + b"\x10" + bytes(7)), "malformed"),
        (ip_packet(CLIENT6, SERVER6, b"\x06\0\0\x08" + bytes(4) + bytes(30), protocol=44), "fragments"),
        (b"\x90" + bytes(50), "other"),
    ],
)
def test_what_carries_no_segment_is_counted(packet: bytes, cause: str) -> None:
    decoder = Decoder()
    assert decoder.segment(101, packet, len(packet)) is None
    assert decoder.counts == {cause: 1}
    assert decoder.segment(101, packet[:19], len(packet)) is None


def test_extension_headers_are_passed() -> None:
    tcp = tcp_segment(1, 2, 3, 4, ACK, b"data")
    options = ip_packet(CLIENT6, SERVER6, b"\x2c\0" + bytes(6) + b"\x06" + bytes(7) + tcp, protocol=0)
    segment = Decoder().segment(101, options, len(options))
    assert segment is not None
    assert segment.payload == b"data"


@given(st.sampled_from([link for link, _ in LINKS.values()]), st.binary(max_size=120), st.integers(0, 70_000))
def test_any_bytes_are_a_segment_or_none(link: int, data: bytes, length: int) -> None:
    segment = Decoder().segment(link, data, max(length, len(data)))
    assert segment is None or (len(segment.payload) <= segment.length and len(segment.flow) in (12, 36))


@given(st.data(), st.booleans())
def test_damaged_captures_raise_nothing_else(data: st.DataObject, newer: bool) -> None:
    whole = bytearray(pcapng(two()) if newer else pcap(two()))
    for place in data.draw(st.lists(st.integers(4, len(whole) - 1), max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    found, counters, _ = heads_of(bytes(whole))
    assert sum(len(seen.heads) for seen in found) <= 4
    assert counters["packets"] <= 4
