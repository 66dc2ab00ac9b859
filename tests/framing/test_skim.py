"""What a reply to Fetch has behind its records is kept, wherever it was cut, and told as if all of it had been kept."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.messages import KafkaReply
from probes.protocols.kafka.plan_source import FETCH, SHARE_FETCH
from probes.protocols.kafka.skim import MAX_ASKED
from probes.records import Head, Session, Side, Status, Times
from probes.sources.assembly import MOST_WINDOWS
from probes.sources.framing import WINDOW, ConnectionFraming
from tests.effort import lines_run
from tests.framing.streams import cut, each_byte, every, whole
from tests.framing.test_corpus import HEAD_BYTES
from tests.framing.test_properties import check_bounds, feed_all
from tests.unit.kafka_messages import CONNECTION, Fields, framed, reply_bytes, request_bytes
from tests.unit.test_kafka_hostile import FILLINGS

SMALLEST = 256  # holds all that comes before the first records
MOST_LINES = 250_000  # of one message
VERSIONS = [(key, version) for key in (FETCH, SHARE_FETCH) for version in table.apis()[key].versions]


class Part(NamedTuple):
    """What is to be said of a partition; of transactions that were aborted, how many."""

    records: int | None
    error: int = 0
    aborted: int = 0


def fetched(api_key: int, version: int, topics: Iterable[Iterable[Part]], id: int = 7) -> bytes:
    """A reply. Its records are of bytes that begin no batch."""
    named = {field.name: field for field in _layout(api_key, version).fields}
    struct = named["responses"].struct
    assert struct is not None
    (parts,) = (field.struct for field in struct.fields if field.name == "partitions" and field.struct is not None)
    known = {field.name for field in parts.fields} | {field.name for field in parts.tagged.values()}
    responses: list[Fields] = []
    for number, topic in enumerate(topics):
        partitions = []
        for index, part in enumerate(topic):
            fields: Fields = {
                "partition_index": index,
                "error_code": part.error,
                "high_watermark": 1000 + index,
                "aborted_transactions": [{"producer_id": n, "first_offset": n} for n in range(part.aborted)],
                "acquired_records": [{"first_offset": n, "last_offset": n} for n in range(part.aborted)],
                "records": None if part.records is None else b"\xff" * part.records,
            }
            if part.error:
                fields["current_leader"] = {"leader_id": 3, "leader_epoch": 5}
            partitions.append({name: value for name, value in fields.items() if name in known})
        name = {"topic": f"topic-{number}"} if any(field.name == "topic" for field in struct.fields) else {}
        ids = {"topic_id": (number + 1).to_bytes(16, "little")} if not name else {}
        responses.append({**name, **ids, "partitions": partitions})
    return reply_bytes(api_key, version, {"responses": responses}, id)


def _layout(api_key: int, version: int) -> table.Layout:
    layout = table.layout(api_key, version, "response")
    assert layout is not None
    return layout


def asked(api_key: int, version: int, id: int = 7) -> bytes:
    return request_bytes(api_key, version, {}, id)


def framing(*, head_bytes: int = HEAD_BYTES, young: bool = True) -> ConnectionFraming:
    return ConnectionFraming(young=young, head_bytes=head_bytes, skim=Kafka().skim())


def framed_heads(
    api_key: int, version: int, reply: Iterable[bytes], *, head_bytes: int = HEAD_BYTES
) -> tuple[Head, Head]:
    """The heads of a request and of the reply in these chunks."""
    connection = framing(head_bytes=head_bytes)
    (request,) = connection.feed(True, asked(api_key, version), 1)
    (answer,) = feed_all(connection, False, list(reply))
    return request, answer


def told(request: Head, reply: Head) -> tuple[KafkaReply, dict[str, Any]]:
    """What the protocol makes of an exchange: the reply, and the record."""
    kafka = Kafka()
    memory = kafka.memory(CONNECTION)
    parsed = kafka.request(request, memory)
    answer = kafka.reply(reply, parsed, memory)
    session = Session(
        "kafka", Status.OK, Side.SERVER, CONNECTION, parsed, answer, Times(1, 2, 3, 4), request.total, reply.total
    )
    return answer, kafka.record(session, literals=False)


def told_whole(api_key: int, version: int, reply: bytes) -> dict[str, Any]:
    request = asked(api_key, version)
    heads = (Head(side, 0, 1, 1, len(data), data) for side, data in ((True, request), (False, reply)))
    return told(*heads)[1]


part = st.builds(
    Part,
    records=st.one_of(st.none(), st.integers(0, 80), st.integers(0, 5000)),
    error=st.sampled_from([0, 0, 6]),
    aborted=st.sampled_from([0, 0, 0, 1, 40]),
)
first = st.integers(1, 5000).map(Part)
topic = st.lists(part, max_size=8)
replies = st.builds(lambda part, rest, others: [[part, *rest], *others], first, topic, st.lists(topic, max_size=4))


@given(
    st.sampled_from(VERSIONS),
    replies,
    st.lists(st.integers(1, 20_000), max_size=40),
    st.sampled_from([SMALLEST, 1024, 16_384]),
)
@example((FETCH, 11), [[Part(5000)] * 20], [], SMALLEST)
@example((FETCH, 13), [[Part(1), *[Part(4000), Part(None, 0, 40)] * 4]], [], 16_384)
@example((FETCH, 12), [[Part(5000), *[Part(0)] * 100]], [], SMALLEST)
def test_it_is_told_as_if_all_of_it_had_been_kept(
    kind: tuple[int, int], topics: list[list[Part]], places: list[int], head_bytes: int
) -> None:
    reply = fetched(*kind, topics)
    request, head = framed_heads(*kind, cut(reply, *sorted(set(places))), head_bytes=head_bytes)
    assert head.total == len(reply)
    check_bounds(head, head_bytes + MOST_WINDOWS * WINDOW)
    for offset, data in ((0, head.data), *head.windows):
        assert reply[offset : offset + len(data)] == data
    answer, record = told(request, head)
    assert not answer.truncated
    assert record == told_whole(*kind, reply)


@pytest.mark.parametrize("kind", VERSIONS, ids=str)
def test_of_every_version_and_however_it_is_cut(kind: tuple[int, int]) -> None:
    reply = fetched(*kind, [[Part(3000, 0, 2), Part(None, 6), Part(0), Part(700)], [], [Part(900), Part(40, 6)]])
    seen = [framed_heads(*kind, cutter(reply))[1] for cutter in (whole, each_byte, every(7), every(1448))]
    pieces = {(head.data, head.windows) for head in seen}
    assert len(pieces) == 1
    assert seen[0].windows
    assert told(framed_heads(*kind, whole(reply))[0], seen[0])[1] == told_whole(*kind, reply)


def test_replies_that_come_together_are_told_one_by_one() -> None:
    connection = framing()
    count = MAX_ASKED
    sent = [fetched(FETCH, 12, [[Part(2000 + n), Part(n)], [Part(0)]], id=n) for n in range(count)]
    requests = connection.feed(True, b"".join(asked(FETCH, 12, n) for n in range(count)), 1)
    heads = feed_all(connection, False, every(1448)(b"".join(sent)))
    for request, head, reply in zip(requests, heads, sent, strict=True):
        assert not told(request, head)[0].truncated
        assert told(request, head)[1] == told_whole(FETCH, 12, reply) | {"correlation_id": head.number}


def test_what_is_kept_is_bounded() -> None:
    records = fetched(FETCH, 11, [[Part(1000)] * 400])
    _, head = framed_heads(FETCH, 11, whole(records))
    assert len(head.windows) == MOST_WINDOWS
    nothing = fetched(FETCH, 11, [[Part(500), *[Part(0)] * 3000]])
    _, head = framed_heads(FETCH, 11, whole(nothing))
    assert len(head.data) <= HEAD_BYTES + MOST_WINDOWS * WINDOW


def test_a_head_that_ends_before_any_records_stays_as_it_is() -> None:
    reply = fetched(FETCH, 11, [[*[Part(0)] * 100, Part(5000)]])
    _, head = framed_heads(FETCH, 11, whole(reply))
    assert (head.data, head.windows) == (reply[:HEAD_BYTES], ())


@pytest.mark.parametrize("version", [11, 12])
def test_wherever_in_the_first_records_the_head_ends(version: int) -> None:
    """From their length on."""
    reply = fetched(FETCH, version, [[Part(300), Part(0), Part(0, 6)]])
    begin = reply.index(b"\xff" * 300) - (2 if version == 12 else 4)
    for head_bytes in range(begin, len(reply)):
        request, head = framed_heads(FETCH, version, whole(reply), head_bytes=head_bytes)
        assert not told(request, head)[0].truncated, head_bytes


def test_nothing_is_kept_behind_the_last_records() -> None:
    for version in (11, 12):
        reply = fetched(FETCH, version, [[Part(500)], [Part(5000)]])
        request, head = framed_heads(FETCH, version, whole(reply))
        assert (head.data, head.windows) == (reply[:HEAD_BYTES], ())
        assert not told(request, head)[0].truncated


def test_without_its_request_a_reply_keeps_its_head_alone() -> None:
    reply = fetched(FETCH, 12, [[Part(3000), Part(500)]], id=1000)
    for requests in ([], [asked(FETCH, 12, 1000), *(asked(FETCH, 12, 2000 + n) for n in range(MAX_ASKED))]):
        connection = framing()
        connection.feed(True, asked(0, 3, 999), 1)
        feed_all(connection, True, requests)
        (head,) = connection.feed(False, reply, 2)
        assert (head.data, head.windows) == (reply[:HEAD_BYTES], ())


def test_from_mid_stream_on() -> None:
    kind = FETCH, 12
    reply = fetched(*kind, [[Part(3000), Part(500)]])
    connection = framing(young=False)
    assert not connection.feed(False, reply[1000:], 1)
    (request,) = connection.feed(True, asked(*kind), 2)
    (head,) = connection.feed(False, reply, 3)
    assert not told(request, head)[0].truncated


@pytest.mark.parametrize("unseen", [(0, 500), (3100, 3110), (3000, 3500)])
def test_bytes_unseen_where_they_are_needed_end_it(unseen: tuple[int, int]) -> None:
    """What follows them is kept as ever."""
    reply = fetched(FETCH, 11, [[Part(3000), Part(2000), Part(2000)]])
    start, end = unseen
    heads = []
    for connection in (framing(), ConnectionFraming(young=True, head_bytes=HEAD_BYTES)):
        connection.feed(True, asked(FETCH, 11), 1)
        first = connection.feed(False, reply[: max(start, 64)], 2)
        first += connection.feed(False, b"", 3, length=end - max(start, 64))
        (head,) = first + connection.feed(False, reply[end:], 4)
        heads.append(head)
    with_skim, without = heads
    assert dict(without.windows).keys() <= dict(with_skim.windows).keys()
    check_bounds(with_skim)


def test_records_unseen_make_no_difference() -> None:
    """As with a broker's sendfile, packets that were cut, or a recording."""
    reply = fetched(FETCH, 11, [[Part(3000), Part(2000), Part(2000)]])
    request, expected = framed_heads(FETCH, 11, whole(reply))
    connection = framing()
    connection.feed(True, asked(FETCH, 11), 1)
    pieces = [(0, expected.data), *expected.windows]
    ends = [*(offset for offset, _ in expected.windows), len(reply)]
    (head,) = [
        head
        for (offset, data), end in zip(pieces, ends, strict=True)
        for head in connection.feed(False, data, 2, length=end - offset)
    ]
    assert (head.data, head.windows) == (expected.data, expected.windows)
    assert not told(request, head)[0].truncated


@pytest.mark.parametrize("kind", [(FETCH, 0), (FETCH, 11), (FETCH, 17), (SHARE_FETCH, 1)], ids=str)
def test_no_reply_costs_much(kind: tuple[int, int]) -> None:
    begun = fetched(*kind, [[Part(1), *[Part(0)] * 3000]])
    begun = begun[4 : begun.index(b"\xff") + 1]
    hostile = [framed((begun + filling * 200_000)[:200_000]) for filling in FILLINGS]
    nothing = fetched(*kind, [[Part(300), *[Part(0, 6)] * 2500, Part(1)]])
    short = fetched(*kind, [[Part(300)], *[[Part(0)]] * 2500, [Part(1)]])
    for reply in (*hostile, nothing, short):
        connection = framing()
        connection.feed(True, asked(*kind), 1)
        heads: list[Head] = []
        assert lines_run(partial(_feed, connection, reply, heads)) < MOST_LINES
        kept = sum(len(data) for head in heads for data in (head.data, *(window for _, window in head.windows)))
        assert kept <= HEAD_BYTES + MOST_WINDOWS * WINDOW


def _feed(connection: ConnectionFraming, reply: bytes, heads: list[Head]) -> None:
    heads += connection.feed(False, reply, 2)
