"""What sessions tell beyond themselves: groups, lags, producers, throttled clients.

In: sessions as they end, in the order of their ends. Out: `KafkaFacts`, once a second. What comes often is looked at
as seldom as can be: of the Produce requests, and of the Fetch requests without a session, the last one of a
connection once a second (of more than about 500 connections they take turns); heartbeats that say the same again not
at all. Nothing here raises, whatever messages hold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from probes.protocols.kafka.batches import batches
from probes.protocols.kafka.facts import ClientFacts, GroupFacts, KafkaFacts, LagFacts, ProducerFacts, RoundFacts
from probes.protocols.kafka.fetch_sessions import Topic
from probes.protocols.kafka.groups import MAX_TEXT, Group, Groups
from probes.protocols.kafka.headers import REPLY_BODY
from probes.protocols.kafka.lag import Behind, Client, Lags, Offsets, Partition
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.kafka.plan import positions
from probes.protocols.kafka.plan_source import ReplyFacts, RequestFacts
from probes.protocols.kafka.record import body_of, parts_of, read_reply, read_request
from probes.protocols.kafka.table import api_key
from probes.protocols.kafka.topics import Topics
from probes.protocols.kafka.walk import Blob, Ending, uuid_bytes
from probes.records import Session

MAX_CLIENTS = 1_024
MAX_PENDING = 1_024  # sessions that wait for their turn
_AT_ONCE = 512  # of them, once a second: about 10 ms
_TOPICS_TOLD = 4  # of a producer
_TOLD = {"groups": 64, "lags": 200, "producers": 100, "clients": 100}
_ROUNDS_TOLD = 8
_SAMPLES = 256  # batches after which older ones count half
_NOBODY: Client = ("", "")
_LATEST = -1  # the timestamp that asks for a partition's end
_CONSUMER = "consumer"  # the protocol type of classic groups that read topics

_Handler = Callable[[Session, KafkaRequest, KafkaReply], None]


@dataclass(slots=True)
class _Client:
    software: str = ""
    mechanism: str = ""
    throttled: int = 0
    throttle_ms: int = 0
    throttled_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class _Producer:
    topics: dict[str, None] = field(default_factory=dict)  # the last few, oldest first
    acks: int | None = None
    batches: int = 0
    records: int = 0
    bytes: int = 0
    compression: str = ""
    idempotent: bool | None = None
    transactional_id: str = ""
    last_ns: int = 0


class Observer:
    """`topics` are the names that the protocol knows."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._groups = Groups()
        self._lags = Lags()
        self._clients: dict[Client, _Client] = {}
        self._producers: dict[Client, _Producer] = {}
        self._pending: dict[tuple[int, str], Session] = {}  # by connection and first topic
        self._over = 0
        handlers: dict[str, _Handler] = {
            "Fetch": self._fetch,
            "ApiVersions": self._introduced,
            "SaslHandshake": self._introduced,
            "JoinGroup": self._join,
            "SyncGroup": self._sync,
            "Heartbeat": self._beat,
            "LeaveGroup": self._leave,
            "ConsumerGroupHeartbeat": self._epoch_beat,
            "ShareGroupHeartbeat": self._epoch_beat,
            "StreamsGroupHeartbeat": self._epoch_beat,
            "OffsetCommit": self._commit,
            "TxnOffsetCommit": self._commit,
            "OffsetFetch": self._offsets,
            "ListOffsets": self._ends,
        }
        self._handlers = {api_key(name): handler for name, handler in handlers.items()}
        self._kinds = {api_key(f"{kind.title()}GroupHeartbeat"): kind for kind in ("consumer", "share", "streams")}

    def session(self, session: Session) -> None:
        """A session that has ended."""
        request, reply = session.request, session.reply
        if not isinstance(request, KafkaRequest):
            return
        if request.api_key == 0:
            self._wait(session, request)
        if not isinstance(reply, KafkaReply):
            return
        if reply.throttle_ms:
            self._throttled(session, request, reply.throttle_ms)
        handler = self._handlers.get(request.api_key)
        if handler is not None:
            handler(session, request, reply)

    def facts(self, now_ns: int) -> KafkaFacts:
        """Once a second."""
        for key in list(self._pending)[:_AT_ONCE]:
            self._sample(self._pending.pop(key))
        self._groups.expire(now_ns)
        self._lags.forget({group.name for group in self._groups})
        self._lags.turn(now_ns)
        behind = self._behind()
        groups = [self._group_facts(group, behind[group.name]) for group in self._groups]
        groups.sort(key=lambda each: -(each.lag or 0))
        return KafkaFacts(
            tuple(groups[: _TOLD["groups"]]),
            tuple(sorted(self._lag_facts(behind), key=lambda each: -(each.lag or -1))[: _TOLD["lags"]]),
            tuple(sorted(self._producer_facts(), key=lambda each: -each.last_ns)[: _TOLD["producers"]]),
            tuple(sorted(self._client_facts(), key=lambda each: -each.throttle_ms)[: _TOLD["clients"]]),
            self._over + self._groups.over + self._lags.over,
        )

    # What is looked at once a second.

    def _wait(self, session: Session, request: KafkaRequest) -> None:
        key = session.connection.id, request.target
        if self._pending.pop(key, None) is not None or len(self._pending) < MAX_PENDING:
            self._pending[key] = session  # behind all older ones

    def _sample(self, session: Session) -> None:
        request, reply = session.request, session.reply
        if not isinstance(request, KafkaRequest):
            return
        self._introduced(session, request)
        if request.api_key:
            self._read(session, request, reply)
        else:
            self._produced(session, request, reply)

    def _produced(self, session: Session, request: KafkaRequest, reply: object) -> None:
        asked = read_request(request)
        if asked is None:
            return
        client = _client(session, request)
        producer = self._producers.get(client)
        if producer is None:
            if len(self._producers) >= MAX_CLIENTS:
                del self._producers[next(iter(self._producers))]
                self._over += 1
            producer = self._producers[client] = _Producer()
        if producer.batches > _SAMPLES:
            producer.batches, producer.records, producer.bytes = (
                each // 2 for each in (producer.batches, producer.records, producer.bytes)
            )
        topic = request.target[:MAX_TEXT]
        producer.topics.pop(topic, None)
        producer.topics[topic] = None
        if len(producer.topics) > _TOPICS_TOLD:
            del producer.topics[next(iter(producer.topics))]
        producer.acks = request.acks
        producer.transactional_id = (asked.message.get("transactional_id") or "")[:MAX_TEXT]
        producer.last_ns = session.times.request_last
        counts: dict[Partition, int] = {}
        for part in parts_of(asked.message):
            blob = part.fields.get("records")
            found = batches(request.data, blob.start, blob.length) if isinstance(blob, Blob) else None
            if found is not None and isinstance(blob, Blob):
                producer.compression, producer.idempotent = found.compression, found.producer_id >= 0
                if found.whole:
                    producer.batches += found.batches
                    producer.records += found.records
                    producer.bytes += blob.length
                    counts[self._name(part.topic, part.topic_id), part.partition] = found.records
        answered = read_reply(request, reply) if isinstance(reply, KafkaReply) else None
        for part in parts_of(answered.message) if answered is not None else ():
            partition = self._name(part.topic, part.topic_id), part.partition
            offset = part.fields.get("base_offset", -1)
            if offset >= 0 and not part.fields.get("error_code") and partition in counts:
                self._lags.end({partition[0]: {partition[1]: offset + counts[partition]}})

    def _name(self, topic: str | None, id: str | None) -> str:
        return self._topic(topic or (uuid_bytes(id) if id else ""))

    def _topic(self, topic: Topic | None) -> str:
        return self._topics.name(topic) if isinstance(topic, bytes) else (topic or "")[:MAX_TEXT]

    # Fetches.

    def _fetch(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        if request.in_session:
            self._read(session, request, reply)
        else:
            self._wait(session, request)

    def _read(self, session: Session, request: KafkaRequest, reply: object) -> None:
        client, ns = _client(session, request), session.times.request_last
        if _is_broker(client[0]):  # a follower
            return
        asked = self._named(request.asked) if request.in_session else self._asked(request)
        if asked:
            self._lags.read(client, asked, ns, whole=not (request.incremental or request.truncated))
        else:
            self._lags.heard(client, ns)
        for topic, partitions in request.forgotten:
            name = self._topic(topic)
            self._lags.left(client, ((name, partition) for partition in partitions), ns)
        if isinstance(reply, KafkaReply):
            self._lags.end(self._named(reply.ends) if request.in_session else self._told(request, reply))

    def _asked(self, request: KafkaRequest) -> Offsets:
        """The offsets that a request names."""
        read, body = positions(request.api_key, request.version or 0, "request"), body_of(request)
        if read is None or body is None:
            return {}
        facts = RequestFacts(*read(request.data, body, ()))
        return self._named(zip(facts.ids or facts.names, facts.parts, strict=False))

    def _told(self, request: KafkaRequest, reply: KafkaReply) -> Offsets:
        """Where partitions end that a reply tells of without an error; -1 where it says no more of them."""
        read = positions(request.api_key, request.version or 0, "response")
        if read is None:
            return {}
        facts = ReplyFacts(*read(reply.data, REPLY_BODY, reply.windows))
        return self._named(zip(facts.ids or facts.names, facts.parts, strict=False))

    def _named(self, topics: Iterable[tuple[Topic | None, dict[int, int]]]) -> Offsets:
        """Offsets by the names of their topics."""
        offsets: Offsets = {}
        for topic, its in topics:
            if its:
                offsets.setdefault(self._topic(topic), {}).update(its)
        return offsets

    # Clients.

    def _known(self, session: Session, request: KafkaRequest) -> _Client:
        key = _client(session, request)
        known = self._clients.get(key)
        if known is None:
            if len(self._clients) >= MAX_CLIENTS:
                del self._clients[next(iter(self._clients))]
                self._over += 1
            known = self._clients[key] = _Client()
        known.last_ns = session.times.request_last
        return known

    def _introduced(self, session: Session, request: KafkaRequest, reply: object = None) -> None:
        known = self._known(session, request)
        known.software = request.client.software[:MAX_TEXT] or known.software
        known.mechanism = request.client.mechanism[:MAX_TEXT] or known.mechanism

    def _throttled(self, session: Session, request: KafkaRequest, throttle_ms: int) -> None:
        known = self._known(session, request)
        known.throttled += 1
        known.throttle_ms += max(0, throttle_ms)
        known.throttled_ns = session.times.reply_first

    # Groups.

    def _group(self, session: Session, request: KafkaRequest, kind: str = "classic") -> Group | None:
        return self._groups.of(request.group, kind, session.times.request_last) if request.group else None

    def _join(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group, asked, answered = self._group(session, request), read_request(request), read_reply(request, reply)
        if group is not None and asked is not None and answered is not None:
            group.joined(
                asked.message,
                answered.message,
                _client(session, request),
                (session.times.request_last, session.times.reply_first),
                subscription=_subscribed(asked.message, request.data),
                whole=answered.ending is Ending.WHOLE,
            )

    def _sync(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group, asked = self._group(session, request), read_request(request)
        if group is not None and asked is not None:
            group.synced(asked.message, _code(reply), session.times.reply_first)

    def _beat(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group = self._group(session, request)
        if group is None:
            return
        known = group.members.get(request.member)
        if known is not None and reply.failure is None and group.generation >= 0:
            known.last_ns = session.times.request_last
            return
        asked = read_request(request)
        message: dict[str, Any] = asked.message if asked is not None else {}
        group.beat(
            request.member,
            message.get("generation_id"),
            _code(reply),
            _client(session, request),
            message.get("group_instance_id"),
            session.times.request_last,
        )

    def _leave(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group, asked, answered = self._group(session, request), read_request(request), read_reply(request, reply)
        if group is not None and asked is not None and answered is not None:
            group.left(asked.message, answered.message, session.times.reply_first)

    def _epoch_beat(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group = self._group(session, request, self._kinds[request.api_key])
        if group is None:
            return
        raw = request.data[12:], reply.data[REPLY_BODY:]
        known = group.members.get(request.member)
        if known is not None and known.raw == raw:
            known.last_ns = session.times.request_last
            return
        asked, answered = read_request(request), read_reply(request, reply)
        if asked is not None and answered is not None:
            client, ns = _client(session, request), session.times.reply_first
            member = group.epoch_beat(asked.message, answered.message, client, ns)
            if member is not None:
                member.raw = raw

    def _commit(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        group = self._group(session, request, kind="")
        if group is None:
            return
        offsets = self._asked(request)
        if reply.failure is not None:
            taken = self._told(request, reply)
            offsets = {
                topic: {number: offset for number, offset in its.items() if number in taken.get(topic, ())}
                for topic, its in offsets.items()
            }
        self._lags.committed(group.name, offsets)

    def _offsets(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        answered = read_reply(request, reply)
        if answered is None:
            return
        for each in answered.message.get("groups") or [answered.message | {"group_id": request.group}]:
            name = (each.get("group_id") or "")[:MAX_TEXT]
            if any(group.name == name for group in self._groups):  # of others, who asks may only be a monitor
                offsets: Offsets = defaultdict(dict)
                for topic in each.get("topics") or ():
                    its = offsets[self._name(topic.get("name"), topic.get("topic_id"))]
                    for part in topic.get("partitions") or ():
                        if not part.get("error_code") and "committed_offset" in part:
                            its[part["partition_index"]] = part["committed_offset"]
                self._lags.committed(name, offsets)

    def _ends(self, session: Session, request: KafkaRequest, reply: KafkaReply) -> None:
        """ListOffsets: who asks for the latest offset is told where a partition ends."""
        asked, answered = read_request(request), read_reply(request, reply)
        if asked is None or answered is None:
            return
        latest = {
            (part.topic, part.partition) for part in parts_of(asked.message) if part.fields.get("timestamp") == _LATEST
        }
        ends: Offsets = defaultdict(dict)
        for part in parts_of(answered.message):
            if (part.topic, part.partition) in latest and part.fields.get("offset", -1) >= 0:
                ends[self._name(part.topic, None)][part.partition] = part.fields["offset"]
        self._lags.end(ends)

    # What is told.

    def _behind(self) -> dict[str, list[tuple[Behind, Client]]]:
        """By group how far it is behind, and who reads: by its commits, else by what its members ask for."""
        clients = {group.name: {member.client for member in group.members.values()} for group in self._groups}
        groups_of = Counter(client for its in clients.values() for client in its)
        behind: dict[str, list[tuple[Behind, Client]]] = {}
        for name, its in clients.items():
            read = {each.partition: (each, client) for client in its for each in self._lags.of_client(client)}
            committed = self._lags.partitions_of(name)
            if committed:
                behind[name] = [(each, read.get(each.partition, (each, _NOBODY))[1]) for each in committed]
            else:  # a client's name may stand for members of several groups
                behind[name] = [each for each in read.values() if groups_of[each[1]] == 1]
        return behind

    def _group_facts(self, group: Group, behind: list[tuple[Behind, Client]]) -> GroupFacts:
        lags = [each.lag for each, _ in behind]
        known = [lag for lag in lags if lag is not None]
        rounds = [
            RoundFacts(each.generation, each.began_ns, each.ended_ns, each.members, each.whole, each.why)
            for each in list(group.rounds)[-_ROUNDS_TOLD:]
        ]
        return GroupFacts(
            group.name,
            group.kind,
            group.state,
            group.generation,
            len(group.members),
            group.whole,
            sum(known) if known else None,
            len(known) == len(lags),
            self._lags.trend(group.name),
            group.total,
            tuple(rounds),
        )

    def _lag_facts(self, behind: dict[str, list[tuple[Behind, Client]]]) -> list[LagFacts]:
        told: list[LagFacts] = []
        for name, its in behind.items():
            for each, client in its:
                trend = self._lags.trend(name, each.partition)
                told.append(
                    _lag(name, client, each, self._lags.trend(client, each.partition) if trend is None else trend)
                )
        in_groups = {client for its in behind.values() for _, client in its}
        for client in self._lags.clients():
            if client not in in_groups:
                told += [
                    _lag("", client, each, self._lags.trend(client, each.partition))
                    for each in self._lags.of_client(client)
                ]
        return told

    def _producer_facts(self) -> list[ProducerFacts]:
        return [
            ProducerFacts(
                *client,
                ", ".join(sorted(filter(None, each.topics))),
                each.acks,
                each.records / each.batches if each.batches else None,
                each.bytes / each.batches if each.batches else None,
                each.compression,
                each.idempotent,
                each.transactional_id,
                each.last_ns,
            )
            for client, each in self._producers.items()
        ]

    def _client_facts(self) -> list[ClientFacts]:
        return [
            ClientFacts(*client, each.software, each.mechanism, each.throttled, each.throttle_ms, each.throttled_ns)
            for client, each in self._clients.items()
        ]


def _client(session: Session, request: KafkaRequest) -> Client:
    return (request.client_id or "")[:MAX_TEXT], session.client_address.host


def _lag(group: str, client: Client, behind: Behind, trend: float | None) -> LagFacts:
    return LagFacts(group, *client, *behind.partition, behind.offset, behind.end, behind.lag, trend)


def _is_broker(client_id: str) -> bool:
    return client_id.startswith("broker-") and "-fetcher-" in client_id


def _code(reply: KafkaReply) -> int:
    return reply.failure.code if reply.failure is not None else 0


def _subscribed(asked: dict[str, Any], data: bytes) -> frozenset[str] | None:
    """The topics that a member of a classic group wants, from the first of its protocols; None where not all are seen.

    ConsumerProtocolSubscription: version int16, topics as an array of strings, and more.
    """
    protocols = asked.get("protocols") or [{}]
    blob = protocols[0].get("metadata")
    if asked.get("protocol_type") != _CONSUMER or not isinstance(blob, Blob):
        return None
    end = min(blob.start + blob.length, len(data))
    position = blob.start + 6
    topics = set()
    for _ in range(min(int.from_bytes(data[blob.start + 2 : position], "big"), blob.length)):
        length = int.from_bytes(data[position : position + 2], "big")
        position += 2 + length
        if position > end:
            return None
        topics.add(data[position - length : position].decode("utf-8", "replace"))
    return frozenset(topics)
