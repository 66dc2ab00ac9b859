"""The filter: which sessions are meant. Text → tokens → terms → predicate, one function each.

    filter   = [ term { [ "and" ] term } ]
    term     = field operator value
    operator = ":" | "=" | "!=" | ">" | ">=" | "<" | "<="
    value    = word | '"' text '"'

`:` and `=` are the same. Text is compared without regard to case, `*` stands for any text. A field may have
several values in a session (targets, the process ids of both ends): one that fits is enough. A session
without the field fits no term but `!=`.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from probes.records import Address, Process, Session, Side, Status

Predicate = Callable[[Session], bool]

_WORD = re.compile(r'[^\s()"<>=!:]+')
_OPERATOR = re.compile(r"!=|>=|<=|[:=<>]")
_VALUE = re.compile(r'"(?P<quoted>[^"]*)"|[^\s()"]+')
_SPACE = re.compile(r"\s*")

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ":": operator.eq,
    "=": operator.eq,
    "!=": operator.eq,  # its term is negated as a whole: none of the field's values may fit
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class FilterError(ValueError):
    """A filter that cannot be understood; the message is one sentence for who wrote it."""


class Token(NamedTuple):
    kind: str  # "word", "operator" or "value"
    text: str


class Term(NamedTuple):
    field: str
    operator: str
    value: str


def tokenize(text: str) -> Iterator[Token]:
    """The tokens of `text`: a word that an operator follows, that operator, its value; or a word alone."""
    at = 0
    expected, kind = _WORD, "word"
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr] # it also matches nothing
        if at == len(text):
            return
        match = expected.match(text, at)
        if match is None:
            raise FilterError(f"the filter cannot be read at {text[at:]!r}: write field:value")
        yield Token(kind, match["quoted"] if match[0].startswith('"') else match[0])
        at = match.end()
        if kind == "operator":
            expected, kind = _VALUE, "value"
        elif kind == "word" and _OPERATOR.match(text, _SPACE.match(text, at).end()):  # type: ignore[union-attr]
            expected, kind = _OPERATOR, "operator"
        else:
            expected, kind = _WORD, "word"


def parse(tokens: Iterable[Token]) -> list[Term]:
    """The terms of a filter, all of which have to hold."""
    left, terms = list(tokens), list[Term]()
    while left:
        if terms and left[0].text.lower() == "and":
            left = left[1:]
        match left[:3]:
            case [Token("word", field), Token("operator", sign), Token("value", value)]:
                terms.append(Term(field, sign, value))
            case [Token("word", field), Token("operator", sign)]:
                raise FilterError(f"{field}{sign} lacks a value")
            case [Token(_, text), *_]:
                raise FilterError(f"{text!r} is no term: write field:value, and 'and' or nothing between terms")
            case _:
                raise FilterError("a term has to follow 'and'")
        left = left[3:]
    return terms


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a session: `help` for the reader, `values` that a session has of it.

    `units` makes it a number, its values in the unit whose factor is 1; `choices` are all texts it takes.
    """

    help: str
    values: Callable[[Session], Sequence[str | float]]
    units: dict[str, float] | None = None
    choices: Sequence[str] = ()


_TIME = {"ns": 1.0, "us": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
_SIZE = {"": 1.0, "b": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
_SIZE |= {f"{unit}b": factor for unit, factor in _SIZE.items() if factor > 1}
_COUNT = {"": 1.0}
_TRUTH = ("true", "false")
ANY = "*"
_protocols = ["mongodb", "kafka"]


def _known(value: str | float | None) -> Sequence[str | float]:
    return () if value is None or value == "" else (value,)


def _truth(value: bool) -> Sequence[str]:
    return (_TRUTH[not value],)


def _address(address: Address) -> Sequence[str]:
    return (address.host, str(address)) if address.host else ()


def _processes(session: Session) -> list[Process]:
    return [p for p in (session.client_process, session.server_process) if p is not None]


def _targets(session: Session) -> Sequence[str]:
    request = session.request
    return () if request is None else request.targets or ((request.target,) if request.target else ())


def _shape(session: Session) -> Sequence[str | float]:
    return _known(session.request.shape if session.request else None)


def _errors(session: Session) -> Sequence[str]:
    failure = session.reply.failure if session.reply else None
    return () if failure is None else (failure.name, str(failure.code))


def _duration(session: Session) -> Sequence[float]:
    return (session.times.duration,) if session.times.reply_first and not _long_poll(session) else ()


def _wait(session: Session) -> Sequence[float]:
    return (session.times.duration,) if session.times.reply_first and _long_poll(session) else ()


def _long_poll(session: Session) -> bool:
    return session.request is not None and session.request.long_poll


def _truncated(session: Session) -> bool:
    return any(part is not None and part.truncated for part in (session.request, session.reply))


def _request_bytes(session: Session) -> Sequence[float]:
    return (session.request_bytes,) if session.request_bytes else ()


def _response_bytes(session: Session) -> Sequence[float]:
    return (session.reply_bytes,) if session.reply_bytes else ()


FIELDS: dict[str, Field] = {
    "protocol": Field("mongodb, kafka, a plugin's", lambda s: (s.protocol,), choices=_protocols),
    "operation": Field("command or API: find, Produce", lambda s: _known(s.request.operation if s.request else None)),
    "version": Field("Kafka's API version", lambda s: _known(s.request.version if s.request else None), units=_COUNT),
    "target": Field("namespace, topic or group, any of them: shop.orders, shop.*", _targets),
    "shape": Field('MongoDB\'s request without its values: "find orders *"', _shape),
    "status": Field(", ".join(Status), lambda s: (s.status,), choices=tuple(Status)),
    "error": Field("an error's name or code: DuplicateKey, 11000, *", _errors),
    "client": Field("address of the client: 10.0.0.5, 10.0.0.5:51544", lambda s: _address(s.client_address)),
    "server": Field("address of the server", lambda s: _address(s.server_address)),
    "pid": Field("process id of either end", lambda s: [p.pid for p in _processes(s)], units=_COUNT),
    "process": Field("process name of either end: mongod", lambda s: [p.name for p in _processes(s)]),
    "duration": Field("with its unit: 50ms, 200us, 1.5s; not of long polls", _duration, units=_TIME),
    "wait": Field("how long a long poll took, with its unit", _wait, units=_TIME),
    "long_poll": Field("true, false", lambda s: _truth(_long_poll(s)), choices=_TRUTH),
    "request_bytes": Field("true length: 512, 10k, 1MiB", _request_bytes, units=_SIZE),
    "response_bytes": Field("true length", _response_bytes, units=_SIZE),
    "seen_from": Field(", ".join(Side), lambda s: (s.seen_from,), choices=tuple(Side)),
    "truncated": Field("true, false", lambda s: _truth(_truncated(s)), choices=_TRUTH),
}


def learn_protocols(names: Iterable[str]) -> None:
    """From now on a filter may name these protocols as well; `ANY` among them: any."""
    _protocols.extend(name for name in names if name not in _protocols)


def _number(text: str, name: str, units: dict[str, float]) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(\D*)", text)
    if match is None:
        raise FilterError(f"{name} is a number, which {text!r} is not")
    factor = units.get(match[2].casefold())
    if factor is None:
        known = ", ".join(unit for unit in units if unit) or "none"
        raise FilterError(f"{name} takes no value {text!r}: its units are {known}")
    return float(match[1]) * factor


def _text_matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text is `pattern`, whose `*` stand for any text. Linear in the text's length."""
    first, *rest = pattern.casefold().split("*")
    if not rest:
        return lambda text: text.casefold() == first
    *middle, last = rest

    def matches(text: str) -> bool:
        text = text.casefold()
        end = len(text) - len(last)
        at = len(first)
        if at > end or not (text.startswith(first) and text.endswith(last)):
            return False
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches


def _matcher(term: Term, field: Field) -> Callable[[Any], bool]:
    """Whether one value of `field` is what `term` says, its `!=` read as `=`."""
    if field.units is not None:
        number = _number(term.value, term.field, field.units)
        compare = _COMPARISONS[term.operator]
        return lambda value: compare(value, number)
    if term.operator[0] in "<>":
        raise FilterError(f"{term.field} is text and has no order: write {term.field}:{term.value}")
    open_ended = "*" in term.value or ANY in field.choices
    if field.choices and not open_ended and term.value.lower() not in field.choices:
        raise FilterError(f"{term.field} is never {term.value!r}: it is one of {', '.join(field.choices)}")
    return _text_matcher(term.value)


def field_of(term: Term) -> Field:
    """The field that `term` is about. Raises FilterError."""
    field = FIELDS.get(term.field.lower())
    if field is None:
        alike = difflib.get_close_matches(term.field.lower(), FIELDS, 1)
        perhaps = f"perhaps {alike[0]}; " if alike else ""
        raise FilterError(f"there is no field {term.field!r} to filter by: {perhaps}the fields are {', '.join(FIELDS)}")
    return field


def matcher(term: Term) -> Callable[[Any], bool]:
    """Whether one value of the term's field is what `term` says, its `!=` read as `=`. Raises FilterError."""
    return _matcher(term, field_of(term))


def _compile_term(term: Term) -> Predicate:
    field, fits = field_of(term), matcher(term)
    if term.operator == "!=":
        return lambda session: not any(map(fits, field.values(session)))
    return lambda session: any(map(fits, field.values(session)))


def compile_terms(terms: Sequence[Term]) -> Predicate:
    """The predicate that holds where every term does. Raises FilterError."""
    predicates = [_compile_term(term) for term in terms]
    if not predicates:
        return bool  # of a session always true, and quicker than any function of ours
    if len(predicates) == 1:
        return predicates[0]
    return lambda session: all(predicate(session) for predicate in predicates)


def is_filter(word: str) -> bool:
    """Whether a word of the command line begins a filter: it holds an operator, which nothing else there does."""
    return not word.startswith("-") and _OPERATOR.search(word) is not None


def session_filter(text: str) -> Predicate:
    """The predicate that `text` means; the empty text lets every session pass. Raises FilterError."""
    return compile_terms(parse(tokenize(text)))
