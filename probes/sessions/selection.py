"""Which sessions the user asked for: by the end they were seen from and by process."""

from __future__ import annotations

from collections.abc import Callable, Collection

from probes.records import Session, Side


def selected(side: Side, pids: Collection[int]) -> Callable[[Session], bool]:
    """Whether a session was seen from `side` (BOTH: from any) and has an end in one of `pids` (none: in any)."""
    wanted = frozenset(pids)

    def seen(session: Session) -> bool:
        return side is Side.BOTH or session.seen_from in (side, Side.BOTH)

    def involved(session: Session) -> bool:
        ends = (session.client_process, session.server_process)
        return not wanted or any(end is not None and end.pid in wanted for end in ends)

    return lambda session: seen(session) and involved(session)
