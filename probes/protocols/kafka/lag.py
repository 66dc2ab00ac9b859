"""How far consumers are behind: where partitions end, where clients read, what groups have committed.

In: what replies and requests say of partitions, with the time. Out: lags, in records. Nothing here raises; all tables
are bounded, and `over` counts what found no place. An end only grows stale, so a lag is never more than the true one;
a partition of which no end was seen has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_PARTITIONS = 16_384  # in each table
MAX_READERS, MAX_COMMITTERS = 1_024, 256
_ABSENT_NS = 30_000_000_000  # a partition that a client no longer asks for: it may only be pausing it
_GONE_NS = 60_000_000_000  # a client that asks for nothing
_TREND_NS, _TREND_FROM_NS = 30_000_000_000, 5_000_000_000  # over how long at least, and from when on one is told

Partition: TypeAlias = tuple[str, int]
"""Topic and number."""
Offsets: TypeAlias = dict[str, dict[int, int]]
"""By topic and number. In steps by topic, because a client's requests name hundreds of partitions of few topics."""
Client: TypeAlias = tuple[str, str]
"""Client id and host."""


@dataclass(slots=True)
class _Reader:
    """Where a client reads. `absent`: since when it does not ask for a partition."""

    last_ns: int
    offsets: Offsets = field(default_factory=dict)
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
        self._ends: Offsets = {}
        self._ended = _Bound()
        self._readers: dict[Client, _Reader] = {}
        self._committed: dict[str, Offsets] = {}
        self._held = _Bound()  # by all readers and groups
        self._courses: dict[_Subject, _Course] = {}
        self._over = 0

    @property
    def over(self) -> int:
        return self._over + self._ended.over + self._held.over

    def end(self, offsets: Offsets) -> None:
        """The next records of these partitions will have these offsets, or later ones."""
        self._ended.keep(self._ends, offsets)

    def read(self, client: Client, offsets: Offsets, ns: int, *, whole: bool) -> None:
        """A client asks for records from these offsets on; `whole`: and for no other partition."""
        reader = self._readers.get(client)
        if reader is None:
            if len(self._readers) >= MAX_READERS:
                self._over += 1
                return
            reader = self._readers[client] = _Reader(ns)
        reader.last_ns = ns
        self._held.keep(reader.offsets, offsets)
        for topic, partition in [each for each in reader.absent if each[1] in offsets.get(each[0], ())]:
            del reader.absent[topic, partition]
        if whole:
            for topic, known in reader.offsets.items():
                gone = known.keys() - offsets.get(topic, {}).keys()
                self.left(client, ((topic, partition) for partition in gone), ns)

    def left(self, client: Client, partitions: Iterable[Partition], ns: int) -> None:
        """A client no longer asks for these."""
        reader = self._readers.get(client)
        if reader is not None:
            for topic, partition in partitions:
                if partition in reader.offsets.get(topic, ()):
                    reader.absent.setdefault((topic, partition), ns)

    def heard(self, client: Client, ns: int) -> None:
        """A client asks for what it asked for before."""
        reader = self._readers.get(client)
        if reader is not None:
            reader.last_ns = ns

    def committed(self, group: str, offsets: Offsets) -> None:
        """A group has read until before these offsets; one below 0 says that nothing is committed."""
        known = self._committed.get(group)
        if known is None:
            if len(self._committed) >= MAX_COMMITTERS:
                self._over += 1
                return
            known = self._committed[group] = {}
        said = {
            topic: {partition: offset for partition, offset in its.items() if offset >= 0}
            for topic, its in offsets.items()
        }
        self._held.keep(known, said)

    def turn(self, now_ns: int) -> None:
        """Once a second: forget who is gone, and remember the lags for their trend."""
        for client, reader in list(self._readers.items()):
            for topic, partition in [each for each, ns in reader.absent.items() if now_ns - ns > _ABSENT_NS]:
                del reader.absent[topic, partition], reader.offsets[topic][partition]
                if not reader.offsets[topic]:
                    del reader.offsets[topic]
            if now_ns - reader.last_ns > _GONE_NS:
                del self._readers[client]
        held = (*(reader.offsets for reader in self._readers.values()), *self._committed.values())
        self._held.used = sum(len(its) for offsets in held for its in offsets.values())
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

    def _behind(self, offsets: Offsets) -> list[Behind]:
        return [
            Behind((topic, partition), offset, ends.get(partition))
            for topic, its in offsets.items()
            for ends in (self._ends.get(topic, {}),)
            for partition, offset in its.items()
        ]


class _Bound:
    """At most MAX_PARTITIONS in some tables together; `over` counts the times when there was no room."""

    def __init__(self) -> None:
        self.used = 0
        self.over = 0

    def keep(self, table: Offsets, offsets: Offsets) -> None:
        """Put offsets into one of the tables; of a topic whose new partitions find no room those that it has."""
        for topic, its in offsets.items():
            known = table.get(topic, {})
            if self.used + len(its) > MAX_PARTITIONS and self.used + len(its.keys() - known.keys()) > MAX_PARTITIONS:
                self.over += 1
                its = {partition: offset for partition, offset in its.items() if partition in known}
            if its:
                before = len(known)
                known.update(its)
                self.used += len(known) - before
                table[topic] = known
