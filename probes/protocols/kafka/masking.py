"""What of a message may go into a recording: its shape and its names, not what users put into it.

In: a head, and what the parser made of it, whose data are free of credentials. Out: the head with every literal
overwritten at the same length: texts but names (of topics, groups, members, transactions, software), bytes, and of
records their keys, values and headers' values but a trace's. Numbers, ids and lengths stay: they are the protocol's
own. Nothing is raised; what is not understood is overwritten, too.
"""

from __future__ import annotations

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka.headers import CLIENT_ID, REPLY_BODY, client_id_end
from probes.protocols.kafka.kinds import kind, reply_kind
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.kafka.outline import outline
from probes.protocols.kafka.table import Field
from probes.protocols.kafka.walk import Trace, Windows, trace
from probes.records import Head, Reply, Request

_COVER = b"*"
_LENGTH_BYTES = 4
_NAMING_ENTITIES = frozenset({"topicName", "groupId", "transactionalId"})
_NAMING_FIELDS = frozenset(
    {"group_id", "coordinator_keys", "resource_name", "member_id", "client_software_name", "client_software_version"}
    | {"key", "mechanism", "mechanisms", "protocol_type", "protocol_name", "group_state", "group_type", "reason"}
)


def recordable(head: Head, message: Request | Reply | None, request: Request | None, *, literals: bool) -> Head:
    """What may be written of a message; of one that the parser refused (None) its length, so that the next is found."""
    data = head.data[:_LENGTH_BYTES]
    windows: Windows = ()
    if isinstance(message, KafkaRequest | KafkaReply):
        data = message.data
    if isinstance(message, KafkaReply):
        windows = message.windows
    if len(data) > _LENGTH_BYTES and not literals:
        data, windows = _masked(head, data, windows, message, request)
    return head._replace(data=data, tail=b"", windows=windows)


def _masked(
    head: Head, data: bytes, windows: Windows, message: Request | Reply | None, request: Request | None
) -> tuple[bytes, Windows]:
    if isinstance(message, KafkaRequest):
        this = kind(message.api_key, message.version or 0, "request")
        try:
            body = client_id_end(data, head.total) if this.has_client_id else CLIENT_ID
        except ProtocolError:
            return data[:_LENGTH_BYTES], ()
    elif isinstance(request, KafkaRequest):
        this, body = reply_kind(request.api_key, request.version or 0, data), REPLY_BODY
    else:
        return data[:REPLY_BODY], ()
    if this.layout is None:
        return data[:body], ()
    traced = trace(this.layout, data, body, head.total, windows, _is_name, header_tags=this.header_tags)
    pieces = [(0, data), *windows]
    kept = [(0, body), *traced.kept, *_of_records(pieces, traced)]
    (_, data), *others = [(start, _only(start, piece, kept)) for start, piece in pieces]
    return data, tuple(others)


def _is_name(field: Field) -> bool:
    return field.entity in _NAMING_ENTITIES or field.name in _NAMING_FIELDS


def _only(start: int, piece: bytes, kept: list[tuple[int, int]]) -> bytes:
    """`piece`, which lies at `start`, with nothing in it but what is kept."""
    clean = bytearray(_COVER * len(piece))
    for first, end in kept:
        first, end = max(first - start, 0), min(end - start, len(piece))
        if first < end:
            clean[first:end] = piece[first:end]
    return bytes(clean)


def _of_records(pieces: list[tuple[int, bytes]], traced: Trace) -> list[tuple[int, int]]:
    """What is no literal in the records of a message: their batches' headers, and the records' own numbers."""
    found: list[tuple[int, int]] = []
    for blob in traced.records:
        for start, piece in pieces:
            if start <= blob.start < start + len(piece):
                places = outline(piece, blob.start - start, blob.length)
                found += [(first + start, end + start) for first, end in places]
    return found
