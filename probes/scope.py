"""What a source has to look for, and where: all that it knows of the protocols."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from enum import IntFlag
from typing import NamedTuple, Protocol


class PortUse(IntFlag):
    """What a connection may carry: messages of MongoDB's or Kafka's framing, or bytes that a plugin frames.

    The kernel's program has the same bits (enum port_use).
    """

    NONE = 0
    MONGODB = 1
    KAFKA = 2
    RAW = 4


class Skim(Protocol):
    """Knows of one connection of Kafka's framing where long replies have what matters behind their beginning.

    Raises nothing, whatever the bytes are.
    """

    def request(self, header: bytes) -> None:
        """A request begins with `header`, at least 12 bytes."""

    def reply(self, data: bytes) -> Generator[int, bytes, None]:
        """Of a reply that begins with `data`, from which place on it is to be kept next: behind `data` or later.

        It is sent some bytes from there on, gives the next place, and so on; it ends where nothing more is wanted.
        """


class Scope(NamedTuple):
    """What is tried on every connection, and what only on connections with one of these ports at either end.

    `skim` makes a `Skim` for a connection, None where nobody knows. The kernel's program has none.
    """

    everywhere: PortUse = PortUse.MONGODB | PortUse.KAFKA
    ports: Mapping[int, PortUse] = {}
    skim: Callable[[], Skim] | None = None

    def of(self, *ports: int) -> PortUse:
        """What a connection between these ports may carry."""
        use = self.everywhere
        for port in ports:
            use |= self.ports.get(port, PortUse.NONE)
        return use


EVERYTHING = Scope()
