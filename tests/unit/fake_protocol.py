"""A tiny protocol to pair: one letter for the kind, one for flags, then two ids of four bytes."""

from __future__ import annotations

import struct
from typing import Any

from probes.protocols.interface import ProtocolError, WireProtocol
from probes.records import Connection, Failure, Head, Reply, Request, Session, Verdict

MESSAGE = struct.Struct("<ccII")  # kind, flags, own id, the id that is answered

REQUEST, REPLY = b"Q", b"R"
PLAIN, ONEWAY, LONG, FAILED, CONTINUES, BROKEN, BUG = b".", b"1", b"l", b"e", b"c", b"b", b"!"
NO_ID = b"n"  # of a request: its reply carries no id


class FakeProtocol(WireProtocol):
    """Like Kafka it never calls a head a reply, unless `knows_replies`."""

    def __init__(self, name: str = "fake", *, knows_replies: bool = False, confirms_alone: bool = False) -> None:
        self.name = self.framing = name
        self.knows_replies = knows_replies
        self.confirms_alone = confirms_alone

    def memory(self, connection: Connection) -> Any:
        return None

    def identify(self, data: bytes, total: int) -> Verdict:
        if data[:1] == REQUEST:
            return Verdict.REQUEST
        return Verdict.REPLY if self.knows_replies and data[:1] == REPLY else Verdict.FOREIGN

    def request(self, head: Head, memory: Any) -> Request:
        flags, id, _ = self._read(head, REQUEST)
        return Request(
            id,
            "ask",
            head.data,
            expects_reply=flags != ONEWAY,
            long_poll=flags == LONG,
            truncated=head.truncated,
            in_order=flags == NO_ID,
        )

    def reply_to(self, head: Head, memory: Any) -> int:
        if len(head.data) < MESSAGE.size:
            raise ProtocolError("too short")
        id: int = MESSAGE.unpack_from(head.data)[3]
        return id

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        if request is not None and request.in_order:
            return Reply(request.id, head.data)
        flags, id, _ = self._read(head, REPLY)
        failure = Failure(7, "Broken") if flags == FAILED else None
        return Reply(id, head.data, failure, continues=flags == CONTINUES)

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        return {}

    def _read(self, head: Head, expected: bytes) -> tuple[bytes, int, int]:
        if len(head.data) < MESSAGE.size:
            raise ProtocolError("too short")
        kind, flags, id, answers = MESSAGE.unpack_from(head.data)
        if flags == BUG:
            raise ZeroDivisionError
        if kind != expected or flags == BROKEN:
            raise ProtocolError("not to be read")
        return flags, id, answers


def head(
    outbound: bool,
    number: int,
    ns: int,
    kind: bytes,
    id: int,
    answers: int = 0,
    flags: bytes = PLAIN,
    total: int = 100,
) -> Head:
    """A message whose first byte passes at `ns` and whose last byte one ns later."""
    data = MESSAGE.pack(kind, flags, id, answers)
    return Head(outbound, number, ns, ns + 1, total, data.ljust(total, b"\0"))
