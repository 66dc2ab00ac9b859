"""Valid messages of both protocols, as bytes."""

from __future__ import annotations

import struct

from tests.unit import mongodb_messages

OP_REPLY, OP_COMPRESSED, OP_MSG = 1, 2012, 2013
PRODUCE, FETCH, METADATA, SASL_HANDSHAKE = 0, 1, 3, 17
MORE_TO_COME = 2


def op_msg(id_: int, *, answers: int = 0, flags: int = 0, padding: int = 0) -> bytes:
    document = {"ok": 1.0} if answers else {"find": "orders", "$db": "shop"}
    section = mongodb_messages.kind0({**document, "padding": _text(padding)} if padding else document)
    return mongodb_messages.op_msg(section, flags=flags, id=id_, to=answers)


def op_compressed(id_: int, size: int) -> bytes:
    """`size` bytes of what stands for compressed data."""
    return mongodb_messages.message(
        OP_COMPRESSED, struct.pack("<iiB", OP_MSG, 3 * size, 1) + _text(size).encode(), id=id_
    )


def kafka_request(
    correlation: int, *, api_key: int = METADATA, version: int = 9, client_id: str | None = "shop-1", body: bytes = b""
) -> bytes:
    client = b"\xff\xff" if client_id is None else struct.pack(">h", len(client_id)) + client_id.encode()
    return frame(struct.pack(">hhi", api_key, version, correlation) + client + body)


def kafka_reply(correlation: int, body: bytes = b"\0\0") -> bytes:
    return frame(struct.pack(">i", correlation) + body)


def frame(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def filler(size: int) -> bytes:
    """Bytes that are part of no header of either protocol, and differ from place to place."""
    return _text(size).encode()


def _text(size: int) -> str:
    return "".join(f"{at:08}" for at in range(0, size, 8))[:size]
