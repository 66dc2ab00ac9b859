"""From the chunks of raw connections to sessions: wherever they were cut, and whatever of them was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.interface import RAW, Abort, ProtocolError, WireProtocol
from probes.records import Address, Connection, Framing, Head, Ledger, Process, Reply, Request, Session, Status, Verdict
from probes.sessions.pairing import Pairing
from probes.sources.raw import MAX_BUFFER, REST_NS, RawStreams

PORT = 7000
MS = 1_000_000
HEAD_BYTES = 64


class Lines(WireProtocol):
    """A request is "?" and text, a reply "!" and text, "*" pushes; each ends with a newline. "#N:" tells its length."""

    framing = RAW
    ports = (PORT,)

    def __init__(self, name: str = "lines", first: bytes = b"?!*#") -> None:
        self.name = name
        self.first = first

    def memory(self, connection: Connection) -> Any:
        return [0]

    def frame(self, data: bytes, memory: Any) -> int:
        if data and data[:1] not in self.first:
            raise ProtocolError("no line begins so")
        if data.startswith(b"#") and b":" in data:
            return int(data[1 : data.index(b":")])
        return data.find(b"\n") + 1

    def identify(self, data: bytes, total: int) -> Verdict:
        return Verdict.REPLY if data.startswith(b"!") else Verdict.REQUEST

    def request(self, head: Head, memory: Any) -> Request:
        memory[0] += 1
        return Request(memory[0], head.data[1:].decode(errors="replace").strip(), head.data, in_order=True)

    def reply_to(self, head: Head, memory: Any) -> int | None:
        if head.data.startswith(b"*"):
            raise Abort
        return None

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        return Reply(None, head.data)


class Server:
    """A server's connection to `Lines`; chunks come a millisecond after one another unless `ns` says otherwise."""

    def __init__(self, *protocols: WireProtocol, from_start: bool = True) -> None:
        self.protocols = protocols or (Lines(),)
        self.sessions: list[Session] = []
        self.ledger = Ledger()
        self.pairing = Pairing(self.protocols, self.sessions.append, self.ledger, strict=True)
        self.raw = RawStreams(self.protocols, Rooms(self.pairing), give_up=self.pairing.give_up, head_bytes=HEAD_BYTES)
        ends = Address("10.0.0.9", PORT), Address("10.0.0.5", 51544)
        self.connection = Connection(1, Process(7, "server"), *ends, protocol=RAW, from_start=from_start)
        self.raw.opened(self.connection)
        self.numbers = [0, 0]
        self.ns = 0

    def receives(self, data: bytes, **options: int) -> None:
        self._chunk(False, data, **options)

    def sends(self, data: bytes, **options: int) -> None:
        self._chunk(True, data, **options)

    def loses(self, outbound: bool) -> None:
        self.numbers[outbound] += 1

    def rests(self) -> None:
        self.ns += REST_NS

    def told(self) -> list[tuple[str, Status, bytes]]:
        """What was asked, what became of it, and what was answered."""
        return [
            (s.request.operation if s.request else "", s.status, s.reply.data if s.reply else b"")
            for s in self.sessions
        ]

    def counts(self) -> dict[str, int]:
        self.raw.closed(self.connection, self.ns)
        self.pairing.tick(self.ns + 10**10)
        return {str(cause): count for cause, count in self.ledger.counts.items() if count}

    def _chunk(self, outbound: bool, data: bytes, total: int | None = None) -> None:
        self.ns += MS
        number = self.numbers[outbound]
        self.numbers[outbound] += 1
        size = len(data) if total is None else total
        self.raw.message(self.connection, Head(outbound, number, self.ns, self.ns, size, data, framing=Framing.RAW))


class Rooms:
    """The pairing as a sink; nothing but raw connections here."""

    def __init__(self, pairing: Pairing) -> None:
        self.opened, self.message, self.closed = pairing.opened, pairing.message, pairing.closed
        self.unseen, self.missed, self.pair = pairing.unseen, pairing.missed, pairing.pair

    def addressed(self, connection: Connection) -> None:
        raise AssertionError

    def exchange(self, *arguments: object) -> None:
        raise AssertionError


def ok(*names: str) -> list[tuple[str, Status, bytes]]:
    return [(name, Status.OK, f"!{name}\n".encode()) for name in names]


def lines(sign: str, names: Sequence[str]) -> bytes:
    return "".join(f"{sign}{name}\n" for name in names).encode()


@given(
    st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40), max_size=20),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_wherever_the_chunks_are_cut_the_sessions_are_the_same(
    names: list[str], request_sizes: list[int], reply_sizes: list[int]
) -> None:
    server = Server()
    for data, sizes, take in (
        (lines("?", names), request_sizes, server.receives),
        (lines("!", names), reply_sizes, server.sends),
    ):
        at = turn = 0
        while at < len(data):
            take(data[at : at + sizes[turn % len(sizes)]])
            at += sizes[turn % len(sizes)]
            turn += 1
    assert server.told() == ok(*names)
    assert server.raw.counts["messages"] == 2 * len(names)
    assert server.counts() == ({"sessions": 2 * len(names)} if names else {})


def test_a_message_has_the_times_of_its_first_and_last_byte() -> None:
    server = Server()
    server.receives(b"?a")
    server.receives(b"b\n")
    server.sends(b"!a\n")
    times = server.sessions[0].times
    assert times == (1 * MS, 2 * MS, 3 * MS, 3 * MS)


@pytest.mark.parametrize("captured", [0, 5, 64, 1000])
def test_bytes_that_were_not_captured_are_passed_over_where_the_length_is_known(captured: int) -> None:
    server = Server()
    server.receives(b"?a\n")
    server.sends(b"#5000:" + b"x" * captured, total=4000)
    server.sends(b"", total=1000)
    server.receives(b"?b\n")
    server.sends(b"!b\n")
    assert [(s.reply_bytes, s.status) for s in server.sessions] == [(5000, Status.OK), (3, Status.OK)]
    assert server.sessions[0].reply is not None
    assert server.sessions[0].reply.data == (b"#5000:" + b"x" * captured)[:HEAD_BYTES]
    assert not server.raw.counts["lost"]


def test_a_reply_whose_end_is_not_to_be_found_ends_where_the_client_asks_again() -> None:
    server = Server()
    server.receives(b"?a\n")
    server.sends(b"!" + b"x" * 100, total=5000)
    server.sends(b"y" * MAX_BUFFER)
    server.receives(b"?b\n")
    server.sends(b"!b\n")
    assert [(s.reply_bytes, s.status) for s in server.sessions] == [(5000 + MAX_BUFFER, Status.OK), (3, Status.OK)]


def test_a_request_whose_end_is_not_to_be_found_ends_where_the_server_answers() -> None:
    server = Server()
    server.receives(b"?a" + b"x" * 100, total=5000)
    server.sends(b"!a\n")
    assert [(s.request_bytes, s.status) for s in server.sessions] == [(5000, Status.OK)]


def test_what_the_server_says_by_itself_is_no_reply() -> None:
    server = Server()
    server.receives(b"?a\n")
    server.sends(b"*news\n!a\n*news\n")
    assert server.told() == ok("a")
    assert server.counts() == {"sessions": 2, "aborted": 2}


@pytest.mark.parametrize("outbound", [False, True], ids=["requests", "replies"])
def test_after_a_loss_nothing_is_taken_for_another_ones_reply(outbound: bool) -> None:
    server = Server()
    server.receives(b"?a\n?b\n?c\n")
    server.sends(b"!a\n")
    server.loses(outbound)
    (server.sends if outbound else server.receives)(b"!d\n" if outbound else b"?d\n")
    for name in ("e", "f"):
        server.sends(f"!{name}\n".encode())
        server.receives(f"?{name}\n".encode())
    assert server.told()[0] == ok("a")[0]
    assert [status for _, status, _ in server.told()[1:]] == [Status.DROPPED] * 2
    server.rests()
    server.receives(b"?g\n")
    server.sends(b"!g\n")
    assert server.told()[3:] == ok("g")
    assert server.raw.counts["lost"] == 1
    assert server.raw.counts["unsure"] > 0


def test_a_client_that_waits_for_each_reply_is_sure_again_with_its_next_request() -> None:
    server = Server()
    server.receives(b"?a\n")
    server.sends(b"!a\n")
    server.receives(b"?b\n")
    server.loses(True)
    server.sends(b"!b, the rest\n")
    server.receives(b"?c\n")
    server.sends(b"!c\n")
    assert server.told() == [*ok("a"), ("b", Status.DROPPED, b""), *ok("c")]


def test_a_loss_at_the_very_end_is_known_by_the_kernels_count() -> None:
    server = Server()
    server.receives(b"?a\n")
    server.raw.unseen(server.connection, True, 0, server.ns)
    assert server.told() == [("a", Status.DROPPED, b"")]
    server.raw.unseen(server.connection, True, 0, server.ns)
    assert server.raw.counts["lost"] == 1


def test_mid_stream_begins_with_the_first_request_after_a_reply() -> None:
    server = Server(from_start=False)
    server.sends(b"the rest of something\n")
    server.sends(b"!older\n")
    server.receives(b"?a\n")
    server.sends(b"!a\n")
    assert server.told() == ok("a")


def test_mid_stream_a_client_that_asks_ahead_is_told_of_only_after_a_rest() -> None:
    server = Server(from_start=False)
    server.receives(b"?a\n?b\n")
    server.sends(b"!older\n!a\n!b\n")
    server.receives(b"?c\n")
    server.sends(b"!c\n")
    assert [status for _, status, _ in server.told()] == [Status.DROPPED] * 2
    server.rests()
    server.receives(b"?d\n?e\n")
    server.sends(b"!d\n!e\n")
    assert server.told()[2:] == ok("d", "e")


def test_bytes_that_no_plugin_takes_are_foreign() -> None:
    server = Server()
    for _ in range(300):
        server.receives(b"\x16\x03\x01\x02\x00")
    assert server.told() == []
    assert server.raw.counts == {"foreign": 300}
    server.receives(b"?a\n")  # nobody looks any more
    assert server.raw.counts == {"foreign": 301}


def test_the_next_plugin_on_the_port_takes_what_the_first_one_does_not() -> None:
    server = Server(Lines("first", b"$"), Lines("second"))
    server.receives(b"?a\n")
    server.sends(b"!a\n")
    assert [session.protocol for session in server.sessions] == ["second"]


def test_garbage_costs_what_is_under_way_and_no_more() -> None:
    server = Server()
    server.receives(b"?a\n")
    server.sends(b"garbage\n")
    server.receives(b"?b\n")
    server.sends(b"!b\n")
    assert server.told() == [("a", Status.DROPPED, b""), *ok("b")]


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=30), st.integers(0, 99)), max_size=40))
def test_nothing_is_raised_whatever_the_bytes_are(chunks: list[tuple[bool, bytes, int]]) -> None:
    server = Server()
    for outbound, data, more in chunks:
        server._chunk(outbound, data, total=len(data) + more)
    server.counts()
    assert all(len(stream.held) <= MAX_BUFFER for raw in server.raw._connections.values() for stream in raw.streams)
