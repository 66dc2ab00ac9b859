"""Redis, and whatever else speaks RESP: l7top --plugin redis_resp.py, on other ports with --ports redis=6380,6381.

RESP has no ids: replies come in the order of their requests, so a client may send many at once. A request is an array
of bulk strings, the command's name first: *2 $3 GET $1 k, each on its line. Telnet's inline commands are passed over.
A connection that subscribes or monitors is told no more of: from there on the server speaks by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from probes.protocols.interface import RAW, Abort, ProtocolError, WireProtocol
from probes.records import Connection, Failure, Fault, Head, Reply, Request, Verdict

BULKS = b"$=!"  # types with a length and as many bytes
AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}  # how many values follow for each that is counted
KINDS = b"+-:_#,(" + BULKS + b"".join(AGGREGATES)  # all types; the first ones are a line, no more
TYPES = {b"+": "simple string", b":": "integer", b"$": "bulk string", b"*": "array", b"_": "null", b"%": "map"}
LONGEST, DEEPEST = 512 * 1024 * 1024, 1 << 20  # Redis's own bounds of a bulk string and of an array
LONGEST_LINE = 1 << 14

WITHOUT_KEY = frozenset(("AUTH", "CLIENT", "COMMAND", "CONFIG", "ECHO", "EXEC", "HELLO", "INFO", "PING", "SELECT"))
SECRET = frozenset(("AUTH", "HELLO", "CONFIG", "ACL", "MIGRATE"))
SPEAKS_BY_ITSELF = frozenset(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"))
SILENCE = ["CLIENT", "REPLY"]
LONG_POLLS = frozenset(("BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "XREAD"))
SERVERS_FAULT = frozenset(("LOADING", "OOM", "BUSY", "MISCONF", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN"))


@dataclass
class Memory:
    """What is remembered of one connection."""

    requests: int = 0
    speaks_by_itself: bool = False


class Redis(WireProtocol):
    name = "redis"
    framing = RAW
    ports = (6379,)

    def memory(self, connection: Connection) -> Memory:
        return Memory()

    def frame(self, data: bytes, memory: Memory) -> int:
        """The end of the value that `data` begins with: one, and for each aggregate as many more as it counts."""
        at, values = 0, 1
        while values:
            kind, line, at = _line(data, at)
            if kind and kind not in KINDS:
                raise ProtocolError("no RESP type")
            if at < 0:
                return 0
            values -= 1
            if kind in BULKS:
                size = _number(line, LONGEST)
                at += size + 2 if size >= 0 else 0  # -1 is a null
            elif kind in AGGREGATES:
                values += max(0, _number(line, DEEPEST)) * AGGREGATES[kind]
                values += kind == b"|"  # the value that has these attributes
            if at > len(data) and values:
                return 0
        return at

    def identify(self, data: bytes, total: int) -> Verdict:
        return Verdict.REQUEST if data.startswith(b"*") else Verdict.REPLY

    def request(self, head: Head, memory: Memory) -> Request:
        words = _words(head.data)
        command = words[0].upper()
        memory.requests += 1
        memory.speaks_by_itself |= command in SPEAKS_BY_ITSELF or [command, *map(str.upper, words[1:2])] == SILENCE
        if memory.speaks_by_itself:
            raise Abort
        return Request(
            memory.requests,
            command,
            b"" if command in SECRET else head.data,
            target=_family(words[1]) if len(words) > 1 and command not in WITHOUT_KEY else "",
            long_poll=command in LONG_POLLS,
            truncated=head.truncated and len(words) < 2,
            in_order=True,
            attributes=(("arguments", _number(_line(head.data, 0)[1], DEEPEST) - 1),),
        )

    def reply_to(self, head: Head, memory: Memory) -> int | None:
        if memory.speaks_by_itself or head.data.startswith(b">"):
            raise Abort
        return None

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        kind, text, at = _line(head.data, 0)
        if kind not in (b"-", b"!"):
            return Reply(None, head.data, attributes=(("type", TYPES.get(kind, "other")),))
        if kind == b"!":
            text = head.data[at:].removesuffix(b"\r\n")
        code, _, message = text.decode("utf-8", "replace").partition(" ")
        fault = Fault.SERVER if code in SERVERS_FAULT else Fault.CLIENT
        return Reply(None, head.data, Failure(0, code, message, fault))


def _line(data: bytes, at: int) -> tuple[bytes, bytes, int]:
    """The type that begins at `at`, the rest of its line, and where the next one begins; -1 where it is not there."""
    end = data.find(b"\r\n", at, at + LONGEST_LINE)
    if end < 0 and len(data) - at >= LONGEST_LINE:
        raise ProtocolError("no line is so long")
    return data[at : at + 1], data[at + 1 : end], end + 2 if end >= 0 else -1


def _number(text: bytes, most: int) -> int:
    if not re.fullmatch(rb"-1|\d{1,10}", text) or int(text) > most:
        raise ProtocolError("no length")
    return int(text)


def _words(data: bytes) -> list[str]:
    """The bulk strings of a request, as many as are there whole. Raises ProtocolError unless there is one."""
    words, (_, count, at) = [], _line(data, 0)
    for _ in range(min(_number(count, DEEPEST), 3)):
        kind, size, start = _line(data, at)
        if start < 0 or kind != b"$":
            break
        at = start + _number(size, LONGEST) + 2
        if at > len(data):
            break
        words.append(data[start : at - 2].decode("utf-8", "backslashreplace"))
    if not words:
        raise ProtocolError("not an array of strings")
    return words


def _family(key: str) -> str:
    """Keys that differ in numbers only are one target: user:17:cart and user:18:cart are user:*:cart."""
    return re.sub(r"\d+", "*", key)
