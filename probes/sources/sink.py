"""What every source talks to: the next room, as far as a source knows it."""

from __future__ import annotations

from typing import Protocol

from probes.records import Connection, Head, Times


class Sink(Protocol):
    """Takes what a source sees, in about the order in which it happened (CPUs may be some ms apart)."""

    def opened(self, connection: Connection) -> None:
        """A connection is about to show its first message."""

    def addressed(self, connection: Connection) -> None:
        """The connection's addresses became known."""

    def message(self, connection: Connection, head: Head) -> None:
        """A message went by."""

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        """Two messages, one right behind the other: a request and what is most likely its reply.

        The same as `message` twice, for less.
        """

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        """On a connection whose messages are no longer told: so many messages of the exchange `id`, a request's id,
        went by at these times; 0 for the request or the reply that is not among them."""

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        """Messages up to `last_number` went by in that direction, whatever was told of them."""

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        """The message of that number went by uncaptured, and perhaps more of that direction: nobody knows how many."""

    def closed(self, connection: Connection, ns: int) -> None:
        """The connection ended."""
