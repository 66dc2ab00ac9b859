"""The framing in Python shows the messages of every stream of the corpus, as they were sent."""

from __future__ import annotations

import pytest

from probes.records import Head
from probes.sources.framing import COMPRESSED_HEAD, TAIL, WINDOW, ConnectionFraming
from tests.framing.corpus import CORPUS
from tests.framing.messages import OP_COMPRESSED
from tests.framing.streams import Case, Pass

HEAD_BYTES = 1024


def frame(case: Case, head_bytes: int = HEAD_BYTES) -> tuple[list[Head], ConnectionFraming]:
    """The heads of a case, its steps one nanosecond apart."""
    framing = ConnectionFraming(young=case.young, head_bytes=head_bytes)
    heads: list[Head] = []
    for ns, step in enumerate(case.steps, 1):
        if step.how is Pass.SEEN:
            heads += framing.feed(step.outbound, step.data, ns)
        elif step.how is Pass.BLIND:
            heads += framing.feed(step.outbound, b"", ns, length=len(step.data))
    return heads, framing


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_messages_are_seen_as_they_were_sent(case: Case) -> None:
    heads, framing = frame(case)
    blind = any(step.how is Pass.BLIND for step in case.steps)
    for outbound, sent in ((True, case.outbound), (False, case.inbound)):
        seen = [head for head in heads if head.outbound is outbound]
        assert [(head.number, head.total) for head in seen] == [(n, len(data)) for n, data in enumerate(sent)]
        for head, data in zip(seen, sent, strict=True):
            check_bytes(head, data, mongodb=framing.protocol == "mongodb", blind=blind)
        assert framing.whole(outbound) == len(sent)
    assert framing.ignored is case.ignored


def check_bytes(head: Head, sent: bytes, *, mongodb: bool, blind: bool) -> None:
    """What was kept is what was sent, at its place; with nothing blind, it is also all that is to be kept."""
    compressed = mongodb and int.from_bytes(sent[12:16], "little") == OP_COMPRESSED
    most = COMPRESSED_HEAD if compressed else HEAD_BYTES
    assert head.data == sent[: len(head.data)]
    assert head.tail == sent[len(sent) - len(head.tail) :]
    assert len(head.tail) <= TAIL
    end = len(head.data)
    for offset, window in head.windows:
        assert offset > end
        assert window == sent[offset : offset + len(window)]
        assert len(window) <= WINDOW
        end = offset + len(window)
    assert end + len(head.tail) <= len(sent)
    if not blind:
        assert len(head.data) == min(most, len(sent))
        assert not head.windows
        assert bool(head.tail) == head.truncated


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_messages_are_told_when_their_last_byte_goes_by(case: Case) -> None:
    heads, _ = frame(case)
    assert [head.last_ns for head in heads] == sorted(head.last_ns for head in heads)
    for outbound in (True, False):
        times = [ns for head in heads if head.outbound is outbound for ns in (head.first_ns, head.last_ns)]
        assert times == sorted(times)
        assert all(case.steps[ns - 1].outbound is outbound for ns in times)
