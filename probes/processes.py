"""The processes of this host that speak, or might speak, a known protocol: how they fare, and what is seen of them.

An empty screen has to explain itself, per process: beside those whose requests are shown there are servers that have no
connection, connections where nothing goes by, and connections that carry TLS or nothing we know.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import psutil

from probes.kernel import sockets
from probes.records import Connection, Process
from probes.sources.source import Ignored
from probes.store.view import ProcessFacts, Visibility

MOST_PROCESSES = 32
_LOOK_EVERY_NS = 2_000_000_000  # for servers and what they listen on
_LOOK_SHARE = 100  # a look may take one part in so many of the time
_IDLE_AFTER_NS = 10_000_000_000
# By their name in /proc, or by the class that a Java runs.
_SERVERS = re.compile(rb"^(mongod|mongos|tansu|redpanda)$|kafka\.Kafka\b|kafka\.docker\.KafkaDockerWrapper\b")
_LISTENING = "0A"  # in /proc/net/tcp


@dataclass(slots=True)
class _Ports:
    """What a process listens on, how many connections came in there, and from how many hosts."""

    listens: tuple[int, ...] = ()
    connections: int = 0
    clients: int = 0
    uses_io_uring: bool = False


_NO_PORTS = _Ports()


class _Tcp(NamedTuple):
    """The sockets of a network namespace by inode: the ports of those that listen, (own port, other host) of others."""

    listening: dict[int, str]
    connected: dict[int, tuple[str, str]]


@dataclass(slots=True)
class _Meter:
    """One process as psutil knows it, and its disk counters when it was last asked."""

    process: psutil.Process
    asked_ns: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


@dataclass(slots=True)
class _Seen:
    """The connections of one process that were told by the source."""

    process: Process
    recognised: int = 0
    clients: set[str] = field(default_factory=set)
    tls: int = 0
    unknown: int = 0


class Processes:
    """`sample`, called about once a second, says how the processes are."""

    def __init__(self) -> None:
        self._meters: dict[int, _Meter] = {}
        self._servers: tuple[Process, ...] = ()
        self._ports: dict[int, _Ports] = {}
        self._look_at_ns = 0

    def sample(
        self, connections: Iterable[Connection], ignored: Iterable[Ignored], last_ns: Mapping[int, int]
    ) -> tuple[ProcessFacts, ...]:
        """Those that matter most first, at most MOST_PROCESSES. `last_ns` is when a process's last request ended."""
        now_ns = time.monotonic_ns()
        look = now_ns >= self._look_at_ns
        if look:
            self._servers = tuple(_servers())
        seen = _by_process(connections, ignored, self._servers)
        shown = sorted(seen.values(), key=lambda each: _rank(each, last_ns))[:MOST_PROCESSES]
        pids = [each.process.pid for each in shown]
        self._meters = {pid: self._meters[pid] for pid in pids if pid in self._meters}
        if look:
            tables: dict[int, _Tcp] = {}
            self._ports = {pid: _ports(pid, tables) for pid in pids}
            self._look_at_ns = now_ns + max(_LOOK_EVERY_NS, (time.monotonic_ns() - now_ns) * _LOOK_SHARE)
        return tuple(fact for each in shown if (fact := self._facts(each, last_ns, now_ns)) is not None)

    def _facts(self, seen: _Seen, last_ns: Mapping[int, int], now_ns: int) -> ProcessFacts | None:
        pid = seen.process.pid
        ports = self._ports.get(pid, _NO_PORTS)
        since_ns = last_ns.get(pid, 0)
        visibility, note = _visibility(seen, ports, since_ns, now_ns)
        facts = ProcessFacts(
            seen.process,
            visibility,
            note,
            since_ns,
            ports.listens,
            connections=max(seen.recognised, ports.connections),
            clients=max(len(seen.clients), ports.clients) if ports.listens else 0,
        )
        try:
            meter = self._meters.get(pid)
            if meter is None:
                meter = self._meters[pid] = _Meter(psutil.Process(pid))
            return _measured(meter, facts, now_ns)
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied:
            return facts


def _measured(meter: _Meter, facts: ProcessFacts, now_ns: int) -> ProcessFacts:
    """`facts` with what psutil can tell. Raises psutil.Error."""
    with meter.process.oneshot():
        cpu_percent = meter.process.cpu_percent()  # since the last call; the first one means nothing
        first = not meter.asked_ns
        facts = replace(
            facts,
            cpu_percent=None if first else cpu_percent,
            rss_bytes=meter.process.memory_info().rss,
            threads=meter.process.num_threads(),
        )
    fds, disk = meter.process.num_fds(), meter.process.io_counters()
    read_bytes_s = write_bytes_s = None
    if not first:
        seconds = (now_ns - meter.asked_ns) / 1e9
        read_bytes_s = (disk.read_bytes - meter.read_bytes) / seconds
        write_bytes_s = (disk.write_bytes - meter.write_bytes) / seconds
    meter.asked_ns, meter.read_bytes, meter.write_bytes = now_ns, disk.read_bytes, disk.write_bytes
    return replace(facts, fds=fds, read_bytes_s=read_bytes_s, write_bytes_s=write_bytes_s)


def _by_process(
    connections: Iterable[Connection], ignored: Iterable[Ignored], servers: Iterable[Process]
) -> dict[int, _Seen]:
    seen = {process.pid: _Seen(process) for process in servers}
    for connection in connections:
        if connection.process is not None:
            of = seen.setdefault(connection.process.pid, _Seen(connection.process))
            of.recognised += 1
            of.clients.add(connection.far.host)
    for (pid, tls), count in Counter((each.pid, each.tls) for each in ignored).items():
        if pid not in seen:
            process = sockets.process(pid)
            if not process.name:  # it has ended
                continue
            seen[pid] = _Seen(process)
        if tls:
            seen[pid].tls += count
        else:
            seen[pid].unknown += count
    return seen


def _rank(seen: _Seen, last_ns: Mapping[int, int]) -> tuple[bool, int, bool, int]:
    """Those whose requests are shown first, those with most connections before others."""
    pid = seen.process.pid
    return pid not in last_ns, -seen.recognised, not seen.tls, -seen.unknown


def _visibility(seen: _Seen, ports: _Ports, since_ns: int, now_ns: int) -> tuple[Visibility, str]:
    """Why so much, or so little, is seen of a process, and what else is to be said of it."""
    if seen.recognised:
        idle = now_ns - since_ns > _IDLE_AFTER_NS
        return (Visibility.IDLE, "") if idle else (Visibility.SEEN, "")
    if seen.tls:
        return Visibility.TLS, f"{seen.tls} encrypted"
    if ports.uses_io_uring:
        return Visibility.UNTRACED, "io_uring"
    if seen.unknown:
        return Visibility.UNRECOGNISED, ""
    return (Visibility.IDLE, "") if ports.connections else (Visibility.UNCONNECTED, "")


def _servers() -> Iterable[Process]:
    """The processes that are servers of a known protocol by their name or command line."""
    for pid in sockets.pids():
        try:
            name = Path(f"/proc/{pid}/comm").read_bytes().rstrip(b"\n")
            known = _SERVERS.search(name) or (
                name == b"java" and _SERVERS.search(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
            )
        except OSError:
            continue
        if known:
            yield sockets.process(pid)


def _ports(pid: int, tables: dict[int, _Tcp]) -> _Ports:
    """What /proc tells of a process's sockets; `tables` are those read so far, by namespace. Of none: nothing."""
    inodes, uses_io_uring = set(), False
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            link = os.readlink(entry.path)
            if link.startswith("socket:["):
                inodes.add(int(link[8:-1]))
            uses_io_uring |= link == "anon_inode:[io_uring]"
    except OSError:
        return _NO_PORTS
    space = sockets.namespace(pid)
    if space not in tables:
        tables[space] = _tcp(pid)
    listening, connected = tables[space]
    listens = {listening[inode] for inode in inodes if inode in listening}
    hosts = [connected[inode][1] for inode in inodes if inode in connected and connected[inode][0] in listens]
    return _Ports(tuple(sorted(int(port, 16) for port in listens)), len(hosts), len(set(hosts)), uses_io_uring)


def _tcp(pid: int) -> _Tcp:
    """The TCP sockets of the process's network namespace. Ports and hosts stay as /proc writes them."""
    tcp = _Tcp({}, {})
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, near, far, state, _, _, _, _, _, inode, *_ = line.split()
            port = near.rpartition(":")[2]
            if state == _LISTENING:
                tcp.listening[int(inode)] = port
            else:
                tcp.connected[int(inode)] = port, far.rpartition(":")[0]
    return tcp
