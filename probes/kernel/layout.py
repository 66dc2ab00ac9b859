"""The structures that the BPF program and the collector share (program/events.h, program/state.h).

`macros()` hands sizes and offsets to the C side, where `_Static_assert` compares them: a difference stops the
compilation. All fields are in the host's byte order and naturally aligned.
"""

from __future__ import annotations

import ctypes
import struct
from enum import IntEnum

from probes.scope import PortUse


class Kind(IntEnum):
    """What a record of the ring buffer is."""

    HEAD = 1
    OPENED = 2
    CLOSED = 3
    IGNORED = 4
    VERIFY = 5
    EXCHANGE = 6


class Label(IntEnum):
    """What the kernel takes a connection for."""

    NONE = 0
    MONGODB = 1
    KAFKA = 2
    RAW = 3


PROTOCOL_OF_LABEL = {Label.NONE: "", Label.MONGODB: "mongodb", Label.KAFKA: "kafka", Label.RAW: "raw"}


OUTBOUND, FIRST, LAST = 1, 2, 4  # flags of a head

COUNTERS = (
    "messages",
    "ring_full",
    "unreadable",
    "connections_full",
    "calls_full",
    "resynchronised",
    "too_many_in_a_call",
    "ignored_connections",
)


class CallKind(IntEnum):
    """What a system call does with a descriptor (enum call_kind)."""

    NONE = 0
    READ = 1
    WRITE = 2
    READV = 3
    WRITEV = 4
    RECVFROM = 5
    RECVMSG = 6
    SENDMSG = 7
    SENDFILE = 8
    CONNECT = 9
    ACCEPT = 10
    CLOSE = 11
    DUP = 12
    DUP_TO = 13
    FCNTL = 14
    CLOSE_RANGE = 15


class HeadRecord(ctypes.Structure):
    """`struct head`; `length` + `tail` bytes follow it."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("framing", ctypes.c_uint8),
        ("label", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("tgid", ctypes.c_uint32),
        ("connection", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("first_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
        ("total", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("tail", ctypes.c_uint32),
    )


class Addresses(ctypes.Structure):
    """`struct addresses`: ports in host byte order, IPv4 in the first 4 bytes; family 0 where unknown."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("near_port", ctypes.c_uint16),
        ("far_port", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
        ("near", ctypes.c_uint8 * 16),
        ("far", ctypes.c_uint8 * 16),
    )


class LifecycleRecord(ctypes.Structure):
    """`struct lifecycle`: every record that is no head."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("framing", ctypes.c_uint8),
        ("label", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("tgid", ctypes.c_uint32),
        ("connection", ctypes.c_uint64),
        ("ns", ctypes.c_uint64),
        ("inbound", ctypes.c_uint64),
        ("outbound", ctypes.c_uint64),
        ("fd", ctypes.c_uint32),
        ("reason", ctypes.c_uint32),
        ("addresses", Addresses),
    )


class Stream(ctypes.Structure):
    """`struct stream`: one direction of a connection."""

    _fields_ = (
        ("number", ctypes.c_uint64),
        ("first_ns", ctypes.c_uint64),
        ("total", ctypes.c_uint32),
        ("done", ctypes.c_uint32),
        ("keep", ctypes.c_uint32),
        ("held", ctypes.c_uint32),
        ("synced", ctypes.c_uint8),
        ("requests", ctypes.c_uint8),
        ("quiet", ctypes.c_uint8),
        ("pad", ctypes.c_uint8),
        ("id", ctypes.c_uint32),
        ("hold", ctypes.c_uint8 * 64),
    )

    def complete(self) -> int:
        """Messages that are told and have gone by whole."""
        return int(self.number) - bool(self.total and not self.quiet)


class ConnectionState(ctypes.Structure):
    """`struct connection`: the collector writes one for each connection it finds in /proc, and reads the counts."""

    _fields_ = (
        ("opened_ns", ctypes.c_uint64),
        ("tgid", ctypes.c_uint32),
        ("fd", ctypes.c_uint32),
        ("references", ctypes.c_uint32),
        ("young", ctypes.c_uint8),
        ("label", ctypes.c_uint8),
        ("announced", ctypes.c_uint8),
        ("sasl", ctypes.c_uint8),
        ("strange", ctypes.c_uint32),
        ("tls", ctypes.c_uint32),
        ("correlation", ctypes.c_uint32),
        ("tries", ctypes.c_uint32),
        ("shadows", ctypes.c_uint32),
        ("is_shadow", ctypes.c_uint32),
        ("socket", ctypes.c_uint64),
        ("addresses", Addresses),
        ("streams", Stream * 2),
    )


class CallState(ctypes.Structure):
    """`struct call`: the collector writes one for each call that a thread was in when the probes came."""

    _fields_ = (
        ("connection", ctypes.c_uint64),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("began_ns", ctypes.c_uint64),
        ("socket", ctypes.c_uint64),
        ("fd", ctypes.c_uint32),
        ("kind", ctypes.c_uint8),
        ("blind", ctypes.c_uint8),
        ("adopted", ctypes.c_uint16),
    )


class ExchangeRecord(ctypes.Structure):
    """`struct exchange`: when a shadow's request and reply went by; 0 where it does not tell."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("framing", ctypes.c_uint8),
        ("label", ctypes.c_uint8),
        ("messages", ctypes.c_uint8),
        ("id", ctypes.c_int32),
        ("connection", ctypes.c_uint64),
        ("request_first_ns", ctypes.c_uint64),
        ("request_last_ns", ctypes.c_uint64),
        ("reply_first_ns", ctypes.c_uint64),
        ("reply_last_ns", ctypes.c_uint64),
    )


class ShadowState(ctypes.Structure):
    """`struct shadow`: the last request of a shadow, waiting for its reply unless `request_first_ns` is 0."""

    _fields_ = (
        ("request_first_ns", ctypes.c_uint64),
        ("request_last_ns", ctypes.c_uint64),
        ("replied", ctypes.c_uint64),
        ("id", ctypes.c_uint32),
        ("total", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("data", ctypes.c_uint8 * 512),
    )


class Settings(ctypes.Structure):
    """`struct settings`: what all programs go by. The collector writes it; `on_any_call` finds the first two."""

    _fields_ = (
        ("stack_at", ctypes.c_uint32),
        ("registers_at", ctypes.c_uint32),
        ("shadows_made", ctypes.c_uint32),
        ("enabled", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("kinds", ctypes.c_uint8 * 512),
    )


HEAD = struct.Struct("=BBBBIQQQQIIII")
HEAD_SIZE = HEAD.size
assert ctypes.sizeof(HeadRecord) == HEAD_SIZE

# The two usual records, of a whole message and of an exchange, up to its connection the same and read by one look: the
# total and the offset of a message, which is 0 then, lie where an exchange has its fourth time. Its id is signed.
USUAL = struct.Struct("=BBBBiQQQQQII")
assert USUAL.size == HEAD_SIZE
assert HeadRecord.total.offset == ExchangeRecord.reply_last_ns.offset == 40

_MIRRORED = (
    ("head", HeadRecord),
    ("addresses", Addresses),
    ("lifecycle", LifecycleRecord),
    ("stream", Stream),
    ("connection", ConnectionState),
    ("call", CallState),
    ("exchange", ExchangeRecord),
    ("shadow", ShadowState),
    ("settings", Settings),
)


def macros() -> str:
    """C source that fails to compile unless the C side has the same layout."""
    lines = []
    for name, record in _MIRRORED:
        lines.append(f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(record)}, "size of {name}");')
        for field, *_ in record._fields_:
            offset = getattr(record, field).offset
            lines.append(f'_Static_assert(__builtin_offsetof(struct {name}, {field}) == {offset}, "{name}.{field}");')
    lines.append(f'_Static_assert(COUNTERS == {len(COUNTERS)}, "counters");')
    lines.append(f'_Static_assert(CALL_CLOSE_RANGE == {CallKind.CLOSE_RANGE:d}, "call kinds");')
    lines.append(f'_Static_assert(PORT_RAW == {PortUse.RAW:d} && LABEL_RAW == {Label.RAW:d}, "raw ports");')
    return "\n".join(lines) + "\n"
