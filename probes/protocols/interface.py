"""What a protocol has to provide. It owns no socket, no clock and no logger: bytes in, records out.

A protocol's parsers are given captured bytes, which are hostile: bounds are checked before anything is allocated, every
loop moves on, and nothing but `ProtocolError` is ever raised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

from probes.records import Connection, Head, Process, Reply, Request, Session, Verdict


class ProtocolError(Exception):
    """These bytes are not a message of this protocol, or are too broken to read. The only error of a parser."""


@runtime_checkable
class LooksAround(Protocol):
    """What a protocol may have besides: it may ask the host for what messages do not say."""

    def look_around(self, processes: Collection[Process]) -> None:
        """Called about once a second, with the processes of this host that speak it. Takes milliseconds at most."""


@runtime_checkable
class Records(Protocol):
    """What a protocol may have besides: it knows what of a message may go into a recording.

    Of one without it nothing but lengths and times is recorded, and with literals what its messages keep.
    """

    def recordable(
        self, head: Head, message: Request | Reply | None, request: Request | None, *, literals: bool
    ) -> Head:
        """What may be written of the message that `head` begins.

        `message` is what the parser made of it (None: it refused), `request` what a reply answers. The head comes back
        without credentials, and unless `literals` with each value of the users' overwritten at the same length.
        """


@runtime_checkable
class Observes(Protocol):
    """What a protocol may have besides: it may learn from sessions what none of them says alone."""

    def observe(self, session: Session) -> None:
        """A session that has ended, once, both ends joined. Cheap, for it is called for each."""

    def facts(self, now_ns: int) -> Mapping[str, Any]:
        """What was learned, about once a second: lists that JSON can hold, the most important items first."""


class WireProtocol(Protocol):
    """One protocol. An instance belongs to one collector and may keep bounded memory across connections.

    Optional: `confirms_alone = True` where no other traffic could be taken for a request that was read whole. One
    such request then confirms a connection; otherwise that takes a second one, or a reply with the first one's id.
    And `LooksAround`, for what is not on the wire; `Observes`, for what is in no single exchange; `Records`, for
    recordings.
    """

    name: str

    def memory(self, connection: Connection) -> Any:
        """A new, bounded memory of one connection; handed back with each of its messages."""

    def identify(self, data: bytes, total: int) -> Verdict:
        """What the head `data` of a message of `total` bytes is, on a connection not met before.

        Called until one direction of the connection is known to carry requests.
        """

    def request(self, head: Head, memory: Any) -> Request:
        """The request that `head` begins. Raises ProtocolError."""

    def reply_to(self, head: Head) -> int:
        """The id of the request that the reply beginning with `head` answers. Raises ProtocolError."""

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        """The reply that `head` begins; `request` is None where the request was not seen. Raises ProtocolError."""

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        """The protocol's own part of the session record (DESIGN section 6), absent facts left out.

        Values from documents and payloads appear only with `literals`. May decode, and so be slow: called when
        someone looks.
        """
