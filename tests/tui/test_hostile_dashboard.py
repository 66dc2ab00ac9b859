"""Nothing that was captured, and nothing that a process calls itself, breaks out of its cells on any screen."""

from __future__ import annotations

import pytest

from probes.protocols.kafka.facts import ClientFacts, GroupFacts, KafkaFacts, LagFacts, ProducerFacts, RoundFacts
from probes.records import Process
from probes.store.view import Facts, ProcessFacts, Visibility
from tests.store.model import Model
from tests.store.synthetic import SECOND, START_NS
from tests.tui.dashboard import dashboard
from tests.tui.screen import press
from tests.tui.test_hostile import CORPUS, NOW_NS, check, model_of

LATER_NS = NOW_NS + 121 * SECOND
KEYS = (
    "1",
    "enter",
    "escape",
    "tab",
    "enter",
    "escape",
    "tab",
    "enter",
    "escape",
    "5",
    "enter",
    "escape",
    "6",
    "space",
    "1",
)


@pytest.fixture(scope="module")
def hostile() -> Model:
    """What happened at first happens again after two minutes: with a baseline."""
    model = model_of([text[:1000] for text in CORPUS])
    for second in range(1, 121):
        model.fold(NOW_NS + second * SECOND)
    for session in list(model.log):
        model.add(session)
    model.fold(LATER_NS)
    return model


def facts(text: str) -> Facts:
    """Everything that has a name has this one."""
    return Facts(
        host=text,
        source=text,
        degradation=text,
        ledger={"seen": 9, "sessions": 9, text: 1},
        processes=tuple(
            ProcessFacts(Process(number, text, text), visibility, text) for number, visibility in enumerate(Visibility)
        ),
        learned={"kafka": learned(text)._asdict()},
    )


def learned(text: str) -> KafkaFacts:
    """Likewise, what Kafka's clients called themselves."""
    rounds = (RoundFacts(1, 0, SECOND, 2, False, text),)
    return KafkaFacts(
        (GroupFacts(text, text, text, -1, 2, False, None, False, None, 1, rounds),),
        (LagFacts(text, text, text, text, 0, 1, None, None, None),),
        (ProducerFacts(text, text, text, 7, None, None, text, None, text, 0),),
        (ClientFacts(text, text, text, text, 1, 1, 1),),
    )


@pytest.mark.parametrize("size", [(80, 24), (80, 110), (200, 110)])
async def test_only_text_in_its_own_cells_reaches_the_screen(hostile: Model, size: tuple[int, int]) -> None:
    hostile.set_facts(facts(CORPUS[0]))
    async with dashboard(hostile, LATER_NS, size) as (app, pilot):
        for key in KEYS:
            await press(pilot, key)
            check(app, size[0])
        await press(pilot, "space", "slash", *'error:"[/x]"')
        check(app, size[0])
        await press(pilot, "enter")
        check(app, size[0])
        assert app.is_running


@pytest.mark.parametrize("key", ["1", "3", "3t", "3g", "3c", "5", "6"])
async def test_so_it_is_with_the_names_of_processes_of_the_host_and_of_clients(key: str) -> None:
    model = Model(START_NS)
    model.fold(NOW_NS)
    async with dashboard(model, NOW_NS) as (app, pilot):
        await press(pilot, *key)
        for text in CORPUS:
            for named in (facts(text), Facts(host=text, ended=text)):
                model.set_facts(named)
                app._tick()
                await pilot.pause()
                check(app, 80)
