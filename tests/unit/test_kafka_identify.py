"""What is a Kafka request and what is not, judged by one head."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.kafka import Kafka, table
from probes.records import Verdict
from tests.unit.kafka_messages import (
    Fields,
    Golden,
    encoded,
    framed,
    golden,
    reply_bytes,
    request_bytes,
    request_header,
    text,
)

KAFKA = Kafka()
SANE = {"acks": -1, "max_wait_ms": 500, "min_bytes": 1}  # what no client would send otherwise


def verdict(message: bytes, size: int | None = None) -> Verdict:
    return KAFKA.identify(message[:size], len(message))


def requests() -> list[Golden]:
    """The golden requests with sane values where these matter."""
    found = []
    for each in golden():
        if each.direction == "request":
            fields = {name: SANE.get(name, value) for name, value in each.fields.items()}
            found.append(each._replace(fields=fields, body=encoded(each.api_key, each.version, "request", fields)))
    return found


@pytest.mark.parametrize("api_key", sorted(table.apis()))
def test_every_request_is_one(api_key: int) -> None:
    for each in requests():
        if each.api_key == api_key:
            assert verdict(each.message) is Verdict.REQUEST, each[:3]


def test_every_reply_is_foreign_alone() -> None:
    for each in golden():
        if each.direction == "response":
            assert verdict(each.message) is Verdict.FOREIGN, each[:3]


@given(st.sampled_from(requests()), st.data())
def test_a_cut_request_is_still_one(each: Golden, data: st.DataObject) -> None:
    message = each.message
    assert verdict(message, data.draw(st.integers(40, max(40, len(message))))) is Verdict.REQUEST


@pytest.mark.parametrize("client_id", [None, "", "a", "rdkafka", "größe-µ", "c" * 255])
@pytest.mark.parametrize("version", [0, 3, 4])
def test_client_ids(client_id: str | None, version: int) -> None:
    message = request_bytes(18, version, {}, client_id=client_id)
    assert verdict(message) is Verdict.REQUEST


@pytest.mark.parametrize("client_id", ["\x00", "a\x1b[2J", "c" * 256])
def test_implausible_client_ids(client_id: str) -> None:
    assert verdict(request_bytes(18, 0, {}, client_id=client_id)) is Verdict.FOREIGN


def test_a_client_id_cut_within_a_character_is_plausible() -> None:
    message = request_bytes(12, 4, {"group_id": "g"}, client_id="größe")
    at = message.index("ö".encode()) + 1
    assert verdict(message, at) is Verdict.REQUEST
    assert verdict(message[: at - 1] + b"\xff", None) is Verdict.FOREIGN


@pytest.mark.parametrize(
    ("api_key", "version", "fields"),
    [
        (0, 7, {"acks": 2}),
        (0, 7, {"acks": 1, "topic_data": [{"name": "a\tb"}]}),
        (1, 11, {"max_wait_ms": -1}),
        (1, 11, {"min_bytes": -1}),
        (12, 3, {"group_id": "\x07"}),
    ],
)
def test_values_that_no_client_sends_are_implausible(api_key: int, version: int, fields: Fields) -> None:
    assert verdict(request_bytes(api_key, version, fields)) is Verdict.FOREIGN


def test_unknown_tags_are_implausible() -> None:
    assert verdict(framed(request_header(16, 3) + b"\0")) is Verdict.REQUEST
    assert verdict(framed(request_header(16, 3) + b"\1/\0")) is Verdict.FOREIGN


def test_versions_just_ahead_of_the_table_are_plausible() -> None:
    # franz-go asks for ApiVersions 5 of a broker that knows 4.
    body = text("kgo", flexible=True) + text("1.18", flexible=True) + b"\0"
    newer = framed(request_header(18, 5) + body)
    assert verdict(newer) is Verdict.REQUEST
    assert verdict(framed(request_header(18, 5, client_id=None) + body)) is Verdict.FOREIGN
    assert verdict(framed(request_header(18, 5, tags=b"\xff\xff\xff\xff\xff") + body)) is Verdict.FOREIGN
    assert verdict(framed(request_header(18, 30) + body)) is Verdict.FOREIGN


def test_controlled_shutdown_0_has_no_client_id() -> None:
    assert verdict(framed(struct.pack(">hhi", 7, 0, 1) + encoded(7, 0, "request", {"broker_id": 3}))) is Verdict.REQUEST


def test_a_length_that_is_not_the_messages_is_foreign() -> None:
    message = request_bytes(3, 1, {"topics": None})
    assert verdict(message) is Verdict.REQUEST
    assert KAFKA.identify(message, len(message) + 1) is Verdict.FOREIGN
    assert verdict(message + b"x") is Verdict.FOREIGN


def test_a_body_that_does_not_end_with_the_message_is_foreign() -> None:
    header, body = request_header(3, 1), encoded(3, 1, "request", {"topics": [{"name": "t"}]})
    assert verdict(framed(header + body)) is Verdict.REQUEST
    assert verdict(framed(header + body + b"\0")) is Verdict.FOREIGN
    assert verdict(framed(header + body[:-1])) is Verdict.FOREIGN


@pytest.mark.parametrize("size", range(14))
def test_too_little_to_tell_is_foreign(size: int) -> None:
    assert verdict(request_bytes(3, 1, {}), size) is Verdict.FOREIGN


def zookeeper(xid: int, kind: int, rest: bytes = b"") -> bytes:
    return framed(struct.pack(">ii", xid, kind) + rest)


def zookeeper_path(path: str) -> bytes:
    return struct.pack(">i", len(path)) + path.encode()


FOREIGN = {
    "HTTP request": b"GET /topics/orders HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n",
    "HTTP response": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0" + bytes(18),
    "HTTP/2 settings": b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\x60\0\0\0\6\0\1\0\0",
    "TLS client hello": bytes.fromhex("16030100f8010000f40303") + bytes(range(32)) + bytes(180),
    "TLS data": bytes.fromhex("1703030050") + bytes(range(80)),
    "Redis": b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
    "Redis reply": b"$-1\r\n",
    "PostgreSQL SSLRequest": bytes.fromhex("0000000804d2162f"),
    "PostgreSQL startup": framed(b"\0\3\0\0user\0alice\0database\0shop\0\0"),
    "PostgreSQL query": b"Q\0\0\0\x0eSELECT 1;\0",
    "MySQL greeting": b"\x4a\0\0\0\x0a8.0.36\0" + bytes(60),
    "MySQL query": b"\x09\0\0\0\x03SELECT 1",
    "AMQP 0-9-1": b"AMQP\0\0\x09\1",
    "AMQP frame": b"\1\0\0\0\0\0\x10\0\x0a\0\x0b" + bytes(13) + b"\xce",
    "memcached text": b"get key\r\n",
    "memcached binary": b"\x80\0\0\3\0\0\0\0\0\0\0\3" + bytes(12) + b"key",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "ssh packet": framed(b"\x06\x14" + bytes(40)),
    "MongoDB hello": struct.pack("<iiii", 56, 1, 0, 2013) + bytes(40),
    "MongoDB query": struct.pack("<iiii", 16 + 44, 7, 0, 2004) + bytes(4) + b"admin.$cmd\0" + bytes(29),
    "ZooKeeper connect": framed(struct.pack(">iqiqi", 0, 0, 30_000, 0, 16) + bytes(16)),
    "ZooKeeper connect, read-only flag": framed(struct.pack(">iqiqi", 0, 0, 30_000, 0, 16) + bytes(17)),
    "ZooKeeper ping": zookeeper(-2, 11),
    "ZooKeeper close": zookeeper(9, -11),
    "ZooKeeper connect reply": framed(struct.pack(">iiqi", 0, 30_000, 72_057_594_037_927_936, 16) + bytes(17)),
    "Cassandra startup": bytes.fromhex("04000000010000001600010005") + b"CQL_VERSION\x00\x053.0.0",
    "ClickHouse hello": b"\0\x0aClickHouse \x17\x08\xb8\xa9\x03\x07default\x07default\x06secret",
    "ClickHouse ping": b"\x04",
    "gRPC message": b"\0\0\0\0\x0e\x0a\x0chello, world",
    "Thrift framed": framed(b"\x80\1\0\1\0\0\0\4ping\0\0\0\1\0"),
    "LDAP bind": b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
    "DNS over TCP": b"\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1",
    "SMB": framed(b"\xfeSMB\x40\0" + bytes(60)),
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "empty frame": framed(b""),
    "short frame": framed(bytes(4)),
    "frame of zeros": framed(bytes(60)),
    "frame of text": framed(b"hello, this is somebody else's protocol"),
    "frame of JSON": framed(b'{"method": "ping", "id": 1}'),
    "frame of counted strings": framed(b"\0\0\0\3foo\0\0\0\3bar\0\0\0\4quux"),
    "frame of int32s": framed(struct.pack(">12i", *range(12))),
    "frame of int64s": framed(struct.pack(">8q", *range(8))),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_protocols_are_foreign(name: str) -> None:
    data = FOREIGN[name]
    assert verdict(data) is Verdict.FOREIGN
    # As a source that frames by the leading length would show it.
    total = int.from_bytes(data[:4], "big") + 4
    assert KAFKA.identify(data, total) is Verdict.FOREIGN
    assert KAFKA.identify(data[:128], total) is Verdict.FOREIGN


def test_zookeeper_requests_of_every_kind_are_foreign() -> None:
    for xid in (*range(1, 300), 65_536, 1_048_579):
        for kind in (1, 2, 3, 4, 5, 8, 9, 12, 14, 101):
            for path in ("/", "/brokers/ids/1", "/controller", "/config/topics/orders"):
                for rest in (b"\0", b"\1", b"\xff\xff\xff\xff", b""):
                    message = zookeeper(xid, kind, zookeeper_path(path) + rest)
                    assert verdict(message) is Verdict.FOREIGN, (xid, kind, path, rest)


def test_random_frames_are_foreign() -> None:
    random_bytes = random.Random(7)
    taken = 0
    for _ in range(20_000):
        message = framed(random_bytes.randbytes(random_bytes.randint(8, 80)))
        taken += verdict(message) is Verdict.REQUEST
    assert taken == 0


def test_frames_that_look_like_requests_by_their_first_eight_bytes_are_foreign() -> None:
    random_bytes = random.Random(11)
    taken = 0
    for _ in range(20_000):
        header = struct.pack(
            ">hhi", random_bytes.randint(0, 95), random_bytes.randint(0, 9), random_bytes.randint(0, 99)
        )
        taken += verdict(framed(header + random_bytes.randbytes(random_bytes.randint(4, 60)))) is Verdict.REQUEST
    assert taken <= 2


@given(st.binary(max_size=200), st.integers(0, 2**31))
def test_any_bytes_get_a_verdict(data: bytes, total: int) -> None:
    assert KAFKA.identify(data, total) in (Verdict.FOREIGN, Verdict.REQUEST)
    assert KAFKA.identify(data, len(data)) in (Verdict.FOREIGN, Verdict.REQUEST)


def test_a_reply_with_a_small_correlation_id_is_foreign() -> None:
    for correlation_id in range(64):
        message = reply_bytes(3, 1, {"brokers": [{"node_id": 1, "host": "a", "port": 9092}]}, correlation_id)
        assert verdict(message) is Verdict.FOREIGN
