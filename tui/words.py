"""What is said in the same words on several screens."""

from __future__ import annotations

from collections.abc import Sequence

from probes.records import Process
from probes.store.view import Condition, Facts, Is, KeyValue, ProcessFacts, Visibility
from tui.widgets.numbers import of_day

NAMES = {"mongodb": "MongoDB", "kafka": "Kafka"}


def protocol_name(protocol: str) -> str:
    return NAMES.get(protocol, protocol or "?")


def what(operation: str, version: int | None, target: str) -> str:
    """An operation and what it acts on: "find shop.orders", "Produce_v9 orders"."""
    name = operation or "(undecoded)"
    return f"{name if version is None else f'{name}_v{version}'} {target}".rstrip()


def client_name(host: str, process: KeyValue) -> str:
    """A client: its process where that is on this host, for its address then says little; else its host."""
    return f"{process.name} {process.pid}" if isinstance(process, Process) else host


def exactly(by: Sequence[str], key: Sequence[KeyValue]) -> tuple[Condition, ...]:
    """The conditions that hold for the requests of the group with this key, and for no others."""
    return tuple(Is(field, value) for field, value in zip(by, key, strict=True))


def why(process: ProcessFacts, facts: Facts) -> str:
    """Why nothing of a process is shown, or what is: one sentence without its name."""
    connections = _some(process.connections, "connection")
    listening = f"listens on {_ports(process.listens)}, " if process.listens else ""
    note = f" ({process.note})" if process.note else ""
    match process.visibility:
        case Visibility.SEEN:
            return f"{listening}{connections}{note}"
        case Visibility.IDLE:
            since = f"since {clock(process.since_ns, facts)}" if process.since_ns else "since the capture began"
            return f"{listening}{connections}, idle {since}{note}"
        case Visibility.TLS:
            ports = f" on {_ports(process.listens)}" if process.listens else ""
            return f"{connections}{ports} carry TLS, not visible here{note}"
        case Visibility.UNRECOGNISED:
            return f"{connections} with bytes of no known protocol{note}"
        case Visibility.UNCONNECTED:
            return f"{listening}no MongoDB or Kafka connection{note}"
        case Visibility.UNTRACED:
            return f"{connections} not visible here: {process.note or 'its system calls are not seen'}"


def clock(ns: int, facts: Facts) -> str:
    """The time of day of a time of CLOCK_MONOTONIC."""
    return of_day(ns + facts.wall_offset_ns, digits=0)


def _some(number: int, name: str) -> str:
    return f"{number or 'no'} {name}{'' if number == 1 else 's'}"


def _ports(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports))
