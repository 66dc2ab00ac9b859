"""What holds of the framing for every cut of every stream."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from probes.records import Head
from probes.sources.assembly import MOST_WINDOWS
from probes.sources.framing import COMPRESSED_HEAD, PRE_READ, TAIL, ConnectionFraming
from tests.framing import messages as m
from tests.framing.streams import cut
from tests.unit.mongodb_messages import message

IDS = st.integers(0, 2**31 - 1)
SIZES = st.one_of(st.integers(0, 80), st.integers(0, 3000))
PLACES = st.lists(st.integers(1, 6000), max_size=40)

op_msgs = st.builds(m.op_msg, IDS, answers=IDS, padding=SIZES, flags=st.sampled_from([0, 1, m.MORE_TO_COME, 1 << 16]))
legacy = st.builds(message, st.sampled_from([1, 2001, 2004, 2005, 2007]), st.binary(max_size=200), id=IDS)
compressed = st.builds(m.op_compressed, IDS, SIZES)
kafka_requests = st.builds(
    m.kafka_request,
    IDS,
    api_key=st.sampled_from([0, 1, 3, 18, 36, 75]),
    version=st.integers(0, 20),
    client_id=st.text("abc-7", min_size=1, max_size=20),
    body=st.binary(max_size=300),
)
streams = st.one_of(
    st.lists(st.one_of(op_msgs, legacy, compressed), min_size=1, max_size=12),
    st.lists(kafka_requests, min_size=1, max_size=12),
)


def feed_all(framing: ConnectionFraming, outbound: bool, chunks: list[bytes]) -> list[Head]:
    return list(chain.from_iterable(framing.feed(outbound, chunk, ns) for ns, chunk in enumerate(chunks, 1)))


def without_cuts(heads: list[Head]) -> list[Head]:
    """What of the heads must not depend on where the chunks were cut."""
    return [head._replace(first_ns=0, last_ns=0, tail=b"") for head in heads]


@given(streams, PLACES, st.booleans())
def test_cuts_make_no_difference(messages: list[bytes], places: list[int], young: bool) -> None:
    whole = feed_all(ConnectionFraming(young=young), True, messages)
    pieces = feed_all(ConnectionFraming(young=young), True, cut(b"".join(messages), *sorted(set(places))))
    assert without_cuts(pieces) == without_cuts(whole)
    assert [(head.number, head.total) for head in whole] == [(n, len(data)) for n, data in enumerate(messages)]


@given(st.lists(IDS, min_size=1, max_size=8, unique=True), PLACES, PLACES, st.binary(max_size=100))
def test_cuts_of_kafka_replies_make_no_difference(
    ids: list[int], places: list[int], reply_places: list[int], body: bytes
) -> None:
    ids.sort()
    requests, replies = [m.kafka_request(id_) for id_ in ids], [m.kafka_reply(id_, body) for id_ in ids]
    framing = ConnectionFraming(young=True)
    asked = feed_all(framing, True, cut(b"".join(requests), *sorted(set(places))))
    answered = feed_all(framing, False, cut(b"".join(replies), *sorted(set(reply_places))))
    assert [head.data for head in asked] == requests
    assert [head.data for head in answered] == replies


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), max_size=5), streams)
def test_text_is_no_message(text: list[str], messages: list[bytes]) -> None:
    framing = ConnectionFraming(young=False)
    assert not feed_all(framing, True, [chunk.encode() for chunk in text])
    heads = feed_all(framing, True, messages)
    assert [(head.number, head.total) for head in heads] == [(n, len(data)) for n, data in enumerate(messages)]


@given(st.lists(op_msgs, max_size=3), op_msgs, st.lists(op_msgs, min_size=1, max_size=3), st.data())
def test_a_gap_costs_the_message_it_is_in(
    before: list[bytes], torn: bytes, after: list[bytes], data: st.DataObject
) -> None:
    framing = ConnectionFraming(young=True)
    assert len(feed_all(framing, True, before)) == len(before)
    place = data.draw(st.integers(0, len(torn) - 1))
    assert not framing.feed(True, torn[:place], 1)
    framing.gap(True)
    heads = feed_all(framing, True, after)
    if place > PRE_READ:
        cut_head = heads.pop(0)
        assert cut_head.total == len(torn)
        assert cut_head.data == torn[: min(place, 1024)]
        assert cut_head.number == len(before)
    assert [head.data for head in heads] == [message[:1024] for message in after]
    assert framing.resynchronised == (1 if before or place >= 21 else 0)


@given(st.lists(op_msgs, min_size=1, max_size=6), st.integers(21, 200))
def test_snapped_packets_lose_bytes_but_no_message(messages: list[bytes], snapped: int) -> None:
    framing = ConnectionFraming(young=False)
    heads = [head for message in messages for head in framing.feed(True, message[:snapped], 1, length=len(message))]
    assert [(head.total, head.data) for head in heads] == [(len(data), data[:snapped]) for data in messages]


class Counting(ConnectionFraming):
    """Counts how often it looks for a header."""

    looks = 0

    def _length(self, stream: Any, header: bytes, available: int) -> int:
        self.looks += 1
        return super()._length(stream, header, available)


Chunk = tuple[bool, bytes, int]
noise = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda start, data: start + data, kafka_requests, st.binary(max_size=50)),
    st.builds(lambda start, place: start[:place], st.one_of(op_msgs, compressed), st.integers(0, 60)),
    # Lengths that are small in both byte orders make the most of every byte.
    st.lists(st.sampled_from([0, 1, 2, 16, 17, 0xD4, 0xDD, 7]), max_size=80).map(bytes),
)
chunks = st.lists(st.tuples(st.booleans(), noise, st.sampled_from([0, 0, 0, 1, 30, 5000])), max_size=40)


@given(chunks, st.booleans(), st.sets(st.integers(0, 40), max_size=3))
def test_noise_is_harmless(chunks: list[Chunk], young: bool, gaps: set[int]) -> None:
    framing = Counting(young=young, head_bytes=256)
    numbers = [-1, -1]
    size = 0
    for n, (outbound, data, unseen) in enumerate(chunks):
        if n in gaps:
            framing.gap(outbound)
        size += len(data)
        for head in framing.feed(outbound, data, n, length=len(data) + unseen):
            assert head.number > numbers[head.outbound]
            numbers[head.outbound] = head.number
            assert head.first_ns <= head.last_ns
            check_bounds(head)
        assert framing.whole(outbound) > numbers[outbound]
    # Each byte is held once and slid over once; a message takes four bytes or more.
    assert framing.looks <= 3 * size + len(chunks)


def check_bounds(head: Head, most: int = COMPRESSED_HEAD) -> None:
    assert len(head.data) <= most
    assert len(head.tail) <= TAIL
    assert len(head.windows) <= MOST_WINDOWS
    pieces = [(0, head.data), *head.windows, (head.total - len(head.tail), head.tail)]
    for (offset, data), (next_offset, _) in pairwise(pieces):
        assert offset + len(data) <= next_offset


def test_a_message_keeps_a_bounded_number_of_windows() -> None:
    message = m.kafka_request(1, body=m.filler(400_000))
    framing = ConnectionFraming(young=True)
    heads = framing.feed(True, message[:300], 1)
    for place in range(300, len(message), 400):
        heads += framing.feed(True, b"", 2, length=min(10, len(message) - place))
        heads += framing.feed(True, message[place + 10 : place + 400], 3)
    (head,) = heads
    assert len(head.windows) == MOST_WINDOWS
    assert all(len(window) <= 1024 for _, window in head.windows)
    check_bounds(head)


def test_other_protocols_can_be_left_out() -> None:
    mongodb, kafka = m.op_msg(1), m.kafka_request(1)
    for only, ours, other in (("mongodb", mongodb, kafka), ("kafka", kafka, mongodb)):
        framing = ConnectionFraming(young=True, protocols=(only,))
        assert not framing.feed(True, other, 1)
        assert not framing.protocol
        assert [head.data for head in framing.feed(True, ours, 2)] == [ours]
        assert framing.protocol == only


def test_times() -> None:
    framing = ConnectionFraming(young=True)
    message = m.op_msg(1, padding=100)
    assert not framing.feed(True, message[:3], 20, first_ns=10)
    assert not framing.feed(True, message[3:80], 40, first_ns=30)
    first, second = framing.feed(True, message[80:] + message, 60, first_ns=50)
    assert (first.first_ns, first.last_ns) == (10, 60)
    assert (second.first_ns, second.last_ns) == (50, 60)
