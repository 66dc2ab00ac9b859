"""Kafka: requests and replies from the heads of its messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from struct import Struct, error
from typing import Any

from probes.protocols.interface import ProtocolError, WireProtocol
from probes.protocols.kafka import credentials, headers, masking, record, table
from probes.protocols.kafka.failures import error_text, failure
from probes.protocols.kafka.fetch_sessions import FULL, FetchSession, Topic
from probes.protocols.kafka.headers import CLIENT_ID, REPLY_BODY
from probes.protocols.kafka.kinds import Kind, kind, reply_kind
from probes.protocols.kafka.log_directories import topics_of
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest, Memory, Offsets
from probes.protocols.kafka.observer import Observer
from probes.protocols.kafka.plan import positions
from probes.protocols.kafka.plan_source import FETCH, SHARE_FETCH, TEACHES_TOPICS, RequestFacts
from probes.protocols.kafka.skim import FetchReplies
from probes.protocols.kafka.topics import Topics
from probes.protocols.kafka.walk import uuid_bytes
from probes.records import Connection, Failure, Head, Process, Reply, Request, Session, Verdict

SASL_HANDSHAKE = 17
FETCHES = (FETCH, SHARE_FETCH)
WAITS_FOR_GROUP = (11, 14)  # JoinGroup, SyncGroup: held back until the other members have come
TEACHES_CLIENT = (SASL_HANDSHAKE, table.API_VERSIONS)
FILES_AT_ONCE = 256  # open files of other processes that are looked at in one go: a few ms
TOKEN = "SaslToken"  # noqa: S105 - the operation's name

# APIs about a group, which is their target: the topics that some of them name come after it.
ABOUT_GROUPS = frozenset(
    table.api_key(name)
    for name in (
        *("OffsetCommit", "OffsetFetch", "OffsetDelete", "JoinGroup", "Heartbeat", "LeaveGroup", "SyncGroup"),
        *("DescribeGroups", "DeleteGroups", "AddOffsetsToTxn", "TxnOffsetCommit"),
        *("ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "ShareGroupHeartbeat", "ShareGroupDescribe"),
        *("StreamsGroupHeartbeat", "StreamsGroupDescribe", "DescribeShareGroupOffsets"),
        *("AlterShareGroupOffsets", "DeleteShareGroupOffsets"),
    )
)

_int32 = Struct(">i").unpack_from


class Kafka(WireProtocol):
    """The Kafka protocol. Remembers the names of topics across connections."""

    name = "kafka"
    framing = "kafka"

    def __init__(self) -> None:
        self.topics = Topics()
        self._observer = Observer(self.topics)
        self._look: Iterator[tuple[bytes, str] | None] | None = None
        self._looked_for: set[bytes] = set()
        self._kinds: dict[bytes, Kind] = {}  # of requests, by api_key and version as on the wire

    def memory(self, connection: Connection) -> Memory:
        return Memory()

    def identify(self, data: bytes, total: int) -> Verdict:
        """A reply alone says nothing of its protocol: it is FOREIGN."""
        return Verdict.REQUEST if headers.is_request(data, total) else Verdict.FOREIGN

    def request(self, head: Head, memory: Memory) -> KafkaRequest:
        data = head.data
        if memory.tokens:
            if not headers.is_request(data, head.total):
                return _token(data, memory)
            memory.tokens = False
        this = self._kinds.get(data[4:8]) or self._request_kind(data)
        try:
            (correlation_id,) = _int32(data, 8)
        except error as short:
            raise ProtocolError("too short for a request") from short
        if data.startswith(memory.client_id_bytes, CLIENT_ID) and this.has_client_id:
            client_id, body = memory.client_id, CLIENT_ID + len(memory.client_id_bytes)
        else:
            client_id, body = _client_id(this, data, head.total, memory)
        api_key, plan = this.api_key, this.plan
        if plan is None:
            return _undecoded(this, correlation_id, client_id, this.covered(data, body, head.total), memory)

        read = plan(data, body, ())
        cut, names, ids, groups, others, member, acks, max_wait_ms, min_bytes, partitions, _, fetch = read
        targets: tuple[str, ...]
        topic_ids: tuple[str, ...] = ()
        incremental = False
        session = None
        asked: Offsets = ()
        forgotten: tuple[tuple[Topic, list[int]], ...] = ()
        if fetch is not None:
            session = _fetch_session(this, fetch, cut, correlation_id, memory)
            if session is not None and (ids or names):
                asked = _asked(this, data, body)
                for topic, offsets in asked:
                    if topic:
                        session.ask(topic, offsets)
            if session is not None and fetch[2] > 0:
                forgotten = _forgotten(this, head, body)
                for gone in forgotten:
                    session.forget(*gone)
        if session is not None:
            targets, topic_ids = session.topics(self.topics)
            targets = targets or tuple(groups[:1])
            incremental = session.epoch != FULL
            partitions, cut = session.partitions, cut or session.cut
        else:
            if ids:
                pairs = zip_longest(names, ids)
                names = [name or (self.topics.name(id) if id else None) for name, id in pairs]
            if len(names) == 1 and names[0] and not groups:
                targets = (names[0],)
            else:
                targets = _targets(api_key, names, groups, others)
        if this.secrets:
            data = this.covered(data, body, head.total)
        elif api_key in TEACHES_CLIENT:
            _learn_client(this, data, body, head.total, memory)
        if api_key in FETCHES:  # one that is cut before these may wait as well as not
            long_poll = max_wait_ms is None or min_bytes is None or (max_wait_ms > 0 and min_bytes > 0)
        else:
            long_poll = api_key in WAITS_FOR_GROUP
        return KafkaRequest(
            correlation_id,
            this.operation,
            data,
            this.version,
            targets[0] if targets else "",
            targets,
            acks != 0,
            long_poll,
            cut,
            False,
            (),
            api_key,
            client_id,
            groups[0] if groups else "",
            member or "",
            acks,
            max_wait_ms,
            partitions,
            session is not None,
            incremental,
            topic_ids,
            memory.client,
            asked,
            forgotten,
        )

    def reply_to(self, head: Head, memory: Any = None) -> int:
        return _reply_id(head.data)

    def reply(self, head: Head, request: Request | None, memory: Memory) -> KafkaReply:
        """Without its request only the header is known. Nothing is kept of what may be a bare SASL token."""
        data = head.data
        if not isinstance(request, KafkaRequest):
            return KafkaReply(None, data[:4]) if memory.tokens else KafkaReply(_reply_id(data), data[:REPLY_BODY])
        if request.token:
            return KafkaReply(request.id, data[:4])
        id = _reply_id(data)
        this = reply_kind(request.api_key, request.version or 0, data)
        plan = this.plan
        if plan is None:
            return KafkaReply(id, this.covered(data, REPLY_BODY, head.total))

        windows = head.windows
        api_key = this.api_key
        if request.in_session and api_key == FETCH:
            plan = positions(api_key, this.version, "response") or plan
        cut, code, throttle_ms, names, ids, session_id, parts = plan(data, REPLY_BODY, windows)
        ends = tuple(zip(ids or names, parts, strict=False)) if parts else ()
        if api_key == FETCH:
            if memory.session is not None:
                _fetched(memory.session, request, session_id, ids or names, memory)
            if credentials.METADATA_TOPIC in names or credentials.METADATA_TOPIC_ID in ids:
                this = this._replace(secrets=credentials.METADATA_FIELDS)
            elif not names and not ids:
                windows = ()  # nobody knows of what topic
        if this.secrets:
            data, windows = this.covered(data, REPLY_BODY, head.total), ()
        if api_key in TEACHES_TOPICS:
            self._learn_topics(names, ids)
        elif code and api_key == SASL_HANDSHAKE:
            memory.tokens = False
        return KafkaReply(
            id,
            data,
            _failure(this, code, data, head.total) if code else None,
            False,
            cut,
            (),
            throttle_ms,
            windows,
            ends,
        )

    def look_around(self, processes: Collection[Process]) -> None:
        """Look for ids of topics that no reply has told in the log directories of brokers. Each id is tried once."""
        topics = self.topics
        if self._look is None:
            if topics.missed <= self._looked_for:
                return
            self._looked_for = set(topics.missed)
            self._look = chain.from_iterable(topics_of(process.pid) for process in processes)
        files = list(islice(self._look, FILES_AT_ONCE))
        for topic in filter(None, files):
            topics.learn(*topic)
        if len(files) < FILES_AT_ONCE:
            self._look = None

    def observe(self, session: Session) -> None:
        """Learn of groups, lags, producers and clients."""
        self._observer.session(session)

    def facts(self, now_ns: int) -> Mapping[str, Any]:
        """`KafkaFacts`, for `facts.load` to read."""
        return self._observer.facts(now_ns)._asdict()

    def record(self, session: Session, *, literals: bool) -> dict[str, Any]:
        return record.record(session, self.topics, literals=literals)

    def recordable(
        self, head: Head, message: Request | Reply | None, request: Request | None, *, literals: bool
    ) -> Head:
        """What may be written of a message that was parsed as `message`, or refused (None)."""
        return masking.recordable(head, message, request, literals=literals)

    def skim(self) -> FetchReplies:
        """Finds what replies have behind their records."""
        return FetchReplies()

    def _request_kind(self, data: bytes) -> Kind:
        header = headers.fixed_part(data)
        this = kind(header.api_key, header.version, "request")
        if this.plan is not None:
            self._kinds[data[4:8]] = this
        return this

    def _learn_topics(self, names: list[str | None], ids: list[bytes]) -> None:
        for name, id in zip(names, ids, strict=False):
            if name:
                self.topics.learn(id, name)


def _client_id(this: Kind, data: bytes, total: int, memory: Memory) -> tuple[str | None, int]:
    """The client id and the offset after it; remembered, because the next request will have the same."""
    if not this.has_client_id:
        return None, CLIENT_ID
    body = headers.client_id_end(data, total)
    raw = data[CLIENT_ID:body]
    if body > len(data):
        return None, body
    client_id = None if raw == b"\xff\xff" else raw[2:].decode("utf-8", "replace")
    memory.client_id_bytes, memory.client_id = raw, client_id
    return client_id, body


def _targets(api_key: int, names: list[str | None], groups: list[str], others: list[str]) -> tuple[str, ...]:
    """What a request is about, most important first: groups where it is about those, else topics, else others."""
    found = [*groups, *names] if api_key in ABOUT_GROUPS else names
    return tuple(dict.fromkeys(filter(None, found))) or tuple(others[:1] or groups[:1])


def _fetch_session(
    this: Kind, fetch: tuple[int | None, int | None, int], cut: bool, correlation_id: int, memory: Memory
) -> FetchSession | None:
    """The session that this request opens or goes on with; None without one, where it names all that it asks for."""
    id, epoch, _ = fetch
    if epoch is None or epoch < FULL:
        memory.session = None
        return None
    session = memory.session
    if epoch == FULL:
        session = memory.session = FetchSession(0, FULL, whole=not cut, cut=cut)
        memory.opening = correlation_id if this.api_key == FETCH else None
    elif session is None or session.id != (id or 0):  # it began before the capture
        session = memory.session = FetchSession(id or 0, epoch, whole=False)
    else:
        session.goes_on(epoch)
        session.whole = session.whole and not cut
    return session


def _asked(this: Kind, data: bytes, body: int) -> Offsets:
    """From where on a request of a session asks for what it names."""
    where = positions(this.api_key, this.version, "request")
    if where is None:
        return ()
    facts = RequestFacts(*where(data, body, ()))
    topics: Sequence[Topic | None] = facts.ids or facts.names
    partless = len(topics) - len(facts.parts)  # of a request that is cut behind a topic's name
    return tuple(zip(topics, [*facts.parts, *[{}] * partless], strict=False))


def _forgotten(this: Kind, head: Head, body: int) -> tuple[tuple[Topic, list[int]], ...]:
    """What leaves a session with this request."""
    read = this.read(head.data, body, head.total)
    topics = read.message.get("forgotten_topics_data") if read is not None else None
    return tuple((_topic(each), each.get("partitions") or []) for each in topics or ())


def _topic(fields: dict[str, Any]) -> Topic:
    return uuid_bytes(fields["topic_id"]) if "topic_id" in fields else fields.get("topic") or ""


def _fetched(
    session: FetchSession, request: KafkaRequest, session_id: int | None, named: list[Any], memory: Memory
) -> None:
    """What the reply to a Fetch says of the session: its id, that there is none, topics that are not known yet."""
    if memory.opening == request.id:
        memory.opening = None
        session.id = session_id or 0
    if session_id == 0:
        memory.session = None
    elif not session.whole:
        for topic in filter(None, named):
            session.ask(topic)


def _undecoded(this: Kind, correlation_id: int, client_id: str | None, data: bytes, memory: Memory) -> KafkaRequest:
    return KafkaRequest(
        correlation_id,
        this.operation,
        data,
        this.version,
        api_key=this.api_key,
        client_id=client_id,
        client=memory.client,
    )


def _token(data: bytes, memory: Memory) -> KafkaRequest:
    """A bare SASL token. Its reply carries no id either: it is the next one."""
    memory.last_token -= 1
    return KafkaRequest(
        memory.last_token,
        TOKEN,
        data[:4],
        in_order=True,
        client_id=memory.client_id,
        client=memory.client,
        token=True,
    )


def _learn_client(this: Kind, data: bytes, body: int, total: int, memory: Memory) -> None:
    read = this.read(data, body, total)
    message = read.message if read is not None else {}
    if this.api_key == SASL_HANDSHAKE:
        memory.client = memory.client._replace(mechanism=message.get("mechanism") or "")
        memory.tokens = this.version == 0
    else:
        parts = (message.get("client_software_name"), message.get("client_software_version"))
        memory.client = memory.client._replace(software=" ".join(filter(None, parts)))


def _reply_id(data: bytes) -> int:
    try:
        return int(_int32(data, 4)[0])
    except error as short:
        raise ProtocolError("too short for a reply") from short


def _failure(this: Kind, code: int, data: bytes, total: int) -> Failure:
    read = this.read(data, REPLY_BODY, total)
    return failure(code, error_text(read.message) if read is not None else "")
