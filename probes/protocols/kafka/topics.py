"""The names of topics by their ids, which newer versions send instead (KIP-516)."""

from __future__ import annotations

from probes.protocols.kafka.walk import uuid_text

MAX_TOPICS = 65_536
MAX_MISSED = 1_024
MAX_TOPIC_NAME = 249  # Kafka's own limit


class Topics:
    """Names by id; of more than `MAX_TOPICS` the first learned go.

    `learned` counts what was new; `missed` are ids that were asked for and not known, `MAX_MISSED` at most.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self.learned = 0
        self.missed: set[bytes] = set()

    def learn(self, id: bytes, name: str) -> None:
        if self._names.get(id) == name or not any(id) or len(name) > MAX_TOPIC_NAME:
            return
        if id not in self._names and len(self._names) >= MAX_TOPICS:
            del self._names[next(iter(self._names))]
        self._names[id] = name
        self.learned += 1
        self.missed.discard(id)

    def name(self, id: bytes) -> str:
        """The topic's name, the id's text where it is not known."""
        name = self._names.get(id)
        if name is None:
            if len(self.missed) < MAX_MISSED:
                self.missed.add(id)
            return uuid_text(id)
        return name

    def known(self, id: bytes) -> str | None:
        return self._names.get(id)
