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
    or "app" (everywhere), "table" (every live table), "filter" (while one is written), "help".
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
    Key("mongodb.opcode", "o", "o", "by('opcode')", "", "by opcode", "mongodb"),
    Key("mongodb.command", "c", "c", "by('command')", "", "by command and namespace", "mongodb"),
    Key("mongodb.namespace", "n", "n", "by('namespace')", "", "by namespace", "mongodb"),
    Key("mongodb.shape", "h", "h", "by('shape')", "", "by what is asked, without its values", "mongodb"),
    Key("mongodb.application", "a", "a", "by('application')", "", "by application and client", "mongodb"),
    Key("mongodb.error", "e", "e", "by('error')", "", "what fails, by error", "mongodb"),
    Key("mongodb.process", "p", "p", "by('process')", "", "by process of this host", "mongodb"),
    Key("kafka.api", "v", "v", "by('API')", "", "by API and version, and topic", "kafka"),
    Key("kafka.topic", "t", "t", "by('topic')", "", "by topic, or what else an API is about", "kafka"),
    Key("kafka.group", "g", "g", "by('group')", "", "by consumer group and API", "kafka"),
    Key("kafka.client", "c", "c", "by('client')", "", "by client", "kafka"),
    Key("kafka.error", "e", "e", "by('error')", "", "what fails, by error", "kafka"),
    Key("kafka.process", "p", "p", "by('process')", "", "by process of this host", "kafka"),
    Key("protocol.operation", "o", "o", "by('operation')", "", "by operation and target", "protocol"),
    Key("protocol.target", "t", "t", "by('target')", "", "by target", "protocol"),
    Key("protocol.client", "c", "c", "by('client')", "", "by client", "protocol"),
    Key("protocol.error", "e", "e", "by('error')", "", "what fails, by error", "protocol"),
    Key("protocol.process", "p", "p", "by('process')", "", "by process of this host", "protocol"),
    Key("requests.follow", "f", "f", "follow", "follow", "back to the newest, and follow them", "requests"),
    Key("detail.next", "n", "n", "step(1)", "next", "the next request of this connection", "detail"),
    Key("detail.previous", "p", "p", "step(-1)", "previous", "the one before it", "detail"),
    Key("detail.copy", "y", "y", "copy", "copy", "copy it as JSON", "detail"),
    Key("table.open", "enter", "enter", "open", "requests", "the requests behind this row, or one request", "table"),
    Key("table.sort", "s", "s", "sort_next", "sort", "sort by the next column", "table"),
    Key("table.left", "less_than_sign", "<", "sort_left", "", "sort by the column to the left", "table"),
    Key("table.right", "greater_than_sign", ">", "sort_right", "", "sort by the column to the right", "table"),
    Key("table.invert", "I", "I", "sort_invert", "", "the other way round", "table"),
    Key("filter.apply", "enter", "enter", "submit", "apply", "show only what fits this filter", "filter"),
    Key("filter.clear", "escape", "esc", "cancel", "clear", "drop the filter", "filter"),
    Key("help.close", "escape,question_mark,q,enter", "esc", "dismiss", "back", "close this help", "help"),
    Key("app.filter", "slash", "/", "app.filter", "filter", "show only what fits: field:value …", "app"),
    Key("app.freeze", "space", "space", "app.freeze", "freeze", "hold this picture, capture on; again: live", "app"),
    Key("app.pause", "P", "P", "app.play('PAUSE')", "", "of a file: pause it; again: go on", "app"),
    Key("app.pace", "X", "X", "app.play('PACE')", "", "of a file: in its own pace, or as fast as can be", "app"),
    Key("app.back10", "left_square_bracket", "[", "app.play('SEEK', -10)", "", "of a file: 10 s back", "app"),
    Key("app.on10", "right_square_bracket", "]", "app.play('SEEK', 10)", "", "of a file: 10 s on", "app"),
    Key("app.back60", "left_curly_bracket", "{", "app.play('SEEK', -60)", "", "of a file: 1 min back", "app"),
    Key("app.on60", "right_curly_bracket", "}", "app.play('SEEK', 60)", "", "of a file: 1 min on", "app"),
    Key("app.record", "r", "r", "app.record", "", "record what ends from now on as a pcapng; again: stop", "app"),
    Key("app.export", "E", "E", "app.export", "", "write what is shown to a file; of a request its connection", "app"),
    Key("app.section", "tab", "tab", "app.focus_next", "section", "the next section of this screen", "app"),
    Key("app.back", "escape", "esc", "app.back", "", "back to where you came from; never quits", "app"),
    Key("app.window", "w", "w", "app.window(1)", "window", "the next longer window: 1s, 10s, 1m, 15m, start", "app"),
    Key("app.shorter", "W", "W", "app.window(-1)", "", "the next shorter window", "app"),
    Key("app.faster", "minus", "-", "app.interval(-1)", "", "refresh more often", "app"),
    Key("app.slower", "plus", "+", "app.interval(1)", "", "refresh less often", "app"),
    Key("app.overview", "1", "1", "app.panel('overview')", "", "Overview", "app"),
    Key("app.mongodb", "2", "2", "app.panel('mongodb')", "", "MongoDB", "app"),
    Key("app.kafka", "3", "3", "app.panel('kafka')", "", "Kafka", "app"),
    Key("app.requests", "4", "4", "app.panel('requests')", "", "Requests", "app"),
    Key("app.connections", "5", "5", "app.panel('connections')", "", "Connections and processes", "app"),
    Key("app.capture", "6", "6", "app.panel('capture')", "", "Capture: what is lost, and what this costs", "app"),
    Key("app.plugin", "7", "7", "app.plugin", "", "protocols that plugins teach, one after the other", "app"),
    Key("app.help", "question_mark", "?", "app.help", "help", "all keys", "app"),
    Key("app.palette", "colon,ctrl+p", ":", "app.command_palette", "", "find a command by its name", "app"),
    Key("app.interrupt", "ctrl+c", "ctrl+c", "app.quit", "", "leave, whatever is open", "app"),
    Key("app.quit", "q", "q", "app.quit", "quit", "leave; nothing stays behind", "app"),
)


def rows(*where: str) -> tuple[Key, ...]:
    """The table's rows for these places, in its order."""
    return tuple(key for key in TABLE if key.where in where)


def bindings(where: str) -> list[BindingType]:
    """What a widget at `where` has as its BINDINGS."""
    return list(_textual(rows(where)))


def _textual(keys: Iterable[Key]) -> Iterable[Binding]:
    for key in keys:
        first = key.id == "app.interrupt"  # Textual's screens and inputs take ctrl+c for copying
        yield Binding(key.keys, key.action, key.help, id=key.id, show=bool(key.label), priority=first)
