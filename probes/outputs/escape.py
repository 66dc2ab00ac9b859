"""Captured text made harmless, once, where it becomes terminal text.

Names, topics and error messages come from the wire: they may hold escape sequences (OSC 52 writes the
operator's clipboard), bidirectional overrides that reorder what is read, marks that pile up over other lines.
"""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls; every character that a terminal shows as nothing or that moves its neighbours (soft
# hyphen, bidirectional and other format characters, line separators, tags); surrogates: no encoding has them.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_MAX_MARKS = 2  # combining marks on one character: more than any script needs stack up over the line above


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def char_cells(char: str) -> int:
    """How many terminal cells `char` takes: 0 for a combining mark, 2 for a wide character."""
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cells(text: str) -> int:
    """How many terminal cells `text`, which has been made printable, takes."""
    return len(text) if text.isascii() else sum(map(char_cells, text))


def _fewer_marks(text: str) -> str:
    """`text` without marks that have nothing to stand on, or more company than a script needs."""
    kept, room = [], 0
    for char in text:
        if char_cells(char):
            room = _MAX_MARKS
        elif room:
            room -= 1
        else:
            continue
        kept.append(char)
    return "".join(kept)


def printable(text: str | bytes, width: int | None = None) -> str:
    """`text` as it may go to a terminal, cut to `width` cells (with an ellipsis) where one is given.

    Unsafe characters become a visible escape such as `\\x1b`, bytes that are not UTF-8 likewise. What is
    printable already is returned as it is, so doing it twice changes nothing.
    """
    bound = None if width is None else 8 * width + 64  # bounds the work: more cannot be shown anyway
    more = bound is not None and len(text) > bound
    text = text[:bound]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if not (text.isascii() and text.isprintable()):
        text = _fewer_marks(UNSAFE.sub(_visible, text))
    if width is None or (not more and cells(text) <= width):
        return text
    kept, used = [], 0
    for char in text:
        used += char_cells(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if width else ""
