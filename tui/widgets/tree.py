"""Nested facts as lines that open and close: what a request's detail is made of.

Pure: `tree_rows` makes the rows of a table from plain data (as JSON has it) and the set of paths that are closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from tui.glyphs import glyphs
from tui.text import wrapped
from tui.widgets.table import Cell, Column, LineRow

Path: TypeAlias = tuple[str, ...]

NAME_WIDTH = 24
COLUMNS = (
    Column("name", " field", NAME_WIDTH, sortable=False),
    Column("value", "value", 20, flexible=True, sortable=False),
)
_INDENT = 2
_MOST_LINES = 12  # of one value
_MOST_CHILDREN = 500
_LIST_ON_ONE_LINE = 8


def tree_rows(facts: Mapping[str, Any], closed: Collection[Path], width: int) -> list[LineRow]:
    """A row for each fact that is not within a closed one; its key is (path, line of the value)."""
    return list(_rows(facts, (), closed, max(width - NAME_WIDTH - 2, 20)))


def _rows(facts: Mapping[str, Any], path: Path, closed: Collection[Path], width: int) -> Iterator[LineRow]:
    for number, (name, value) in enumerate(facts.items()):
        if number == _MOST_CHILDREN:
            rest = f"{len(facts) - number} more"
            yield LineRow(((*path, glyphs().cut), 0), (_name(path, "", glyphs().cut), Cell(rest, "quiet")))
            return
        yield from _fact(value, (*path, name), closed, width)


def _fact(value: Any, path: Path, closed: Collection[Path], width: int) -> Iterator[LineRow]:
    children = _children(value)
    if children:
        is_closed = path in closed
        sign = glyphs().closed if is_closed else glyphs().open
        hint = "loud" if len(path) == 1 else ""
        note = Cell(_count(value) if is_closed or len(path) > 1 else "", "quiet")
        yield LineRow((path, 0), (_name(path[:-1], sign, path[-1]), note), hint)
        if not is_closed:
            yield from _rows(children, path, closed, width)
        return
    for number, line in enumerate(wrapped(_text(value), width, _MOST_LINES)):
        yield LineRow((path, number), (Cell("" if number else _name(path[:-1], " ", path[-1]), "quiet"), line))


def _children(value: Any) -> Mapping[str, Any]:
    """What is inside, by its name; nothing for what fits on one line."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and not _is_flat(value):
        return {str(index): each for index, each in enumerate(value)}
    return {}


def _is_flat(values: list[Any]) -> bool:
    return len(values) <= _LIST_ON_ONE_LINE and not any(isinstance(each, Mapping | list) for each in values)


def _count(value: Any) -> str:
    return f"{len(value)} {'item' if isinstance(value, list) else 'field'}{'' if len(value) == 1 else 's'}"


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(_text, value)) or "[]"
        case Mapping():
            return "{}"
        case _:
            return str(value)


def _name(path: Path, sign: str, name: str) -> str:
    return f"{' ' * (_INDENT * len(path))} {sign} {name}"
