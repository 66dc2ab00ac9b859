"""Children that play streams under the eyes of the kernel program, and what it told of them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Channel
from typing import NamedTuple

from probes.kernel.loader import Kernel
from probes.records import Connection, Head, Times
from probes.sources.framing import ConnectionFraming
from probes.sources.live import LiveSource
from tests.framing.player import Chunk, End

HEAD_BYTES = 1024
PATIENCE_S = 20.0
_FORK = multiprocessing.get_context("fork")


class Seen:
    """What was told of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heads: list[Head] = []
        self.exchanges: list[tuple[int, Times, int]] = []  # ids, times, messages of what is not told
        self.whole = [0, 0]  # messages in and out, by the kernel's own count
        self.closed = False

    @property
    def ports(self) -> tuple[int, int]:
        return self.connection.near.port, self.connection.far.port


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self._seen: dict[int, Seen] = {}

    def opened(self, connection: Connection) -> None:
        self._seen[connection.id] = Seen(connection)

    def addressed(self, connection: Connection) -> None:
        assert self._seen[connection.id].connection is connection

    def message(self, connection: Connection, head: Head) -> None:
        self._seen[connection.id].heads.append(head)

    def pair(self, connection: Connection, request: Head, reply: Head) -> None:
        self.message(connection, request)
        self.message(connection, reply)

    def exchange(self, connection: Connection, id: int, times: Times, messages: int) -> None:
        self._seen[connection.id].exchanges.append((id, times, messages))

    def unseen(self, connection: Connection, outbound: bool, last_number: int, ns: int) -> None:
        self._seen[connection.id].whole[outbound] = last_number + 1

    def missed(self, connection: Connection, outbound: bool, number: int, ns: int) -> None:
        raise AssertionError("the kernel knows how many messages went by")

    def closed(self, connection: Connection, ns: int) -> None:
        self._seen[connection.id].closed = True

    def of(self, pid: int) -> list[Seen]:
        """What a process showed, in the order of its connections' first messages."""
        return [
            seen
            for seen in self._seen.values()
            if seen.connection.process is not None and seen.connection.process.pid == pid
        ]


class EndLog(NamedTuple):
    """What happened at one end, as the child wrote it down."""

    ports: tuple[int, int]  # its own and the other end's: connects to different ports may share their own
    chunks: list[Chunk]


Script = Callable[[], list[End]]  # plays, and answers with the ends to be closed


class Watch:
    """The kernel program and its live source, attached."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.recorder = Recorder()
        self.source = LiveSource(kernel, self.recorder)

    def settle(self) -> None:
        """Drains what the calls so far have told."""
        for _ in range(200):
            if not self.source.drain() and not self.kernel.ring.waiting_bytes:
                return
            time.sleep(0.001)

    @contextmanager
    def child(
        self, script: Script, *, scan: bool = False, before: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[int, list[EndLog]]]:
        """A child that runs the script, and closes its ends when the block is over.

        Gives its pid and what happened at the ends. With `scan`, the sockets it inherited are looked up in /proc first;
        then `before` is called with its pid, then the script begins.
        """
        ours, theirs = _pipes()
        process = _FORK.Process(target=_run, args=(script, *theirs))
        process.start()
        try:
            assert process.pid is not None
            if scan:
                self.source.scan()
            before(process.pid)
            ours[1].send("go")
            logs = self._await(process, ours[0])
            self.settle()
            yield process.pid, logs
            ours[1].send("close")
            self._await(process, ours[0])
            self.settle()
        finally:
            process.join(PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
            for channel in (*ours, *theirs):
                channel.close()

    def _await(self, process: multiprocessing.process.BaseProcess, channel: Channel) -> list[EndLog]:
        """The child's answer; meanwhile the ring is drained, for all processes of the host fill it."""
        deadline = time.monotonic() + PATIENCE_S
        while not channel.poll(0.02):
            self.source.drain()
            assert process.is_alive() or channel.poll(), "the child ended early"
            assert time.monotonic() < deadline, "the child takes too long"
        answer: list[EndLog] = channel.recv()
        return answer


def _pipes() -> tuple[tuple[Channel, Channel], tuple[Channel, Channel]]:
    """Two pairs to read from and write to. Pipes: a socket pair would be watched itself."""
    our_in, their_out = _FORK.Pipe(duplex=False)
    their_in, our_out = _FORK.Pipe(duplex=False)
    return (our_in, our_out), (their_in, their_out)


def _run(script: Script, commands: Channel, answers: Channel) -> None:
    assert commands.recv() == "go"
    ends = script()
    answers.send([EndLog(end.ports, end.log) for end in ends])
    assert commands.recv() == "close"
    for end in ends:
        end.sock.close()
    answers.send([])


def framed(chunks: Iterable[Chunk], *, young: bool = True) -> tuple[list[Head], list[int]]:
    """What the framing in Python makes of the same calls: the heads without times, the whole messages in and out."""
    framing = ConnectionFraming(young=young, head_bytes=HEAD_BYTES)
    heads = [
        head._replace(first_ns=0, last_ns=0)
        for chunk in chunks
        for head in framing.feed(chunk.outbound, chunk.data, 1, length=chunk.length)
    ]
    return heads, [framing.whole(False), framing.whole(True)]


def timeless(heads: Iterable[Head]) -> list[Head]:
    """The heads without their times, which have to make sense."""
    for head in heads:
        assert 0 < head.first_ns <= head.last_ns
    return [head._replace(first_ns=0, last_ns=0) for head in heads]
