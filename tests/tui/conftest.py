"""Screens that look the same everywhere: UTC, and the signs of a UTF-8 terminal."""

import time
from collections.abc import Iterator

import pytest

from probes.store import log
from probes.store.view import View
from tests.store.synthetic import synthetic_view
from tui import following, glyphs

pytest.register_assert_rewrite("tests.tui.screen")


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    glyphs.use(glyphs.UNICODE)
    # What is read while somebody looks is read at once, however slow this machine is.
    monkeypatch.setattr(following, "_BUDGET_S", 60.0)
    monkeypatch.setattr(log, "_GROUPS_BUDGET_S", 60.0)
    monkeypatch.setattr(log, "_MATCHING_BUDGET_S", 60.0)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def lively() -> View:
    """A minute of the synthetic traffic; nobody changes it."""
    return synthetic_view(60)
