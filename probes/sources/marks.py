"""What a recording of ours says that other captures cannot: whose view a packet is, and what its addresses stand for.

A recording is a pcapng. It has an interface for each process (and network namespace) whose calls were seen, and that
process's mark is the interface's description. Each packet tells by its direction (epb_flags) whether the process sent
or received it: so of a connection with both ends on this host every message is there twice, once on either interface,
and neither is a retransmission of the other. The first packet of a connection has the connection's mark as comment; a
further mark on the same addresses begins another connection.

In: records. Out: text for a pcapng's options; and back, None where the text is no mark.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Self

from probes.records import Address, Process

_SIGN = "l7top: "


class InterfaceMark(NamedTuple):
    """The process whose view the packets of an interface are; `namespace` is its network namespace's inode."""

    process: Process | None
    namespace: int

    def text(self) -> str:
        process = {} if self.process is None else self.process._asdict()
        return _SIGN + json.dumps({"interface": {**process, "namespace": self.namespace}})

    @classmethod
    def read(cls, text: str) -> Self | None:
        told = _read(text, "interface")
        if told is None:
            return None
        process = None
        match told:
            case {"pid": int(pid), "name": str(name), "container": str(container)}:
                process = Process(pid, name, container)
        namespace = told.get("namespace")
        return cls(process, namespace if isinstance(namespace, int) else 0)


class ConnectionMark(NamedTuple):
    """The protocol and the ends of a connection: `near` is the interface's process.

    Where they are no addresses of TCP, those in the packets are invented. `inodes` are a unix socket's own and its
    peer's, 0 where they are not known.
    """

    protocol: str
    near: Address
    far: Address
    inodes: tuple[int, int] = (0, 0)

    def text(self) -> str:
        return _SIGN + json.dumps({"connection": self._asdict()})

    @classmethod
    def read(cls, text: str) -> Self | None:
        told = _read(text, "connection")
        if told is None or not isinstance(told.get("protocol"), str):
            return None
        near, far = _address(told.get("near")), _address(told.get("far"))
        if near is None or far is None:
            return None
        match told.get("inodes"):
            case [int(own), int(peer)]:
                return cls(told["protocol"], near, far, (own, peer))
        return cls(told["protocol"], near, far)


def _read(text: str, what: str) -> dict[str, Any] | None:
    if not text.startswith(_SIGN):
        return None
    try:
        told = json.loads(text.removeprefix(_SIGN))
    except (ValueError, RecursionError):
        return None
    found = told.get(what) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else None


def _address(value: object) -> Address | None:
    match value:
        case [str(host), int(port)]:
            return Address(host, port)
    return None
