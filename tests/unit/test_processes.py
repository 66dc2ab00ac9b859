"""What is said of processes, on real ones: a child that calls itself mongod, listens, and may have connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from probes.processes import MOST_PROCESSES, Processes
from probes.records import Address, Connection, Process
from probes.sources.source import Ignored
from probes.store.view import ProcessFacts, Visibility

SERVER = """
import socket, sys
open("/proc/self/comm", "w").write("mongod")
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
accepted = []
while True:
    accepted.append(server.accept())
    print("accepted", flush=True)
"""


class Server:
    """A process that is a server by its name and listens on `port`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.port = int(self.heard())

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def connection(self, id: int = 1) -> Connection:
        near, far = Address("127.0.0.1", self.port), Address("10.0.0.5", 40_000 + id)
        return Connection(id, Process(self.pid, "mongod"), near, far, 1, "mongodb")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.kill()
    server.process.communicate()


def facts(processes: Processes, pid: int, *given: object) -> ProcessFacts:
    (found,) = (each for each in processes.sample(*given) if each.process.pid == pid)  # type: ignore[arg-type]
    return found


def test_a_server_without_connections_is_there_and_says_where_it_listens(server: Server) -> None:
    found = facts(Processes(), server.pid, [], [], {})
    assert (found.visibility, found.listens, found.connections) == (Visibility.UNCONNECTED, (server.port,), 0)
    assert found.process.name == "mongod"


def test_a_server_with_connections_where_nothing_went_by_is_idle(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        server.heard()
        found = facts(Processes(), server.pid, [], [], {})
    assert (found.visibility, found.connections, found.clients, found.since_ns) == (Visibility.IDLE, 1, 1, 0)


def test_a_process_whose_requests_are_shown_is_seen_until_it_falls_silent(server: Server) -> None:
    processes, connections = Processes(), [server.connection(1), server.connection(2)]
    now_ns = time.monotonic_ns()
    found = facts(processes, server.pid, connections, [], {server.pid: now_ns})
    assert (found.visibility, found.connections, found.clients, found.since_ns) == (Visibility.SEEN, 2, 1, now_ns)
    long_ago_ns = now_ns - 60_000_000_000
    assert facts(processes, server.pid, connections, [], {server.pid: long_ago_ns}).visibility is Visibility.IDLE


@pytest.mark.parametrize(("tls", "visibility"), [(True, Visibility.TLS), (False, Visibility.UNRECOGNISED)])
def test_connections_of_no_known_protocol_say_why(server: Server, tls: bool, visibility: Visibility) -> None:
    assert facts(Processes(), server.pid, [], [Ignored(server.pid, tls)] * 3, {}).visibility is visibility


def test_rates_are_known_from_the_second_look_on() -> None:
    processes, me = Processes(), Process(os.getpid(), "pytest")
    first = facts(processes, me.pid, [Connection(1, me)], [], {})
    assert (first.cpu_percent, first.read_bytes_s) == (None, None)
    assert first.rss_bytes is not None
    assert first.rss_bytes > 1 << 20
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        pass
    second = facts(processes, me.pid, [Connection(1, me)], [], {})
    assert second.cpu_percent is not None
    assert second.cpu_percent > 10
    assert second.read_bytes_s is not None
    assert second.threads == len(os.listdir("/proc/self/task"))


def test_a_process_that_has_ended_is_left_out(server: Server) -> None:
    processes, connections = Processes(), [server.connection()]
    assert facts(processes, server.pid, connections, [], {})
    server.process.kill()
    server.process.wait()
    assert [each for each in processes.sample(connections, [], {}) if each.process.pid == server.pid] == []


def test_those_that_are_seen_come_first_and_there_is_a_bound(server: Server) -> None:
    ignored = [Ignored(pid, False) for pid in range(1, 400) if os.path.exists(f"/proc/{pid}")]
    sample = Processes().sample([server.connection()], ignored, {server.pid: time.monotonic_ns()})
    assert sample[0].process.pid == server.pid
    assert len(sample) <= MOST_PROCESSES
