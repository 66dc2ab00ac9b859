"""From a capture to the store, without a kernel: sessions, what waits, facts, and how it ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from probes import feeding
from probes.feeding import Feeding
from probes.governor import Level
from probes.options import CaptureOptions
from probes.records import Connection, Session
from probes.sources.source import Ignored, RingUse
from probes.store.reader import Reader
from probes.store.view import Window
from tests.unit.fake_collector import FakeCollector
from tests.unit.sample_sessions import find, hanging

MEMORY = 32 << 20


class Capture(FakeCollector):
    """A fake collector that also has what only the dashboard asks for."""

    level = Level.NOTHING

    def waiting(self, *, older_than_ns: int = 0) -> list[Session]:
        assert older_than_ns == 100_000_000
        return super().waiting()

    def connections(self) -> Collection[Connection]:
        return []

    def ignored(self) -> Collection[Ignored]:
        return []

    @property
    def wall_offset_ns(self) -> int:
        return time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def ring(self) -> RingUse:
        return RingUse(1 << 20, 4096, 8192)


def fed(capture: Capture, turns: int) -> tuple[Feeding, Reader]:
    """A store that was fed for so many turns."""
    options = CaptureOptions(memory=MEMORY, head_bytes=2048, literals=True)
    feeding = Feeding(options)
    capture.open(options, feeding.ended)
    reader = Reader(feeding.begin(capture))
    for _ in range(turns):
        feeding.turn()
    return feeding, reader


def test_what_the_capture_is_can_be_read_before_anything_went_by() -> None:
    _, reader = fed(Capture([]), 0)
    facts = reader.facts()
    assert (facts.host, facts.collector_pid, facts.ended) == (socket.gethostname(), os.getpid(), "")
    assert (facts.head_bytes, facts.literals, facts.source) == (2048, True, "live")
    assert facts.protocols == ("mongodb", "kafka")
    assert abs(time.monotonic_ns() + facts.wall_offset_ns - time.time_ns()) < 1_000_000_000
    assert (facts.ring_bytes, facts.ring_used_bytes, facts.ring_peak_bytes) == (1 << 20, 4096, 8192)


def test_sessions_are_in_the_store_after_the_turn_in_which_they_ended() -> None:
    _, reader = fed(Capture([[find(), find()], [find()]]), 2)
    assert reader.span().next == 3
    assert [row.operation for row in reader.rows(0, 10)] == ["find"] * 3


@pytest.mark.parametrize(
    ("level", "kept", "told"),
    [
        (Level.NOTHING, 80, ("", 1.0, 2048)),
        (Level.SHORT_HEADS, 80, ("short heads", 1.0, 128)),
        (Level.SAMPLING, 10, ("sampled 1:8", 0.125, 128)),
        (Level.COUNTING, 0, ("only counting", 0.0, 128)),
    ],
)
def test_what_is_left_off_is_told_and_every_request_counted(
    level: Level, kept: int, told: tuple[str, float, int]
) -> None:
    capture = Capture([[find() for _ in range(40)]] * 2, ledger={"seen": 160, "sessions": 160})
    capture.level = level
    feeding, reader = fed(capture, 2)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not reader.groups((), Window.M1).groups:
        feeding.turn()
    assert reader.span().next == kept
    assert all(reader.session(row) is not None for row in reader.rows(0, kept))
    (group,) = reader.groups((), Window.M1).groups
    assert group.totals.requests == 80
    feeding._tell()
    facts = reader.facts()
    assert (facts.degradation, facts.sample_ratio, facts.head_bytes) == told
    left_out = 2 * (80 - kept)
    assert (facts.ledger["sessions"], facts.ledger.get("sampled_out", 0)) == (160 - left_out, left_out)


def test_what_waits_is_in_the_store() -> None:
    _, reader = fed(Capture([], waiting=[hanging()]), 1)
    waiting = reader.inflight()
    assert (waiting.total, len(waiting.rows)) == (1, 1)


def test_facts_are_renewed_within_a_second_or_so() -> None:
    capture = Capture([], ledger={"seen": 1})
    feeding, reader = fed(capture, 1)
    capture._ledger = {"seen": 2, "unparsed": 1}
    deadline = time.monotonic() + 5
    while reader.facts().ledger["seen"] == 1 and time.monotonic() < deadline:
        feeding.turn()
    assert reader.facts().ledger == {"seen": 2, "unparsed": 1}
    assert reader.heartbeat_ns() > time.monotonic_ns() - 1_000_000_000


def test_the_end_says_why_and_brings_what_ended_last() -> None:
    feeding, reader = fed(Capture([]), 1)
    feeding.ended(find())
    feeding.end("the disk is full")
    assert reader.facts().ended == "the disk is full"
    assert reader.span().next == 1


def test_the_capture_begins_when_the_store_does() -> None:
    before_ns = time.monotonic_ns()
    _, reader = fed(Capture([]), 1)
    assert before_ns <= reader.facts().started_ns <= time.monotonic_ns()


class Learning:
    """A protocol that counts its sessions; at the third something goes wrong."""

    name = "mongodb"

    def __init__(self) -> None:
        self.sessions = 0

    def observe(self, session: Session) -> None:
        self.sessions += 1
        if self.sessions == 3:
            raise RuntimeError("a bug")

    def facts(self, now_ns: int) -> Mapping[str, Any]:
        return {"sessions": [self.sessions], "over": self.sessions // 4}


class LearningCapture(Capture):
    @property
    def protocols(self) -> Mapping[str, Any]:
        return {"mongodb": Learning()}


def test_what_protocols_learn_from_sessions_is_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_SECOND_NS", 0)
    _, reader = fed(LearningCapture([[find(), find()], [find()], [find()]]), 4)
    facts = reader.facts()
    assert facts.learned == {"mongodb": {"sessions": [4], "over": 1}}
    assert facts.ledger["unlearned"] == 2
    assert reader.span().next == 4
