"""The filter: a line to write it in, which stays as long as it holds, and what is wrong with it under it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from probes.filters import FIELDS, FilterError, compile_terms, parse, tokenize
from probes.records import Process
from probes.store.view import Condition, Is
from tui.bindings import bindings
from tui.panel import Where
from tui.text import safe
from tui.widgets.lines import Part, TextLines


def conditions(text: str) -> Where:
    """The terms of a filter as somebody typed it. Raises FilterError."""
    terms = parse(tokenize(text))
    if terms:
        compile_terms(terms)  # only here is it told that a field or a value does not exist
    return tuple(terms)


def in_words(where: Sequence[Condition]) -> str:
    """Conditions as the operator would write them."""
    return " ".join(_word(each) for each in where)


def _word(condition: Condition) -> str:
    if isinstance(condition, Is):
        value = condition.value
        name = f"{value.name} {value.pid}" if isinstance(value, Process) else "-" if value in (None, "") else value
        return safe(f"{condition.field}={name}", 40)
    return safe(f"{condition.field}{condition.operator}{_quoted(condition.value)}", 60)


def _quoted(value: str) -> str:
    return value if value and not set(value) & set(' ()"') else f'"{value}"'


class FieldSuggester(Suggester):
    """Completes the last word to the name of a field."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        word = value.rpartition(" ")[2]
        names = [name for name in FIELDS if name.startswith(word.lower()) and name != word]
        return f"{value}{names[0][len(word) :]}:" if word and names else None


class FilterInput(Input):
    """The line to write in."""

    DEFAULT_CSS = "FilterInput { width: 1fr; }"
    BINDINGS = bindings("filter")

    def action_cancel(self) -> None:
        self.post_message(Prompt.Filter("", leave=True))


class Prompt(Vertical):
    """Where the filter is written and shown. Hidden while there is neither a filter nor somebody who writes one."""

    DEFAULT_CSS = """
    Prompt { height: auto; display: none; }
    Prompt.-open { display: block; }
    Prompt Horizontal { height: 1; }
    Prompt #slash { width: 3; }
    Prompt #where { display: none; }
    Prompt #wrong { display: none; }
    Prompt.-wrong #wrong { display: block; }
    Prompt.-still FilterInput { display: none; }
    Prompt.-still #where { display: block; }
    """

    class Filter(Message):
        """This is the filter from now on; `leave` says that nobody goes on writing."""

        def __init__(self, text: str, *, leave: bool) -> None:
            super().__init__()
            self.text = text
            self.leave = leave

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield TextLines(id="slash")
            yield TextLines(id="where")
            yield FilterInput(id="filter", suggester=FieldSuggester(), select_on_focus=False, compact=True)
        yield TextLines(id="wrong")

    def on_mount(self) -> None:
        self.query_one(FilterInput).cursor_blink = False  # a still screen sends nothing
        self.query_one("#slash", TextLines).show([[Part(" / ", "key")]])
        self.add_class("-still")

    def write(self) -> None:
        """Let the operator write."""
        self.add_class("-open")
        self.remove_class("-still")
        self.query_one(FilterInput).focus()

    def hold(self, where: Where, *, text: str | None = None) -> None:
        """Nobody writes: show what holds, or nothing. With `text` the line to write in begins with that."""
        self.add_class("-still")
        if text is not None:
            self.query_one(FilterInput).value = text
        self.complain("")
        self.set_class(bool(where), "-open")
        self.query_one("#where", TextLines).show([[in_words(where), Part("  esc clears", "quiet")]])

    def complain(self, sentence: str) -> None:
        """What is wrong, "" where nothing is."""
        self.set_class(bool(sentence), "-wrong")
        self.query_one("#wrong", TextLines).show([[Part(f"   {sentence}", "bad")]])

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._check(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._check(event.value):
            self.post_message(self.Filter(event.value, leave=True))

    def _check(self, text: str) -> bool:
        try:
            conditions(text)
        except FilterError as error:
            self.complain(str(error))
            return False
        self.complain("")
        return True
