"""A session as one JSON line: the contract with scripts (README, "The record").

Names are stable, a fact that is not known is absent rather than null, and no integer goes beyond 2^53, where
jq and JavaScript begin to round: such a number is a string. A line is UTF-8 and holds no character that a
terminal would obey: those are written as JSON escapes, so a parser gives back exactly what was captured.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from probes.outputs.escape import UNSAFE
from probes.protocols.interface import WireProtocol
from probes.records import Process, Session

FIELDS = (
    "time",
    "time_us",
    "protocol",
    "operation",
    "version",
    "target",
    "targets",
    "status",
    "error_code",
    "error_name",
    "error",
    "error_side",
    "duration_ns",
    "client_duration_ns",
    "long_poll",
    "wait_ns",
    "request_bytes",
    "response_bytes",
    "request_id",
    "response_id",
    "truncated",
    "client",
    "server",
    "seen_from",
    "client_process",
    "server_process",
    "trace_id",
    "span_id",
    "attributes",
    "request",
    "response",
)
"""Every top-level name, in order; beside them only the protocol's own object, under the protocol's name."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_LIFTED = frozenset({"error", "trace_id", "span_id", "request", "response"})  # what a protocol gives for the top level
_MAX_INTEGER = 2**53
_MAX_DEPTH = 64
_CLOCK_STEP_NS = 1_000_000


class WallClock:
    """Turns CLOCK_MONOTONIC, ns, into wall-clock time.

    The distance between the two is kept, so that the times of a capture differ as the events did, until the
    wall clock is set or the machine was suspended.
    """

    def __init__(self, offset_ns: int | None = None) -> None:
        self.offset_ns = self._offset() if offset_ns is None else offset_ns

    @staticmethod
    def _offset() -> int:
        return time.time_ns() - time.monotonic_ns()

    def refresh(self) -> None:
        """Follow the wall clock where it has been set since."""
        offset = self._offset()
        if abs(offset - self.offset_ns) > _CLOCK_STEP_NS:
            self.offset_ns = offset

    def microseconds(self, monotonic_ns: int) -> int:
        """Microseconds since the epoch at `monotonic_ns`."""
        return (monotonic_ns + self.offset_ns) // 1000


class CaptureClock(WallClock):
    """The clock of a capture, whose times are of the wall clock already."""

    def __init__(self) -> None:
        super().__init__(0)

    def refresh(self) -> None:
        """There is nothing to follow."""


def iso_time(microseconds: int) -> str:
    """`microseconds` since the epoch as ISO 8601 in UTC."""
    seconds, micros = divmod(microseconds, 1_000_000)
    return f"{_iso_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=64)
def _iso_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def plain(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """`value` as JSON can hold it: what JSON has no type for becomes text, what nests beyond `depth` too."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, int):
        return value if -_MAX_INTEGER <= value <= _MAX_INTEGER else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # NaN and the infinities have no JSON
    if isinstance(value, str):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if depth and isinstance(value, Iterable):
        return [plain(item, depth - 1) for item in value]
    return str(value) if depth else "…"


def _process(process: Process) -> dict[str, Any]:
    record: dict[str, Any] = {"pid": process.pid, "name": process.name}
    if process.container:
        record["container"] = process.container
    return record


def session_record(session: Session, own: Mapping[str, Any], clock: WallClock) -> dict[str, Any]:
    """The record of `session`. `own` is its protocol's part, with the texts that may hold literals."""
    lifted = {name: plain(own[name]) for name in _LIFTED & own.keys()}
    request, reply, times = session.request, session.reply, session.times

    microseconds = clock.microseconds(times.request_first or times.reply_first)
    record: dict[str, Any] = {
        "time": iso_time(microseconds),
        "time_us": microseconds,
        "protocol": session.protocol,
    }
    if request is not None:
        record["operation"] = request.operation
        if request.version is not None:
            record["version"] = request.version
        if request.target:
            record["target"] = request.target
            record["targets"] = list(request.targets) or [request.target]
    record["status"] = str(session.status)

    failure = reply.failure if reply is not None else None
    # Neither code nor name: they were cut away, and with them whose fault it is.
    told = failure is not None and (failure.code != 0 or failure.name != "")
    if failure is not None and told:
        if failure.code:
            record["error_code"] = failure.code
        if failure.name:
            record["error_name"] = failure.name
    if "error" in lifted:
        record["error"] = lifted["error"]
    if failure is not None and told:
        record["error_side"] = str(failure.fault)

    long_poll = request is not None and request.long_poll
    if times.reply_first and times.request_first and not long_poll:
        record["duration_ns"] = times.duration
        if session.client_times is not None and session.client_times.reply_first:
            record["client_duration_ns"] = session.client_times.duration
    record["long_poll"] = long_poll
    if times.reply_first and long_poll:
        record["wait_ns"] = times.duration

    if session.request_bytes:  # what an exhaust reply starts was never sent
        record["request_bytes"] = session.request_bytes
    if session.reply_bytes:
        record["response_bytes"] = session.reply_bytes
    if request is not None:
        record["request_id"] = request.id
    if reply is not None and reply.id is not None:
        record["response_id"] = reply.id
    record["truncated"] = (request is not None and request.truncated) or (reply is not None and reply.truncated)

    for name, address in (("client", session.client_address), ("server", session.server_address)):
        shown = str(address)
        if shown:
            record[name] = shown
    record["seen_from"] = str(session.seen_from)
    for name, process in (
        ("client_process", session.client_process),
        ("server_process", session.server_process),
    ):
        if process is not None:
            record[name] = _process(process)

    for name in ("trace_id", "span_id"):
        if name in lifted:
            record[name] = lifted[name]
    attributes = (request.attributes if request is not None else ()) + (reply.attributes if reply is not None else ())
    if attributes:
        record["attributes"] = {name: plain(value) for name, value in attributes}
    details = {
        name: value if type(value) is str else plain(value) for name, value in own.items() if name not in _LIFTED
    }
    if details:
        record[session.protocol] = details
    for name in ("request", "response"):
        if name in lifted:
            record[name] = lifted[name]
    return record


class Recorder:
    """Makes the records of a capture; `undescribed` counts those without their protocol's part."""

    def __init__(self, *, literals: bool, clock: WallClock | None = None) -> None:
        self.clock = clock or WallClock()
        self.undescribed = 0
        self._literals = literals

    def line(self, session: Session, protocol: WireProtocol | None) -> bytes:
        """The record of `session` as `json_line` writes it."""
        return json_line(session_record(session, self._own(session, protocol), self.clock))

    def _own(self, session: Session, protocol: WireProtocol | None) -> Mapping[str, Any]:
        try:
            return protocol.record(session, literals=self._literals) if protocol else {}
        except Exception:
            # A parser's bug costs this one part of this one record, and is told at the end.
            self.undescribed += 1
            if os.environ.get("L7TOP_DEBUG") == "1":
                traceback.print_exc()
            return {}


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def json_line(record: dict[str, Any]) -> bytes:
    """`record` as one line of UTF-8 JSON, its newline included. Lone surrogates become U+FFFD."""
    text = _encode(record)
    # The encoder has escaped C0's control characters; of ASCII that leaves one.
    if not (text.isascii() and "\x7f" not in text) and not text.isprintable():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = UNSAFE.sub(_json_escape, text)
    return text.encode() + b"\n"
