"""Redis's own server, the distribution's (Debian: redis-server). Nothing is kept on disk."""

import socket

from tests.servers.server import Server, listens


class Redis(Server):
    """A redis-server on a port of its own."""

    name = "redis"

    def command(self) -> list[str]:
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        if not listens(self.port):
            return False
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(64) == b"+PONG\r\n"
