"""One connection under pairing, told in short words; times in milliseconds."""

from __future__ import annotations

from typing import Any

from probes.records import Address, Connection, Head, Ledger, Process, Session, Status
from probes.sessions.pairing import Pairing

from .fake_protocol import ONEWAY, PLAIN, REPLY, REQUEST, FakeProtocol, head

MS = 1_000_000


class Harness:
    """Seen from the server: requests come in. Messages are numbered by themselves unless `number` is given."""

    def __init__(self, *protocols: FakeProtocol, confirmed: bool = True, label: str = "fake", **bounds: Any) -> None:
        self.sessions: list[Session] = []
        self.ledger = Ledger()
        self.fed = 0
        bounds.setdefault("strict", True)
        self.pairing = Pairing(
            protocols or (FakeProtocol(confirms_alone=True),), self.sessions.append, self.ledger, **bounds
        )
        self.connection = Connection(
            1, Process(7, "server"), Address("10.0.0.9", 27017), Address("10.0.0.5", 51544), protocol=label
        )
        self.pairing.opened(self.connection)
        self.next = {True: 0, False: 0}
        if confirmed:
            self.ask(1_000_000, at=0, flags=ONEWAY)
            assert [session.status for session in self.sessions] == [Status.ONEWAY]
            self.sessions.clear()

    def feed(self, message: Head) -> None:
        self.fed += 1
        self.next[message.outbound] = max(self.next[message.outbound], message.number + 1)
        self.pairing.message(self.connection, message)

    def ask(self, id: int, at: float, flags: bytes = PLAIN, number: int | None = None, total: int = 100) -> None:
        number = self.next[False] if number is None else number
        self.feed(head(False, number, int(at * MS), REQUEST, id, flags=flags, total=total))

    def answer(self, to: int, at: float, flags: bytes = PLAIN, number: int | None = None, id: int = 900) -> None:
        number = self.next[True] if number is None else number
        self.feed(head(True, number, int(at * MS), REPLY, id, to, flags=flags, total=50))

    def tick(self, at: float) -> None:
        self.pairing.tick(int(at * MS))

    def told(self) -> list[tuple[int, Status]]:
        """The sessions so far, by request id; 0 where there is no request."""
        return [(s.request.id if s.request else 0, s.status) for s in self.sessions]

    def waiting(self, at: float = 1e6) -> list[int]:
        return [s.request.id for s in self.pairing.waiting(int(at * MS)) if s.request]

    def counts(self, at: float) -> dict[str, int]:
        """The ledger after a tick, without zeros and without the message that confirmed the connection."""
        self.tick(at)
        return {str(cause): n for cause, n in self.ledger.counts.items() if n}

    def balance(self) -> int:
        """Messages in the ledger that nobody fed: those missed. Right after a tick."""
        return sum(self.ledger.counts.values()) - self.fed
