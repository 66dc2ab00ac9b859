"""A PyMongo client whose connections stand before its traffic, and which counts its commands."""

import threading
from collections import Counter
from typing import Any

from pymongo import MongoClient, monitoring

Client = MongoClient[dict[str, Any]]
DATABASE = "l7top_test"


class CommandCounts(monitoring.CommandListener):
    """Commands by name, as PyMongo itself tells them; handshakes and heartbeats are not among them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        with self._lock:
            self._sent[event.command_name] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """An answer with ok: 1, which may hold write errors."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """An answer with ok: 0, or none."""
        with self._lock:
            self._failed[event.command_name] += 1

    def take(self) -> dict[str, dict[str, int]]:
        """{"sent": {command: n}, "failed": {command: n}} since the last call."""
        with self._lock:
            taken = {"sent": dict(self._sent), "failed": dict(self._failed)}
            self._sent.clear()
            self._failed.clear()
        return taken


class _OpenConnections(monitoring.ConnectionPoolListener):
    """Waits until the pool holds a number of connections."""

    def __init__(self) -> None:
        self._ready = threading.Semaphore(0)

    def wait_for(self, connections: int) -> None:
        for _ in range(connections):
            self._ready.acquire()

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        self._ready.release()

    def _ignore(self, event: object) -> None:
        pass

    pool_created = pool_ready = pool_cleared = pool_closed = _ignore
    connection_created = connection_closed = connection_checked_out = connection_checked_in = _ignore
    connection_check_out_started = connection_check_out_failed = _ignore


def connect(port: int, *, connections: int) -> tuple[Client, CommandCounts]:
    """A client with exactly so many open connections to the mongod on this port (and its monitors' two)."""
    counts = CommandCounts()
    opened = _OpenConnections()
    client: Client = MongoClient(
        "127.0.0.1",
        port,
        directConnection=True,
        minPoolSize=connections,
        maxPoolSize=connections,
        event_listeners=[counts, opened],
    )
    opened.wait_for(connections)
    return client, counts
