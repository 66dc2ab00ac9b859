"""The system calls that move bytes over sockets or change descriptors, by architecture.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

from probes.kernel.layout import CallKind


class Call(NamedTuple):
    """A system call by the name of its tracepoints (sys_enter_NAME, sys_exit_NAME)."""

    name: str
    kind: CallKind
    x86_64: int | None
    aarch64: int | None
    returns: bool = True  # its exit matters


CALLS = (
    Call("read", CallKind.READ, 0, 63),
    Call("write", CallKind.WRITE, 1, 64),
    Call("readv", CallKind.READV, 19, 65),
    Call("writev", CallKind.WRITEV, 20, 66),
    Call("recvfrom", CallKind.RECVFROM, 45, 207),
    Call("sendto", CallKind.WRITE, 44, 206),
    Call("recvmsg", CallKind.RECVMSG, 47, 212),
    Call("sendmsg", CallKind.SENDMSG, 46, 211),
    Call("sendfile64", CallKind.SENDFILE, 40, 71),
    Call("connect", CallKind.CONNECT, 42, 203),
    Call("accept", CallKind.ACCEPT, 43, 202),
    Call("accept4", CallKind.ACCEPT, 288, 242),
    Call("close", CallKind.CLOSE, 3, 57, returns=False),
    Call("dup", CallKind.DUP, 32, 23),
    Call("dup2", CallKind.DUP_TO, 33, None),
    Call("dup3", CallKind.DUP_TO, 292, 24),
    Call("fcntl", CallKind.FCNTL, 72, 25),
    Call("close_range", CallKind.CLOSE_RANGE, 436, 436, returns=False),
)

# Those whose beginning matters even where the kernel has tracepoints within the calls: when they began to send, and
# what is no more once they return.
SENDING = frozenset({CallKind.WRITE, CallKind.WRITEV, CallKind.SENDMSG, CallKind.SENDFILE})
CLOSING = frozenset({CallKind.CLOSE, CallKind.CLOSE_RANGE})


def numbers() -> dict[int, Call]:
    """The calls of this machine by number. Raises KeyError on an architecture without a table."""
    column = {"x86_64": "x86_64", "aarch64": "aarch64"}[platform.machine()]
    return {n: call for call in CALLS if (n := getattr(call, column)) is not None}
