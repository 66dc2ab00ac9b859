"""`python -m tests.fuzz.kafka [DIRECTORY] [-runs=N]`: mutated messages through Kafka's parser, by atheris.

Nothing but ProtocolError may come out of it. Needs the extra `fuzz` (`.venv/bin/pip install -e .[fuzz]`). Options are
libFuzzer's; DIRECTORY keeps the inputs that it finds worth mutating, at first what Apache Kafka encoded for the unit
tests. Each input is four bytes (how much of a message was captured; API key, version and direction of a reply), and the
message.

`python -m tests.fuzz.kafka --cost [DIRECTORY]` takes each input of a directory, or each hostile message of the unit
tests, through each function by itself, and prints the longest CPU time and the most memory that one took.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

COSTS_ONLY = "--cost" in sys.argv
if COSTS_ONLY:
    around: Any = nullcontext()
else:
    import atheris

    around = atheris.instrument_imports(include=["probes.protocols"])
# What is instrumented has to be imported first.
with around:
    from probes.protocols.interface import ProtocolError
    from probes.protocols.kafka import Kafka

from probes.records import Address, Connection, Head, Session, Side, Status, Times  # noqa: E402
from tests.unit.kafka_messages import framed, golden, request_bytes, request_header  # noqa: E402
from tests.unit.test_kafka_hostile import FILLINGS, hostile  # noqa: E402

MAX_BYTES = 16_384
CONNECTION = Connection(1, None, Address("10.0.0.9", 9092), Address("10.0.0.5", 40_000))
Call = Callable[[], Any]
Around = Callable[[str, Call], Any]


class Input:
    """What an input stands for."""

    def __init__(self, data: bytes) -> None:
        cut, self.api_key, self.version, self.direction = data[:4]
        self.version %= 32  # no other passes for one
        message = data[4:]
        captured = len(message) * (cut or 256) // 256
        window = ((captured + 8, message[captured + 8 :]),) if cut % 2 else ()
        self.head = Head(True, 0, 1, 2, len(message), message[:captured], windows=window)

    def asked(self) -> bytes:
        """A request whose reply the message may be."""
        try:
            return request_bytes(self.api_key, self.version, {})
        except AssertionError:  # not in the table
            return framed(request_header(self.api_key, self.version))


def run(data: bytes, around: Around) -> None:
    """Everything that is ever done with a message, each by `around`; it gives None where that refuses."""
    its, kafka = Input(data), Kafka()
    head, memory = its.head, kafka.memory(CONNECTION)
    around("identify", lambda: kafka.identify(head.data, head.total))
    around("reply_to", lambda: kafka.reply_to(head))
    reply = None
    if its.direction % 2:
        asked = its.asked()
        request = kafka.request(Head(True, 0, 1, 2, len(asked), asked), memory)
        reply = around("reply", lambda: kafka.reply(head, request, memory))
    else:
        request = around("request", lambda: kafka.request(head, memory))
    around("reply to nothing", lambda: kafka.reply(head, None, memory))
    if request is None:
        return
    session = Session("kafka", Status.OK, Side.SERVER, CONNECTION, request, reply, Times(1, 2, 3, 4), 1, 1)
    for literals in (False, True):
        around(f"record, literals {literals}", lambda: kafka.record(session, literals=literals))  # noqa: B023
        message = reply if its.direction % 2 else request
        around("recordable", lambda: kafka.recordable(head, message, request, literals=literals))  # noqa: B023
    around("observe", lambda: kafka.observe(session))
    around("facts", lambda: kafka.facts(5))
    if not its.direction % 2:  # the session goes on
        around("request", lambda: kafka.request(head, memory))


def one_input(data: bytes) -> None:
    def call_it(_: str, call: Call) -> Any:
        try:
            return call()
        except ProtocolError:
            return None

    if len(data) > 4:
        run(data, call_it)


def seeds() -> Iterator[bytes]:
    for each in golden():
        for cut in (0, 180):
            yield bytes([cut, each.api_key, each.version, each.direction == "response"]) + each.message[:MAX_BYTES]


def hostile_inputs() -> Iterator[bytes]:
    for each in golden():
        for filling in FILLINGS:
            message = hostile(each, filling, MAX_BYTES)
            yield bytes([0, each.api_key, each.version, each.direction == "response"]) + message


def cost(inputs: Iterable[bytes]) -> str:
    """What the dearest input costs, by function: ms of CPU and KiB at once."""
    longest: dict[str, float] = {}
    most: dict[str, int] = {}

    def timed(name: str, call: Call) -> Any:
        began = time.process_time()
        try:
            return call()
        except ProtocolError:
            return None
        finally:
            longest[name] = max(longest.get(name, 0.0), time.process_time() - began)

    def weighed(name: str, call: Call) -> Any:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            return call()
        except ProtocolError:
            return None
        finally:
            most[name] = max(most.get(name, 0), tracemalloc.get_traced_memory()[1] - before)

    all_inputs = [data for data in inputs if len(data) > 4]
    for data in all_inputs:  # a plan is compiled when it is first needed
        run(data, timed)
    longest.clear()
    for data in all_inputs:
        run(data, timed)
    tracemalloc.start()
    for data in all_inputs:
        run(data, weighed)
    lines = [f"{name:<24} {seconds * 1e3:>8.2f} ms {most[name] / 1024:>8.0f} KiB" for name, seconds in longest.items()]
    return "\n".join([*lines, f"{len(all_inputs)} inputs"])


def main() -> None:
    directory = next((Path(each) for each in sys.argv[1:] if not each.startswith("-")), None)
    if COSTS_ONLY:
        print(cost(hostile_inputs() if directory is None else (path.read_bytes() for path in directory.iterdir())))
        return
    if directory is not None:
        directory.mkdir(exist_ok=True)
        for number, seed in enumerate(seeds()):
            (directory / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, f"-max_len={MAX_BYTES}", "-timeout=10"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
