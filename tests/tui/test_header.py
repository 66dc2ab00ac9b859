"""Line 1 says what matters in any width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from probes.store.view import Facts, Window
from tests.store.synthetic import SECOND, START_NS, WALL_OFFSET_NS
from tui.header import Situation, status

FACTS = Facts(host="db1", wall_offset_ns=WALL_OFFSET_NS, cpu_percent=1.8, ledger={"seen": 9, "sessions": 9})
WORST = Facts(
    host="a-host-with-a-very-long-name.example.org",
    source="/var/tmp/some/capture/of/yesterday.pcapng",
    degradation="sampled 1:8",
    cpu_percent=51,
    ledger={"seen": 9_000_000, "ring_full": 1_234_567},
    wall_offset_ns=WALL_OFFSET_NS,
)


def line(situation: Situation, width: int = 80) -> str:
    return "".join(part.text for part in status(situation, width))


def situation(facts: Facts = FACTS, **more: object) -> Situation:
    return Situation(facts, START_NS, Window.M1, 1.0, **more)  # type: ignore[arg-type]


def hints(situation: Situation) -> dict[str, str]:
    return {part.text.split()[0]: part.hint for part in status(situation, 200) if part.text.strip()}


def test_live() -> None:
    said = " ".join(line(situation()).split())
    assert said == "l7top db1 LIVE 08:16:41 window 1m every 1s lost 0 cut 0 cpu 2%"


def test_frozen() -> None:
    shown = line(situation(frozen_ns=START_NS - 9 * SECOND, rates_ns=START_NS - 9 * SECOND, new_rows=3412))
    assert "FROZEN 08:16:32 +3,412 new" in shown
    later = line(situation(frozen_ns=START_NS - 9 * SECOND, rates_ns=START_NS, new_rows=0), 100)
    assert "FROZEN 08:16:32, rates 08:16:41 +0 new" in later


def test_losses_are_loud_and_none_are_quiet() -> None:
    assert hints(situation())["lost"] == hints(situation())["cut"] == "quiet"
    assert hints(situation(WORST, cut=3))["lost"] == "bad"
    assert hints(situation(WORST))["cpu"] == "warn"


def test_a_silent_collector_is_hanging_or_dead_after_two_seconds() -> None:
    assert "LIVE" in line(situation(heartbeat_ns=START_NS - 2 * SECOND))
    hanging = situation(heartbeat_ns=START_NS - 3 * SECOND)
    assert "COLLECTOR HANGS since 08:16:38 (what it captured stays)" in line(hanging)
    dead = situation(heartbeat_ns=START_NS - 3 * SECOND, collector_runs=False)
    assert "COLLECTOR DEAD since 08:16:38 (what it captured stays)" in line(dead)
    assert "lost 0" in line(dead)


def test_a_capture_that_ended_by_itself_is_not_dead() -> None:
    ended = situation(Facts(host="db1", ended="end of file"), heartbeat_ns=1, collector_runs=False)
    assert "CAPTURE ENDED: end of file" in line(ended)


@pytest.mark.parametrize("width", [60, 80, 100, 160, 300])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"frozen_ns": 1, "rates_ns": START_NS, "new_rows": 99_999},
        {"heartbeat_ns": 1},
        {"heartbeat_ns": 1, "collector_runs": False, "behind": True},
        {"behind": True, "cut": 99_999},
    ],
)
@pytest.mark.parametrize("facts", [FACTS, WORST])
def test_what_is_bad_stays_where_there_is_little_room(facts: Facts, more: dict[str, object], width: int) -> None:
    shown = line(situation(facts, **more), width)
    if width >= 100 or (facts is FACTS and width >= 80):
        assert cell_len(shown) <= width
    assert "lost" in shown[:width] or width < 80
    assert shown.startswith(f" l7top {facts.host[:3]}")
