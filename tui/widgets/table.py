"""A live table that keeps its reader's place.

    table = LineTable([Column("target", "target", 12, flexible=True), Column("rate", "req/s", 6, right=True)])
    table.set_rows([LineRow(key, ("shop.orders", "310")), …])     # as often as wanted: only changed lines are repainted

Cells are captured text as it is: the table escapes it where it cuts it to its column. So it costs only for rows that
are on screen, and no row can break the line. `Cell("79.3", "bad")` gives one a look (`widgets.lines.HINTS`).

The cursor is on a key, not on a line: where its row moves, it moves too, and the view with it; where its row vanishes
it stays where it was, dim, until the cursor leaves it. Before any key was pressed there is no cursor and the top stays
on top; `enter` then opens the first row.

The table does not sort: it shows the mark, takes the keys, and posts `Sorted`; who fills it sorts by `sort_name` and
`descending` before `set_rows`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, TypeAlias

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.bindings import Key, bindings, rows
from tui.glyphs import glyphs
from tui.text import fit
from tui.widgets.lines import Line, LineWidget, Part

GAP = 1  # cells between columns
LEAST = 8  # cells of a flexible column that others give way to


class Cell(NamedTuple):
    """A cell that looks other than its row; `hint` as in `widgets.lines`."""

    text: str
    hint: str = ""


AnyCell: TypeAlias = str | Cell


class LineRow(NamedTuple):
    """One row. `cells` has one for each column of the table, shown or not. `hint` is the look of the whole row."""

    key: Hashable
    cells: tuple[AnyCell, ...]
    hint: str = ""


class AnyRow(Protocol):
    """What is as good as a `LineRow`: one that makes its cells only when it is on screen."""

    @property
    def key(self) -> Hashable: ...
    @property
    def cells(self) -> tuple[AnyCell, ...]: ...
    @property
    def hint(self) -> str: ...


AnyRows: TypeAlias = Sequence[LineRow] | Sequence[AnyRow]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its `title` with the unit, `width` in cells, numbers to the `right`.

    Where the terminal is narrow those with the highest `priority` go first. A `flexible` one has at least `width` and
    takes what is left over, `most` at most. With those of priority 0 alone it yields down to `LEAST` cells; then the
    others go from the right end: a number without its name says nothing. Only a `sortable` one can have the sort mark.
    """

    name: str
    title: str
    width: int
    right: bool = False
    priority: int = 0
    flexible: bool = False
    most: int = 1000
    sortable: bool = True


class Placed(NamedTuple):
    """A shown column: its number among all, its first cell and its width."""

    column: int
    x: int
    width: int


def place(columns: Sequence[Column], width: int) -> tuple[Placed, ...]:
    """Which of the `columns` are shown in `width` cells, and where."""
    least = [min(column.width, LEAST, width) if column.flexible else column.width for column in columns]
    widths: dict[int, int] = {}
    used = tight = -GAP
    for index in sorted(range(len(columns)), key=lambda each: (columns[each].priority, not columns[each].flexible)):
        used += columns[index].width + GAP
        tight += least[index] + GAP
        if widths and (used if columns[index].priority else tight) > width:
            break  # what matters less does not stay where what matters more has gone
        widths[index] = columns[index].width
    left = width - sum(widths.values()) - GAP * (len(widths) - 1)
    for index in sorted(widths):
        if columns[index].flexible and left:
            more = max(min(widths[index] + left, columns[index].most), least[index])
            left -= more - widths[index]
            widths[index] = more
    placed, x = [], 0
    for index in sorted(widths):
        placed.append(Placed(index, x, widths[index]))
        x += widths[index] + GAP
    return tuple(placed)


_OPEN = "table.open"
_SORTING = frozenset({"table.sort", "table.left", "table.right", "table.invert"})


class LineTable(LineWidget, can_focus=True):
    """The table; its first line is the head."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("table"),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "edge(0)", "first row", show=False),
        Binding("end", "edge(1)", "last row", show=False),
    ]
    opens: ClassVar[str] = "requests"
    """What stands behind a row, in a word for the footer."""

    class Chosen(Message):
        """Enter or a double click on a row."""

        def __init__(self, table: LineTable, key: Hashable) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> LineTable:
            return self.table

    class Highlighted(Chosen):
        """The cursor is on another row."""

    class Sorted(Message):
        """Somebody wants another order: `table.sort_name`, `table.descending`."""

        def __init__(self, table: LineTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LineTable:
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        sort: str = "",
        descending: bool = True,
        empty: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`sort` names the column that rows are sorted by at first; `empty` stands where there is no row."""
        super().__init__(id=id, classes=classes)
        self.columns = tuple(columns)
        self.sort_name = sort
        self.descending = descending
        self.empty = empty
        self.cursor_key: Hashable | None = None
        self._rows: AnyRows = ()
        self._cursor = -1  # the row that the cursor is on, -1 for none
        self._gone: AnyRow | None = None  # the cursor's row, where it is no longer among `_rows`
        self._top = 0
        self._placed: tuple[int, tuple[Column, ...], tuple[Placed, ...]] = (-1, (), ())

    # What it shows.

    def set_columns(self, columns: Sequence[Column], *, sort: str = "", descending: bool = True) -> None:
        """Other columns, and so no rows any more and no cursor."""
        self.columns, self.sort_name, self.descending = tuple(columns), sort, descending
        self._rows = ()
        self.clear_cursor()

    def set_rows(self, rows: AnyRows) -> None:
        """Show these rows, in this order. Their keys differ."""
        before = self._row(self._cursor)
        on_screen = self._cursor - self._top
        self._rows, self._gone = rows, None
        if before is not None:
            found = self._find(before.key, self._cursor)
            if found is not None:
                self._cursor = found
                if not 0 <= self._cursor - self._top < self.page:
                    self._top = self._cursor - on_screen
            else:
                self._gone = self._left_behind(before)
                self._cursor = min(self._cursor, len(rows))
        self._keep_within()
        self.update()

    def _left_behind(self, row: AnyRow) -> AnyRow:
        """What to show in the place of the cursor's row, which is no longer among the others."""
        return row

    @property
    def rows(self) -> AnyRows:
        """The rows as they were set."""
        return self._rows

    @property
    def page(self) -> int:
        """How many rows are on screen."""
        return max(self.size.height - 1, 1)

    @property
    def keys_here(self) -> tuple[Key, ...]:
        """The keys of a table that mean something in this one."""
        sortable = any(column.sortable for column in self.columns)
        return tuple(
            key._replace(label=self.opens) if key.id == _OPEN else key
            for key in rows("table")
            if sortable or key.id not in _SORTING
        )

    @property
    def cursor_row(self) -> AnyRow | None:
        return self._row(self._cursor)

    def clear_cursor(self) -> None:
        """Back to how it began: no cursor, the first row on top."""
        self._cursor, self._top, self._gone, self.cursor_key = -1, 0, None, None
        self.update()

    def let_go(self) -> None:
        """Show the cursor's row no longer where it is not among the others: something else was asked for."""
        if self._gone is not None:
            self.clear_cursor()

    def move_to(self, key: Hashable) -> bool:
        """Put the cursor on the row with this key; False where there is none."""
        found = self._find(key, 0)
        if found is not None:
            self._gone = None
            self._go(found)
        return found is not None

    # How it looks.

    def line(self, y: int) -> Line:
        width, height = self.size
        if self._count > height - 1:
            return (*self._content(y, width - 1), self._thumb(y, max(height - 1, 1)))
        return self._content(y, width)

    def _content(self, y: int, width: int) -> Line:
        placed = self._place(width)
        if y == 0:
            return (Part(fit((" " * GAP).join(map(self._title, placed)), width), "head"),)
        index = self._top + y - 1
        row = self._row(index)
        if row is None:
            return (Part(fit(self.empty, width), "quiet"),) if y == 1 and not self._count else ()
        hint = f"{row.hint} quiet" if index == self._cursor and self._gone is not None else row.hint
        cursor = " cursor" if index == self._cursor else ""
        parts, x = [], 0
        for each in placed:
            cell = row.cells[each.column]
            text, look = (cell, "") if isinstance(cell, str) else cell
            if each.x > x:
                parts.append(Part(" " * (each.x - x), hint + cursor))
            text = fit(text, each.width, right=self.columns[each.column].right)
            parts.append(Part(text, f"{hint} {look}{cursor}" if look else hint + cursor))
            x = each.x + each.width
        if width > x:
            parts.append(Part(" " * (width - x), hint + cursor))
        return _joined(parts)

    def _title(self, placed: Placed) -> str:
        column = self.columns[placed.column]
        if column.name != self.sort_name or not column.name:
            return fit(column.title, placed.width, right=column.right)
        mark = glyphs().descending if self.descending else glyphs().ascending
        text = f"{column.title[: placed.width - 1]}{mark}"
        return fit(text, placed.width, right=column.right)

    def _thumb(self, y: int, page: int) -> Part:
        """A cell of the scroll bar."""
        if y == 0:
            return Part(" ", "head")
        size = max(1, page * page // self._count)
        begin = (page - size) * self._top // max(self._count - page, 1)
        return Part(glyphs().thumb if begin <= y - 1 < begin + size else " ", "quiet")

    def _place(self, width: int) -> tuple[Placed, ...]:
        if self._placed[0] != width or self._placed[1] is not self.columns:
            self._placed = (width, self.columns, place(self.columns, width))
        return self._placed[2]

    # Rows, with the one that is gone among them.

    @property
    def _count(self) -> int:
        return len(self._rows) + (self._gone is not None)

    def _row(self, index: int) -> AnyRow | None:
        if not 0 <= index < self._count:
            return None
        if self._gone is None or index < self._cursor:
            return self._rows[index]
        return self._gone if index == self._cursor else self._rows[index - 1]

    def _find(self, key: Hashable, near: int) -> int | None:
        """The number of the row with this key, most likely `near`."""
        rows = self._rows
        if 0 <= near < len(rows) and rows[near].key == key:
            return near
        return next((index for index, row in enumerate(rows) if row.key == key), None)

    def _keep_within(self) -> None:
        self._top = max(0, min(self._top, self._count - self.page))

    # Keys and mouse.

    def action_move(self, by: int) -> None:
        self._go(self._cursor + by if self._cursor >= 0 else self._top)

    def action_page(self, by: int) -> None:
        self._go((self._cursor if self._cursor >= 0 else self._top) + by * self.page)

    def action_edge(self, last: int) -> None:
        self._go(self._count - 1 if last else 0)

    def action_open(self) -> None:
        if self._cursor < 0:
            self._go(self._top)
        row = self.cursor_row
        if row is not None:
            self.post_message(self.Chosen(self, row.key))

    def action_sort_next(self) -> None:
        self._sort_by(1, around=True)

    def action_sort_left(self) -> None:
        self._sort_by(-1)

    def action_sort_right(self) -> None:
        self._sort_by(1)

    def action_sort_invert(self) -> None:
        if self.sort_name:
            self._sort(self.sort_name, not self.descending)

    def _go(self, index: int) -> None:
        """Put the cursor on a row, or the nearest that there is."""
        index = max(0, min(index, self._count - 1))
        if self._gone is not None and index != self._cursor:
            index -= index > self._cursor
            self._gone = None
        row = self._row(index)
        if row is None:
            return
        self._cursor = index
        if self._cursor < self._top:
            self._top = self._cursor
        elif self._cursor >= self._top + self.page:
            self._top = self._cursor - self.page + 1
        self._keep_within()
        if row.key != self.cursor_key:
            self.cursor_key = row.key
            self.post_message(self.Highlighted(self, row.key))
        self.update()

    def _sort_by(self, step: int, *, around: bool = False) -> None:
        """Sort by the sortable column `step` further on among those that are shown."""
        names = [
            self.columns[each.column].name
            for each in self._place(self.size.width)
            if self.columns[each.column].sortable and self.columns[each.column].name
        ]
        if not names:
            return
        at = names.index(self.sort_name) + step if self.sort_name in names else 0
        at = at % len(names) if around else max(0, min(at, len(names) - 1))
        name = names[at]
        if name != self.sort_name:
            column = next(column for column in self.columns if column.name == name)
            self._sort(name, column.right)  # numbers begin with the largest, texts with A

    def _sort(self, name: str, descending: bool) -> None:
        self.sort_name, self.descending = name, descending
        self._top = 0 if self._cursor < 0 else self._top
        self.update()
        self.post_message(self.Sorted(self))

    def on_resize(self) -> None:
        if self._cursor >= self._top + self.page:
            self._top = self._cursor - self.page + 1
        self._keep_within()
        self.update()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(3)
        event.stop()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(-3)
        event.stop()

    def _scroll(self, by: int) -> None:
        self._top += by
        self._keep_within()
        self.update()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            self._click_head(event.x)
        elif self._row(self._top + event.y - 1) is not None:
            self._go(self._top + event.y - 1)
            if event.chain == 2:
                self.action_open()

    def _click_head(self, x: int) -> None:
        for each in self._place(self.size.width):
            column = self.columns[each.column]
            if each.x <= x < each.x + each.width and column.sortable and column.name:
                descending = not self.descending if column.name == self.sort_name else column.right
                self._sort(column.name, descending)


def _joined(parts: Sequence[Part]) -> Line:
    """Neighbours that look the same, as one."""
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].hint == part.hint:
            joined[-1] = Part(joined[-1].text + part.text, part.hint)
        else:
            joined.append(part)
    return tuple(joined)
