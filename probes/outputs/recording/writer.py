"""Writes messages as they come to a recording's files. What may be in them is decided before (`masking`)."""

from __future__ import annotations

from collections import OrderedDict
from importlib.metadata import version

from probes.outputs.recording import pcapng
from probes.outputs.recording.files import Files
from probes.outputs.recording.packets import Flow, Packet
from probes.records import Connection, Head, Process
from probes.sources.marks import ConnectionMark, InterfaceMark

MOST_FLOWS = 65_536  # connections whose sequence numbers are remembered
_BUFFER_BYTES = 1 << 18
_PACKET_BYTES, _MARKS_BYTES = 64, 1024  # at most, in a file, of a packet beside its bytes, and of marks
_MASKED = "Values are overwritten (--literals keeps them). Credentials are not here."
_PLAIN = "Values are here as they were sent (--literals). Credentials are not here."
_MESSAGES = "Of each message its beginning is captured, at times its end: tcp.len is its true length."
_DIRECTIONS = {True: pcapng.OUTBOUND, False: pcapng.INBOUND}


class Recording:
    """One recording. Times are of CLOCK_MONOTONIC; `wall_offset_ns` makes them wall-clock time.

    All methods but `close` raise RecordingEndedError where nothing more can be written.
    """

    def __init__(self, files: Files, wall_offset_ns: int, *, literals: bool) -> None:
        self._files = files
        self._offset_ns = wall_offset_ns
        self._section = pcapng.section(f"l7top {version('l7top')}", f"{_PLAIN if literals else _MASKED} {_MESSAGES}")
        self._flows: OrderedDict[int, Flow] = OrderedDict()
        self._buffer = bytearray()
        self._begin()
        self.messages = 0

    @property
    def name(self) -> str:
        """The file that is being written."""
        return self._files.name

    def message(self, connection: Connection, head: Head) -> None:
        """A message of the connection, the next one of its direction."""
        flow = self._flows.get(connection.id)
        if flow is None or not flow.is_of(connection):
            flow = self._flows[connection.id] = Flow(connection)
            self._marked.discard(connection.id)
            if len(self._flows) > MOST_FLOWS:
                self._marked.discard(self._flows.popitem(last=False)[0])
        self._write(connection, flow.message(head))
        self.messages += 1

    def missed(self, connection: Connection, *, outbound: bool) -> None:
        """A message of this direction is missing before its next one."""
        flow = self._flows.get(connection.id)
        if flow is not None:
            flow.miss(outbound)

    def ended(self, connection: Connection, ns: int) -> None:
        """The connection ended at `ns`; of one that had no message nothing is told."""
        flow = self._flows.pop(connection.id, None)
        if flow is not None:
            self._write(connection, flow.end(ns))
            self._marked.discard(connection.id)

    def flush(self) -> None:
        """Hands everything to the system."""
        data, self._buffer = self._buffer, bytearray()
        self._files.write(data)

    def close(self) -> None:
        """Closes the file."""
        self._files.close()

    def _begin(self) -> None:
        """A file begins: what it tells of interfaces and connections holds for it alone."""
        self._interfaces: dict[tuple[Process | None, int], int] = {}
        self._marked: set[int] = set()
        self._buffer += self._section

    def _write(self, connection: Connection, packets: list[Packet]) -> None:
        now_s = packets[0].ns / 1e9
        size = sum(len(packet.captured) + _PACKET_BYTES for packet in packets)
        if connection.id not in self._marked:
            size += _MARKS_BYTES
        if self._files.is_full(len(self._buffer) + size, now_s) and self._interfaces:
            self.flush()
            self._files.rotate(now_s)
            self._begin()
        interface = self._interface(connection)
        comment = self._mark(connection)
        for packet in packets:
            direction = _DIRECTIONS[packet.outbound]
            time_ns = packet.ns + self._offset_ns
            self._buffer += pcapng.packet(interface, time_ns, packet.captured, packet.length, direction, comment)
            comment = ""
        if len(self._buffer) > _BUFFER_BYTES:
            self.flush()

    def _interface(self, connection: Connection) -> int:
        """The number of the interface of the connection's process, which is told of when it is first met."""
        process = connection.process
        key = process, connection.namespace
        number = self._interfaces.get(key)
        if number is None:
            number = self._interfaces[key] = len(self._interfaces)
            name = "unknown" if process is None else f"{process.name} {process.pid}"
            self._buffer += pcapng.interface(name, InterfaceMark(*key).text())
        return number

    def _mark(self, connection: Connection) -> str:
        """The connection's mark before its first packet in a file, "" after it."""
        if connection.id in self._marked:
            return ""
        self._marked.add(connection.id)
        return ConnectionMark(connection.protocol, connection.near, connection.far, connection.inodes).text()
