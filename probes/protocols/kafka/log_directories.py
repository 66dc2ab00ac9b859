"""Names of topics from the log directories of a broker on this host: for ids that no reply has told.

A broker holds its newest segments open, `…/<topic>-<partition>/<offset>.log`, and beside them lies a file
`partition.metadata` with the topic's id (KIP-516). What processes have open is theirs to choose, so nothing is read but
a small regular file of that name, and nothing is taken from it but an id. Raises nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from probes.protocols.kafka.walk import uuid_bytes

_SEGMENT = re.compile(r"(/(?:.*/)?(?P<topic>[A-Za-z0-9._-]{1,249})-\d{1,10})/\d{20}\.log")
_TOPIC_ID = re.compile(rb"^topic_id: ([A-Za-z0-9_-]{22})$", re.MULTILINE)
_METADATA = "partition.metadata"
_MOST = 256  # bytes of such a file


def topics_of(pid: int) -> Iterator[tuple[bytes, str] | None]:
    """Id and name of each topic of which process `pid` has a segment open; None for each other open file."""
    met: set[str] = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as files:
            for file in files:
                segment = _SEGMENT.fullmatch(os.readlink(file.path)) if file.is_symlink() else None
                id = None
                if segment is not None and segment["topic"] not in met:
                    met.add(segment["topic"])
                    id = _topic_id(f"/proc/{pid}/root{segment[1]}/{_METADATA}")
                yield None if id is None or segment is None else (id, segment["topic"])
    except OSError:  # it has ended, or is not ours to look at
        return


def _topic_id(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _MOST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    found = _TOPIC_ID.search(text)
    return uuid_bytes(found[1].decode()) if found is not None else None
