"""Sessions of every kind, few names and many surprises, for hypothesis."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.mongodb.messages import Client, MongoReply, MongoRequest
from probes.records import (
    Address,
    Connection,
    Failure,
    Fault,
    Process,
    Reply,
    Request,
    Session,
    Side,
    Status,
    Times,
)

NAMES = ("find", "insert", "", "a b", "x\x1b]52;c;AA\x07", "[/x]", "ünïcode ‮", "other", "\ud800", "a\0b", "1 - x")
PROCESSES = (None, Process(712, "mongod"), Process(903, "java", "4be1"), Process(1, "a b - c"), Process(2, ""))
ADDRESSES = (
    Address("10.0.0.5", 51544),
    Address("10.0.0.5", 51545),
    Address("10.0.3.17", 1),
    Address("fe80::1", 65535),
    Address("/tmp/mongodb-27017.sock", 0),
    Address("", 0),
)
SERVERS = (Address("10.0.0.9", 27017), Address("10.0.0.9", 9092), Address("::1", 27017), Address("/run/x.sock", 0))

names = st.sampled_from(NAMES)
data = st.binary(max_size=40)
durations = st.one_of(st.integers(0, 100), st.integers(0, 10**7), st.integers(0, 10**11))
failures = st.builds(
    Failure,
    st.sampled_from((6, 11000, -1, 2**40)),
    st.sampled_from(("DuplicateKey", "", "a b")),
    names,
    st.sampled_from(Fault),
)


@st.composite
def connections(draw: st.DrawFn) -> Connection:
    """The server's end of one. Its id is that of no other."""
    parts = (
        draw(st.sampled_from(PROCESSES)),
        draw(st.sampled_from(SERVERS)),
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from(("mongodb", "kafka"))),
    )
    process, near, far, protocol = parts
    return Connection(crc32(repr(parts).encode()), process, near, far, 7, protocol)


def _request_fields(draw: st.DrawFn) -> dict[str, Any]:
    target = draw(names)
    several = draw(st.booleans()) and target
    return {
        "id": draw(st.integers(-(2**31), 2**31)),
        "operation": draw(names),
        "data": draw(data),
        "version": draw(st.sampled_from((None, 0, 9, 32767))),
        "target": target,
        "targets": (target, "second") if several else (target,) if target else (),
        "expects_reply": draw(st.booleans()),
        "long_poll": draw(st.booleans()),
        "truncated": draw(st.booleans()),
    }


@st.composite
def requests(draw: st.DrawFn) -> Request:
    fields = _request_fields(draw)
    match draw(st.integers(0, 2)):
        case 0:
            return Request(**fields)
        case 1:
            client = draw(st.sampled_from((None, Client("billing", "PyMongo", "CPython"), Client("", "node", ""))))
            cursor_id = draw(st.sampled_from((None, 0, 2**62)))
            return MongoRequest(**fields, client=client, cursor_id=cursor_id, compressor=draw(names))
        case _:
            return KafkaRequest(
                **fields, client_id=draw(st.sampled_from((None, "c-1", ""))), acks=draw(st.sampled_from((None, 1)))
            )


@st.composite
def replies(draw: st.DrawFn, failure: Failure | None) -> Reply:
    fields: dict[str, Any] = {
        "id": draw(st.one_of(st.none(), st.integers(0, 2**31))),
        "data": draw(data),
        "failure": failure,
        "continues": draw(st.booleans()),
        "truncated": draw(st.booleans()),
    }
    match draw(st.integers(0, 2)):
        case 0:
            return Reply(**fields)
        case 1:
            return MongoReply(**fields, cursor_id=draw(st.sampled_from((None, 5))))
        case _:
            return KafkaReply(**fields, windows=draw(st.sampled_from(((), ((100, b"tail"),)))))


@st.composite
def sessions(draw: st.DrawFn, now_ns: int) -> Session:
    """A session that ended before `now_ns`."""
    status = draw(st.sampled_from([status for status in Status if status is not Status.INFLIGHT]))
    side = draw(st.sampled_from(Side))
    connection = draw(connections())
    client, client_times = None, None
    if side is Side.CLIENT:
        connection.near, connection.far = connection.far, connection.near
    sent = now_ns - draw(durations)
    times = Times(sent - 5, sent)
    request: Request | None = draw(requests())
    reply = None
    if status in (Status.OK, Status.ERROR):
        reply = draw(replies(draw(failures) if status is Status.ERROR else None))
    elif status is Status.UNPARSED and draw(st.booleans()):
        request = None
    if reply is not None or (status is Status.UNPARSED and request is not None):
        first = sent + draw(durations) - draw(st.integers(0, 3))
        times = Times(*times[:2], first, first + draw(st.integers(1, 9)))
    if side is Side.BOTH:
        client = Connection(
            connection.id + 100,
            draw(st.sampled_from(PROCESSES)),
            connection.far,
            connection.near,
            7,
            connection.protocol,
        )
        client_times = times
    return Session(
        connection.protocol,
        status,
        side,
        connection,
        request,
        reply,
        times,
        draw(st.integers(0, 2**31)),
        draw(st.integers(0, 2**31)) if times.reply_last else 0,
        client,
        client_times,
    )
