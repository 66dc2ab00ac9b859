"""The live source: drains the kernel's ring buffer into a `Sink`, and keeps the kernel's list of sockets complete."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import mmap
import os
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from probes.kernel import calls, sockets
from probes.kernel.bpf import NOEXIST
from probes.kernel.layout import (
    FIRST,
    HEAD,
    HEAD_SIZE,
    LAST,
    OUTBOUND,
    PROTOCOL_OF_LABEL,
    USUAL,
    Addresses,
    CallKind,
    CallState,
    ConnectionState,
    Kind,
    Label,
    LifecycleRecord,
    ShadowState,
)
from probes.kernel.loader import Kernel
from probes.records import UNKNOWN_ADDRESS, Connection, Framing, Head, Process, Times
from probes.sources.assembly import Assembly
from probes.sources.sink import Sink
from probes.sources.source import Ignored

_AF_INET, _AF_INET6 = 2, 10
_SCAN_EVERY_NS = 2_000_000_000
_SCAN_SHARE = 400  # a scan may take one part in so many of the time: calls tell of nearly all there is to find
_IGNORED_KEPT = 1024
_ENDED_KEPT = 4096  # connections whose last pieces may still come
_WITH_FLAGS = (CallKind.RECVFROM, CallKind.RECVMSG)
_new_tuple = tuple.__new__
_FRAMINGS = tuple(Framing)
_HEAD_KIND, _EXCHANGE_KIND = int(Kind.HEAD), int(Kind.EXCHANGE)
_WHOLE, _WHOLE_OUTBOUND = FIRST | LAST, FIRST | LAST | OUTBOUND
assert max(FIRST, LAST) + OUTBOUND < _WHOLE  # so what is less is not whole


class LiveSource:
    """`drain` hands what has gone by to the sink; `tend`, called now and then, looks after the sockets."""

    def __init__(self, kernel: Kernel, sink: Sink) -> None:
        self._kernel = kernel
        self._sink = sink
        self._connections: dict[int, Connection] = {}
        self._ended: dict[int, None] = {}  # oldest first
        self._assemblies: dict[tuple[int, int], Assembly] = {}
        self._processes: dict[int, Process] = {}
        self._namespaces: dict[int, int] = {}
        self._unix: dict[int, sockets.Socket] = {}  # those that were seeded: they may end before their first message
        self._seeded: dict[tuple[int, int], int] = {}  # (pid, fd) → inode
        self._next_scan_ns = 0
        self._last_id = 0
        self._quiet: set[int] = set()  # connections whose messages are not told
        self.losses: Counter[str] = Counter()
        self.ignored: dict[int, Ignored] = {}
        self.scan()
        kernel.enable(True)
        self._adopt_calls({pid for pid, _ in self._seeded})

    def drain(self) -> int:
        """Hands over what waits in the ring; how many records that were."""
        return self._kernel.ring.drain(self._take)

    def tend(self, now_ns: int) -> None:
        """Scans /proc where that is due."""
        if now_ns >= self._next_scan_ns:
            self.scan()

    def recheck(self, connections: Iterable[Connection], now_ns: int) -> None:
        """Tells the sink what the kernel has counted on these connections: a loss at the very end shows only so."""
        for connection in connections:
            state = self._state(connection.id)
            if state is not None:
                for outbound in (False, True):
                    self._sink.unseen(connection, outbound, state.streams[outbound].complete() - 1, now_ns)

    def connections(self) -> Collection[Connection]:
        """The open ones with a label."""
        return self._connections.values()

    def quieten(self, connection: Connection) -> bool:
        """From now on the kernel tells no messages of this client's end, only when they went by; whether it does."""
        if connection.id not in self._connections:
            return False
        try:
            self._kernel.quieten(_connection_key(connection.id))
        except OSError:
            return False
        self._quiet.add(connection.id)
        return True

    def quiet_requests(self, older_than_ns: int, now_ns: int) -> Iterator[tuple[Connection, Head]]:
        """The requests that wait on quiet connections for so long, as far as the kernel keeps their heads."""
        shadows = self._kernel.maps["shadows"]
        for id_ in self._quiet:
            raw = shadows.lookup(_connection_key(id_))
            if raw is None or not any(raw[:8]):
                continue
            state = ShadowState.from_buffer_copy(raw[: ctypes.sizeof(ShadowState)])
            if state.length and now_ns - state.request_first_ns >= older_than_ns:
                data = bytes(state.data[: state.length])
                yield (
                    self._connections[id_],
                    Head(True, 0, state.request_first_ns, state.request_last_ns, state.total, data),
                )

    # records of the ring

    def _take(self, memory: mmap.mmap, places: Sequence[int]) -> None:
        """Takes the records at these offsets. This runs for every message: the usual ones are handed on from here."""
        connections, assemblies, unpack = self._connections, self._assemblies, USUAL.unpack_from
        message, pair, exchange = self._sink.message, self._sink.pair, self._sink.exchange
        asked: dict[int, Head] = {}  # by connection: the last request, if nothing has followed it there
        for at in places:
            # Of an exchange: its messages, its request's id, and four times.
            kind, framing, _, flags, request_id, id_, number, first_ns, last_ns, total, kept, tail = unpack(memory, at)
            connection = connections.get(id_)
            if kind == _EXCHANGE_KIND:
                if connection is not None:
                    if id_ in asked:
                        message(connection, asked.pop(id_))
                    exchange(connection, request_id, _new_tuple(Times, (number, first_ns, last_ns, total)), flags)
                continue
            if kind != _HEAD_KIND or connection is None or assemblies or flags < _WHOLE:
                if connection is not None and id_ in asked:
                    message(connection, asked.pop(id_))
                self._take_unusual(memory, at)
                continue
            start = at + HEAD_SIZE
            end = start + kept
            outbound = flags == _WHOLE_OUTBOUND
            # Past Head's own constructor, which costs three times as much.
            head = _new_tuple(
                Head,
                (
                    outbound,
                    number,
                    first_ns,
                    last_ns,
                    total,
                    memory[start:end],
                    memory[end : end + tail] if tail else b"",
                    (),
                    _FRAMINGS[framing],
                ),
            )
            if id_ in asked:
                request = asked.pop(id_)
                if outbound is not connection.asks:
                    pair(connection, request, head)
                    continue
                message(connection, request)
            if outbound is connection.asks:
                asked[id_] = head
            else:
                message(connection, head)
        for id_, head in asked.items():
            message(connections[id_], head)

    def _take_unusual(self, memory: mmap.mmap, at: int) -> None:
        if memory[at] != _HEAD_KIND:
            self._take_lifecycle(memory[at : at + ctypes.sizeof(LifecycleRecord)])
            return
        _, framing, label, flags, tgid, id_, number, first_ns, last_ns, total, offset, kept, tail = HEAD.unpack_from(
            memory, at
        )
        connection = self._connections.get(id_)
        if connection is None:
            if id_ in self._ended:  # a thread was still in a call when another one closed it
                self.losses["after_close"] += 1
                return
            connection = self._open(id_, tgid, label, None)  # its opening was lost
        start = at + HEAD_SIZE
        data = memory[start : start + kept]
        end = memory[start + kept : start + kept + tail]
        if flags & _WHOLE == _WHOLE:
            self._end_lost(connection, framing, flags & OUTBOUND)
            outbound = flags & OUTBOUND == OUTBOUND
            head = Head(outbound, number, first_ns, last_ns, total, data, end, (), _FRAMINGS[framing])
            self._sink.message(connection, head)
        else:
            self._piece(connection, framing, flags, number, first_ns, last_ns, total, offset, data, end)

    def _piece(
        self,
        connection: Connection,
        framing: int,
        flags: int,
        number: int,
        first_ns: int,
        last_ns: int,
        total: int,
        offset: int,
        data: bytes,
        tail: bytes,
    ) -> None:
        key = connection.id, flags & OUTBOUND
        outbound = flags & OUTBOUND == OUTBOUND
        if flags & FIRST:
            self._end_lost(connection, framing, flags & OUTBOUND)
            self._assemblies[key] = Assembly(number, first_ns, total, data)
            return
        assembly = self._assemblies.get(key)
        if assembly is None or not assembly.add(number, offset, data):
            self.losses["pieces"] += 1  # its beginning was lost
        elif flags & LAST:
            del self._assemblies[key]
            self._sink.message(connection, assembly.head(outbound, last_ns, tail, framing))

    def _end_lost(self, connection: Connection, framing: int, direction: int) -> None:
        """A message begins in this direction: what there is of one before it will get no end."""
        before = self._assemblies.pop((connection.id, direction), None)
        if before is not None:
            self.losses["ends"] += 1
            self._sink.message(connection, before.head(direction == OUTBOUND, 0, b"", framing))

    def _take_lifecycle(self, raw: bytes) -> None:
        record = LifecycleRecord.from_buffer_copy(raw)
        id_ = int(record.connection)
        if record.kind == Kind.OPENED:
            known = self._connections.get(id_)
            if known is None:
                self._open(id_, record.tgid, record.label, record.addresses, record.fd, from_start=bool(record.flags))
            elif record.addresses.family:
                _set_addresses(known, record.addresses)
                self._sink.addressed(known)
        elif record.kind == Kind.CLOSED:
            connection = self._connections.get(id_)
            if connection is not None:
                for outbound, whole in ((False, record.inbound), (True, record.outbound)):
                    self._sink.unseen(connection, outbound, int(whole) - 1, record.ns)
                self._close(connection, record.ns)
        elif record.kind == Kind.IGNORED:
            if len(self.ignored) >= _IGNORED_KEPT:
                del self.ignored[next(iter(self.ignored))]
            self.ignored[id_] = Ignored(record.tgid, bool(record.reason))
        elif record.kind == Kind.VERIFY:
            self._processes.pop(record.tgid, None)  # exec changes its name
            self._next_scan_ns = 0

    def _open(
        self,
        id_: int,
        tgid: int,
        label: int,
        addresses: Addresses | None,
        fd: int | None = None,
        *,
        from_start: bool = False,
    ) -> Connection:
        protocol = PROTOCOL_OF_LABEL[Label(label)]
        connection = Connection(id_, self._process(tgid), protocol=protocol, from_start=from_start)
        connection.namespace = self._namespaces[tgid]
        if addresses is not None and addresses.family:
            _set_addresses(connection, addresses)
        elif id_ in self._unix:
            _set_socket(connection, self._unix[id_])
        elif fd is not None:
            self._look_up(connection, tgid, fd)
        self._connections[id_] = connection
        self._sink.opened(connection)
        return connection

    def _close(self, connection: Connection, ns: int) -> None:
        del self._connections[connection.id]
        if connection.id in self._quiet:
            self._quiet.remove(connection.id)
            self._kernel.maps["shadows"].delete(_connection_key(connection.id))
        self._ended[connection.id] = None
        if len(self._ended) > _ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        for direction in (0, OUTBOUND):
            self._assemblies.pop((connection.id, direction), None)
        self._sink.closed(connection, ns)

    def _process(self, pid: int) -> Process:
        found = self._processes.get(pid)
        if found is None:
            found = self._processes[pid] = sockets.process(pid)
            # What is gone by now was most likely where this process is: else its two ends would not find each other.
            self._namespaces[pid] = sockets.namespace(pid) or sockets.namespace(os.getpid())
        return found

    @staticmethod
    def _look_up(connection: Connection, pid: int, fd: int) -> None:
        """The addresses by /proc: unix sockets have no others."""
        found = sockets.table(pid).get(sockets.inode_of(pid, fd))
        if found is not None:
            _set_socket(connection, found)

    # the kernel's list of sockets

    def scan(self) -> None:
        """Adds the sockets that the kernel was not told of, and forgets those that ended without a call."""
        began = time.monotonic_ns()
        alive: dict[tuple[int, int], int] = {}
        new: dict[tuple[int, int], list[sockets.Descriptor]] = {}
        places = set(self._kernel.maps["descriptors"].keys())
        for found in sockets.descriptors():
            key = found.pid, found.fd
            alive[key] = found.socket.inode
            if self._seeded.get(key) != found.socket.inode or _descriptor_key(*key) not in places:
                new.setdefault((found.pid, found.socket.inode), []).append(found)
        for descriptors in new.values():
            self._seed(descriptors)
        self._adopt_calls({pid for pid, _ in new})
        self._seeded = alive
        inodes = set(alive.values())
        self._unix = {id_: found for id_, found in self._unix.items() if found.inode in inodes}
        self._sweep(alive, began)
        took = time.monotonic_ns() - began
        self._next_scan_ns = began + max(_SCAN_EVERY_NS, took * _SCAN_SHARE)

    def _seed(self, descriptors: list[sockets.Descriptor]) -> None:
        """Tells the kernel of one socket, by all its descriptors in one process, unless it knows them."""
        descriptor_map, connection_map = self._kernel.maps["descriptors"], self._kernel.maps["connections"]
        first = descriptors[0]
        state = ConnectionState(
            opened_ns=time.monotonic_ns(),
            tgid=first.pid,
            fd=first.fd,
            references=len(descriptors),
            addresses=_pack_addresses(first.socket),
        )
        # Ids that the kernel gives end in less than 0x80.
        id_ = max(state.opened_ns | 0xFF, self._last_id + 0x100)
        self._last_id = id_
        key = id_.to_bytes(8, "little")
        if first.socket.is_unix:
            self._unix[id_] = first.socket
        mine = 0
        try:
            connection_map.update(key, bytes(state), NOEXIST)
            for descriptor in descriptors:
                place = _descriptor_key(descriptor.pid, descriptor.fd)
                try:
                    descriptor_map.update(place, key, NOEXIST)
                except FileExistsError:
                    continue  # the kernel saw it being opened
                # Between the look and the entry it may have been closed, and its number given to something else.
                if sockets.inode_of(descriptor.pid, descriptor.fd) == descriptor.socket.inode:
                    mine += 1
                else:
                    descriptor_map.delete(place)
            if not mine:
                connection_map.delete(key)
            elif mine < len(descriptors):
                current = self._state(id_)
                if current is not None:
                    current.references = mine
                    connection_map.update(key, bytes(current))
        except OSError:
            self.losses["connections_full"] += 1

    def _adopt_calls(self, pids: Iterable[int]) -> None:
        """Tells the kernel of the calls that these processes were in already: it saw none of them begin.

        Servers with a thread for each connection wait in them for the next request, and it would go by unseen.
        """
        if not self._kernel.adopts:
            return
        call_map, descriptor_map = self._kernel.maps["calls"], self._kernel.maps["descriptors"]
        known = calls.numbers()
        for pid in pids:
            for thread, number, arguments in sockets.blocked_calls(pid):
                call = known.get(number)
                state = None if call is None else _call_state(call.kind, arguments)
                id_ = None if state is None else descriptor_map.lookup(_descriptor_key(pid, arguments[0] & 0xFFFFFFFF))
                if state is None or id_ is None:
                    continue
                state.connection = int.from_bytes(id_[:8], "little")
                state.adopted = number + 1
                # Only where the thread has no entry (one that it has is newer), and there is room. Should it have
                # returned meanwhile, its next call takes the entry's place, and the kernel compares the numbers.
                with contextlib.suppress(OSError):
                    call_map.update(_descriptor_key(pid, thread), bytes(state), NOEXIST)

    def _sweep(self, alive: dict[tuple[int, int], int], began_ns: int) -> None:
        """Forgets descriptors and connections that ended with their process, by exec or by close_range."""
        descriptor_map, connection_map = self._kernel.maps["descriptors"], self._kernel.maps["connections"]
        held = set()
        for place in list(descriptor_map.keys()):
            number = int.from_bytes(place, "little")
            pid, fd = number >> 32, number & 0xFFFFFFFF
            if (pid, fd) not in alive and not sockets.inode_of(pid, fd):
                descriptor_map.delete(place)
                continue
            id_ = descriptor_map.lookup(place)
            if id_ is not None:
                held.add(id_[:8])
        for key in list(connection_map.keys()):
            id_number = int.from_bytes(key, "little")
            if key in held or id_number >= began_ns:
                continue
            connection = self._connections.get(id_number)
            if connection is not None:
                now_ns = time.monotonic_ns()
                self.recheck([connection], now_ns)
                self._close(connection, now_ns)
            connection_map.delete(key)
        for pid in [pid for pid in self._processes if not sockets.PROC.joinpath(str(pid)).exists()]:
            del self._processes[pid], self._namespaces[pid]

    def _state(self, id_: int) -> ConnectionState | None:
        raw = self._kernel.maps["connections"].lookup(id_.to_bytes(8, "little"))
        return None if raw is None else ConnectionState.from_buffer_copy(raw[: ctypes.sizeof(ConnectionState)])


def _connection_key(id_: int) -> bytes:
    return id_.to_bytes(8, "little")


def _descriptor_key(pid: int, fd: int) -> bytes:
    return (pid << 32 | fd).to_bytes(8, "little")


def _call_state(kind: CallKind, arguments: tuple[int, ...]) -> CallState | None:
    """What `on_enter` would have noted of a call that moves bytes, its connection left out."""
    if not CallKind.READ <= kind <= CallKind.SENDMSG:
        return None
    flags = arguments[{CallKind.RECVFROM: 3, CallKind.RECVMSG: 2}[kind]] if kind in _WITH_FLAGS else 0
    if flags & (socket.MSG_PEEK | socket.MSG_ERRQUEUE | socket.MSG_OOB):
        return None
    return CallState(
        buffer=arguments[1],
        size=arguments[2],
        began_ns=time.monotonic_ns(),
        fd=arguments[0] & 0xFFFFFFFF,
        kind=kind,
        blind=bool(flags & socket.MSG_TRUNC),
    )


def _set_socket(connection: Connection, found: sockets.Socket) -> None:
    connection.near, connection.far = found.near, found.far
    if found.peer:
        connection.inodes = found.inode, found.peer


def _set_addresses(connection: Connection, addresses: Addresses) -> None:
    size = 16 if addresses.family == _AF_INET6 else 4
    connection.near = sockets.address(bytes(addresses.near[:size]), addresses.near_port)
    connection.far = sockets.address(bytes(addresses.far[:size]), addresses.far_port)


def _pack_addresses(found: sockets.Socket) -> Addresses:
    packed = Addresses()
    if found.is_unix or found.far == UNKNOWN_ADDRESS:
        return packed
    near, far = ipaddress.ip_address(found.near.host), ipaddress.ip_address(found.far.host)
    packed.family = _AF_INET6 if near.version == 6 or far.version == 6 else _AF_INET
    packed.near_port, packed.far_port = found.near.port, found.far.port
    size = len(near.packed)
    packed.near[:size], packed.far[: len(far.packed)] = near.packed, far.packed
    return packed
