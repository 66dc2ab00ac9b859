"""A Redis client over a plain socket: what it sends is exactly what it was told to send."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self


def command(*words: str | bytes) -> bytes:
    """A request as RESP has it."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


class Client:
    """One connection to a server on this host."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._replies = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self) -> Any:
        """The next one; an error is the bytes of its line."""
        line = self._replies.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._replies.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return line

    def do(self, *words: str | bytes) -> Any:
        self.send(command(*words))
        return self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replies.close()
        self._socket.close()
