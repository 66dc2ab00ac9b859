"""Agreement with kafka-python: what it encodes is read as it meant it, for every API and version that it has."""

from __future__ import annotations

import uuid
from typing import Any

import kafka.protocol.admin
import kafka.protocol.consumer
import kafka.protocol.metadata
import kafka.protocol.producer
import kafka.protocol.sasl  # noqa: F401 - each of these registers its messages
import pytest
from kafka.errors import for_code
from kafka.protocol.api_message import ApiMessage

from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.headers import REPLY_BODY
from probes.protocols.kafka.kinds import kind
from probes.protocols.kafka.messages import Memory
from probes.protocols.kafka.walk import Ending, uuid_bytes
from tests.unit.kafka_messages import Fields, Golden, golden, head, plain

GOLDEN = {(each.api_key, each.version, each.direction): each for each in golden()}
CLASSES = {(each.API_KEY, each.type): each for each in ApiMessage.__subclasses__() if each._class_version is None}
CORRELATION_ID, CLIENT_ID = 12_345, "kafka-python"


def built(struct: Any, make: Any, fields: Fields, version: int) -> Any:
    """A message object of kafka-python from decoded fields."""
    values = {}
    for field in struct._fields:
        names = [field.name]
        if field.name == "authorized_operations":  # its name for two of ours
            names += ["cluster_authorized_operations", "topic_authorized_operations"]
        for name in set(names) & set(fields):
            if field.for_version_q(version):
                values[field.name] = _value(field, fields[name], version)
    return make(version=version, **values)


def _value(field: Any, value: Any, version: int) -> Any:
    if value is None:
        return None
    if field.is_struct():
        return built(field, field.data_class, value, version)
    if field.is_struct_array():
        return [built(field.array_of, field.data_class, each, version) for each in value]
    if isinstance(value, list):
        return [_value(field.array_of, each, version) for each in value]
    kind = field._type_str
    if kind == "uuid":
        return uuid.UUID(bytes=uuid_bytes(value))
    if kind in ("bytes", "records"):
        return bytes(value["bytes"])
    if kind == "bitfield":
        return {bit for bit in range(32) if value >> bit & 1}
    return value


def cases() -> list[Any]:
    found = []
    for (api_key, direction), each in sorted(CLASSES.items()):
        for version in range(each.max_version + 1):
            if (api_key, version, direction) in GOLDEN:
                found.append(pytest.param(each, GOLDEN[api_key, version, direction], id=f"{each.name} v{version}"))
    return found


def test_it_covers_what_we_think_it_does() -> None:
    assert len({api_key for api_key, _ in CLASSES}) >= 52
    assert len(cases()) >= 520


@pytest.mark.parametrize(("each", "message"), cases())
def test_its_messages_are_read_as_meant(each: Any, message: Golden) -> None:
    theirs = built(each._struct, each, message.fields, message.version)
    if message.direction == "request":
        theirs.with_header(correlation_id=CORRELATION_ID, client_id=CLIENT_ID)
    else:
        theirs.with_header(correlation_id=CORRELATION_ID)
    encoded = bytes(theirs.encode(header=True, framed=True))

    this = kind(message.api_key, message.version, message.direction)
    protocol, memory = Kafka(), Memory()
    if message.direction == "request":
        request = protocol.request(head(encoded), memory)
        assert (request.id, request.client_id) == (CORRELATION_ID, CLIENT_ID)
        assert (request.operation, request.truncated) == (each.name.removesuffix("Request"), False)
        body = encoded.index(CLIENT_ID.encode()) + len(CLIENT_ID)
    else:
        assert protocol.reply_to(head(encoded)) == CORRELATION_ID
        body = REPLY_BODY
    read = this.read(encoded, body, len(encoded))
    assert read is not None
    assert (read.ending, read.end) == (Ending.WHOLE, len(encoded))
    assert plain(read.message) == message.fields


def test_its_error_names_are_ours_or_older_ones() -> None:
    theirs = {code: for_code(code) for code in table.errors()}
    known = {code: error.message for code, error in theirs.items() if error.errno == code}
    different = {code: name for code, name in known.items() if name != table.error_name(code)}
    assert different == {
        -1: "UNKNOWN",
        0: "NO_ERROR",
        6: "NOT_LEADER_FOR_PARTITION",
        10: "MESSAGE_SIZE_TOO_LARGE",
        17: "INVALID_TOPIC",
        39: "INVALID_REPLICATION_ASSIGNMENT",
        **dict.fromkeys(range(128, 134), "UNKNOWN"),
    }
