"""The signs of the screens, and their ASCII twins for where the terminal cannot show them.

Meaning never lies in a sign alone where it can be helped: a word or a number stands beside it.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass

BRAILLE, BLOCK, ASCII_GRAPH = "braille", "block", "ascii"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One sign for each meaning, each one cell wide. `graph` names the alphabet of graphs, for `widgets.graph`."""

    worse: str
    better: str
    new: str
    failing: str
    waiting: str
    none: str  # not applicable
    unknown: str
    at_least: str
    cut: str  # the rest of a text that did not fit
    ascending: str
    descending: str
    open: str
    closed: str
    to: str
    bar: str  # a full cell of a bar
    bar_parts: str  # of an eighth to seven eighths of a cell
    thumb: str  # where one is in a list
    unicode: bool
    graph: str


UNICODE = Glyphs(
    worse="▲",
    better="▼",
    new="★",
    failing="✗",
    waiting="⧗",
    none="–",
    unknown="?",
    at_least="≥",
    cut="…",
    ascending="▴",
    descending="▾",
    open="▾",
    closed="▸",
    to="→",
    bar="█",
    bar_parts="▏▎▍▌▋▊▉",
    thumb="▐",
    unicode=True,
    graph=BRAILLE,
)
ASCII = Glyphs(
    worse="^",
    better="v",
    new="*",
    failing="x",
    waiting="~",
    none="-",
    unknown="?",
    at_least=">",
    cut="~",
    ascending="^",
    descending="v",
    open="v",
    closed=">",
    to=">",
    bar="#",
    bar_parts="",
    thumb="|",
    unicode=False,
    graph=ASCII_GRAPH,
)


def suitable(encoding: str, environ: Mapping[str, str]) -> Glyphs:
    """The signs for a terminal with this encoding; `L7TOP_ASCII=1` and the Linux console get ASCII."""
    utf8 = encoding.lower().replace("-", "").replace("_", "") in ("utf8", "cp65001")
    if not utf8 or environ.get("L7TOP_ASCII", "0") not in ("", "0") or environ.get("TERM") in ("linux", "vt100"):
        return ASCII
    return UNICODE


_current: list[Glyphs] = []


def glyphs() -> Glyphs:
    """The signs of this terminal, decided once."""
    if not _current:
        _current.append(suitable(locale.getpreferredencoding(False), os.environ))
    return _current[0]


def use(chosen: Glyphs) -> None:
    """Decide for these signs, before anything is drawn."""
    _current[:] = [chosen]
