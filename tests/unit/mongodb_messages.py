"""MongoDB messages for tests, built byte by byte, and the ways in which a parser is fed with them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import bson
from bson import Binary, Int64, Timestamp

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB
from probes.protocols.mongodb.checksums import crc32c
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.records import Connection, Head, Reply, Request, Session, Side, Status, Times

CONNECTION = Connection(1, None)
REQUEST_ID = 17
REPLY_ID = 5512

LSID = {"id": Binary(bytes(range(16)), 4)}
CLUSTER_TIME = {
    "clusterTime": Timestamp(1_795_420_801, 3),
    "signature": {"hash": Binary(bytes(20)), "keyId": Int64(7_201_234_567)},
}
REPLY_END = {"ok": 1.0, "$clusterTime": CLUSTER_TIME, "operationTime": Timestamp(1_795_420_801, 3)}

Doc = Mapping[str, Any]


def message(opcode: int, body: bytes, *, id: int = REQUEST_ID, to: int = 0) -> bytes:
    return struct.pack("<iiii", 16 + len(body), id, to, opcode) + body


def kind0(document: Doc) -> bytes:
    return b"\0" + bson.encode(document)


def kind1(identifier: str, documents: Iterable[Doc]) -> bytes:
    payload = identifier.encode() + b"\0" + b"".join(map(bson.encode, documents))
    return b"\1" + struct.pack("<i", 4 + len(payload)) + payload


def kind2(token: str) -> bytes:
    """The security token as newer servers write it: a C string."""
    return b"\2" + token.encode() + b"\0"


def op_msg(*sections: bytes, flags: int = 0, id: int = REQUEST_ID, to: int = 0) -> bytes:
    body = struct.pack("<I", flags) + b"".join(sections)
    if not flags & 1:
        return message(2013, body, id=id, to=to)
    unsigned = message(2013, body + bytes(4), id=id, to=to)[:-4]
    return unsigned + struct.pack("<I", crc32c(unsigned))


def command(document: Doc, *, flags: int = 0, id: int = REQUEST_ID) -> bytes:
    """A command as a driver sends it today."""
    return op_msg(kind0(document), flags=flags, id=id)


def answer(document: Doc, *, flags: int = 0, id: int = REPLY_ID, to: int = REQUEST_ID) -> bytes:
    return op_msg(kind0(document), flags=flags, id=id, to=to)


def op_query(namespace: str, *documents: Doc, flags: int = 0) -> bytes:
    body = struct.pack("<i", flags) + namespace.encode() + b"\0" + struct.pack("<ii", 0, -1)
    return message(2004, body + b"".join(map(bson.encode, documents)))


def op_reply(*documents: Doc, flags: int = 8, cursor_id: int = 0, id: int = REPLY_ID, to: int = REQUEST_ID) -> bytes:
    body = struct.pack("<iqii", flags, cursor_id, 0, len(documents))
    return message(1, body + b"".join(map(bson.encode, documents)), id=id, to=to)


def compressed(inner: bytes, compressor: int, payload: bytes | None = None) -> bytes:
    """`inner` as OP_COMPRESSED: 0 noop, 2 zlib, or with a `payload` that some other compressor made of its body."""
    _, id, to, opcode = struct.unpack_from("<iiii", inner)
    body = inner[16:]
    if payload is None:
        payload = zlib.compress(body) if compressor == 2 else body
    return message(2012, struct.pack("<iiB", opcode, len(body), compressor) + payload, id=id, to=to)


def head(data: bytes, cut: int | None = None, *, tail: int = 0, windows: Iterable[tuple[int, int]] = ()) -> Head:
    """The head of a message of which `cut` bytes were captured, its last `tail` ones, and windows (offset, bytes)."""
    total = len(data)
    return Head(
        True,
        0,
        1_000,
        2_000,
        total,
        data if cut is None else data[:cut],
        data[total - tail :] if tail else b"",
        tuple((at, data[at : at + size]) for at, size in windows),
    )


def request_of(data: bytes | Head, protocol: MongoDB | None = None, memory: Any = None) -> MongoRequest:
    protocol = protocol or MongoDB()
    given = data if isinstance(data, Head) else head(data)
    request = protocol.request(given, memory if memory is not None else protocol.memory(CONNECTION))
    assert isinstance(request, MongoRequest)
    return request


def reply_of(data: bytes | Head, request: Request | None, protocol: MongoDB | None = None) -> MongoReply:
    protocol = protocol or MongoDB()
    given = data if isinstance(data, Head) else head(data)
    reply = protocol.reply(given, request, protocol.memory(CONNECTION))
    assert isinstance(reply, MongoReply)
    return reply


def session(request: Request | None, reply: Reply | None = None, status: Status = Status.OK) -> Session:
    return Session("mongodb", status, Side.SERVER, CONNECTION, request, reply, Times(1, 2, 3, 4), 100, 100)


def record_of(request: Request | None, reply: Reply | None = None, *, literals: bool = False) -> dict[str, Any]:
    return MongoDB().record(session(request, reply), literals=literals)


def maybe_request(given: Head) -> MongoRequest | None:
    """None where the head is too short to say what it asks for."""
    try:
        return request_of(given)
    except ProtocolError:
        return None


def maybe_reply(given: Head, request: Request | None) -> MongoReply | None:
    try:
        return reply_of(given, request)
    except ProtocolError:
        return None
