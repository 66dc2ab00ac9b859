"""Streams by name, and the messages that are to be seen in them.

A case is played at the connecting end: a step goes out or comes in, in one system call. `test_corpus.py` feeds the
steps to `probes.sources.framing`, `test_kernel.py` plays them through real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.framing import messages as m
from tests.framing.streams import Case, Exchange, Pass, at, back, case, cut, cut_exchanges, each_byte, every, out, whole
from tests.unit.mongodb_messages import message


def mongodb_exchange(n: int, padding: int = 0) -> Exchange:
    return m.op_msg(100 + n, padding=padding), m.op_msg(7000 + n, answers=100 + n, padding=padding)


def kafka_exchange(n: int, padding: int = 0) -> Exchange:
    return m.kafka_request(100 + n, body=m.filler(padding)), m.kafka_reply(100 + n, b"\0\0" + m.filler(padding))


EXCHANGES: dict[str, Callable[..., Exchange]] = {"mongodb": mongodb_exchange, "kafka": kafka_exchange}


def cuts() -> Iterator[Case]:
    """What system calls do to messages, with nothing lost: the same messages whatever the cuts."""
    for protocol, exchange in EXCHANGES.items():
        few = [exchange(n, padding) for n, padding in enumerate((0, 40, 1500, 7))]
        for young in (True, False):
            age = "young" if young else "old"
            yield cut_exchanges(f"{protocol} {age} whole", few, whole, young=young)
            yield cut_exchanges(f"{protocol} {age} byte by byte", few[:2], each_byte, young=young)
            yield cut_exchanges(f"{protocol} {age} size read first", few, at(4), young=young)
            yield cut_exchanges(f"{protocol} {age} header read first", few, at(16), young=young)
            yield cut_exchanges(f"{protocol} {age} size, header, rest", few, at(4, 16), young=young)
            for n in (2, 5, 700):
                many = [exchange(i) for i in range(n)]
                requests, replies = [r for r, _ in many], [r for _, r in many]
                steps = out(b"".join(requests)) + back(b"".join(replies))
                yield case(f"{protocol} {age} {n} in a call", steps, requests, replies, young=young)
        stream = b"".join(request for request, _ in few)
        yield case(f"{protocol} calls across messages", out(*every(37)(stream)), [request for request, _ in few])
        for size in (16384, 65536, 65537):
            large = [exchange(n, 200_000 + n) for n in range(2)]
            yield cut_exchanges(f"{protocol} large by {size}", large, every(size))
        for end in (1, 511, 512, 513, 5000):
            large = [exchange(1, 9000), exchange(2)]
            yield cut_exchanges(f"{protocol} {end} bytes last", large, at(-end))
        for total in (1023, 1024, 1025, 1536, 1537):
            exact = [exchange(1, 1000 + total - len(exchange(1, 1000)[0])), exchange(2)]
            yield cut_exchanges(f"{protocol} of {total} bytes", exact, whole)
    for size in (1000, 16384 - 25, 16384 - 24, 20_000):
        compressed = m.op_compressed(1, size), m.op_compressed(2, size)
        pair = [mongodb_exchange(0), compressed, mongodb_exchange(1, 3000)]
        yield cut_exchanges(f"mongodb compressed {size}", pair, every(4096))
    requests = [message(opcode, b"", id=n) for n, opcode in enumerate((2001, 2004, 2005, 2007, 1000, 1))]
    yield case("mongodb bare headers", out(*requests) + out(b"".join(requests)), requests * 2)
    yield case("mongodb bare headers byte by byte", out(*each_byte(b"".join(requests))), requests)


def splits() -> Iterator[Case]:
    """The first message of a connection, split at every position of its header."""
    for protocol, exchange in EXCHANGES.items():
        pair = [exchange(0), exchange(1)]
        for place in range(1, 30):
            for young in (True, False):
                name = f"{protocol} {'young' if young else 'old'} split at {place}"
                yield cut_exchanges(name, pair, at(place), young=young)


def mid_stream() -> Iterator[Case]:
    """Connections that were there before."""
    for protocol, exchange in EXCHANGES.items():
        (one, one_back), (two, two_back), (three, three_back) = (exchange(n, 900) for n in range(3))
        later = out(two) + back(two_back) + out(three) + back(three_back)
        told, told_back = [two, three], [two_back, three_back]
        for place in (1, 3, 4, 15, 16, 21, 300, len(one) - 1):
            steps = out(one[place:]) + back(one_back[place:]) + later
            yield case(f"{protocol} old from byte {place}", steps, told, told_back, young=False)
        steps = out(one[200:] + two) + back(one_back[200:] + two_back) + out(three) + back(three_back)
        yield case(f"{protocol} old from the rest of a call", steps, [three], [three_back], young=False)
        rest = [*each_byte(one[60:]), *each_byte(two), three]
        yield case(f"{protocol} old from inside, byte by byte", out(*rest), told, young=False)
        steps = back(two_back) + out(three) + back(three_back)
        first_back = [two_back] if protocol == "mongodb" else []  # Kafka: only a request shows the protocol
        yield case(f"{protocol} old from a reply", steps, [three], [*first_back, three_back], young=False)


def resynchronisation() -> Iterator[Case]:
    """Lost step, and found again."""
    for protocol, exchange in EXCHANGES.items():
        (one, one_back), (two, two_back), (three, three_back) = (exchange(n, 900) for n in range(3))
        all_, all_back = [one, two, three], [one_back, two_back, three_back]
        first, rest = out(one) + back(one_back), out(two) + back(two_back) + out(three) + back(three_back)
        for name, bad in (("text", m.filler(40)), ("ones", b"\xff" * 40), ("three bytes", b"\xff\xfe\xfd")):
            yield case(f"{protocol} {name} inside", first + out(bad) + back(bad) + rest, all_, all_back)
            steps = first + out(bad + two) + back(bad + two_back) + out(three) + back(three_back)
            yield case(f"{protocol} {name} before a message", steps, [one, three], [one_back, three_back])
        # Of what goes by unseen nothing is known: a message whose beginning was lost is passed over, one whose end was
        # lost takes the next message's bytes for its own.
        steps = first + out(two, how=Pass.UNSEEN) + out(three)
        yield case(f"{protocol} a message unseen", steps, [one, three], [one_back])
        for place in (1, 4, 16, 300):
            steps = first + out(two[:place], how=Pass.UNSEEN) + out(two[place:]) + out(three)
            yield case(f"{protocol} {place} bytes unseen", steps, [one, three], [one_back])
        steps = first + out(two[:300]) + out(two[300:], how=Pass.UNSEEN) + out(three, one)
        yield case(f"{protocol} a rest unseen", steps, [one, two[:300] + three[: len(two) - 300], one], [one_back])


def foreign() -> Iterator[Case]:
    """Connections that carry nothing we know, or not from the beginning."""
    http = b"GET /orders HTTP/1.1\r\nHost: shop\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + m.filler(8)
    record = b"\x17\x03\x03\x00\x28" + m.filler(40)
    for name, asked, answered in (
        ("http", http, answer),
        ("tls", record, record),
        ("ones", b"\xff" * 40, b"\xff" * 40),
    ):
        yield case(f"{name} only", (out(asked) + back(answered)) * 3, [])
        yield case(f"{name} byte by byte", out(*each_byte(asked)) + back(*each_byte(answered)), [])
        yield case(f"{name} for long", out(*[asked] * 257) + out(m.op_msg(1)), [], ignored=True)
        for protocol, exchange in EXCHANGES.items():
            (one, one_back), (two, two_back) = exchange(1, 300), exchange(2, 300)
            later = out(one) + back(one_back) + out(two) + back(two_back)
            yield case(f"{name} then {protocol}", out(asked) + back(answered) + later, [one, two], [one_back, two_back])
            patient = out(*[asked] * 256) + later
            yield case(f"{name} for long then {protocol}", patient, [one, two], [one_back, two_back])
    # As OpenSSL reads: the record's header, then the record.
    yield case("tls, headers read first", out(*cut(record, 5) * 257), [], ignored=True)


def kafka() -> Iterator[Case]:
    """What only Kafka does."""
    request, reply, frame = m.kafka_request, m.kafka_reply, m.frame
    two = [request(n, body=m.filler(60)) for n in (101, 102)]
    two_back = [reply(n, m.filler(60)) for n in (101, 102)]
    # A reply to a low correlation id looks like a request: Metadata version 0, one broker with an empty host name.
    like_a_request = reply(5, b"\0\0\0\1" + b"\0\0\0\1" + m.filler(60))
    steps = back(like_a_request) + out(two[0]) + back(two_back[0]) + out(two[1]) + back(two_back[1])
    told = [like_a_request, *two_back]
    yield case("kafka old, first a reply like a request", steps, two, told, young=False)
    pieces = back(like_a_request) + out(*each_byte(two[0])) + back(*each_byte(two_back[0])) + out(two[1])
    yield case("kafka old, the same byte by byte", pieces, two, told[:2], young=False)
    pipelined = out(b"".join(two)) + back(reply(99)) + back(b"".join(two_back))
    yield case("kafka old, a reply still due", pipelined, two, [reply(99), *two_back], young=False)
    stale = out(two[0]) + back(reply(102), reply(-0x80000000)) + back(two_back[0])
    yield case("kafka old, replies to nothing", stale, two[:1], two_back[:1], young=False)
    yield case("kafka young, replies to anything", stale, two[:1], [reply(102), reply(-0x80000000), two_back[0]])
    for client_id in (None, "", "a", "x" * 255):
        ask = [request(n, client_id=client_id, body=m.filler(30)) for n in (1, 2)]
        yield case(f"kafka client id {str(client_id)[:4]}", out(*ask) + out(*each_byte(ask[0])), [*ask, ask[0]])
    unknown = [request(1), request(2, api_key=127, version=63), request(3, api_key=99, version=0)]
    yield case("kafka unknown apis", out(*unknown), unknown)

    handshake = (
        request(1, api_key=m.SASL_HANDSHAKE, version=0, body=b"\0\x05PLAIN"),
        reply(1, b"\0\0\0\0\0\1\0\x05PLAIN"),
    )
    tokens = [frame(b"\0shop\0secret"), frame(b"n,,n=shop,r=1"), frame(b"")]
    answers = [frame(b""), frame(b"r=1"), frame(b"")]
    dialogue = list(zip([handshake[0], *tokens, *two], [handshake[1], *answers, *two_back], strict=True))
    yield cut_exchanges("kafka bare SASL tokens", dialogue, whole)
    yield cut_exchanges("kafka bare SASL tokens byte by byte", dialogue, each_byte)
    yield cut_exchanges("kafka bare SASL tokens, sizes first", dialogue, at(4))
    steps = out(handshake[0], tokens[0], b"\xff" * 20, tokens[0], m.filler(40), *two)
    yield case("kafka step lost after SASL tokens", steps, [handshake[0], tokens[0], *two])
    plain = request(1, api_key=m.SASL_HANDSHAKE, version=1), request(2, api_key=36, version=2, body=m.filler(20))
    steps = out(*plain, frame(m.filler(20)), *two)
    yield case("kafka SASL with headers has no bare tokens", steps, [*plain, *two])
    empty = frame(b"")
    steps = out(two[0]) + back(empty, empty * 3, two_back[0] + empty, *each_byte(empty + two_back[1]))
    yield case("kafka empty frames", steps, two[:1], [*[empty] * 4, two_back[0], empty, empty, two_back[1]])


def blind() -> Iterator[Case]:
    """Bytes without a buffer, by sendfile: a Kafka broker sends records so."""
    (ask, _), (again, _) = kafka_exchange(1), kafka_exchange(2)
    for size in (500, 3000, 100_000):
        body = m.filler(3 * size)
        reply, short = m.kafka_reply(101, body), m.kafka_reply(102)
        end = len(reply)
        for name, stretches in (
            ("in the middle", [(size, 2 * size)]),
            ("at the end", [(size, end)]),
            ("from byte 20 to the end", [(20, end)]),
            ("twice", [(40, size), (size + 60, end - 300)]),
            ("often", [(begin, begin + 300) for begin in range(100, end - 300, 400)]),
        ):
            steps, done = back(ask), 0
            for begin, stop in stretches:
                steps += out(reply[done:begin]) + out(reply[begin:stop], how=Pass.BLIND)
                done = stop
            steps += out(reply[done:]) if done < end else []
            steps += back(again) + out(short)
            yield case(f"kafka sendfile of {size} {name}", steps, [reply, short], [ask, again])
    reply, later, last = m.kafka_reply(101, m.filler(3000)), m.kafka_reply(102, m.filler(200)), m.kafka_reply(103)
    third = m.kafka_request(103)
    asked = [ask, again, third]
    steps = back(ask) + out(reply, how=Pass.BLIND) + back(again) + out(later) + back(third) + out(last)
    yield case("kafka sendfile of a whole message", steps, [later, last], asked)
    steps = back(ask) + out(reply[:900]) + out(reply[900:] + later[:20], how=Pass.BLIND) + out(later[20:])
    steps += back(again) + out(last) + back(third) + out(last)
    yield case("kafka sendfile beyond a message's end", steps, [reply, last], asked)
    steps = back(ask) + out(reply[:3]) + out(reply[3:], how=Pass.BLIND) + back(again) + out(later)
    yield case("kafka sendfile inside a header", steps, [later], asked[:2])
    one, two, three = m.op_msg(1), m.op_msg(2, padding=3000), m.op_msg(3)
    steps = out(one, two[:10]) + out(two[10:], how=Pass.BLIND) + out(three)
    yield case("mongodb sendfile inside a header", steps, [one, three])
    steps = out(one, two[:40]) + out(two[40:2900], how=Pass.BLIND) + out(two[2900:] + three)
    yield case("mongodb sendfile in the middle", steps, [one, two, three])
    yield case("mongodb sendfile first", out(one, how=Pass.BLIND) + out(two, three), [two, three])


def hostile() -> Iterator[Case]:
    """Bytes made to confuse."""
    # Held for the 21st byte of an OP_MSG; then it is none, and a short Kafka request begins at the third byte.
    twice = b"\x20\0" + b"\0\0\0\x0a" + b"\0\0\0\1" + b"\0\0\xdd\x07" + b"\0\0" + b"\0\0\0\0"
    good = m.kafka_request(1)
    yield case("a message shorter than what is held", out(twice, b"\x55" * 30, good), [good])
    yield case("the same in mid-stream", out(twice, b"\x55" * 30, good), [good], young=False)
    for length in (0, 15, 48_000_001, 0x7FFFFFFF, 0xFFFFFFFF):
        bad = length.to_bytes(4, "little") + m.op_msg(1)[4:]
        yield case(f"mongodb of length {length}", out(m.op_msg(1), bad, m.op_msg(2)), [m.op_msg(1), m.op_msg(2)])
    for length in (0, 7, (1 << 30) + 1, 0xFFFFFFFF):
        bad = length.to_bytes(4, "big") + good[4:]
        yield case(f"kafka of length {length}", out(good, bad, good), [good, good])
    for opcode in (0, 2, 1001, 2000, 2008, 2009, 2014):
        steps = out(message(opcode, m.filler(20), id=1), m.op_msg(2))
        yield case(f"mongodb opcode {opcode}", steps, [m.op_msg(2)])
    yield case("mongodb required flag", out(m.op_msg(1, flags=1 << 7), m.op_msg(2)), [m.op_msg(2)])
    flags = 1 | m.MORE_TO_COME | 1 << 16
    yield case("mongodb flags", out(m.op_msg(1, flags=flags), m.op_msg(2)), [m.op_msg(1, flags=flags), m.op_msg(2)])


CUTS = tuple(cuts())
SPLITS = tuple(splits())
OTHERS = tuple(c for cases in (mid_stream, resynchronisation, foreign, kafka, blind, hostile) for c in cases())
CORPUS = CUTS + SPLITS + OTHERS
