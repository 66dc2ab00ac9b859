"""Load for a mongod: processes that send one `find` after the other over a socket each, with little work of their own.

The command is encoded once, as a driver would (lsid, $db), and only its requestID changes; the reply is not decoded.
With `together`, a client sends that many before it reads their replies: less work for the client and the scheduler, so
that the same rate leaves the host CPUs idle.
"""

from __future__ import annotations

import multiprocessing
import socket
import struct
import time
import uuid
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Self

import bson

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_AHEAD_S = 0.001  # of its rate, before a client pauses


class Load:
    """`connections` clients of the mongod at `port`, from entry to exit; all of them ask `rate` times a second, or as
    often as they are answered.
    """

    def __init__(self, port: int, connections: int = 3, *, rate: float | None = None, together: int = 1) -> None:
        each = None if rate is None else rate / connections
        self._counts: list[Synchronized[int]] = [multiprocessing.Value("q", 0, lock=False) for _ in range(connections)]
        self._processes = [
            multiprocessing.Process(target=_run, args=(port, count, each, together), daemon=True)
            for count in self._counts
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        while not all(count.value for count in self._counts):
            time.sleep(0.01)
        return self

    def done(self) -> int:
        """Operations so far."""
        return sum(count.value for count in self._counts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _run(port: int, count: Synchronized[int], rate: float | None, together: int) -> None:
    session = {"id": bson.Binary(uuid.uuid4().bytes, 4)}
    command = {"find": "orders", "filter": {"_id": 1}, "limit": 1, "singleBatch": True, "lsid": session, "$db": "bench"}
    body = struct.pack("<IB", 0, 0) + bson.encode(command)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        while True:
            if rate is not None and (ahead := began + count.value / rate - time.monotonic()) > _AHEAD_S:
                time.sleep(ahead)
            first = count.value + 1
            connection.sendall(
                b"".join(
                    _HEADER.pack(16 + len(body), number, 0, _OP_MSG) + body for number in range(first, first + together)
                )
            )
            _replies(connection, together)
            count.value += together


def _replies(connection: socket.socket, count: int) -> None:
    """Reads `count` replies, which are all there is to read."""
    received = connection.recv(65536)
    for _ in range(count):
        while len(received) < 4 or len(received) < (due := struct.unpack_from("<i", received)[0]):
            received += connection.recv(65536)
        received = received[due:]
