"""The streams of the framing's corpus, written as packets and put together again, show the same messages."""

from __future__ import annotations

from itertools import cycle

import pytest

from tests.captures.reading import heads_of
from tests.captures.writing import CLIENT, CLIENT6, LINKS, MOST_PAYLOAD, SERVER, SERVER6, Wire, pcap, pcapng
from tests.framing.corpus import CUTS, OTHERS, SPLITS
from tests.framing.streams import Case, Pass
from tests.framing.test_corpus import check_bytes

CUT = CUTS + SPLITS
WHOLE = tuple(case for case in OTHERS if all(step.how is not Pass.UNSEEN for step in case.steps))
TORN = tuple(case for case in OTHERS if any(step.how is Pass.UNSEEN for step in case.steps))


def captured(case: Case, form: int, most: int = MOST_PAYLOAD) -> bytes:
    """The case as a capture, whose form is a number."""
    client, server = ((CLIENT, SERVER), (CLIENT6, SERVER6))[form % 2]
    wire = Wire(client, server, sequences=(2**32 - 40, 2**32 - 3), most=most)
    if case.young:
        wire.open()
    for outbound, data, how in case.steps:
        if how is Pass.UNSEEN:
            wire.lose(outbound, data)
        else:
            wire.send(outbound, data, captured=0 if how is Pass.BLIND else None)
    link, order = list(LINKS)[form % len(LINKS)], "<>"[form // 2 % 2]
    return pcap(wire.packets, link, order=order) if form % 3 else pcapng(wire.packets, (link,), order=order)


def check(case: Case, capture: bytes) -> None:
    found, counters, damage = heads_of(capture)
    assert (damage, counters.get("holes", 0), counters["malformed_packets"]) == ("", 0, 0)
    assert len(found) <= 1
    blind = any(step.how is Pass.BLIND for step in case.steps)
    for outbound, sent in ((True, case.outbound), (False, case.inbound)):
        heads = found[0].of(not outbound) if found else []  # the near end is the server
        assert [(head.number, head.total) for head in heads] == [(n, len(data)) for n, data in enumerate(sent)]
        for head, data in zip(heads, sent, strict=True):
            check_bytes(head, data, mongodb=found[0].connection.protocol == "mongodb", blind=blind)
    assert counters["ignored_connections"] == case.ignored


@pytest.mark.parametrize(
    ("case", "form"), list(zip(CUT + WHOLE, cycle(range(48)), strict=False)), ids=lambda each: getattr(each, "name", "")
)
def test_messages_are_seen_as_they_were_sent(case: Case, form: int) -> None:
    check(case, captured(case, form))


@pytest.mark.parametrize("most", [536, 1448])
@pytest.mark.parametrize("case", CUTS, ids=lambda case: case.name)
def test_where_segments_end_makes_no_difference(case: Case, most: int) -> None:
    check(case, captured(case, most, most))


@pytest.mark.parametrize("case", TORN, ids=lambda case: case.name)
def test_what_was_not_captured_is_a_hole_of_known_size(case: Case) -> None:
    """Better than the framing alone could know: only what lies in the hole is lost."""
    (seen,), counters, _ = heads_of(captured(case, 0))
    lost = [step for step in case.steps if step.how is Pass.UNSEEN]
    assert (counters["holes"], counters["lost_bytes"]) == (len(lost), sum(len(step.data) for step in lost))
    stream = b"".join(step.data for step in case.steps if step.outbound)
    heads = seen.of(False)
    place = 0
    for head in heads:
        place = stream.index(head.data[:16], place)
        assert stream[place : place + head.total].startswith(head.data)
        place += head.total
    assert place == len(stream)
    numbers = [head.number for head in heads] + [number for outbound, number in seen.missed if not outbound]
    assert sorted(numbers) == list(range(len(numbers)))
