"""The whole dashboard under a pilot, on a view whose time stands still unless the test moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from probes.protocols.chosen import known_protocols
from probes.store.view import View
from tui.app import Dashboard


@asynccontextmanager
async def dashboard(
    view: View, now_ns: int | Callable[[], int] | None, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[Dashboard, Pilot[None]]]:
    clock = (lambda: now_ns) if isinstance(now_ns, int) else now_ns
    app = Dashboard(view, protocols=known_protocols(), clock=clock, **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot
