"""Credentials never leave the parser: not whole, not in part, not from messages that are cut or damaged."""

from __future__ import annotations

import pytest

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import Kafka, table
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest, Memory
from probes.protocols.kafka.table import Direction
from probes.records import Head
from tests.unit.kafka_messages import (
    Fields,
    encoded,
    framed,
    head,
    reply_bytes,
    reply_header,
    request_bytes,
    request_header,
    session,
)

SECRET = "QZ~XJ|WK{VB}"  # no two of its characters meet anywhere else
RAW = SECRET.encode()
PIECES = [SECRET[at : at + 3] for at in range(len(SECRET) - 2)]

CONFIG = {
    "resource_type": 4,
    "resource_name": "1",
    "configs": [{"name": "listener.name.x.ssl.key.password", "value": SECRET}],
}
SCRAM = {"name": "alice", "mechanism": 2, "iterations": 4_096, "salt": RAW, "salted_password": RAW}
TOKEN = {"token_id": "id", "hmac": RAW}
INNER = request_bytes(44, 1, {"resources": [CONFIG]})[4:]
SNAPSHOT = {"name": "__cluster_metadata", "partitions": [{"unaligned_records": RAW * 3}]}
METADATA_ID = bytes(15) + b"\1"

PLACES: list[tuple[str, Direction, Fields]] = [
    ("SaslAuthenticate", "request", {"auth_bytes": b"\0alice\0" + RAW}),
    ("SaslAuthenticate", "response", {"error_message": "no", "auth_bytes": RAW}),
    ("AlterConfigs", "request", {"resources": [CONFIG, CONFIG]}),
    ("IncrementalAlterConfigs", "request", {"resources": [CONFIG, CONFIG]}),
    ("AlterUserScramCredentials", "request", {"upsertions": [SCRAM, SCRAM]}),
    ("CreateDelegationToken", "response", TOKEN),
    ("RenewDelegationToken", "request", {"hmac": RAW}),
    ("ExpireDelegationToken", "request", {"hmac": RAW}),
    ("DescribeDelegationToken", "response", {"tokens": [TOKEN, TOKEN]}),
    ("Envelope", "request", {"request_data": INNER, "request_principal": RAW}),
    ("Envelope", "response", {"response_data": RAW}),
    ("FetchSnapshot", "response", {"topics": [SNAPSHOT]}),
]
CASES = [
    pytest.param(api_key, version, direction, fields, id=f"{name} v{version} {direction}")
    for name, direction, fields in PLACES
    for api_key in [table.api_key(name)]
    for version in table.apis()[api_key].versions
]


def shown(kafka: Kafka, request: KafkaRequest, reply: KafkaReply | None) -> str:
    """All that a user could be shown of a session."""
    records = [kafka.record(session(request, reply), literals=literals) for literals in (False, True)]
    data = [request.data, *([reply.data, *reply.windows] if reply else [])]
    return " ".join(map(repr, (request, reply, *records, *data)))


def leaks(text: str) -> list[str]:
    return [piece for piece in PIECES if piece in text]


def parsed(api_key: int, version: int, direction: Direction, message: Head) -> str:
    """What is shown of a message, of a reply together with its request."""
    kafka, memory = Kafka(), Memory()
    if direction == "request":
        return shown(kafka, kafka.request(message, memory), None)
    request = kafka.request(head(framed(request_header(api_key, version))), memory)
    return shown(kafka, request, kafka.reply(message, request, memory))


def whole(api_key: int, version: int, direction: Direction, fields: Fields) -> bytes:
    make = request_bytes if direction == "request" else reply_bytes
    return make(api_key, version, fields)


def test_the_pieces_would_be_found() -> None:
    assert leaks(repr(RAW))
    assert leaks(repr({"value": SECRET[2:7]}))


@pytest.mark.parametrize(("api_key", "version", "direction", "fields"), CASES)
def test_secrets_are_covered_at_every_length(api_key: int, version: int, direction: Direction, fields: Fields) -> None:
    message = whole(api_key, version, direction, fields)
    assert RAW in message
    for size in range(len(message) + 1):
        try:
            assert not leaks(parsed(api_key, version, direction, head(message, size))), size
        except ProtocolError:
            assert size < 14


@pytest.mark.parametrize(("api_key", "version", "direction", "fields"), CASES)
def test_all_else_stays_where_it_was(api_key: int, version: int, direction: Direction, fields: Fields) -> None:
    message = whole(api_key, version, direction, fields)
    kafka, memory = Kafka(), Memory()
    if direction == "request":
        data = kafka.request(head(message), memory).data
    else:
        request = kafka.request(head(framed(request_header(api_key, version))), memory)
        data = kafka.reply(head(message), request, memory).data
    assert len(data) == len(message)
    assert all(ours in (theirs, ord("*")) for ours, theirs in zip(data, message, strict=True))
    assert data[:8] == message[:8]


@pytest.mark.parametrize(("api_key", "version", "direction", "fields"), CASES)
def test_a_body_of_an_unknown_version_is_not_kept(
    api_key: int, version: int, direction: Direction, fields: Fields
) -> None:
    unknown = table.apis()[api_key].versions.stop + 1
    body = encoded(api_key, version, direction, fields)
    header = (request_header if direction == "request" else reply_header)(api_key, unknown)
    assert not leaks(parsed(api_key, unknown, direction, head(framed(header + body))))


@pytest.mark.parametrize(("api_key", "version", "direction", "fields"), CASES)
def test_a_body_that_does_not_fit_its_layout_is_not_kept(
    api_key: int, version: int, direction: Direction, fields: Fields
) -> None:
    message = whole(api_key, version, direction, fields)
    longer = framed(message[4:] + RAW)
    assert not leaks(parsed(api_key, version, direction, head(longer)))
    header = (request_header if direction == "request" else reply_header)(api_key, version)
    assert not leaks(parsed(api_key, version, direction, head(framed(header + b"\xff" * 9 + RAW))))


def test_an_api_that_nobody_knows_may_carry_anything() -> None:
    message = framed(request_header(200, 0) + RAW)
    kafka, memory = Kafka(), Memory()
    request = kafka.request(head(message), memory)
    reply = kafka.reply(head(framed(b"\0\0\0\7" + RAW)), request, memory)
    assert not leaks(shown(kafka, request, reply))


def test_a_reply_without_its_request_may_carry_anything() -> None:
    reply = Kafka().reply(head(framed(b"\0\0\0\7" + RAW)), None, Memory())
    assert not leaks(repr(reply))


@pytest.mark.parametrize("size", range(4, 32))
def test_bare_tokens(size: int) -> None:
    kafka, memory = Kafka(), Memory()
    handshake = kafka.request(head(request_bytes(17, 0, {"mechanism": "PLAIN"})), memory)
    kafka.reply(head(reply_bytes(17, 0, {})), handshake, memory)
    token = framed(b"\0alice\0" + RAW)
    request = kafka.request(head(token, size), memory)
    reply = kafka.reply(head(token, size), request, memory)
    assert not leaks(shown(kafka, request, reply))
    assert not leaks(repr(kafka.reply(head(token, size), None, memory)))


@pytest.mark.parametrize("user", ["", "a", "al", "alice", "alice@example.org", "A" * 7])
def test_bare_tokens_whose_handshake_was_not_seen_are_no_requests(user: str) -> None:
    for identity in ("", user):
        token = framed(f"{identity}\0{user}\0{SECRET * 20}".encode())
        with pytest.raises(ProtocolError):
            Kafka().request(head(token), Memory())


@pytest.mark.parametrize("version", [12, 17])
def test_records_of_the_clusters_metadata(version: int) -> None:
    """They hold SCRAM credentials and the passwords of brokers' dynamic configuration."""
    topic: Fields = {"topic": "__cluster_metadata"} if version == 12 else {"topic_id": METADATA_ID}
    fields = {"responses": [topic | {"partitions": [{"partition_index": 0, "records": RAW * 9}]}]}
    message = reply_bytes(1, version, fields)
    for size in range(8, len(message) + 1):
        cut = head(message, size, ((len(message) - 40, message[-40:]),))
        assert not leaks(parsed(1, version, "response", cut)), size
    ordinary = reply_bytes(1, 12, {"responses": [{"topic": "orders", "partitions": [{"records": RAW}]}]})
    assert leaks(parsed(1, 12, "response", head(ordinary)))
