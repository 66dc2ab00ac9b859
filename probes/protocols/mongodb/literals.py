"""Literals out of the server's error texts: what was in a document becomes "?", what names a thing stays.

The texts quote documents in the shell's manner (`{ email: "x" }`), their strings unescaped. What does not read as
such a document is hidden up to the end of the text.
"""

from __future__ import annotations

import re

# Quoted names of fields, indexes and the like are no literals: they stand after a word that says so.
_NAMED = (
    r"(?:(?<=[Ff]ield\s)|(?<=[Pp]ath\s)|(?<=[Ii]ndex\s)|(?<=[Cc]ollection\s)|(?<=[Nn]amespace\s)|(?<=[Oo]perator\s)"
    r"|(?<=[Ss]tage\s)|(?<=[Tt]ype\s)|(?<=command:\s)|(?<=stage\sname:\s))"
)
# A quote that a letter follows does not end a string: the server does not escape those within.
_DOUBLE = r'"(?:[^"\\]|\\.|"(?=\w))*"'
_SINGLE = r"(?<!\w)'(?:[^'\\]|\\.|'(?=\w))*'"
_TOKEN = re.compile(
    rf"""
      (?P<name>{_NAMED}(?P<mark>['"])[\w$.\-]+(?P=mark)(?!\w))
    | (?P<quoted>{_DOUBLE}|{_SINGLE}|(?<!\w)['"].*)
    | (?P<document>[{{\[])
    | (?P<number>(?<![\w.:$\-])[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|0x[0-9a-fA-F]+)(?![\w:$\-]|\.\w))
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY = re.compile(r'\s*(?P<key>"[\w$.\-]+"|[^\s:,{}\[\]"\'()]*):\s*')
_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(
    rf"""
      (?:new\s+)?[A-Za-z]\w*\([^(){{}}]*\)       # ObjectId('…'), new Date(…), BinData(…)
    | {_DOUBLE} | {_SINGLE}
    | /(?:[^/\\\n]|\\.)*/[a-z]*
    | [-+.\w]+
    """,
    re.VERBOSE | re.DOTALL,
)
_MAX_DEPTH = 32


def strip_literals(text: str) -> str:
    """`text` without the values that a document, a query or a user put into it."""
    parts: list[str] = []
    at = 0
    while (match := _TOKEN.search(text, at)) is not None:
        parts.append(text[at : match.start()])
        at = match.end()
        if match["name"]:
            parts.append(match["name"])
        elif match["document"]:
            shape, at = _document(text, match.start(), 0)
            parts.append(shape)
        else:
            parts.append("?")
    parts.append(text[at:])
    return "".join(parts)


def _document(text: str, at: int, depth: int) -> tuple[str, int]:
    """The document or array at `at` with its values replaced, and where it ends."""
    closing = "}" if text[at] == "{" else "]"
    opening = text[at]
    hidden = f"{opening} ? {closing}", len(text)
    if depth > _MAX_DEPTH:
        return hidden
    parts: list[str] = []
    at = _after_space(text, at + 1)
    while at < len(text) and text[at] != closing:
        key = ""
        if closing == "}":
            match = _KEY.match(text, at)
            if match is None:
                return hidden
            key, at = f"{match['key']}: ", match.end()
        if text[at : at + 1] in ("{", "["):
            value, at = _document(text, at, depth + 1)
        else:
            scalar = _SCALAR.match(text, at)
            if scalar is None:
                return hidden
            value, at = "?", scalar.end()
        parts.append(key + value)
        at = _after_space(text, at)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
        elif text[at : at + 1] != closing:
            return hidden
    if at >= len(text):
        return hidden
    return f"{opening} {', '.join(parts)} {closing}" if parts else opening + closing, at + 1


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
