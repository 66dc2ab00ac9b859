"""Error texts of servers without the values in them: what is shown is what a server is known to write by itself.

In: a server's text, and the error's code. Out: as much of its beginning as a known text has; what follows, and a text
that is not known, is "?". So nothing has to be recognised as a value, whatever quotes and braces it holds.

The known texts of a protocol are a file: one a line, behind the error's code (or * for any) and a tab. `<>` in them is
a name (of a namespace, an index, a field, a command). Only texts of one certain code have names, for the texts of some
errors are written by whoever sent a script. Behind "caused by ::" another text follows, and is looked up likewise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import resources

ANY_CODE = "*"
HIDDEN = "?"
_NAME = r"[\w$.\-]{1,255}+"
_CAUSED_BY = "caused by ::"
_MAX_CAUSES = 8


class KnownTexts:
    """The known error texts of one protocol."""

    def __init__(self, lines: list[str]) -> None:
        """Raises ValueError on a line that is none."""
        texts: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            code, tab, text = line.partition("\t")
            if not tab or not text or ("<>" in text and code == ANY_CODE):
                raise ValueError(f"no known text: {line!r}")
            texts[code].append(text)
        self._patterns = {code: _beginning_of(of_code) for code, of_code in texts.items()}

    @classmethod
    def load(cls, package: str) -> KnownTexts:
        """What `error_texts.txt` in `package` holds; # begins a comment."""
        text = resources.files(package).joinpath("error_texts.txt").read_text(encoding="utf-8")
        return cls([line for line in text.splitlines() if line and not line.startswith("#")])

    def masked(self, code: int, text: str) -> str:
        """`text`, which came with the error `code` (0: unknown), without what may be a value in it."""
        shown: list[str] = []
        at = 0
        for _ in range(_MAX_CAUSES):
            known = self._longest(code, text, at)
            if known is None:
                break
            shown.append(known)
            at += len(known)
            if not known.endswith(_CAUSED_BY):
                break
            at += text.startswith(" ", at)
        if at < len(text):
            shown.append(HIDDEN)
        return " ".join(shown)

    def _longest(self, code: int, text: str, at: int) -> str | None:
        patterns = (self._patterns.get(which) for which in (str(code), ANY_CODE))
        matches = (pattern.match(text, at) for pattern in patterns if pattern is not None)
        return max((match[0] for match in matches if match is not None), key=len, default=None)


def _beginning_of(texts: list[str]) -> re.Pattern[str]:
    """Matches where one of the texts is, the longest first."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(_NAME.join(map(re.escape, text.split("<>"))) for text in longest_first))
