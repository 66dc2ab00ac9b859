"""Kafka messages for tests: an encoder from fields to heads, and what Apache Kafka itself encoded."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest, Memory
from probes.protocols.kafka.table import Direction, Field, Layout
from probes.protocols.kafka.walk import Blob, uuid_bytes
from probes.records import Connection, Head, Session, Side, Status, Times

GOLDEN = Path(__file__).parent / "kafka_golden.jsonl.gz"
CONNECTION = Connection(1, None)
Fields = dict[str, Any]

_FORMATS = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}
_EMPTY: Fields = {"string": "", "bytes": b"", "records": b"", "uuid": bytes(16), "bool": False}


class Golden(NamedTuple):
    """One message as kafka-clients encoded it; bytes in `fields` are {"bytes": how many}."""

    api_key: int
    version: int
    direction: Direction
    fields: Fields
    body: bytes

    @property
    def layout(self) -> Layout:
        layout = table.layout(self.api_key, self.version, self.direction)
        assert layout is not None
        return layout

    @property
    def message(self) -> bytes:
        """The whole message, headers and length included."""
        if self.direction == "request":
            return framed(request_header(self.api_key, self.version) + self.body)
        return framed(reply_header(self.api_key, self.version) + self.body)


@cache
def golden() -> list[Golden]:
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Golden(row[0], row[1], row[2], row[3], bytes.fromhex(row[4])) for row in rows]


def plain(value: Any) -> Any:
    """A decoded message with the bytes' places forgotten."""
    if isinstance(value, Blob):
        return {"bytes": value.length}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def request_header(
    api_key: int, version: int, correlation_id: int = 7, client_id: str | None = "client", tags: bytes = b"\0"
) -> bytes:
    header = struct.pack(">hhi", api_key, version, correlation_id)
    api = table.api(api_key)
    if api is None or api.has_client_id(version):
        header += struct.pack(">h", -1) if client_id is None else text(client_id, flexible=False)
    return header + (tags if api is not None and api.header_tags(version, "request") else b"")


def reply_header(api_key: int, version: int, correlation_id: int = 7) -> bytes:
    api = table.api(api_key)
    tags = api is not None and api.header_tags(version, "response")
    return struct.pack(">i", correlation_id) + (b"\0" if tags else b"")


def request_bytes(
    api_key: int, version: int, fields: Fields, correlation_id: int = 7, client_id: str | None = "client"
) -> bytes:
    body = encoded(api_key, version, "request", fields)
    return framed(request_header(api_key, version, correlation_id, client_id) + body)


def reply_bytes(api_key: int, version: int, fields: Fields, correlation_id: int = 7) -> bytes:
    return framed(reply_header(api_key, version, correlation_id) + encoded(api_key, version, "response", fields))


def encoded(api_key: int, version: int, direction: Direction, fields: Fields) -> bytes:
    """A body. Fields left out are empty or 0, tagged ones left out are not sent; an unknown name is an error."""
    layout = table.layout(api_key, version, direction)
    assert layout is not None
    return _struct(layout, fields)


def _struct(layout: Layout, fields: Fields) -> bytes:
    tagged = {field.name: tag for tag, field in layout.tagged.items()}
    unknown = set(fields) - set(tagged) - {field.name for field in layout.fields}
    assert not unknown, unknown
    parts = [_field(field, fields.get(field.name, _default(field)), layout.flexible) for field in layout.fields]
    if layout.flexible:
        sent = sorted((tagged[name], name) for name in fields if name in tagged)
        parts.append(uvarint(len(sent)))
        for tag, name in sent:
            value = _field(layout.tagged[tag], fields[name], flexible=True)
            parts += [uvarint(tag), uvarint(len(value)), value]
    return b"".join(parts)


def _default(field: Field) -> Any:
    if field.array:
        return []
    if field.struct is not None:
        return None if field.nullable else {}
    return _EMPTY.get(field.type, 0)


def _field(field: Field, value: Any, flexible: bool) -> bytes:
    if not field.array:
        return _one(field, value, flexible)
    if value is None:
        return uvarint(0) if flexible else struct.pack(">i", -1)
    count = uvarint(len(value) + 1) if flexible else struct.pack(">i", len(value))
    element = field._replace(array=False, nullable=False)
    return count + b"".join(_one(element, each, flexible) for each in value)


def _one(field: Field, value: Any, flexible: bool) -> bytes:
    if field.struct is not None:
        if not field.nullable:
            return _struct(field.struct, value)
        return b"\xff" if value is None else b"\x01" + _struct(field.struct, value)
    if field.type in _FORMATS:
        return struct.pack(_FORMATS[field.type], value)
    if field.type == "uuid":
        return uuid_bytes(value) if isinstance(value, str) else bytes(value)
    if field.type == "string":
        return text(value, flexible)
    if value is None:
        return uvarint(0) if flexible else struct.pack(">i", -1)
    raw = bytes(value["bytes"]) if isinstance(value, dict) else value
    return (uvarint(len(raw) + 1) if flexible else struct.pack(">i", len(raw))) + raw


def text(value: str | None, flexible: bool) -> bytes:
    if value is None:
        return uvarint(0) if flexible else struct.pack(">h", -1)
    raw = value.encode()
    return (uvarint(len(raw) + 1) if flexible else struct.pack(">h", len(raw))) + raw


def uvarint(value: int) -> bytes:
    result = b""
    while value > 0x7F:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])


def batch(records: int, size: int = 100, magic: int = 2) -> bytes:
    """A record batch of `size` bytes that says it holds `records` records."""
    fixed = struct.pack(
        ">qiibIhiqqqhii",
        0,
        size - 12,
        -1,
        magic,
        0,
        0,
        records - 1,
        1_700_000_000_000,
        1_700_000_000_001,
        -1,
        -1,
        -1,
        records,
    )
    return fixed + b"payload-" * ((size - len(fixed)) // 8) + bytes((size - len(fixed)) % 8)


def head(message: bytes, size: int | None = None, windows: tuple[tuple[int, bytes], ...] = ()) -> Head:
    """The head of a whole message, cut to `size` bytes."""
    return Head(False, 0, 1_000, 2_000, len(message), message[:size], windows=windows)


class Exchange(NamedTuple):
    """A request and its reply as parsed, and the record of both."""

    request: KafkaRequest
    reply: KafkaReply
    record: Fields


def exchange(
    api_key: int,
    version: int,
    request: Fields,
    reply: Fields,
    *,
    kafka: Kafka | None = None,
    memory: Memory | None = None,
    size: int | None = None,
    literals: bool = False,
) -> Exchange:
    kafka = kafka or Kafka()
    memory = memory or kafka.memory(CONNECTION)
    asked, answered = request_bytes(api_key, version, request), reply_bytes(api_key, version, reply)
    parsed = kafka.request(head(asked, size), memory)
    answer = kafka.reply(head(answered, size), parsed, memory)
    return Exchange(parsed, answer, kafka.record(session(parsed, answer), literals=literals))


def session(request: KafkaRequest, reply: KafkaReply | None) -> Session:
    return Session(
        "kafka",
        Status.OK,
        Side.SERVER,
        CONNECTION,
        request,
        reply,
        Times(1_000, 2_000, 3_000, 4_000),
        len(request.data),
    )


def dicts(value: Any) -> Iterator[Fields]:
    """Every dict within a decoded message, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from dicts(each)
