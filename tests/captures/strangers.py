"""Conversations of other protocols, as (outbound, bytes) steps, and of what looks like ours and is not."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

Steps = list[tuple[bool, bytes]]


def http1() -> Steps:
    steps: Steps = []
    for n in range(40):
        body = b'{"order": %d, "topic": "orders", "find": "orders"}' % n
        head = f"POST /orders/{n} HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        steps += [(True, head + body), (False, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
    return steps


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def http2() -> Steps:
    settings = _frame(4, 0, 0, struct.pack(">HI", 3, 100))
    steps: Steps = [(True, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings), (False, settings + _frame(4, 1, 0, b""))]
    for n in range(1, 81, 2):
        headers = bytes([0x82, 0x86, 0x84, 0x41, 0x8A]) + bytes(range(n % 11))
        steps.append((True, _frame(1, 4, n, headers) + _frame(0, 1, n, struct.pack(">BI", 0, 5) + b"hello")))
        steps.append((False, _frame(1, 4, n, b"\x88") + _frame(0, 1, n, bytes(n))))
        steps += [(True, _frame(8, 0, 0, struct.pack(">I", n))), (False, _frame(6, 1, 0, bytes(8)))]
    return steps


def tls() -> Steps:
    chance = random.Random(1)

    def record(kind: int, size: int) -> bytes:
        return bytes([kind, 3, 3]) + size.to_bytes(2, "big") + chance.randbytes(size)

    steps: Steps = [(True, record(22, 512)), (False, record(22, 90) + record(20, 1) + record(22, 1200))]
    for n in range(60):
        steps += [(True, record(23, 40 + n)), (False, record(23, 300 + 17 * n))]
    return steps


def redis() -> Steps:
    steps: Steps = []
    for n in range(60):
        key = f"order:{n}".encode()
        steps.append((True, b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$5\r\nhello\r\n" % (len(key), key)))
        steps.append((False, b"+OK\r\n" if n % 2 else b":%d\r\n" % n))
    return steps


def _postgresql(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def postgresql() -> Steps:
    start = b"\0\3\0\0user\0shop\0database\0shop\0\0"
    steps: Steps = [
        (True, struct.pack(">I", 8) + b"\x04\xd2\x16\x2f"),
        (False, b"N"),
        (True, struct.pack(">I", len(start) + 4) + start),
        (False, _postgresql(b"R", bytes(4)) + _postgresql(b"S", b"TimeZone\0UTC\0") + _postgresql(b"Z", b"I")),
    ]
    for n in range(50):
        steps.append((True, _postgresql(b"Q", b"SELECT * FROM orders WHERE id = %d\0" % n)))
        row = _postgresql(b"D", struct.pack(">HI", 1, 4) + struct.pack(">I", n))
        steps.append((False, row + _postgresql(b"C", b"SELECT 1\0") + _postgresql(b"Z", b"I")))
    return steps


def mysql() -> Steps:
    def packet(n: int, body: bytes) -> bytes:
        return len(body).to_bytes(3, "little") + bytes([n]) + body

    greeting = packet(0, b"\x0a8.0.36\0" + bytes(20) + b"mysql_native_password\0")
    steps: Steps = [(False, greeting), (True, packet(1, bytes(32) + b"shop\0")), (False, packet(2, bytes(7)))]
    for n in range(50):
        steps.append((True, packet(0, b"\x03SELECT * FROM orders WHERE id = %d" % n)))
        steps.append((False, packet(1, b"\x01") + packet(2, b"\x03def" + bytes(n)) + packet(3, b"\xfe\0\0\2\0")))
    return steps


def amqp() -> Steps:
    def frame(kind: int, body: bytes) -> bytes:
        return struct.pack(">BHI", kind, 1, len(body)) + body + b"\xce"

    steps: Steps = [(True, b"AMQP\0\0\x09\x01"), (False, frame(1, struct.pack(">HHBB", 10, 10, 0, 9) + bytes(30)))]
    for n in range(50):
        steps.append((True, frame(1, struct.pack(">HH", 60, 40) + bytes(9)) + frame(2, bytes(14)) + frame(3, bytes(n))))
        steps.append((False, frame(1, struct.pack(">HHQ", 60, 80, n) + b"\0")))
    return steps


def memcached() -> Steps:
    steps: Steps = []
    for n in range(40):
        steps += [(True, b"set order:%d 0 0 5\r\nhello\r\n" % n), (False, b"STORED\r\n")]
        binary = struct.pack(">BBHBBHIIQ", 0x80, 0, 5, 0, 0, 0, 5, n, 0)
        steps += [
            (True, binary + b"order"),
            (False, struct.pack(">BBHBBHIIQ", 0x81, 0, 0, 4, 0, 0, 9, n, n) + bytes(9)),
        ]
    return steps


def ssh() -> Steps:
    chance = random.Random(2)
    steps: Steps = [(True, b"SSH-2.0-OpenSSH_9.2\r\n"), (False, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")]

    def packet(size: int) -> bytes:
        return struct.pack(">IB", size + 5, 4) + chance.randbytes(size + 4)

    steps += [(True, packet(1200)), (False, packet(1000))]
    for n in range(60):
        steps += [(True, chance.randbytes(36 + 4 * n)), (False, chance.randbytes(52 + 8 * n))]
    return steps


def random_bytes() -> Steps:
    chance = random.Random(3)
    return [(n % 2 == 0, chance.randbytes(chance.randrange(1, 400))) for n in range(300)]


def length_first(order: str, *, counts_itself: bool, numbered: bool) -> Steps:
    """A length before each message, as ours have; then a number that counts up, or not, and small integers."""
    chance = random.Random(4)
    steps: Steps = []
    for n in range(60):
        for outbound in (True, False):
            number = struct.pack(f"{order}I", n) if numbered else chance.randbytes(4)
            body = struct.pack(f"{order}HH", 0, n % 7) + number + struct.pack(f"{order}H", 4) + chance.randbytes(20 + n)
            size = len(body) + (4 if counts_itself else 0)
            steps.append((outbound, struct.pack(f"{order}I", size) + body))
    return steps


def grpc_like() -> Steps:
    return [(n % 2 == 0, struct.pack(">BI", 0, 40) + struct.pack(">QQ", n, n) + bytes(24)) for n in range(120)]


def zookeeper() -> Steps:
    """A length, a transaction number that counts up, an operation: the nearest of kin to Kafka's header."""
    steps: Steps = [(True, struct.pack(">IIQIQI", 44, 0, 0, 10_000, 0, 16) + bytes(16) + b"\0"), (False, bytes(41))]
    steps[1] = (False, struct.pack(">IIIQI", 37, 0, 10_000, 77, 16) + bytes(17))
    for n in range(1, 60):
        path = f"/brokers/ids/{n}".encode()
        asked = struct.pack(">III", n, 4, len(path)) + path + b"\0"
        answered = struct.pack(">IQI", n, 900 + n, 0) + struct.pack(">I", 5) + b"hello" + bytes(68)
        steps += [(True, struct.pack(">I", len(asked)) + asked), (False, struct.pack(">I", len(answered)) + answered)]
    return steps


def everyone() -> Iterator[tuple[str, Steps]]:
    for tell in (http1, http2, tls, redis, postgresql, mysql, amqp, memcached, ssh, random_bytes, grpc_like, zookeeper):
        yield tell.__name__, tell()
    for order in "<>":
        for counts_itself in (True, False):
            for numbered in (True, False):
                name = f"length first {order} {'itself, ' * counts_itself}{'numbered' * numbered}"
                yield name, length_first(order, counts_itself=counts_itself, numbered=numbered)
