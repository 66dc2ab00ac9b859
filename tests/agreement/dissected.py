"""What tshark's dissectors say of the traffic, beside l7top's records of it: live ones, and those of a capture.

Each message stands beside the record of the same connection and id. Where tshark says itself that it cannot read one,
only what its header holds is compared, and the message is counted by the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from tests.agreement.agreement import MISSING, Agreement
from tests.agreement.tshark import Message, Node, deep, inner, value
from tests.live.tool import Record

Values: TypeAlias = list[tuple[str, Any]]
"""A BSON document: names and values, in order."""
_LEFT = "lost"  # the status of a request whose client left before the answer came
_UNANSWERED = {_LEFT, "dropped"}  # counted with the request
_NULL = "[ Null ]"

# MongoDB.

_COMPRESSORS = {"0": "noop", "1": "snappy", "2": "zlib", "3": "zstd"}
_FLAGS = {"checksumpresent": "checksumPresent", "moretocome": "moreToCome", "exhaustallowed": "exhaustAllowed"}
_DOCUMENT, _ARRAY = 0x03, 0x04
_NUMBERS = {0x01: ("double", float), 0x08: ("bool", int), 0x10: ("int", int), 0x12: ("int64", int)}
_TEXTS = {0x02: "string"}


def mongodb(messages: Iterable[Message], records: Iterable[Record]) -> Agreement:
    """By requestID what clients send, by their own requestIDs the replies: exhaust ones answer each other."""
    asked: dict[tuple[str, int], list[Record]] = defaultdict(list)
    answered: dict[tuple[str, int], Record] = {}
    for record in records:
        asked[record["client"], record["request_id"]].append(record)
        if "response_id" in record:
            answered[record["client"], record["response_id"]] = record
    agreement = Agreement()
    seen: set[tuple[str, int]] = set()
    for message in messages:
        id, to = (_signed(value(message.node, f"mongo.{name}")) for name in ("request_id", "response_to"))
        where = f"{message.client} {id}"
        seen.add((message.client, id))
        its = asked.get((message.client, id if message.asks else to), [])
        if message.asks:
            _mongodb_request(agreement, message.node, its[0] if its else None, where)
        elif (message.client, to) not in seen:
            agreement.left_out["a reply, to a request before the capture"] += 1
        elif not any(each["status"] in _UNANSWERED for each in its):
            _mongodb_reply(agreement, message.node, answered.get((message.client, id)), where)
    return agreement


def _count(agreement: Agreement, record: Record | None, where: str) -> None:
    """A request that the other has seen: whether it was told of, and what became of it."""
    agreement.expect("record", True, record is not None, where)
    if record is None:
        agreement.requests["?"] += 1
        return
    agreement.requests[record.get("operation", "?")] += 1
    agreement.truncated += record["truncated"]
    agreement.dropped += record["status"] == "dropped"
    agreement.lost += record["status"] == _LEFT


def _mongodb_request(agreement: Agreement, node: Node, record: Record | None, where: str) -> None:
    _count(agreement, record, where)
    if record is None:
        return
    own, cut = record["mongodb"], record["truncated"]
    _mongodb_header(agreement, node, record, "request", where)
    body = _readable(agreement, node)
    if body is None:
        return
    named = dict(body)
    name, argument = body[0] if body else ("", None)
    if name == "getMore":
        argument = named.get("collection")
    database = named.get("$db") or (value(node, "mongo.full_collection_name") or "").partition(".")[0]
    target = f"{database}.{argument}" if isinstance(argument, str) else database
    agreement.expect("operation", name, record.get("operation", MISSING), where, truncated=cut)
    agreement.expect("target", target, record.get("target", MISSING), where, truncated=cut)
    agreement.expect("database", database, own.get("database", MISSING), where, truncated=cut)


def _mongodb_reply(agreement: Agreement, node: Node, record: Record | None, where: str) -> None:
    agreement.expect("reply", True, record is not None, where)
    if record is None:
        return
    own, cut = record["mongodb"], record["truncated"]
    _mongodb_header(agreement, node, record, "response", where)
    body = _readable(agreement, node)
    if body is None:
        return
    named = dict(body)
    code = _code(named)
    agreement.expect("status", "error" if code or not named.get("ok", 1) else "ok", record["status"], where)
    agreement.expect("error code", code, record.get("error_code", 0), where)
    cursor = dict(named["cursor"]) if isinstance(named.get("cursor"), list) else {}
    batch = cursor.get("firstBatch", cursor.get("nextBatch"))
    if batch is not None:
        agreement.expect("nreturned", len(batch), own.get("nreturned", MISSING), where, truncated=cut)
        if cursor["id"] or not cut:  # where it is not to be seen, a getMore's record has the one that it asks for
            agreement.expect("cursor id", str(cursor["id"]), own.get("cursor_id", MISSING), where, truncated=cut)
    if "n" in named:
        agreement.expect("n", int(named["n"]), own.get("n", MISSING), where, truncated=cut)


def _mongodb_header(agreement: Agreement, node: Node, record: Record, side: str, where: str) -> None:
    """`side`: "request" or "response"."""
    own = record["mongodb"]
    prefix = "" if side == "request" else "response_"
    packed = inner(node, "mongo.compression")
    opcode = value(packed, "mongo.compression.original_opcode") or value(node, "mongo.opcode") or ""
    agreement.expect(f"{side} id", _signed(value(node, "mongo.request_id")), record[f"{side}_id"], where)
    agreement.expect(f"{side} bytes", int(value(node, "mongo.message_length") or 0), record[f"{side}_bytes"], where)
    agreement.expect(f"{side} opcode", int(opcode), own[f"{prefix}opcode"], where)
    if packed:
        compressor = _COMPRESSORS[value(packed, "mongo.compression.compressor") or ""]
        agreement.expect("compressor", compressor, own.get("compressor", MISSING), where)
    flags = inner(node, "mongo.msg.flags_tree")
    if flags:
        names = [name for its, name in _FLAGS.items() if value(flags, f"mongo.msg.flags.{its}") == "1"]
        agreement.expect(f"{side} flags", names, own.get(f"{side}_flags", MISSING), where)


def _readable(agreement: Agreement, node: Node) -> Values | None:
    """The document that says what a message is; None where tshark does not read it."""
    if next(deep(node, "mongo.compression.unsupported_compressed"), None) is not None:
        agreement.left_out["compressed by what this tshark does not know"] += 1
        return None
    for section in (each for name, each in node if name == "mongo.msg.sections.section"):
        if value(section, "mongo.msg.sections.section.kind") == "0":
            return list(_document(inner(section, "mongo.msg.sections.section.body")))
    return list(_document(inner(node, "mongo.query") or inner(node, "mongo.document")))


def _document(node: Node) -> Iterator[tuple[str, Any]]:
    names = inner(node, "mongo.elements")
    for (_, name), (_, element) in zip(names[::2], names[1::2], strict=True):
        kind = int(value(element, "mongo.element.type") or "", 16)
        if kind in (_DOCUMENT, _ARRAY):
            yield name, list(_document(inner(element, "mongo.document")))
        elif kind in _NUMBERS:
            its, number = _NUMBERS[kind]
            yield name, number(value(element, f"mongo.element.value.{its}") or "")
        else:
            yield name, value(element, "mongo.element.value.string") if kind in _TEXTS else ...


def _code(reply: dict[str, Any]) -> int:
    """The error's code, of the command before one of a part."""
    if reply.get("code"):
        return int(reply["code"])
    errors = reply.get("writeErrors") or []
    first = dict(errors[0][1]) if errors else dict(reply.get("writeConcernError") or [])
    return int(first.get("code", 0))


def _signed(text: str | None) -> int:
    number = int(text or "", 16)
    return number - 2**32 if number >= 2**31 else number


# Kafka.

_FETCH = "1"
_PARTS = "kafka.partition_id"
_UNREAD = {  # by what tshark says of a message
    "kafka.unknown_api_key": "of an API that this tshark does not know",
    "kafka.unsupported_api_version": "of a version that this tshark does not know",
    "kafka.request_missing": "a reply, to a request that this tshark does not know",
    "kafka.pdu_length_mismatch": "which this tshark does not read to its end",
}


def kafka(messages: Iterable[Message], records: Iterable[Record]) -> Agreement:
    """By correlation id."""
    found = {(record["client"], record["request_id"]): record for record in records}
    agreement = Agreement()
    for message in messages:
        id = int(value(message.node, "kafka.correlation_id") or "")
        record = found.get((message.client, id))
        where = f"{message.client} {id} {record['operation'] if record else ''}"
        if message.asks:
            _kafka_request(agreement, message.node, record, where)
        else:
            _kafka_reply(agreement, message.node, record, where)
    return agreement


def _kafka_request(agreement: Agreement, node: Node, record: Record | None, where: str) -> None:
    _count(agreement, record, where)
    if record is None:
        return
    own, cut = record["kafka"], record["truncated"]
    for fact, expected, seen in (
        ("request bytes", value(node, "kafka.len"), str(record["request_bytes"] - 4)),
        ("api", value(node, "kafka.request_key"), str(own["api_key"])),
        ("version", value(node, "kafka.request.version"), str(own["api_version"])),
        ("client id", value(node, "kafka.client_id"), own.get("client_id", _NULL)),
    ):
        agreement.expect(fact, expected, seen, where)
    if _unread(agreement, node):
        return
    for fact, expected, seen in (
        ("group", value(node, "kafka.consumer_group"), own.get("group", MISSING)),
        ("acks", value(node, "kafka.required_acks"), _text(own.get("acks", MISSING))),
        ("transactional", value(node, "kafka.transactional_id"), own.get("transactional_id", MISSING)),
    ):
        if expected and expected != _NULL:
            agreement.expect(fact, expected, seen, where, truncated=cut)
    for topic in set(deep(node, "kafka.topic_name")):
        known = topic in record.get("targets", ())
        agreement.expect("topic", True, known or MISSING, f"{where} {topic}", truncated=cut)
    told = {(part.get("topic"), part["partition"]) for part in own.get("partitions", ())}
    for around, part in _partitions(node):
        key = around, int(value(part, _PARTS) or "")
        agreement.expect("partition", True, key in told or MISSING, f"{where} {key}", truncated=cut)


def _kafka_reply(agreement: Agreement, node: Node, record: Record | None, where: str) -> None:
    if record is None or record["status"] in _UNANSWERED:
        return
    own, cut = record["kafka"], record["truncated"]
    agreement.expect("reply id", int(value(node, "kafka.correlation_id") or ""), record.get("response_id"), where)
    agreement.expect("reply bytes", value(node, "kafka.len"), str(record["response_bytes"] - 4), where)
    if _unread(agreement, node):
        return
    codes = [int(code) for code in deep(node, "kafka.error")]
    whole = int(value(node, "kafka.error") or 0)
    code = whole or next(filter(None, codes), 0)
    agreement.expect("error code", code, record.get("error_code", 0), where, truncated=cut)
    agreement.expect("status", "error" if code else "ok", record["status"], where, truncated=cut)
    throttle = value(node, "kafka.throttle_time")
    if throttle is not None:
        agreement.expect("throttle", int(throttle), own.get("throttle_ms", MISSING), where, truncated=cut)
    told = {(part.get("topic"), part["partition"]): part for part in own.get("partitions", ())}
    for topic, part in _partitions(node):
        key = topic, int(value(part, _PARTS) or "")
        its = told.get(key, {})
        facts = [("error_code", "kafka.error")]
        if value(node, "kafka.response_key") == _FETCH:
            facts += [("high_watermark", "kafka.offset"), ("last_stable_offset", "kafka.last_stable_offset")]
            facts += [("log_start_offset", "kafka.log_start_offset")]
        for fact, field in facts:
            expected = value(part, field)
            if expected is not None and int(expected) >= (0 if fact != "error_code" else -1):
                agreement.expect(fact, int(expected), its.get(fact, MISSING), f"{where} {key}", truncated=cut)


def _partitions(node: Node, topic: str | None = None) -> Iterator[tuple[str | None, Node]]:
    """Every partition with the name of the topic around it."""
    topic = value(node, "kafka.topic_name") or topic
    if topic is not None and value(node, _PARTS) is not None:
        yield topic, node
    for _, each in node:
        if isinstance(each, tuple):
            yield from _partitions(each, topic)


def _unread(agreement: Agreement, node: Node) -> bool:
    """Whether tshark says that it does not read the message's body."""
    notes = [each for name, each in node if name == "_ws.expert"]
    notes += [inner(each, "_ws.expert") for name, each in node if name.endswith("_tree")]  # of its API, its version
    said = {name for note in notes for name, _ in note}
    reason = next((reason for name, reason in _UNREAD.items() if name in said), None)
    if reason is not None:
        agreement.left_out[reason] += 1
    return reason is not None


def _text(number: Any) -> Any:
    return str(number) if isinstance(number, int) else number
