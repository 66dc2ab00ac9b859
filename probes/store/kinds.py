"""What repeats from session to session, worked out once: names, cells, and all bytes of a row that follow from them.

Connections lead to parties (who speaks with whom), parties to kinds (what was asked, and how it ended). Both are
remembered up to a bound, and forgotten all at once: they are made again when they are met again.
"""

from __future__ import annotations

import marshal
import mmap
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from probes.records import Address, Connection, Failure, Fault, Process, Request, Session, Side, Status
from probes.store.cells import KEY, Cells
from probes.store.details import CLIENT_FOLLOWS, MARSHAL_VERSION, Codec, Shared
from probes.store.layout import CELL, NAME_QUOTAS, NO_VERSION, OF_CELL, SIDES, STATUSES, At, Flag, Layout, Records
from probes.store.names import Names
from probes.store.rings import ByteRing

MAX_CONNECTIONS = 16384
MAX_KINDS_BYTES = 32 << 20
_KIND_BYTES = 1000  # that one takes at least
TARGETS_SEPARATOR = "\0"

# Status; what `Codec.take` gave of the request and of the reply; code, name and fault of a failure; whether the reply
# has an id, and whether there was a reply at all.
Kind: TypeAlias = tuple[Status, tuple[Any, ...] | None, tuple[Any, ...] | None, tuple[int, str, str] | None, bool, bool]

Codecs: TypeAlias = tuple[Codec | None, Codec | None]  # of the request and of the reply

_STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}
_SIDE_NUMBERS = {side: number for number, side in enumerate(SIDES)}

# Which table of names a column of rows and cells has its numbers from.
TABLE_OF = {
    "operation": "operation",
    "target": "target",
    "targets": "targets",
    "error": "error",
    "client_host": "host",
    "server_host": "host",
    "client_process": "process",
    "server_process": "process",
    "application": "application",
    "protocol": "protocol",
    "opcode": "opcode",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What follows from a kind: the row's key, its cell, its targets, and its details but for the heads.

    `shared` is where their shared part is, and how many bytes; `own` are the numbers, `details` all of it packed for
    when there is no more to say, `before_client` for when only the client's end is still to come (`details.CLIENT`).
    """

    key: bytes
    cell: int
    targets: int
    shared: tuple[int, int]
    own: tuple[tuple[Any, ...], tuple[Any, ...]]
    details: bytes
    before_client: bytes


Common: TypeAlias = dict[tuple[tuple[str, ...], Kind], Entry]
"""Entries by what kinds share, without their numbers, and by what follows from those."""


@dataclass(frozen=True, slots=True)
class Known:
    """A connection as it was met: it is met again when one of the first four has changed."""

    near: Address
    far: Address
    client: Connection | None
    side: Side
    client_port: int
    parties: tuple[int, ...]  # numbers of protocol, side, hosts, the server's port, processes; the namespace itself
    entries: dict[Kind, Entry]
    common: Common


class Kinds:
    """The writer's names and cells, and what it remembers of connections and kinds."""

    def __init__(self, memory: mmap.mmap, header: memoryview, layout: Layout) -> None:
        self.names = {table: Names(memory, header, layout, table) for table in NAME_QUOTAS}
        self.cells = Cells(memory, header, layout)
        self.shared = ByteRing(memory, header, layout.shared, At.SHARED_NEXT)
        self.connections: dict[int, Known] = {}
        self._parties: dict[tuple[int, ...], tuple[dict[Kind, Entry], Common]] = {}
        self._bytes = 0  # that all kinds may take, estimated

    @property
    def oldest_shared(self) -> int:
        """Shared details before this position will soon be overwritten."""
        return self.shared.next - self.shared.size // 2

    def forget(self) -> None:
        """Forget everything that holds numbers of names or cells."""
        self.connections.clear()
        self._parties.clear()
        self._bytes = 0

    def meet(self, session: Session) -> Known:
        """A connection that is new, or has changed."""
        connection, number = session.connection, self.names
        client, server = session.client_address, session.server_address
        parties = (
            number["protocol"].number(session.protocol),
            _SIDE_NUMBERS[session.seen_from],
            number["host"].number(client.host),
            number["host"].number(server.host),
            server.port & 0xFFFF,
            number["process"].number(process_text(session.client_process)),
            number["process"].number(process_text(session.server_process)),
            connection.namespace,
        )
        if len(self.connections) >= MAX_CONNECTIONS:
            self.connections.clear()
        known = Known(
            connection.near,
            connection.far,
            session.client,
            session.seen_from,
            client.port & 0xFFFF,
            parties,
            *self._parties.setdefault(parties, ({}, {})),
        )
        self.connections[connection.id] = known
        return known

    def enter(self, known: Known, kind: Kind, session: Session, codecs: Codecs) -> Entry:
        """A kind that is new to these parties, or whose shared details are about to be overwritten."""
        if self._bytes >= MAX_KINDS_BYTES:
            self.forget()
            known = self.meet(session)
        status, asked, answered, failed, has_reply_id, replied = kind
        (asked_shared, asked_own), (answered_shared, answered_own) = (
            _split(values, codec) for values, codec in zip((asked, answered), codecs, strict=True)
        )
        own = (asked_own, answered_own)
        request = session.request
        # What a protocol derives from a request follows from its numbers, too.
        derived = () if request is None else (request.application, request.opcode_name)
        common: Kind = (status, asked_shared, answered_shared, failed, has_reply_id, replied)
        entry = known.common.get((derived, common))
        if entry is None or entry.shared[0] < self.oldest_shared:
            entry = self._new(known, common, session, codecs)
        details, before_client = (
            marshal.dumps((entry.shared, *own, more), MARSHAL_VERSION) for more in (None, CLIENT_FOLLOWS)
        )
        whole = replace(entry, own=own, details=details, before_client=before_client)
        if entry.shared[1]:
            known.common[derived, common] = entry
            known.entries[kind] = whole
            # Texts may be as long as whoever sent them wanted: a character may take four bytes, in two keys.
            self._bytes += _KIND_BYTES + 8 * entry.shared[1]
        return whole

    def _new(self, known: Known, kind: Kind, session: Session, codecs: Codecs) -> Entry:
        """A kind whose shared part is new to these parties."""
        status, asked, answered, failed, has_reply_id, replied = kind
        columns, targets, flags = self._request_columns(session.request)
        operation, target, application, version, opcode = columns
        if session.reply is not None:
            flags |= Flag.HAS_REPLY
            flags |= Flag.REPLY_CUT if session.reply.truncated else 0
        flags |= Flag.HAS_REPLY_ID if has_reply_id else 0
        flags |= Flag.REPLIED if replied else 0
        protocol, side, client_host, server_host, server_port, client_process, server_process, namespace = known.parties
        key = (
            operation,
            target,
            self.names["error"].number("" if failed is None else error_text(*failed)),
            client_host,
            server_host,
            client_process,
            server_process,
            application,
            version,
            server_port,
            protocol,
            opcode,
            _STATUS_NUMBERS[status],
            side,
        )
        # What waits is in no cell yet.
        cell = 0 if status is Status.INFLIGHT else self.cells.number(KEY.pack(*key, flags & OF_CELL))
        request_class, reply_class = (None if codec is None else codec.of for codec in codecs)
        shared = Shared(request_class, asked or (), reply_class, answered or (), failed, namespace).dumps()
        keep = len(shared) <= self.shared.size // 64
        place = (self.shared.append(shared), len(shared)) if keep else (0, 0)
        return Entry(KEY.pack(*key, flags), cell, targets, place, ((), ()), b"", b"")

    def _request_columns(self, request: Request | None) -> tuple[tuple[int, ...], int, Flag]:
        """Operation, target, application, version and opcode; all targets; flags."""
        if request is None:
            return (0, 0, 0, NO_VERSION, 0), 0, Flag(0)
        number = self.names
        version = NO_VERSION if request.version is None else max(-0x7FFF, min(request.version, 0x7FFF))
        columns = (
            number["operation"].number(request.operation),
            number["target"].number(request.target),
            number["application"].number(request.application),
            version,
            number["opcode"].number(request.opcode_name),
        )
        several = len(request.targets) > 1
        targets = number["targets"].number(TARGETS_SEPARATOR.join(request.targets)) if several else 0
        flags = Flag.HAS_REQUEST
        flags |= Flag.LONG_POLL if request.long_poll else 0
        flags |= Flag.EXPECTS_REPLY if request.expects_reply else 0
        flags |= Flag.REQUEST_CUT if request.truncated else 0
        return columns, targets, flags

    def free_names(self, rows: list[Records]) -> None:
        """Forget the names that no cell and none of `rows` has."""
        for table, names in self.names.items():
            used = np.zeros(names.quota, np.bool_)
            for column in (column for column, its_table in TABLE_OF.items() if its_table == table):
                if column in (CELL.names or ()):
                    used |= self.cells.used_names(column, names.quota)
                for some in rows:
                    used |= _occurring(some[column], names.quota)
            names.free(used)
        self.forget()

    def names_short(self) -> bool:
        """Whether a table is nearly full."""
        return any(names.room < names.quota // 8 for names in self.names.values())


def _split(values: tuple[Any, ...] | None, codec: Codec | None) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
    """What `Codec.take` gave, as what is shared and what is not."""
    return (None, ()) if values is None or codec is None else (values[: codec.shared], values[codec.shared :])


def _occurring(numbers: NDArray[Any], quota: int) -> NDArray[np.bool_]:
    return np.bincount(numbers, minlength=quota)[:quota] > 0


def process_text(process: Process | None) -> str:
    """A process as a name; "" for none."""
    return "" if process is None else f"{process.pid} {process.container or '-'} {process.name}"


def process_of(text: str) -> Process | None:
    """The process that `process_text` made a name of; None for one that found no place."""
    pid, _, rest = text.partition(" ")
    container, _, name = rest.partition(" ")
    return Process(int(pid), name, "" if container == "-" else container) if pid.isdecimal() else None


def error_text(code: int, name: str, fault: str) -> str:
    """An error as a name."""
    return f"{fault} {code} {name}"


def error_of(text: str) -> Failure | None:
    """The error that `error_text` made a name of, without its own text; None for one that found no place, or none."""
    fault, _, rest = text.partition(" ")
    code, _, name = rest.partition(" ")
    return Failure(int(code), name, "", Fault(fault)) if code else None
