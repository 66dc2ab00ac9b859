"""The palette: every row of the table of keys, found by its words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Provider

from tui.bindings import Key

if TYPE_CHECKING:
    from tui.app import Dashboard

_NOT_HERE = ("app.palette", "app.interrupt")


class KeyProvider(Provider):
    """What can be done on the screen beneath the palette."""

    async def discover(self) -> AsyncGenerator[DiscoveryHit, None]:
        for key, text in self._known():
            yield DiscoveryHit(text, self._run(key), help=None)

    async def search(self, query: str) -> AsyncGenerator[Hit, None]:
        matcher = self.matcher(query)
        for key, text in self._known():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), self._run(key))

    @property
    def _dashboard(self) -> Dashboard:
        return cast("Dashboard", self.app)

    def _known(self) -> list[tuple[Key, str]]:
        here = (*self._dashboard.keys_here, *self._dashboard.taught)
        keys = [key for key in here if key.id not in _NOT_HERE]
        return [(key, f"{key.help}  ({key.shown})") for key in keys]

    def _run(self, key: Key) -> Callable[[], None]:
        return lambda: self._dashboard.press(key)
