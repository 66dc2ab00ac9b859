"""The facts of the protocol: every API, its versions, the fields of its messages, and the error codes.

`schema.json` is derived from Apache Kafka's own definitions by `tests/tools/kafka_table.py` and names the releases that
it came from. It is read once (about 3 ms); the layout of one (api_key, version, direction) is resolved when first asked
for and then kept.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

Direction = Literal["request", "response"]

CONTROLLED_SHUTDOWN = 7
API_VERSIONS = 18

# Bytes on the wire of the types whose size never changes.
FIXED_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "float64": 8,
    "uuid": 16,
}


class Field(NamedTuple):
    """One field as one version has it. An array's `type` is that of its elements."""

    name: str
    type: str  # a Kafka primitive, or "struct"
    array: bool
    nullable: bool
    entity: str  # what the value names: "topicName", "groupId", …; "" where the definitions do not say
    struct: Layout | None

    @property
    def fixed_size(self) -> int | None:
        """Bytes of one value (of an array: one element), None where it varies."""
        if self.struct is not None:
            return None if self.nullable and not self.array else self.struct.fixed_size
        return FIXED_SIZES.get(self.type)


class Layout(NamedTuple):
    """The fields of a message or struct in wire order; `flexible` (KIP-482): compact lengths, tags at the end."""

    fields: tuple[Field, ...]
    tagged: dict[int, Field]
    flexible: bool

    @property
    def fixed_size(self) -> int | None:
        """Bytes of one such struct, None where it varies."""
        if self.flexible:
            return None
        total = 0
        for field in self.fields:
            size = None if field.array else field.fixed_size
            if size is None:
                return None
            total += size
        return total


class Api(NamedTuple):
    """One pair of messages and the versions that the table knows."""

    key: int
    name: str
    versions: range
    first_flexible: int | None  # None: no version is flexible

    def flexible(self, version: int) -> bool:
        """Whether this version's messages are flexible; true for versions after the last one known."""
        return self.first_flexible is not None and version >= self.first_flexible

    def header_tags(self, version: int, direction: Direction) -> bool:
        """Whether the header has tags (request header v2, response header v1). ApiVersions' reply never (KIP-511)."""
        return self.flexible(version) and (direction == "request" or self.key != API_VERSIONS)

    def has_client_id(self, version: int) -> bool:
        """Whether the request header has a client id; only v0 has none, and only one request has that."""
        return (self.key, version) != (CONTROLLED_SHUTDOWN, 0)


class ErrorCode(NamedTuple):
    code: int
    name: str
    retriable: bool


def api(api_key: int) -> Api | None:
    """The API of that key, None for one that the table does not know."""
    return apis().get(api_key)


def api_key(name: str) -> int:
    """The key of the API of that name. Raises KeyError."""
    return _keys()[name]


@cache
def _keys() -> dict[str, int]:
    return {each.name: each.key for each in apis().values()}


@cache
def apis() -> dict[int, Api]:
    """All APIs by key."""
    result = {}
    for entry in _document()["apis"]:
        readings = entry["request"]
        low = min(reading["versions"][0] for reading in readings)
        high = max(reading["versions"][1] for reading in readings)
        flexible = readings[0]["flexible"]
        first = None if flexible == "none" else int(flexible.rstrip("+"))
        result[entry["key"]] = Api(entry["key"], entry["name"], range(low, high + 1), first)
    return result


@cache
def errors() -> dict[int, ErrorCode]:
    """All error codes, 0 (no error) among them."""
    return {row[0]: ErrorCode(*row) for row in _document()["errors"]}


def error_name(code: int) -> str:
    """Apache Kafka's name of an error code, `ERROR_<code>` for one that the table does not know."""
    known = errors().get(code)
    return known.name if known is not None else f"ERROR_{code}"


@cache
def layout(api_key: int, version: int, direction: Direction) -> Layout | None:
    """The layout of a message's body, None where the table has no such API or version."""
    if api_key not in apis() or version not in apis()[api_key].versions:
        return None
    entry = next(each for each in _document()["apis"] if each["key"] == api_key)
    for reading in entry[direction]:
        low, high = reading["versions"]
        if low <= version <= high:
            return _layout(reading["fields"], version, _within(version, reading["flexible"]))
    return None


@cache
def _document() -> dict[str, Any]:
    text = files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _layout(definitions: list[dict[str, Any]], version: int, flexible: bool) -> Layout:
    fields, tagged = [], {}
    for definition in definitions:
        if not _within(version, definition["versions"]):
            continue
        field = _field(definition, version, flexible)
        if _within(version, definition.get("tagged", "none")):
            tagged[definition["tag"]] = field
        else:
            fields.append(field)
    return Layout(tuple(fields), tagged, flexible)


def _field(definition: dict[str, Any], version: int, flexible: bool) -> Field:
    kind: str = definition["type"]
    children = definition.get("fields")
    return Field(
        name=definition["name"],
        type=kind.removeprefix("[]"),
        array=kind.startswith("[]"),
        nullable=_within(version, definition.get("nullable", "none")),
        entity=definition.get("entity", ""),
        struct=None if children is None else _layout(children, version, flexible),
    )


def _within(version: int, versions: str) -> bool:
    """Whether a range as the definitions write it ("3-13", "7+", "4", "none") holds `version`."""
    if versions == "none":
        return False
    if versions.endswith("+"):
        return version >= int(versions[:-1])
    low, _, high = versions.partition("-")
    return int(low) <= version <= int(high or low)
