"""Saturates a mongod: processes that send one `find` after the other over a socket each, with little work of their own.

The command is encoded once, as a driver would (lsid, $db), and only its requestID changes; the reply is not decoded.
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


class Load:
    """`connections` clients of the mongod at `port`, from entry to exit."""

    def __init__(self, port: int, connections: int = 3) -> None:
        self._counts: list[Synchronized[int]] = [multiprocessing.Value("q", 0, lock=False) for _ in range(connections)]
        self._processes = [
            multiprocessing.Process(target=_run, args=(port, count), daemon=True) for count in self._counts
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


def _run(port: int, count: Synchronized[int]) -> None:
    session = {"id": bson.Binary(uuid.uuid4().bytes, 4)}
    command = {"find": "orders", "filter": {"_id": 1}, "limit": 1, "singleBatch": True, "lsid": session, "$db": "bench"}
    body = struct.pack("<IB", 0, 0) + bson.encode(command)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            request = _HEADER.pack(16 + len(body), count.value + 1, 0, _OP_MSG) + body
            connection.sendall(request)
            reply = connection.recv(65536)
            (due,) = struct.unpack_from("<i", reply)
            while len(reply) < due:
                reply += connection.recv(65536)
            count.value += 1
