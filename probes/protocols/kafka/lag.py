"""How far consumers are behind: where partitions end, where clients read, what groups have committed.

In: what replies and requests say of partitions, with the time. Out: lags, in records. Nothing here raises; all tables
are bounded, and `over` counts what found no place. An end only grows stale, so a lag is never more than the true one;
a partition of which no end was seen has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_PARTITIONS = 16_384  # in each table
MAX_READERS, MAX_COMMITTERS = 1_024, 256
_ABSENT_NS = 30_000_000_000  # a partition that a client no longer asks for: it may only be pausing it
_GONE_NS = 60_000_000_000  # a client that asks for nothing
_TREND_NS, _TREND_FROM_NS = 30_000_000_000, 5_000_000_000  # over how long at least, and from when on one is told

Partition: TypeAlias = tuple[str, int]
"""Topic and number."""
Client: TypeAlias = tuple[str, str]
"""Client id and host."""


@dataclass(slots=True)
class _Reader:
    """Where a client reads. `absent`: since when it does not ask for a partition."""

    last_ns: int
    offsets: dict[Partition, int] = field(default_factory=dict)
    absent: dict[Partition, int] = field(default_factory=dict)


class Behind(NamedTuple):
    """A partition and how far it is read. `lag` is None where no end is known."""

    partition: Partition
    offset: int
    end: int | None

    @property
    def lag(self) -> int | None:
        return None if self.end is None else max(0, self.end - self.offset)


@dataclass(slots=True)
class _Course:
    """A lag over time: as it is, as it was half a minute to a minute ago, and what takes that one's place."""

    then_ns: int
    then: int
    next_ns: int
    next: int
    now_ns: int
    now: int

    def go_on(self, ns: int, lag: int) -> None:
        self.now_ns, self.now = ns, lag
        if ns - self.next_ns >= _TREND_NS:
            self.then_ns, self.then, self.next_ns, self.next = self.next_ns, self.next, ns, lag

    @property
    def trend(self) -> float | None:
        passed_ns = self.now_ns - self.then_ns
        return (self.now - self.then) * 1e9 / passed_ns if passed_ns >= _TREND_FROM_NS else None


_Subject: TypeAlias = tuple[str | Client, Partition | None]
"""Whose lag it is: a group's or a client's, of one partition or of all."""


class Lags:
    """The positions of all clients and groups."""

    def __init__(self) -> None:
        self._ends: dict[Partition, int] = {}
        self._readers: dict[Client, _Reader] = {}
        self._committed: dict[str, dict[Partition, int]] = {}
        self._courses: dict[_Subject, _Course] = {}
        self._positions = 0  # in all readers and groups, at most MAX_PARTITIONS
        self.over = 0

    def end(self, offsets: dict[Partition, int]) -> None:
        """The next records of these partitions will have these offsets, or later ones."""
        new = len(offsets.keys() - self._ends.keys())
        if not new or self._room(len(self._ends) + new - 1):
            self._ends.update(offsets)

    def read(self, client: Client, offsets: dict[Partition, int], ns: int, *, whole: bool) -> None:
        """A client asks for records from these offsets on; `whole`: and for no other partition."""
        reader = self._readers.get(client)
        if reader is None:
            if len(self._readers) >= MAX_READERS:
                self.over += 1
                return
            reader = self._readers[client] = _Reader(ns)
        reader.last_ns = ns
        self._keep(reader.offsets, offsets)
        for partition in offsets.keys() & reader.absent.keys():
            del reader.absent[partition]
        if whole:
            self.left(client, reader.offsets.keys() - offsets.keys(), ns)

    def left(self, client: Client, partitions: set[Partition], ns: int) -> None:
        """A client no longer asks for these."""
        reader = self._readers.get(client)
        if reader is not None:
            for partition in partitions & reader.offsets.keys():
                reader.absent.setdefault(partition, ns)

    def heard(self, client: Client, ns: int) -> None:
        """A client asks for what it asked for before."""
        reader = self._readers.get(client)
        if reader is not None:
            reader.last_ns = ns

    def committed(self, group: str, offsets: dict[Partition, int]) -> None:
        """A group has read until before these offsets; one below 0 says that nothing is committed."""
        known = self._committed.get(group)
        if known is None:
            if len(self._committed) >= MAX_COMMITTERS:
                self.over += 1
                return
            known = self._committed[group] = {}
        self._keep(known, {partition: offset for partition, offset in offsets.items() if offset >= 0})

    def turn(self, now_ns: int) -> None:
        """Once a second: forget who is gone, and remember the lags for their trend."""
        for client, reader in list(self._readers.items()):
            for partition in [each for each, ns in reader.absent.items() if now_ns - ns > _ABSENT_NS]:
                del reader.absent[partition], reader.offsets[partition]
            if now_ns - reader.last_ns > _GONE_NS:
                del self._readers[client]
        held = (*(reader.offsets for reader in self._readers.values()), *self._committed.values())
        self._positions = sum(map(len, held))
        courses, self._courses = self._courses, {}
        for name, lags in self._all():
            for subject, lag in lags:
                course = courses.get((name, subject))
                if course is None:
                    course = _Course(now_ns, lag, now_ns, lag, now_ns, lag)
                course.go_on(now_ns, lag)
                self._courses[name, subject] = course

    def _all(self) -> Iterator[tuple[str | Client, list[tuple[Partition | None, int]]]]:
        """Every lag that is known, by whose it is."""
        for group in self._committed:
            lags = self._known(self.partitions_of(group))
            yield group, [*lags, (None, sum(lag for _, lag in lags))] if lags else []
        for client in self._readers:
            yield client, self._known(self.of_client(client))

    @staticmethod
    def _known(behind: list[Behind]) -> list[tuple[Partition | None, int]]:
        return [(each.partition, each.lag) for each in behind if each.lag is not None]

    def forget(self, groups: set[str]) -> None:
        """All but these groups are gone."""
        for group in self._committed.keys() - groups:
            del self._committed[group]

    def clients(self) -> Iterator[Client]:
        """Who reads."""
        return iter(self._readers)

    def of_client(self, client: Client) -> list[Behind]:
        reader = self._readers.get(client)
        return [] if reader is None else self._behind(reader.offsets)

    def partitions_of(self, group: str) -> list[Behind]:
        """By what the group has committed."""
        return self._behind(self._committed.get(group, {}))

    def trend(self, name: str | Client, partition: Partition | None = None) -> float | None:
        """By how many records a second a group's or a client's lag grows, over up to a minute; None where that is too
        short. Of a partition, or of a group as a whole."""
        course = self._courses.get((name, partition))
        return None if course is None else course.trend

    def _behind(self, offsets: dict[Partition, int]) -> list[Behind]:
        return [Behind(partition, offset, self._ends.get(partition)) for partition, offset in offsets.items()]

    def _keep(self, table: dict[Partition, int], offsets: dict[Partition, int]) -> None:
        new = len(offsets.keys() - table.keys())
        if new and not self._room(self._positions + new - 1):
            offsets = {partition: offset for partition, offset in offsets.items() if partition in table}
            new = 0
        self._positions += new
        table.update(offsets)

    def _room(self, used: int) -> bool:
        self.over += used >= MAX_PARTITIONS
        return used < MAX_PARTITIONS
