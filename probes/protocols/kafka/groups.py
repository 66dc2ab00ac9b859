"""Consumer groups as their own requests tell of them: state, generation, members, and why they rebalance.

Classic groups (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) and those of KIP-848 (ConsumerGroupHeartbeat; share and
streams groups speak alike). In: decoded exchanges with their times. Out: `Group`s. Nothing here raises, has a clock or
says what was not seen: a group met in the middle of its life does not know all its members (`whole`), and who joined
is only then certain where the group was whole before, or the member had no id yet.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

MAX_GROUPS, MAX_MEMBERS, MAX_ROUNDS, MAX_NAMED = 256, 1_000, 16, 3
MAX_TEXT = 255
_DEFAULT_TIMEOUT_NS = 45_000_000_000  # of a member: the broker's default, where it is not told
_GRACE_NS = 5_000_000_000  # the broker looks a little later, and the end of a wait is told late
_FORGET_NS = 900_000_000_000  # a group of which nothing was heard for so long

UNKNOWN_MEMBER, REBALANCING, MEMBER_ID_REQUIRED, FENCED_EPOCH = 25, 27, 79, 110
_MS = 1_000_000
_UUID_AFTER = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

Fields: TypeAlias = dict[str, Any]
"""A decoded message."""


class State(StrEnum):
    """As Kafka's own tools call them; UNKNOWN is none of theirs."""

    UNKNOWN = "?"
    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    RECONCILING = "Reconciling"
    STABLE = "Stable"


class Cause(StrEnum):
    """Why a group rebalanced."""

    JOINED = "joined"
    LEFT = "left"
    TIMED_OUT = "timed out"
    CHANGED = "subscription changed"
    REJOINED = "rejoined"  # a member asked for it, nothing of the above


Causes: TypeAlias = dict[Cause, dict[str, str]]
"""Names of members by their ids, by what they caused."""


@dataclass(slots=True)
class Member:
    """One member. `name`: its instance id, else its client id, else what its id begins with."""

    name: str
    client: tuple[str, str]  # client id and host; ("", "") where only others told of it
    last_ns: int
    timeout_ns: int = _DEFAULT_TIMEOUT_NS
    epoch: int = 0
    subscription: frozenset[str] | None = None  # None where it is not known
    raw: tuple[bytes, bytes] | None = None  # its last heartbeat and the answer


@dataclass(slots=True)
class Round:
    """One rebalance. `members` there are after it, and no more if `whole`. `certain`: all before it were known, too."""

    generation: int
    began_ns: int
    ended_ns: int
    before: dict[str, Member]
    causes: Causes
    certain: bool
    members: int = 0
    whole: bool = False
    reason: str = ""  # as a member says

    def blame(self, cause: Cause, id: str, member: Member) -> None:
        """The member is a cause of it."""
        _add(self.causes, cause, id, member.name)

    @property
    def why(self) -> str:
        """Its causes in words; "?" where none is known."""
        told = ", ".join(f"{cause} {_some(names)}" for cause in Cause if (names := self.causes.get(cause)))
        if told or not (self.certain and self.whole):
            return told or "?"
        return f"{Cause.REJOINED}: {self.reason}" if self.reason else Cause.REJOINED


def _add(causes: Causes, cause: Cause, id: str, name: str) -> None:
    names = causes.setdefault(cause, {})
    if id in names or len(names) < MAX_MEMBERS:
        names[id] = name


def _some(names: dict[str, str]) -> str:
    more = len(names) - MAX_NAMED
    return " ".join(list(names.values())[:MAX_NAMED]) + (f" +{more}" if more > 0 else "")


class Group:
    """One group. `whole`: all its members are known."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.state = State.UNKNOWN
        self.generation = -1  # or the group's epoch; -1 is not known
        self.members: dict[str, Member] = {}
        self.whole = False
        self.rounds: deque[Round] = deque(maxlen=MAX_ROUNDS)
        self.total = 0  # rounds
        self.last_ns = 0
        self._fresh: set[str] = set()  # ids that were given to members just now
        self._causes: Causes = {}  # of the next round, as its beginning: 0 is not begun
        self._began_ns = 0

    def member(self, id: str, client: tuple[str, str], instance: str | None, ns: int) -> Member:
        """The member that made itself heard at `ns`."""
        found = self.members.get(id)
        if found is None:
            found = Member("", client, ns)
            self._keep(id, found)
        if not found.name or found.client != client:  # what others told of it is less
            found.name, found.client = (instance or client[0] or _name(id))[:MAX_TEXT], client
        found.last_ns = max(found.last_ns, ns)
        return found

    def expire(self, now_ns: int) -> None:
        """Those of which nothing was heard for longer than the group bears are no longer members."""
        for id, member in list(self.members.items()):
            if now_ns - member.last_ns > member.timeout_ns + _GRACE_NS:
                self._remove(id, Cause.TIMED_OUT, now_ns)

    # Classic groups.

    def joined(
        self,
        asked: Fields,
        answered: Fields,
        client: tuple[str, str],
        times: tuple[int, int],
        *,
        subscription: frozenset[str] | None,
        whole: bool,
    ) -> None:
        """JoinGroup, asked and answered at these times. `whole`: the answer was read to its end.

        `subscription`: the topics that the member wants.
        """
        code, generation = answered.get("error_code", 0), answered.get("generation_id")
        id = (answered.get("member_id") or asked.get("member_id") or "")[:MAX_TEXT]
        if code == MEMBER_ID_REQUIRED and len(self._fresh) < MAX_MEMBERS:
            self._fresh.add(id)
        if code == UNKNOWN_MEMBER and id in self.members:
            self._remove(id, Cause.TIMED_OUT, times[0])
        if code or generation is None:
            return
        if generation != self.generation or not self.rounds:
            self._unsettle(times[0])
            self._open(generation, times[1])
            self.members = {}
        this = self.rounds[-1]
        this.began_ns = min(this.began_ns, times[0])
        new = not asked.get("member_id") or id in self._fresh
        self._fresh.discard(id)
        member = self.member(id, client, asked.get("group_instance_id"), times[1])
        member.timeout_ns = asked.get("session_timeout_ms", _DEFAULT_TIMEOUT_NS // _MS) * _MS
        before = this.before.get(id)
        changed = before is not None and _differ(before.subscription, subscription)
        member.subscription = subscription
        if before is None:
            if new or this.certain or generation == 1:
                this.blame(Cause.JOINED, id, member)
        elif changed:
            this.blame(Cause.CHANGED, id, member)
        else:
            this.reason = this.reason or (asked.get("reason") or "")[:MAX_TEXT]
        if whole and answered.get("members"):
            self._list(this, [each.get("member_id") or "" for each in answered["members"]], times[1])
        this.members, this.whole = len(self.members), self.whole
        self.state = State.COMPLETING

    def _list(self, this: Round, ids: list[str], ns: int) -> None:
        """The leader is told who the members are."""
        known = {**this.before, **self.members}
        self.members = {}
        self.whole = True
        for id in (id[:MAX_TEXT] for id in ids):
            member = known.get(id) or Member(_name(id), ("", ""), ns)
            member.last_ns = ns
            self._keep(id, member)
            if this.certain and id not in this.before:
                this.blame(Cause.JOINED, id, member)
        for id, member in this.before.items():
            if id not in self.members:
                this.blame(Cause.TIMED_OUT, id, member)

    def synced(self, asked: Fields, code: int, ns: int) -> None:
        """SyncGroup: the members have their assignment."""
        if code == REBALANCING:
            self._prepare(ns)
        elif not code and asked.get("generation_id") == self.generation:
            self.state = State.STABLE
            if self.rounds:
                self.rounds[-1].ended_ns = max(self.rounds[-1].ended_ns, ns)

    def beat(
        self, id: str, generation: int | None, code: int, client: tuple[str, str], instance: str | None, ns: int
    ) -> None:
        """Heartbeat of a classic group."""
        if code == REBALANCING:
            self.member(id, client, instance, ns)
            self._prepare(ns)
        elif code == UNKNOWN_MEMBER:
            if id in self.members:
                self._remove(id, Cause.TIMED_OUT, ns)
        elif not code:
            if generation is not None and generation > self.generation:  # met in its life, or a round was missed
                self.generation, self.whole, self.members, self.state = generation, False, {}, State.STABLE
            self.member(id, client, instance, ns)
            if self.state is not State.COMPLETING:
                self.state = State.STABLE

    def left(self, asked: Fields, answered: Fields, ns: int) -> None:
        """LeaveGroup, of one member or of several."""
        if answered.get("error_code"):
            return
        failed = {each.get("member_id") for each in answered.get("members") or () if each.get("error_code")}
        for each in asked.get("members") or [asked]:
            id, instance = each.get("member_id") or "", each.get("group_instance_id")
            if not id and instance:  # an administrator removes a static member
                id = next((key for key, member in self.members.items() if member.name == instance), "")
            if id not in failed:
                self._remove(id[:MAX_TEXT], Cause.LEFT, ns)

    def _prepare(self, ns: int) -> None:
        self._unsettle(ns)
        self.state = State.PREPARING

    # Groups whose members have epochs.

    def epoch_beat(self, asked: Fields, answered: Fields, client: tuple[str, str], ns: int) -> Member | None:
        """ConsumerGroupHeartbeat, and those of share and streams groups. The member, where it is one now."""
        code = answered.get("error_code", 0)
        epoch: int | None = answered.get("member_epoch")
        id = (answered.get("member_id") or asked.get("member_id") or "")[:MAX_TEXT]
        if code in (UNKNOWN_MEMBER, FENCED_EPOCH) and id in self.members:
            self._remove(id, Cause.TIMED_OUT, ns)
        if code or epoch is None:
            return None
        asked_epoch: int = asked.get("member_epoch", epoch)
        if asked_epoch < 0:
            self._remove(id, Cause.LEFT, ns)
            return None
        new = id not in self.members and asked_epoch == 0
        if new and epoch == 1 and not self.members and self.generation < 0:
            self.whole = True  # a new group: this is its first member
        member = self.member(id, client, asked.get("instance_id"), ns)
        topics = asked.get("subscribed_topic_names")
        subscription = None if topics is None else frozenset(topics)
        if new:
            self._unsettle(ns, Cause.JOINED, id, member.name)
        elif _differ(member.subscription, subscription):
            self._unsettle(ns, Cause.CHANGED, id, member.name)
        member.subscription = member.subscription if subscription is None else subscription
        member.epoch = epoch
        if epoch > self.generation:
            if self.generation < 0 and asked_epoch:
                self.generation = epoch  # met in its life
            else:
                self._open(epoch, ns)
        behind = any(each.epoch != self.generation for each in self.members.values())
        settled, self.state = self.state is State.STABLE, State.RECONCILING if behind else State.STABLE
        if self.rounds and self.rounds[-1].generation == epoch:
            this = self.rounds[-1]
            this.members, this.whole = len(self.members), self.whole
            if not settled:
                this.ended_ns = max(this.ended_ns, ns)
        return member

    # Rounds.

    def _unsettle(self, ns: int, cause: Cause | None = None, id: str = "", name: str = "") -> None:
        """A rebalance is under way since `ns` at least."""
        self._began_ns = min(self._began_ns or ns, ns)
        if cause is not None:
            _add(self._causes, cause, id, name)

    def _open(self, generation: int, ns: int) -> None:
        """A new generation is seen."""
        for id, member in list(self.members.items()):
            if ns - member.last_ns > member.timeout_ns:
                del self.members[id]
                self._unsettle(ns, Cause.TIMED_OUT, id, member.name)
        if self.rounds:
            self.rounds[-1].before = {}
        this = Round(generation, self._began_ns or ns, ns, dict(self.members), self._causes, self.whole)
        this.members, this.whole = len(self.members), self.whole
        self.rounds.append(this)
        self.total += 1
        self.generation, self._causes, self._began_ns = generation, {}, 0

    def _remove(self, id: str, cause: Cause, ns: int) -> None:
        gone = self.members.pop(id, None)
        self._unsettle(ns, cause, id, gone.name if gone is not None else _name(id))
        if self.members or not self.whole:
            self.state = State.PREPARING if self.kind == "classic" else State.RECONCILING
            return
        self.state = State.EMPTY
        self._open(self.generation + 1, ns)

    def _keep(self, id: str, member: Member) -> None:
        if len(self.members) < MAX_MEMBERS:
            self.members[id[:MAX_TEXT]] = member
        else:
            self.whole = False


def _differ(before: frozenset[str] | None, now: frozenset[str] | None) -> bool:
    """Whether both are known, and not the same."""
    return before is not None and now is not None and before != now


def _name(id: str) -> str:
    """What to call a member of which only the id is known: clients make it of their name and a UUID."""
    return _UUID_AFTER.sub("", id)[:MAX_TEXT] or "?"


class Groups:
    """All groups that were heard of, `MAX_GROUPS` at most; `over` counts those that found no place."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self.over = 0

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def of(self, name: str, kind: str, ns: int) -> Group | None:
        """The group of that name, heard of at `ns`. `kind` is "" where it does not show; one of another kind is new."""
        name = name[:MAX_TEXT]
        group = self._groups.get(name)
        if group is None or group.kind != (kind or group.kind):
            if group is None and len(self._groups) >= MAX_GROUPS:
                self.over += 1
                return None
            group = self._groups[name] = Group(name, kind)
        group.last_ns = max(group.last_ns, ns)
        return group

    def expire(self, now_ns: int) -> None:
        """Forget what was not heard of for long."""
        for name, group in list(self._groups.items()):
            group.expire(now_ns)
            if now_ns - group.last_ns > _FORGET_NS:
                del self._groups[name]
