"""`python -m tests.fuzz.mongodb [DIRECTORY] [-runs=N]`: mutated messages through MongoDB's parser, by atheris.

Nothing but ProtocolError may come out of it. Needs the extra `fuzz` (`.venv/bin/pip install -e .[fuzz]`). Options are
libFuzzer's; DIRECTORY keeps the inputs that it finds worth mutating, at first those of the unit tests. Each input is
two bytes that say how much of a message was captured, and the message.

`python -m tests.fuzz.mongodb --cost DIRECTORY` takes each input of a directory through each function by itself, and
prints the longest CPU time and the most memory that one took.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import atheris

# What is instrumented has to be imported first.
COSTS_ONLY = "--cost" in sys.argv
with nullcontext() if COSTS_ONLY else atheris.instrument_imports(include=["probes.protocols"]):
    from probes.protocols.interface import ProtocolError
    from probes.protocols.mongodb import MongoDB
    from probes.protocols.mongodb.lives import Lives

from probes.records import Connection, Head, Session, Side, Status, Times  # noqa: E402
from probes.store.view import Exchange  # noqa: E402
from tests.unit.mongodb_messages import command, compressed  # noqa: E402
from tests.unit.test_mongodb_hostile import BOMBS, HOSTILE, MESSAGES  # noqa: E402

MAX_BYTES = 16_384
FIND = command({"find": "orders", "filter": {"a": 1}, "$db": "shop"})
CONNECTION = Connection(1, None)

Call = tuple[str, Callable[[], Any]]


def head_of(data: bytes) -> Head:
    """The head that an input stands for: how much of the message was captured, and of its tail."""
    cut, tail, message = data[0], data[1], data[2:]
    captured = len(message) * (cut or 256) // 256
    tail_bytes = min(2 * tail, len(message) - captured) if tail < 128 else 0
    total = len(message)
    return Head(True, 0, 1, 2, total, message[:captured], message[total - tail_bytes :] if tail_bytes else b"")


def calls(head: Head) -> Iterator[Call]:
    """Everything that is ever done with a head, each by itself; what one gave is sent on to the next."""
    mongodb, lives = MongoDB(), Lives()
    memory = mongodb.memory(CONNECTION)
    yield "identify", lambda: mongodb.identify(head.data, head.total)
    request = yield "request", lambda: mongodb.request(head, memory)
    yield "reply_to", lambda: mongodb.reply_to(head)
    find = mongodb.request(Head(True, 0, 1, 2, len(FIND), FIND), memory)
    for asked in (find, request, None):
        reply = yield "reply", lambda: mongodb.reply(head, asked, memory)  # noqa: B023 - called at once
        session = Session("mongodb", Status.OK, Side.SERVER, CONNECTION, asked, reply, Times(1, 2, 3, 4), 1, 1)
        for literals in (False, True):
            yield f"record, literals {literals}", lambda: mongodb.record(session, literals=literals)  # noqa: B023
        yield "lives", lambda: lives.take(Exchange(1, Status.OK, 1, 2, asked, reply))  # noqa: B023
    if request is not None:
        yield "shape", lambda: request.shape


def run(head: Head, around: Callable[[str, Callable[[], Any]], Any]) -> None:
    """All calls, each made by `around`."""
    its = calls(head)
    given = None
    while True:
        try:
            name, call = its.send(given)  # type: ignore[attr-defined]
        except StopIteration:
            return
        try:
            given = around(name, call)
        except ProtocolError:
            given = None


def one_input(data: bytes) -> None:
    if len(data) > 2:
        run(head_of(data), lambda _, call: call())


def seeds() -> list[bytes]:
    messages = [*MESSAGES, *HOSTILE.values()]
    messages += [compressed(each, 2) for each in (*messages, *BOMBS.values())]
    return [bytes([cut, 255]) + each[:MAX_BYTES] for each in messages for cut in (0, 180)]


def cost(directory: Path) -> None:
    """Prints what the dearest input of a directory costs, by function."""
    longest: dict[str, float] = {}
    most: dict[str, int] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.process_time()
        try:
            return call()
        finally:
            longest[name] = max(longest.get(name, 0.0), time.process_time() - began)

    def weighed(name: str, call: Callable[[], Any]) -> Any:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            return call()
        finally:
            most[name] = max(most.get(name, 0), tracemalloc.get_traced_memory()[1] - before)

    inputs = [path.read_bytes() for path in directory.iterdir()]
    heads = [head_of(data) for data in inputs if len(data) > 2]
    for head in heads:
        run(head, timed)
    tracemalloc.start()
    for head in heads:
        run(head, weighed)
    for name, seconds in longest.items():
        print(f"{name:<24} {seconds * 1e3:>8.2f} ms {most[name] / 1024:>8.0f} KiB")
    print(f"{len(heads)} inputs")


def main() -> None:
    if COSTS_ONLY:
        cost(Path(sys.argv[-1]))
        return
    directory = next((Path(each) for each in sys.argv[1:] if not each.startswith("-")), None)
    if directory is not None:
        directory.mkdir(exist_ok=True)
        for number, seed in enumerate(seeds()):
            (directory / f"seed-{number}").write_bytes(seed)
    options = [f"-max_len={MAX_BYTES}", f"-artifact_prefix={directory or '.'}/"]
    atheris.Setup([*sys.argv, *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
