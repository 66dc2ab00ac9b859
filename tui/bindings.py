"""The one table of keys. Footer, help screen, palette and Textual's own bindings are made from it.

A widget takes its part with `BINDINGS = bindings("table")`: each row names an action of that widget (`action_…`), or of
the app ("app.…"). Rows are in the order in which the footer shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.binding import Binding, BindingType


class Key(NamedTuple):
    """One row: `keys` in Textual's names, `shown` as the operator reads them.

    `label` is one or two words for the footer, "" where it is not worth a place there; `where` is the panel's `ident`,
    or "app" (everywhere), or "table" (every live table).
    """

    id: str
    keys: str
    shown: str
    action: str
    label: str
    help: str
    where: str


TABLE: tuple[Key, ...] = (
    # Each panel's own keys come first: they are what the footer has to tell.
    Key("table.open", "enter", "enter", "open", "requests", "the requests behind this row, or one request", "table"),
    Key("table.sort", "s", "s", "sort_next", "sort", "sort by the next column", "table"),
    Key("table.left", "less_than_sign", "<", "sort_left", "", "sort by the column to the left", "table"),
    Key("table.right", "greater_than_sign", ">", "sort_right", "", "sort by the column to the right", "table"),
    Key("table.invert", "I", "I", "sort_invert", "", "the other way round", "table"),
    Key("app.filter", "slash", "/", "app.filter", "filter", "show only what fits: field:value …", "app"),
    Key("app.freeze", "space", "space", "app.freeze", "freeze", "hold this picture, go on capturing; again: live", "app"),
    Key("app.section", "tab", "tab", "app.focus_next", "section", "the next section of this screen", "app"),
    Key("app.back", "escape", "esc", "app.back", "", "back to where you came from; never quits", "app"),
    Key("app.window", "w", "w", "app.window(1)", "window", "the next longer window: 1s, 10s, 1m, 15m, start", "app"),
    Key("app.shorter", "W", "W", "app.window(-1)", "", "the next shorter window", "app"),
    Key("app.faster", "minus", "-", "app.interval(-1)", "", "refresh more often", "app"),
    Key("app.slower", "plus", "+", "app.interval(1)", "", "refresh less often", "app"),
    Key("app.overview", "1", "1", "app.screen('overview')", "", "Overview", "app"),
    Key("app.mongodb", "2", "2", "app.screen('mongodb')", "", "MongoDB", "app"),
    Key("app.kafka", "3", "3", "app.screen('kafka')", "", "Kafka", "app"),
    Key("app.requests", "4", "4", "app.screen('requests')", "", "Requests", "app"),
    Key("app.connections", "5", "5", "app.screen('connections')", "", "Connections and processes", "app"),
    Key("app.capture", "6", "6", "app.screen('capture')", "", "Capture: what is lost, and what this costs", "app"),
    Key("app.help", "question_mark", "?", "app.help", "help", "all keys", "app"),
    Key("app.palette", "colon,ctrl+p", ":", "app.command_palette", "", "find a command by its name", "app"),
    Key("app.quit", "q,ctrl+c", "q", "app.quit", "quit", "leave; nothing stays behind", "app"),
)


def rows(*where: str) -> tuple[Key, ...]:
    """The table's rows for these places, in its order."""
    return tuple(key for key in TABLE if key.where in where)


def bindings(where: str) -> list[BindingType]:
    """What a widget at `where` has as its BINDINGS."""
    return list(_textual(rows(where)))


def _textual(keys: Iterable[Key]) -> Iterable[Binding]:
    for key in keys:
        yield Binding(key.keys, key.action, key.help, id=key.id, show=bool(key.label), priority=False)
