"""What has to be known of Textual's inside, in one place. Checked against Textual 8.2.8."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor

from probes.outputs.escape import char_cells


class TerminalApp(App[None]):
    """An app that knows how its terminal does, and ends without a traceback (`L7TOP_DEBUG=1` shows it)."""

    def __init__(self) -> None:
        super().__init__()
        # For NO_COLOR Textual makes the terminal's own colours, which the theme is made of, black on black.
        self._filters = [NoColor() if isinstance(each, Monochrome) else each for each in self._filters]
        self._filters.append(Defaults())

    def keep_encodable(self, encoding: str) -> None:
        """Show what the terminal's encoding lacks as `?`, cell by cell."""
        if encoding != "utf-8":
            self._filters.append(Encodable(encoding))

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not yet taken what was written before: another frame would only queue up.

        Textual's writer thread has a queue of 30 writes, and whoever finds it full blocks the whole event loop.
        """
        writer = getattr(self._driver, "_writer_thread", None)
        return writer is not None and not writer._queue.empty()

    @property
    def crash(self) -> Exception | None:
        """What ended the app, None where it ended by itself."""
        return self._exception

    def _print_error_renderables(self) -> None:
        if os.environ.get("L7TOP_DEBUG"):
            super()._print_error_renderables()


def encoding(environ: Mapping[str, str]) -> str:
    """What the operator says of the terminal's encoding: "utf-8" where nothing is said.

    Python itself is no witness: told nothing, or the locale C, it takes UTF-8 and sets LC_CTYPE to C.UTF-8.
    """
    said = environ.get("LC_ALL") or environ.get("LC_CTYPE", "").removesuffix("C.UTF-8") or environ.get("LANG") or ""
    name, _, charset = said.partition(".")
    if name in ("C", "POSIX") and not charset:
        return "ascii"
    try:
        return codecs.lookup(charset.partition("@")[0] or "utf-8").name
    except LookupError:
        return "utf-8"


class Defaults(LineFilter):
    """Leaves out what need not be said: the default colours, and a style that goes on. A third of all bytes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return list(Segment.simplify(Segment(text, _said(style), control) for text, style, control in segments))


@lru_cache(1024)
def _said(style: Style | None) -> Style | None:
    if style is None:
        return None
    color, bgcolor = (None if each is None or each.is_default else each for each in (style.color, style.bgcolor))
    return style.without_color + Style.from_color(color, bgcolor)


class Encodable(LineFilter):
    """Replaces the characters that an encoding lacks: without it they reach the terminal as `\\u2588`."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._table = _Substitutes(encoding)

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text if text.isascii() else text.translate(self._table), style, control)
            for text, style, control in segments
        ]


class _Substitutes(dict[int, str]):
    """For `str.translate`: each character asked for, or as many `?` as it takes cells."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def __missing__(self, code: int) -> str:
        char = chr(code)
        try:
            char.encode(self._encoding)
        except UnicodeEncodeError:
            char = "?" * char_cells(char)
        self[code] = char
        return char
