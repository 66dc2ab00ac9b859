"""How to teach l7top a protocol: the whole interface. MongoDB and Kafka use exactly this, and so does a plugin.

A protocol owns no socket, no clock and no logger: bytes in, records out. It is one class, derived from `WireProtocol`,
and l7top makes one instance of it. With each message of a connection it takes one of four decisions:

    pass              not mine, the next protocol tries     identify: Verdict.FOREIGN, request: raise Pass
    abort             stop, and tell nothing of it          raise Abort
    abort with error  stop, it is broken: counted, shown    raise ProtocolError
    answer            identify: Verdict.REQUEST or REPLY; request: a Request; reply: a Reply

**Where messages begin.** With `framing = "mongodb"` or `"kafka"` the kernel program finds the messages by those
protocols' lengths, and every call is about one message. With `framing = "raw"` it only copies what passes on the
protocol's `ports`, and `frame` says how long the message at the beginning of those bytes is.

**What is called, in this order.** `memory` for each new connection. `frame`, raw only, until it tells a length.
`identify` for the first messages of a connection, until one of them is known to be a request. `request` for each
message of the client's, `reply_to` and then `reply` for each of the server's.

The bytes are what strangers sent: check bounds before anything is allocated, let every loop move on, and raise nothing
but the exceptions below. l7top contains whatever else a plugin raises, interrupts a call of a plugin after 50 ms, and
switches the plugin off after three of those.

What a plugin tells is a plain `Request` and `Reply` (or those of the protocol that it derives from): what else it needs
between two messages it keeps in the connection's memory. tests/example_plugin has two that work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

from probes.records import Connection, Head, Process, Reply, Request, Session, Verdict
from probes.scope import Skim

RAW = "raw"


class ProtocolError(Exception):
    """Abort with error: these bytes are not a message of this protocol, or are too broken to read."""


class Pass(Exception):  # noqa: N818 - a decision, not an error
    """Not mine: the next protocol tries."""


class Abort(Exception):  # noqa: N818 - likewise
    """Stop: no other protocol tries, and no session is told.

    `awaited` is the request where a reply to it will come, which is then left out as well.
    """

    def __init__(self, awaited: Request | None = None) -> None:
        super().__init__()
        self.awaited = awaited


class SwitchedOff(Abort):
    """Raised in the place of a plugin that was switched off; plugins themselves do not."""


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
        """What was learned, about once a second: lists that JSON can hold, the most important items first.

        The number "over", where it is there, counts what found no room.
        """


@runtime_checkable
class Skims(Protocol):
    """What a protocol of Kafka's framing may have besides: it finds what long replies have behind their heads.

    That is kept of captures only, as windows (`Head.windows`) or, right behind the head, as more of it.
    """

    def skim(self) -> Skim:
        """A new, bounded memory of one connection for that."""


class WireProtocol:
    """One protocol. An instance belongs to one collector and may keep bounded memory across connections.

    `name` is what records, filters and screens call it: lower-case letters, digits, "-" and "_". `framing` says who
    finds its messages: "mongodb" or "kafka" (the kernel, by that protocol's lengths), or "raw" (`frame`). It is tried
    only on connections that have one of its `ports`, where there are any, at either end; raw framing needs some, and
    they are the servers'. `--ports NAME=PORT,…` replaces them.

    `confirms_alone` holds where no other traffic could be taken for a request that was read whole. One such request
    then confirms a connection; otherwise that takes a second one, or a reply with the first one's id. Raw framing needs
    no confirmation but the ports.

    Optional: `LooksAround`, for what is not on the wire; `Observes`, for what is in no single exchange; `Records`, for
    recordings; `Skims`, for long replies. Of a plugin they are not asked.
    """

    name: str
    framing: str
    ports: tuple[int, ...] = ()
    confirms_alone: bool = False

    def memory(self, connection: Connection) -> Any:
        """A new, bounded memory of one connection; handed back with each of its messages."""
        return None

    def frame(self, data: bytes, memory: Any) -> int:
        """Of raw framing: the length in bytes of the message that `data` begins with, more than `data` has where its
        end is still to come; 0 where more bytes are needed to tell. Raises ProtocolError where no message begins here.
        """
        raise ProtocolError(f"{self.name} finds no messages itself")

    def identify(self, data: bytes, total: int) -> Verdict:
        """What the head `data` of a message of `total` bytes is, on a connection not met before. Raises Abort.

        Called until one direction of the connection is known to carry requests.
        """
        raise NotImplementedError

    def request(self, head: Head, memory: Any) -> Request:
        """The request that `head` begins. Raises Pass, Abort, ProtocolError."""
        raise NotImplementedError

    def reply_to(self, head: Head, memory: Any) -> int | None:
        """The id of the request that the reply beginning with `head` answers; None where replies carry no id: it then
        answers the oldest request that waits, which has to say `in_order`. Raises Abort where it answers none and is
        no loss (something pushed), ProtocolError.
        """
        return None

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        """The reply that `head` begins; `request` is None where the request was not seen. Raises Abort (the exchange is
        not told), ProtocolError.
        """
        raise NotImplementedError

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        """Of the built-in protocols: their own part of the session record, absent facts left out.

        Values from documents and payloads appear only with `literals`. May decode, and so be slow: called when
        someone looks, who need not have the plugin. So of a plugin's sessions there is what its requests and replies
        themselves tell, `attributes` among it.
        """
        reply = session.reply
        failure = reply.failure if reply is not None else None
        return {"error": failure.message} if literals and failure is not None and failure.message else {}


class Untaught(WireProtocol):
    """Stands for a protocol whose plugin is in another process: describes its sessions."""

    name = ""
    framing = RAW
