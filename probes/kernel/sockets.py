"""What /proc knows of the stream sockets of this host and of the processes that hold them.

Each process's own /proc/PID/net is read, once per network namespace: the tables of one's own namespace say nothing
about a container's sockets. Processes and descriptors vanish at any time; whatever is gone is left out.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from probes.records import UNKNOWN_ADDRESS, Address, Process

PROC = Path("/proc")
_LISTEN = "0A"
_UNIX_STREAM, _UNIX_CONNECTED = "0001", "03"
_CONTAINER = re.compile(r"[0-9a-f]{64}")


class Socket(NamedTuple):
    """A connected stream socket. A unix socket has only its own path, if any."""

    inode: int
    near: Address
    far: Address
    is_unix: bool


class Descriptor(NamedTuple):
    """A descriptor of a process that is a connected stream socket; `namespace` is the network namespace's inode."""

    pid: int
    fd: int
    namespace: int
    socket: Socket


def process(pid: int) -> Process:
    """Name and container of a process; as much as can be read."""
    try:
        name = (PROC / str(pid) / "comm").read_bytes().rstrip(b"\n").decode(errors="replace")
    except OSError:
        return Process(pid, "")
    try:
        found = _CONTAINER.findall((PROC / str(pid) / "cgroup").read_text())
    except OSError:
        found = []
    return Process(pid, name, found[-1] if found else "")


def pids() -> Iterator[int]:
    """All processes but this one."""
    me = os.getpid()
    return (int(name) for name in os.listdir(PROC) if name.isdigit() and int(name) != me)


def namespace(pid: int) -> int:
    """The inode of a process's network namespace, 0 where it is not to be known."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0


def inode_of(pid: int, fd: int) -> int:
    """The inode of the socket that a descriptor is, 0 where it is none."""
    try:
        link = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return 0
    return int(link[8:-1]) if link.startswith("socket:[") else 0


def table(pid: int) -> dict[int, Socket]:
    """The connected stream sockets of a process's network namespace, by inode."""
    sockets: dict[int, Socket] = {}
    for name in ("tcp", "tcp6"):
        for line in _lines(pid, name):
            fields = line.split()
            if len(fields) > 9 and fields[3] != _LISTEN and fields[9] != "0":
                inode = int(fields[9])
                sockets[inode] = Socket(inode, _tcp_address(fields[1]), _tcp_address(fields[2]), False)
    for line in _lines(pid, "unix"):
        fields = line.split(maxsplit=7)
        if len(fields) > 6 and fields[4] == _UNIX_STREAM and fields[5] == _UNIX_CONNECTED:
            path = fields[7].rstrip("\n") if len(fields) > 7 else ""
            near = Address(path, 0) if path else UNKNOWN_ADDRESS
            sockets[int(fields[6])] = Socket(int(fields[6]), near, UNKNOWN_ADDRESS, True)
    return sockets


def descriptors() -> Iterator[Descriptor]:
    """Every connected stream socket that any process but this one holds."""
    tables: dict[int, dict[int, Socket]] = {}
    for pid in pids():
        links = list(_links(pid))
        if not links:
            continue
        space = namespace(pid)
        if space not in tables:
            tables[space] = table(pid)
        sockets = tables[space]
        for fd, inode in links:
            found = sockets.get(inode)
            if found is not None:
                yield Descriptor(pid, fd, space, found)


def blocked_calls(pid: int) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """The system calls that threads of a process wait in: thread id, number and its six arguments."""
    try:
        threads = [int(name) for name in os.listdir(PROC / str(pid) / "task")]
    except OSError:
        return
    for thread in threads:
        call = blocked_call(pid, thread)
        if call is not None:
            yield thread, *call


def blocked_call(pid: int, thread: int) -> tuple[int, tuple[int, ...]] | None:
    """Number and six arguments of the system call that a thread waits in, None where it runs or is gone."""
    try:
        fields = (PROC / str(pid) / "task" / str(thread) / "syscall").read_text().split()
    except OSError:
        return None
    if len(fields) < 7:  # "running", or stopped outside of a call: "-1 SP PC"
        return None
    return int(fields[0]), tuple(int(field, 16) for field in fields[1:7])


def address(packed: bytes, port: int) -> Address:
    """4 or 16 bytes in network order; an IPv4 address inside IPv6 becomes the IPv4 address."""
    host = ipaddress.ip_address(packed)
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return Address(str(mapped or host), port)


def _links(pid: int) -> Iterator[tuple[int, int]]:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                inode = inode_of(pid, int(entry.name))
                if inode:
                    yield int(entry.name), inode
    except OSError:
        return


def _lines(pid: int, name: str) -> list[str]:
    try:
        with open(PROC / str(pid) / "net" / name, errors="replace") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _tcp_address(text: str) -> Address:
    # The kernel prints the address as 32-bit words in its own byte order, the port as a number.
    words, port = text.split(":")
    packed = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    return address(packed, int(port, 16))
