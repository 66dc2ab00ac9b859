"""Plays streams through real sockets, with a system call of every kind, and writes down what each call moved."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import termios
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.framing.streams import Pass, Step

ROOM = 8 << 20  # socket buffers: no call has to wait for the other end
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
PATIENCE_S = 10.0


class Chunk(NamedTuple):
    """What one buffer of one call moved: `length` bytes, of which `data` could be seen (all or none)."""

    outbound: bool
    data: bytes
    length: int


class End:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        unix = sock.family == socket.AF_UNIX
        self.ports = (0, 0) if unix else (sock.getsockname()[1], sock.getpeername()[1])
        self.log: list[Chunk] = []

    def note(self, outbound: bool, buffers: Iterable[bytes | bytearray], moved: int) -> int:
        """Writes down that a call moved so many bytes; how many that were."""
        left = moved
        for buffer in buffers:
            if left and buffer:
                self.log.append(Chunk(outbound, bytes(buffer[:left]), min(left, len(buffer))))
                left -= self.log[-1].length
        return moved


def connect(family: socket.AddressFamily = socket.AF_INET) -> tuple[End, End]:
    """A new connection within this host: the connecting end, the accepting end."""
    with socket.socket(family) as listener:
        client = socket.socket(family)
        for sock in (listener, client):
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ROOM)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind("" if family == socket.AF_UNIX else ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return End(client), End(server)


# Sends and receives: each moves up to all of `data`, or up to `size` bytes, in one call, and notes what it moved.

Send = Callable[[End, bytes], int]
Receive = Callable[[End, int], int]


def vectors(data: bytes) -> list[bytes]:
    """`data` in many small and empty pieces, then a large one."""
    pieces, at = [b""], 0
    for size in (1, 0, 3, 0, 0, 12, 1, 2, 0, 40):
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:], b""]


def write(end: End, data: bytes) -> int:
    return end.note(True, [data], os.write(end.sock.fileno(), data))


def send(end: End, data: bytes) -> int:
    return end.note(True, [data], end.sock.send(data))


def writev(end: End, data: bytes) -> int:
    return end.note(True, vectors(data), os.writev(end.sock.fileno(), vectors(data)))


def sendmsg(end: End, data: bytes) -> int:
    return end.note(True, vectors(data), end.sock.sendmsg(vectors(data)))


def sendfile(end: End, data: bytes) -> int:
    file = os.memfd_create("records")
    try:
        os.write(file, data)
        moved = os.sendfile(end.sock.fileno(), file, 0, len(data))
    finally:
        os.close(file)
    end.log.append(Chunk(True, b"", moved))
    return moved


def splice(end: End, data: bytes) -> int:
    """Moves bytes by a way that is not watched."""
    reading, writing = os.pipe()
    try:
        return os.splice(reading, end.sock.fileno(), os.write(writing, data[:4096]))
    finally:
        os.close(reading)
        os.close(writing)


def read(end: End, size: int) -> int:
    data = os.read(end.sock.fileno(), size)
    return end.note(False, [data], len(data))


def recv(end: End, size: int) -> int:
    data = end.sock.recv(size)
    return end.note(False, [data], len(data))


def readv(end: End, size: int) -> int:
    buffers = [bytearray(piece) for piece in vectors(bytes(size))]
    return end.note(False, buffers, os.readv(end.sock.fileno(), buffers))


def recvmsg(end: End, size: int) -> int:
    buffers = [bytearray(piece) for piece in vectors(bytes(size))]
    return end.note(False, buffers, end.sock.recvmsg_into(buffers)[0])


def peek_first(end: End, size: int) -> int:
    """Looks at the bytes, by two calls, before it takes them."""
    assert end.sock.recv(size, socket.MSG_PEEK) == end.sock.recvmsg(size, 0, socket.MSG_PEEK)[0]
    return recv(end, size)


def discard(end: End, size: int) -> int:
    """TCP drops what MSG_TRUNC asks for: nothing is written to the buffer."""
    moved = len(end.sock.recv(size, socket.MSG_TRUNC))
    end.log.append(Chunk(False, b"", moved))
    return moved


def receive_in_vain(end: End) -> None:
    """A call that finds nothing and fails with EAGAIN."""
    try:
        end.sock.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return
    raise AssertionError("there were bytes")


def waiting(end: End) -> int:
    """How many bytes there are to be read."""
    size = array.array("i", [0])
    fcntl.ioctl(end.sock, termios.FIONREAD, size)
    return size[0]


def play(steps: Iterable[Step], client: End, server: End, send: Send, receive: Receive, *, vain: bool = False) -> None:
    """One step after the other: all of it is sent, then all of it is received."""
    for step in steps:
        sender, receiver = (client, server) if step.outbound else (server, client)
        if vain:
            receive_in_vain(receiver)
        sending = {Pass.SEEN: send, Pass.BLIND: sendfile, Pass.UNSEEN: splice}[step.how]
        sent = 0
        while sent < len(step.data):
            sent += sending(sender, step.data[sent:])
        take(receiver, sent, receive)


def take(end: End, size: int, receive: Receive) -> None:
    """Waits until so many bytes are there, and receives them, in one call if that is possible."""
    deadline = time.monotonic() + PATIENCE_S
    while waiting(end) < size:
        assert time.monotonic() < deadline, f"{waiting(end)} of {size} bytes came"
        time.sleep(0)
    while size:
        size -= receive(end, size)
