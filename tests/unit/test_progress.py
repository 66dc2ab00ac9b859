"""The bar over a long file: on a terminal only, after a moment, and taken away at the end."""

from __future__ import annotations

import io
import sys

import pytest

from probes.outputs import progress
from probes.outputs.progress import Progress, line


class Stderr(io.StringIO):
    terminal = True

    def isatty(self) -> bool:
        return self.terminal


def impatient(monkeypatch: pytest.MonkeyPatch) -> Stderr:
    """A terminal, to which a bar is shown at once."""
    stderr = Stderr()
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def test_it_is_shown_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = impatient(monkeypatch)
    with Progress() as bar:
        bar.show(0.5)
        assert "50%" in stderr.getvalue()
    assert stderr.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("terminal", "wanted", "share"), [(False, True, 0.5), (True, False, 0.5), (True, True, None)])
def test_nothing_is_shown_where_it_would_disturb(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, wanted: bool, share: float | None
) -> None:
    stderr = impatient(monkeypatch)
    stderr.terminal = terminal
    with Progress(wanted=wanted) as bar:
        bar.show(share)
    assert stderr.getvalue() == ""


def test_what_is_quick_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Stderr()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress() as bar:
        bar.show(0.5)
    assert stderr.getvalue() == ""


def test_the_line() -> None:
    assert line(0.5, 12) == f"l7top: [{'#' * 15}{' ' * 15}] 50%, 12 s left"
    assert line(0, 3) == f"l7top: [{' ' * 30}] 0%"
    assert line(1, 3) == f"l7top: [{'#' * 30}] 100%, 0 s left"
