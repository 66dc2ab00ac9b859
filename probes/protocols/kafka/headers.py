"""Request headers, read strictly: is this a Kafka request at all, and where does its body begin?

Every message begins with the int32 length of what follows it. Offsets here count from that length on.
Kafka protocol guide, "Headers"; RequestHeader v0 (no client id), v1, v2 (KIP-482: tags).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.kafka import table
from probes.protocols.kafka.plan import plan
from probes.protocols.kafka.plan_source import RequestFacts
from probes.protocols.kafka.walk import Ending, walk

REPLY_BODY = 8  # length and correlation id; tags follow in response header v1
CLIENT_ID = 12  # the offset of the client id's length

# ASCII text would be a length of 512 MiB or more.
MAX_LENGTH = 0x20_00_00_00 - 1
MIN_LENGTH = 10
# Bare SASL tokens and other text cannot pass for a version: its characters are 32 or more.
MAX_VERSION = 31
# How far a known API's version may be ahead of the table.
VERSIONS_AHEAD = 4
MAX_CLIENT_ID = 255

_FIXED = Struct(">ihhi").unpack_from


class Header(NamedTuple):
    api_key: int
    version: int
    correlation_id: int


def fixed_part(data: bytes) -> Header:
    """The part that every request has. Raises ProtocolError where it cannot be one."""
    if len(data) < CLIENT_ID:
        raise ProtocolError("too short for a request")
    length, api_key, version, correlation_id = _FIXED(data, 0)
    if api_key < 0 or not 0 <= version <= MAX_VERSION or length < CLIENT_ID - 4:
        raise ProtocolError("no request header")
    return Header(api_key, version, correlation_id)


def client_id_end(data: bytes, total: int) -> int:
    """The offset after the client id. Raises ProtocolError where its length cannot be one."""
    if len(data) < CLIENT_ID + 2:
        raise ProtocolError("too short for a client id")
    length = int.from_bytes(data[CLIENT_ID : CLIENT_ID + 2], "big", signed=True)
    end = CLIENT_ID + 2 + max(length, 0)
    if length < -1 or end > total:
        raise ProtocolError("no client id")
    return end


def is_request(data: bytes, total: int) -> bool:
    """Whether a head is that of a request, judged by all that is visible of it.

    The header must be of an API of the table, and the body must be read by its layout: to the message's last byte
    where the head holds all of it.
    """
    try:
        header = fixed_part(data)
        api = table.api(header.api_key)
        if api is None or header.correlation_id < 0 or not _length_fits(data, total):
            return False
        if header.version not in range(api.versions.stop + VERSIONS_AHEAD):
            return False
        if not api.has_client_id(header.version):
            body = CLIENT_ID
        else:
            body = client_id_end(data, total)
            if not _is_name(data[CLIENT_ID + 2 : body], body - CLIENT_ID - 2):
                return False
    except ProtocolError:
        return False
    return _body_fits(api, header, data, body, total)


def _length_fits(data: bytes, total: int) -> bool:
    length = int.from_bytes(data[:4], "big")
    return MIN_LENGTH <= length <= MAX_LENGTH and length + 4 == total


def _is_name(visible: bytes, length: int) -> bool:
    """Printable UTF-8, as far as it is visible."""
    if length > MAX_CLIENT_ID:
        return False
    try:
        return visible.decode().isprintable()
    except UnicodeDecodeError as error:
        cut_within = len(visible) < length and error.reason == "unexpected end of data"
        return cut_within and visible[: error.start].decode().isprintable()


def _body_fits(api: table.Api, header: Header, data: bytes, body: int, total: int) -> bool:
    tags = api.header_tags(header.version, "request")
    layout = table.layout(header.api_key, header.version, "request")
    if layout is None:  # newer than the table: its client must have a name at least
        read = walk(table.Layout((), {}, False), data, body, total, header_tags=tags)
        return read.ending is not Ending.MALFORMED and body > CLIENT_ID + 2
    read = walk(layout, data, body, total, header_tags=tags)
    if read.ending is Ending.MALFORMED or read.unknown_tags:
        return False
    if read.ending is Ending.WHOLE and read.end != total:
        return False
    return _is_plausible(header, data, body)


def _is_plausible(header: Header, data: bytes, body: int) -> bool:
    compiled = plan(header.api_key, header.version, "request")
    if compiled is None:
        return False
    facts = RequestFacts(*compiled(data, body, ()))
    if facts.acks not in (None, -1, 0, 1):
        return False
    if (facts.max_wait_ms or 0) < 0 or (facts.min_bytes or 0) < 0:
        return False
    return all(name is None or name.isprintable() for name in (*facts.names, *facts.groups, facts.member))
