"""Screens that look the same everywhere: UTC, and the signs of a UTF-8 terminal."""

import time
from collections.abc import Iterator

import pytest

from probes.store.view import View
from tests.store.synthetic import synthetic_view
from tui import glyphs

pytest.register_assert_rewrite("tests.tui.screen")


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    glyphs.use(glyphs.UNICODE)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def lively() -> View:
    """A minute of the synthetic traffic; nobody changes it."""
    return synthetic_view(60)
