"""The "kafka" part of the session record (DESIGN section 6): what the heads of a request and its reply say together.

Both are read again by their full layouts, so this is slow (tens of µs) and for when someone looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import table
from probes.protocols.kafka.batches import Batches, Trace, batches, trace
from probes.protocols.kafka.failures import without_literals
from probes.protocols.kafka.headers import CLIENT_ID, REPLY_BODY, client_id_end
from probes.protocols.kafka.kinds import kind, reply_kind
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.kafka.topics import Topics
from probes.protocols.kafka.walk import Blob, Ending, Walk, uuid_bytes, uuid_text
from probes.records import Session

_TOPIC_NAMES = ("topic", "topic_name", "name")
_INDEXES = ("partition", "partition_index", "index")
_OFFSETS = ("fetch_offset", "base_offset", "committed_offset", "offset")
_ERRORS = ("error_code", "partition_error_code")
_TRANSACTIONS = ("transactional_id", "v3_and_below_transactional_id")
MAX_SEARCHED = 8  # partitions whose records are read in search of a trace context
_NOT_ASKED_FOR = "forgotten_topics_data"
_GENERATIONS = ("generation_id", "member_epoch", "generation_id_or_member_epoch")
_NO_TOPIC_ID = uuid_text(bytes(16))


class Part(NamedTuple):
    """One partition in a message: its topic's name or else id, its index, its fields."""

    topic: str | None
    topic_id: str | None
    partition: int
    fields: dict[str, Any]


def record(session: Session, topics: Topics, *, literals: bool) -> dict[str, Any]:
    """The record's own part. "error" is a text of the reply, "request" and "response" come with `literals` only."""
    request = session.request
    if not isinstance(request, KafkaRequest):
        return {}
    reply = session.reply if isinstance(session.reply, KafkaReply) else None
    result: dict[str, Any] = {}
    if not request.token:
        result.update(api_key=request.api_key, api_version=request.version, correlation_id=request.id)
    facts = {
        "client_id": request.client_id,
        "group": request.group or None,
        "member": request.member or None,
        "acks": request.acks,
        "throttle_ms": reply.throttle_ms if reply is not None else None,
        "max_wait_ms": request.max_wait_ms,
        "client_software": request.client.software or None,
        "sasl_mechanism": request.client.mechanism or None,
    }
    result.update((name, value) for name, value in facts.items() if value is not None)
    if request.token:
        return result

    asked = read_request(request)
    answered = read_reply(request, reply) if reply is not None else None
    result.update(_told(asked, answered))
    if asked is None:
        result["body"] = "not decoded"
    else:
        endings = {asked.ending, answered.ending if answered is not None else Ending.WHOLE}
        if Ending.MALFORMED in endings:
            result["body"] = "malformed"
        elif Ending.FULL in endings:
            result["body"] = "decoded in part"

    partitions = _Partitions(topics, asked, request)
    if asked is not None:
        partitions.add(asked, (0, request.data))
    if answered is not None and reply is not None:
        partitions.add(answered, (0, reply.data), *reply.windows, answers=True)
    if partitions.trace is not None:
        result.update(partitions.trace._asdict())
    if partitions.entries:
        result["partitions_total"] = max(request.partitions, len(partitions.entries))
        result["partitions"] = partitions.finished()

    if reply is not None and reply.failure is not None and reply.failure.message:
        result["error"] = reply.failure.message if literals else without_literals(reply.failure)
    if literals:
        for name, read in (("request", asked), ("response", answered)):
            if read is not None:
                result[name] = _plain(read.message)
    return result


def _told(asked: Walk | None, answered: Walk | None) -> dict[str, Any]:
    """Facts of the whole messages."""
    request = asked.message if asked is not None else {}
    reply = answered.message if answered is not None else {}
    generations = (message.get(name) for message in (reply, request) for name in _GENERATIONS)
    facts = {
        "transactional_id": next((request[name] for name in _TRANSACTIONS if request.get(name)), None),
        "min_bytes": request.get("min_bytes"),
        "session_id": request.get("session_id"),
        "session_epoch": request.get("session_epoch", request.get("share_session_epoch")),
        "generation": next((each for each in generations if each is not None), None),
        "reason": request.get("reason") or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def body_of(request: KafkaRequest) -> int | None:
    """The offset after the header's client id; None where the length that the message states is not its own."""
    if not kind(request.api_key, request.version or 0, "request").has_client_id:
        return CLIENT_ID
    try:
        return client_id_end(request.data, _total(request.data))
    except ProtocolError:
        return None


def read_request(request: KafkaRequest) -> Walk | None:
    """The whole request; None where it is of no known version, or broken."""
    body = body_of(request)
    this = kind(request.api_key, request.version or 0, "request")
    return None if body is None else this.read(request.data, body, _total(request.data))


def read_reply(request: KafkaRequest, reply: KafkaReply) -> Walk | None:
    """Likewise, the reply."""
    this = reply_kind(request.api_key, request.version or 0, reply.data)
    return this.read(reply.data, REPLY_BODY, _total(reply.data), reply.windows)


def _total(data: bytes) -> int:
    """The message's true length."""
    return 4 + int.from_bytes(data[:4], "big")


class _Partitions:
    """The partitions of a request and its reply, merged, in the order in which they were met."""

    def __init__(self, topics: Topics, asked: Walk | None, request: KafkaRequest) -> None:
        self.entries: dict[tuple[str | None, int], dict[str, Any]] = {}
        self.trace: Trace | None = None  # the first one
        self._searched = 0
        self._topics = topics
        ids = [part.topic_id for part in parts_of(asked.message)] if asked is not None else []
        unique = list(request.topic_ids or dict.fromkeys(filter(None, ids)))
        # The names as they were known when the request went by.
        self._then = dict(zip(unique, request.targets, strict=False)) if len(unique) == len(request.targets) else {}

    def add(self, read: Walk, *pieces: tuple[int, bytes], answers: bool = False) -> None:
        """The partitions of a message, of which these pieces are there. `answers`: it is a reply."""
        for part in parts_of(read.message):
            name = part.topic or self._name(part.topic_id)
            entry = self.entries.setdefault((name or part.topic_id, part.partition), {})
            facts = {"topic": name, "topic_id": part.topic_id, "partition": part.partition}
            facts.update(_facts(part.fields, answers=answers))
            blob = part.fields.get("records")
            if isinstance(blob, Blob):
                if not blob.length:
                    facts["records"] = 0
                for start, data in pieces:
                    if start <= blob.start < start + len(data):
                        facts.update(_batch_facts(batches(data, blob.start - start, blob.length), answers=answers))
                        self._look_for_trace(data, blob.start - start, blob.length)
            for key, value in facts.items():
                if value is not None:
                    entry.setdefault(key, value)

    def _look_for_trace(self, data: bytes, start: int, length: int) -> None:
        if self.trace is None and self._searched < MAX_SEARCHED:
            self._searched += 1
            self.trace = trace(data, start, length)

    def finished(self) -> list[dict[str, Any]]:
        """The entries as the record has them."""
        return [_finished(entry) for entry in self.entries.values()]

    def _name(self, id: str | None) -> str | None:
        if id is None:
            return None
        name = self._topics.known(uuid_bytes(id)) or self._then.get(id)
        return None if name == id else name


def _facts(fields: dict[str, Any], *, answers: bool) -> dict[str, Any]:
    """What the record says of a partition, from the fields of one message. None where it does not say it."""
    blob = fields.get("records")
    offsets = (fields.get(name) for name in _OFFSETS)
    facts = {
        "error_code": next((fields[name] for name in _ERRORS if name in fields), None),
        "bytes": blob.length if isinstance(blob, Blob) else None,
        "offset": next((offset for offset in offsets if offset is not None and offset >= 0), None),
    }
    if answers:
        facts.update((name, fields[name]) for name in _ENDS if fields.get(name, -1) >= 0)
    return facts


def _batch_facts(found: Batches | None, *, answers: bool) -> dict[str, Any]:
    """What the record says of a partition's batches. A producer does not know offsets yet."""
    if found is None:
        return {}
    facts: dict[str, Any] = {
        "records" if found.whole else "records_at_least": found.records,
        "magic": found.magic,
        "batches": found.batches if found.whole else None,
        "compression": found.compression,
        "base_offset": found.base_offset if answers else None,
        "transactional": found.transactional or None,
        "control": found.control or None,
    }
    numbers = ("base_timestamp", "max_timestamp", "producer_id", "producer_epoch")
    facts.update((name, value) for name in numbers if (value := getattr(found, name)) >= 0)
    return facts


_ENDS = ("high_watermark", "last_stable_offset", "log_start_offset")
_ORDER = (
    *("topic", "topic_id", "partition", "error_code", "error_name", "records", "records_at_least", "bytes"),
    *("batches", "magic", "compression", "base_offset", "base_timestamp", "max_timestamp"),
    *("producer_id", "producer_epoch", "transactional", "control"),
    *("offset", *_ENDS, "lag"),
)


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    if entry.get("error_code"):
        entry["error_name"] = table.error_name(entry["error_code"])
    offset, high_watermark = entry.get("offset"), entry.get("high_watermark")
    if high_watermark is not None and offset is not None:
        entry["lag"] = max(0, high_watermark - offset)
    return {name: entry[name] for name in _ORDER if name in entry}


def parts_of(node: dict[str, Any]) -> Iterator[Part]:
    """All partitions that a decoded message names, each with the topic around it."""
    topic = next((node[name] for name in _TOPIC_NAMES if isinstance(node.get(name), str)), None)
    topic_id = node.get("topic_id")
    if topic_id == _NO_TOPIC_ID:
        topic_id = None
    for key, value in node.items():
        if key == _NOT_ASKED_FOR:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict):
                index = next((child[name] for name in _INDEXES if name in child), None)
                if index is not None and "partition" in key:
                    yield Part(child.get("topic_name") or topic, topic_id, index, child)
                else:
                    yield from parts_of(child)
            elif "partition" in key and isinstance(value, list):
                yield Part(topic, topic_id, child, {})


def _plain(value: Any) -> Any:
    """A decoded message as JSON can hold it; of bytes and records only how many bytes they are."""
    if isinstance(value, Blob):
        return {"bytes": value.length}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
