"""The last line: the keys that matter here, as many as there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tui.bindings import Key
from tui.widgets.lines import Part, TextLines

_LAST = "app.quit"  # has its place even where others have none


def footer(keys: Iterable[Key], width: int) -> Iterator[Part]:
    """The keys that have a label, in their order, within `width` cells; the way out is always among them."""
    keys = [key for key in keys if key.label]
    last = [key for key in keys if key.id == _LAST]
    left = width - sum(map(_cells, last))
    for key in keys:
        if key in last or _cells(key) <= left:
            left -= 0 if key in last else _cells(key)
            yield Part(f" {key.shown}", "key")
            yield Part(f" {key.label} ")


def _cells(key: Key) -> int:
    return len(key.shown) + len(key.label) + 3


class Footer(TextLines):
    def __init__(self) -> None:
        super().__init__(id="footer")
        self._keys: tuple[Key, ...] = ()

    def tell(self, keys: Iterable[Key]) -> None:
        """These keys matter now."""
        self._keys = tuple(keys)
        self.show([tuple(footer(self._keys, self.size.width))])

    def on_resize(self) -> None:
        self.tell(self._keys)
