"""What /proc knows of the stream sockets of this host and of the processes that hold them.

Each process's own /proc/PID/net is read, once per network namespace: the tables of one's own namespace say nothing
about a container's sockets. Processes and descriptors vanish at any time; whatever is gone is left out.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from probes.records import UNKNOWN_ADDRESS, Address, Process

PROC = Path("/proc")
_LISTEN = "0A"
_UNIX_STREAM, _UNIX_CONNECTED = "0001", "03"
# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, _NLM_F_DUMP = 4, 20, 1, 0x300
_UDIAG_SHOW_PEER, _UNIX_DIAG_PEER, _EVERY_STATE = 4, 2, 0xFFFFFFFF
_UNIX_DIAG_REQUEST = Struct("=IHHIIBBxxIIIII")  # nlmsghdr, unix_diag_req
_UNIX_DIAG_MESSAGE = Struct("=IH10x4xI8x")  # nlmsghdr, unix_diag_msg
_ATTRIBUTE = Struct("=HHI")
_NETLINK_BYTES = 1 << 18
_CONTAINER = re.compile(r"[0-9a-f]{64}")


class Socket(NamedTuple):
    """A connected stream socket. A unix socket has paths, if any; its `peer` is the inode of its other end."""

    inode: int
    near: Address
    far: Address
    is_unix: bool
    peer: int = 0


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


def unix_peers() -> dict[int, int]:
    """The inode of each unix socket's other end by its own, in this process's network namespace (sock_diag(7)).

    As much as the kernel tells: nothing where it refuses.
    """
    ask = _UNIX_DIAG_REQUEST.pack(
        _UNIX_DIAG_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0,
        socket.AF_UNIX, 0, _EVERY_STATE, 0, _UDIAG_SHOW_PEER, 0, 0,
    )  # fmt: skip
    peers: dict[int, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
            diag.sendto(ask, (0, 0))
            while _add_peers(diag.recv(_NETLINK_BYTES, socket.MSG_DONTWAIT), peers):
                pass
    except OSError:
        pass
    return peers


def _add_peers(answer: bytes, peers: dict[int, int]) -> bool:
    """Adds what a datagram of the dump tells; whether there are more."""
    at = 0
    while at + _UNIX_DIAG_MESSAGE.size <= len(answer):
        length, kind, inode = _UNIX_DIAG_MESSAGE.unpack_from(answer, at)
        if kind != _SOCK_DIAG_BY_FAMILY:
            return False
        end, attribute_at = at + length, at + _UNIX_DIAG_MESSAGE.size
        while attribute_at + _ATTRIBUTE.size <= end:
            size, attribute, value = _ATTRIBUTE.unpack_from(answer, attribute_at)
            if attribute == _UNIX_DIAG_PEER and value:
                peers[inode] = value
            attribute_at += max(size + 3 & ~3, 4)
        at += max(length + 3 & ~3, 4)
    return True


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
    sockets.update(_unix(pid))
    return sockets


def _unix(pid: int) -> dict[int, Socket]:
    paths: dict[int, Address] = {}
    for line in _lines(pid, "unix"):
        fields = line.split(maxsplit=7)
        if len(fields) > 6 and fields[4] == _UNIX_STREAM and fields[5] == _UNIX_CONNECTED:
            path = fields[7].rstrip("\n") if len(fields) > 7 else ""
            paths[int(fields[6])] = Address(path, 0) if path else UNKNOWN_ADDRESS
    peers = unix_peers() if paths and namespace(pid) == namespace(os.getpid()) else {}
    return {
        inode: Socket(inode, path, paths.get(peers.get(inode, 0), UNKNOWN_ADDRESS), True, peers.get(inode, 0))
        for inode, path in paths.items()
    }


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
