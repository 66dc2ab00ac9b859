"""The Redis plugin, as a library and in the place where the collector has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.guard import Fault, Guard, TimeLimit
from probes.protocols.interface import Abort, ProtocolError
from probes.records import Connection, Head, Verdict
from probes.records import Fault as Whose
from tests.example_plugin.redis_resp import DEEPEST, Memory, Redis
from tests.live.clients.resp import command

CONNECTION = Connection(1, None)

VALUES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":-17\r\n",
    b"$5\r\nhe\r\no\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n+x\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",3.14\r\n",
    b"(12345678901234567890\r\n",
    b"!21\r\nSYNTAX invalid syntax\r\n",
    b"=9\r\ntxt:plain\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n:2\r\n",
    b">2\r\n+invalidate\r\n*1\r\n+k\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
]


def head(data: bytes, total: int | None = None) -> Head:
    return Head(False, 0, 1, 2, len(data) if total is None else total, data)


def asked(*words: str | bytes, memory: Memory | None = None) -> Any:
    return Redis().request(head(command(*words)), memory or Memory())


@pytest.mark.parametrize("value", VALUES)
def test_where_a_value_ends(value: bytes) -> None:
    redis = Redis()
    assert redis.frame(value, Memory()) == len(value)
    assert redis.frame(value + b"+more\r\n", Memory()) == len(value)
    for cut in range(len(value)):
        assert redis.frame(value[:cut], Memory()) in (0, len(value))


def test_a_long_string_tells_its_length_before_it_is_there() -> None:
    whole = command("SET", "k", b"x" * 100_000)
    assert Redis().frame(whole[:100], Memory()) == len(whole)


@pytest.mark.parametrize(
    "data",
    [b"GET k\r\n", b"\x16\x03\x01", b"$x\r\n", b"$-2\r\n", b"*99999999\r\n", b"$99999999999\r\n", b"+" + b"x" * 20_000],
)
def test_what_is_no_value(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Redis().frame(data, Memory())


def test_arrays_within_arrays_end() -> None:
    assert Redis().frame(b"*1\r\n" * 10_000 + b"+x\r\n", Memory()) == 40_004
    assert Redis().frame(b"*%d\r\n" % DEEPEST * 1000, Memory()) == 0


def test_a_request() -> None:
    memory = Memory()
    first, second = asked("set", "user:17:cart", "secret", memory=memory), asked("PING", memory=memory)
    assert (first.id, first.operation, first.target) == (1, "SET", "user:*:cart")
    assert (second.id, second.operation, second.target) == (2, "PING", "")
    assert first.attributes == (("arguments", 2),)
    assert first.in_order
    assert not first.truncated
    assert Redis().identify(command("PING"), 14) is Verdict.REQUEST
    assert Redis().identify(b"+OK\r\n", 5) is Verdict.REPLY


@pytest.mark.parametrize(
    "words", [("AUTH", "hunter2"), ("HELLO", "3", "AUTH", "me", "hunter2"), ("CONFIG", "SET", "x")]
)
def test_credentials_are_not_kept(words: tuple[str, ...]) -> None:
    request = asked(*words)
    assert request.data == b""
    assert request.target == ""


def test_who_blocks_is_a_long_poll() -> None:
    assert asked("BLPOP", "queue", "0").long_poll
    assert not asked("LPOP", "queue").long_poll


def test_a_cut_request_says_so() -> None:
    whole = command("SET", "k" * 100, "x")
    assert Redis().request(head(whole[:30], len(whole)), Memory()).truncated
    assert not Redis().request(head(whole[:-5], len(whole)), Memory()).truncated


@pytest.mark.parametrize("words", [("SUBSCRIBE", "news"), ("MONITOR",), ("CLIENT", "REPLY", "OFF")])
def test_from_where_the_server_speaks_by_itself_nothing_is_told(words: tuple[str, ...]) -> None:
    memory = Memory()
    for each in (words, ("PING",)):
        with pytest.raises(Abort):
            asked(*each, memory=memory)
    with pytest.raises(Abort):
        Redis().reply_to(head(b"+PONG\r\n"), memory)


def test_what_is_pushed_answers_nothing() -> None:
    assert Redis().reply_to(head(b"+OK\r\n"), Memory()) is None
    with pytest.raises(Abort):
        Redis().reply_to(head(b">2\r\n+invalidate\r\n*1\r\n+k\r\n"), Memory())


@pytest.mark.parametrize(
    ("data", "name", "message", "fault"),
    [
        (b"-ERR unknown command\r\n", "ERR", "unknown command", Whose.CLIENT),
        (b"-WRONGTYPE Operation against a key\r\n", "WRONGTYPE", "Operation against a key", Whose.CLIENT),
        (b"-LOADING Redis is loading\r\n", "LOADING", "Redis is loading", Whose.SERVER),
        (b"-NOAUTH\r\n", "NOAUTH", "", Whose.CLIENT),
        (b"!21\r\nSYNTAX invalid syntax\r\n", "SYNTAX", "invalid syntax", Whose.CLIENT),
    ],
)
def test_errors(data: bytes, name: str, message: str, fault: Whose) -> None:
    failure = Redis().reply(head(data), None, Memory()).failure
    assert failure is not None
    assert (failure.code, failure.name, failure.message, failure.fault) == (0, name, message, fault)


def test_replies_tell_their_type() -> None:
    assert Redis().reply(head(b"$1\r\nx\r\n"), None, Memory()).attributes == (("type", "bulk string"),)
    assert Redis().reply(head(b"#t\r\n"), None, Memory()).attributes == (("type", "other"),)


@given(
    st.one_of(st.binary(max_size=200), st.lists(st.sampled_from([*VALUES, b"*", b"$", b"9", b"\r\n"])).map(b"".join))
)
def test_no_bytes_are_a_fault_of_the_plugin(data: bytes) -> None:
    guard = Guard(Redis(), TimeLimit())
    memory = guard.memory(CONNECTION)
    for call in (
        lambda: guard.frame(data, memory),
        lambda: guard.request(head(data), memory),
        lambda: guard.reply_to(head(data), memory),
        lambda: guard.reply(head(data), None, memory),
    ):
        try:
            call()
        except (Abort, ProtocolError):
            continue
        except Fault as fault:
            raise AssertionError(data) from fault
    assert guard.errors == 0
