"""What a source has to look for, and where: all that it knows of the protocols."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import NamedTuple


class PortUse(IntFlag):
    """What a connection may carry: messages of MongoDB's or Kafka's framing, or bytes that a plugin frames.

    The kernel's program has the same bits (enum port_use).
    """

    NONE = 0
    MONGODB = 1
    KAFKA = 2
    RAW = 4


class Scope(NamedTuple):
    """What is tried on every connection, and what only on connections with one of these ports at either end."""

    everywhere: PortUse = PortUse.MONGODB | PortUse.KAFKA
    ports: Mapping[int, PortUse] = {}

    def of(self, *ports: int) -> PortUse:
        """What a connection between these ports may carry."""
        use = self.everywhere
        for port in ports:
            use |= self.ports.get(port, PortUse.NONE)
        return use


EVERYTHING = Scope()
