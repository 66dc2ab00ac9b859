"""What a fetch session asks for without naming it (KIP-227; of share groups KIP-932).

A full fetch opens a session with all its partitions; the requests after it name only what is new or has moved, and
what they forget. In: the partitions that requests and replies name. Out: the topics of the whole session. Nothing here
raises; a session is bounded, and says where it does not know all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from probes.protocols.kafka.topics import Topics
from probes.protocols.kafka.walk import uuid_text

MAX_TOPICS, MAX_PARTITIONS = 1024, 4096
NO_SESSION, FULL = -1, 0  # epochs
_MAX_EPOCH = 2**31 - 1
_STALE, _ALL_NAMED = -1, -2  # instead of how many names were known when the topics were last resolved

Topic: TypeAlias = str | bytes
"""A topic's name, or its id in the versions that send those."""


class FetchSession:
    """One session. `whole`: all its partitions are known; `cut`: those of the request that opened it are not."""

    __slots__ = ("_parts", "_resolved", "_topics", "cut", "epoch", "id", "partitions", "whole")

    def __init__(self, id: int, epoch: int, *, whole: bool, cut: bool = False) -> None:
        self.id = id
        self.epoch = epoch
        self.whole = whole
        self.cut = cut
        self.partitions = 0  # that are known
        self._parts: dict[Topic, set[int]] = {}
        self._topics: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._resolved = _STALE

    def goes_on(self, epoch: int) -> None:
        """The next request: where one was missed, its partitions are."""
        if epoch != (self.epoch + 1 if self.epoch < _MAX_EPOCH else 1):
            self.whole = False
        self.epoch = epoch

    def ask(self, topic: Topic, partitions: Collection[int] = ()) -> None:
        """A topic that a request adds or names again, or a reply shows to belong to it, with some of its partitions."""
        known = self._parts.get(topic)
        if known is None:
            if len(self._parts) >= MAX_TOPICS:
                self.whole = False
                return
            known = self._parts[topic] = set()
            self._resolved = _STALE
        before = len(known)
        room = MAX_PARTITIONS - self.partitions
        if len(partitions) > room:
            partitions = [each for each in partitions if each not in known]
            self.whole = self.whole and len(partitions) <= room
            partitions = partitions[:room]
        known.update(partitions)
        self.partitions += len(known) - before

    def forget(self, topic: Topic, partitions: Iterable[int]) -> None:
        """Partitions that a request takes away; with its last one a topic goes."""
        known = self._parts.get(topic)
        if known is None:
            return
        before = len(known)
        known.difference_update(partitions)
        self.partitions -= before - len(known)
        if not known:
            del self._parts[topic]
            self._resolved = _STALE

    def topics(self, names: Topics) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Its topics by name, by the text of their id where that is not known; and the ids' texts, where it has ids.

        The same tuples until something changes.
        """
        if self._resolved not in (names.learned, _ALL_NAMED):
            found = [topic if isinstance(topic, str) else names.name(topic) for topic in self._parts]
            ids = tuple(uuid_text(topic) for topic in self._parts if isinstance(topic, bytes))
            self._topics = tuple(dict.fromkeys(found)), ids
            self._resolved = names.learned if set(ids).intersection(found) else _ALL_NAMED
        return self._topics
