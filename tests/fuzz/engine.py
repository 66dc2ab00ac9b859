"""What the fuzzers share: three ways to send inputs through one function.

`python -m tests.fuzz.NAME [DIRECTORY] [-runs=N]`: mutated by atheris, which looks for new ways through the code; slow,
for it watches each line. Options are libFuzzer's; DIRECTORY keeps the inputs that it finds worth mutating, at first
those of the unit tests. Needs the extra `fuzz` (`.venv/bin/pip install -e .[fuzz]`).

`python -m tests.fuzz.NAME --mutate N [--seed SEED] [DIRECTORY]`: N mutations of those inputs, at full speed. What
went wrong is told once for each place, and kept as a file; the same N and SEED do the same again. More than 20 ms of
CPU for one call is wrong, too.

`python -m tests.fuzz.NAME --cost [DIRECTORY]`: each input through each function by itself; prints the longest CPU time
and the most memory that one took.
"""

from __future__ import annotations

import argparse
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

MAX_BYTES = 16_384
_LONGEST_S = 0.020  # of CPU, for one call, which may be about two messages: 10 ms each
_TOLD_EVERY = 100_000  # inputs
_NUMBERS = [0, 1, -1, 2, 4, 5, 8, 16, 127, 128, 255, 256, 1 << 15, 1 << 16, (1 << 31) - 1, -(1 << 31)]
_NUMBERS_BYTES = [struct.pack(order + "i", number) for number in _NUMBERS for order in "<>"]

Call = Callable[[], Any]
Around = Callable[[str, Call], Any]


class Target(NamedTuple):
    """What is tried. An input begins with `options` bytes of any value, that say what it is; a message follows."""

    run: Callable[[bytes, Around], None]  # every call that is made for an input goes by the second argument
    seeds: Callable[[], Iterable[bytes]]
    refusal: type[Exception]  # the only exception that may come out of a call
    options: int
    longest: int = 512  # bytes of an input: longer ones are not mutated at full speed
    dear: Callable[[], Iterable[bytes]] = tuple  # what shall cost much, for `--cost`
    fit: Callable[[bytearray], object] = bytes  # makes a mutated message's length right


def is_guided() -> bool:
    return not {"--cost", "--mutate"} & set(sys.argv)


def instrumented(*packages: str) -> AbstractContextManager[Any]:
    """Within it is imported what atheris shall watch."""
    if not is_guided():
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=list(packages))  # type: ignore[no-any-return]


def main(target: Target) -> int:
    if is_guided():
        return _guided(target)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutate", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("directory", nargs="?", type=Path)
    given = parser.parse_args()
    found = () if given.directory is None else [path.read_bytes() for path in sorted(given.directory.iterdir())]
    if given.cost:
        print(cost(target, found or [*target.seeds(), *target.dear()]))
        return 0
    return Bulk(target, [*target.seeds(), *found], given.seed).run(given.mutate)


def _guided(target: Target) -> int:
    import atheris

    directory = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if directory is not None:
        directory.mkdir(exist_ok=True)
        for number, seed in enumerate(target.seeds()):
            (directory / f"seed-{number}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        if len(data) > target.options:
            target.run(data, _refusing(target))

    options = [f"-max_len={MAX_BYTES}", f"-artifact_prefix={directory or '.'}/", "-timeout=10"]
    atheris.Setup([*sys.argv, *options], one_input)
    atheris.Fuzz()
    return 0


def _refusing(target: Target) -> Around:
    def call_it(_: str, call: Call) -> Any:
        try:
            return call()
        except target.refusal:
            return None

    return call_it


# At full speed.


class Mutations:
    """Endless changes of some inputs, as libFuzzer makes them."""

    def __init__(self, target: Target, seeds: Sequence[bytes], seed: int) -> None:
        self._target, self._seeds = target, seeds
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[bytes]:
        below, options = self._below, self._target.options
        while True:
            seed = self._seeds[below(len(self._seeds))]
            data = bytearray(seed[options:])
            for _ in range(1 + below(4)):
                self._change(data)
            if below(2):
                self._target.fit(data)
            yield bytes(each if below(4) else below(256) for each in seed[:options]) + data

    def _below(self, bound: int) -> int:
        return int(self._random.random() * bound)

    def _change(self, data: bytearray) -> None:
        below = self._below
        at = below(len(data) + 1)
        match below(7):
            case 0:
                data[at : at + 1] = self._random.randbytes(1)
            case 1:
                data[at : at + 4] = _NUMBERS_BYTES[below(len(_NUMBERS_BYTES))]
            case 2:
                del data[at : at + 1 + below(16)]
            case 3:
                other = self._seeds[below(len(self._seeds))]
                start = below(len(other))
                data[at:at] = other[start : start + 1 + below(64)]
            case 4:
                start = below(len(data) + 1)
                data[at : at + below(16)] = data[start : start + below(64)]
            case 5:
                data[at:at] = self._random.randbytes(1 + below(8))
            case 6 if at < len(data):
                data[at] ^= 1 << below(8)


class Bulk:
    """Many mutations through a target, by one process; SIGINT and SIGTERM end it where it is."""

    def __init__(self, target: Target, seeds: Iterable[bytes], seed: int) -> None:
        self._target = target
        self._inputs = Mutations(target, [each for each in seeds if len(each) <= target.longest], seed)
        self._refusing = _refusing(target)
        self._findings: dict[str, str] = {}  # by the place: the text
        self._asked_to_end = False

    def run(self, count: int) -> int:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._end)
        began, done = time.process_time(), 0
        for done, data in enumerate(self._inputs, 1):
            self._one(data)
            if done % _TOLD_EVERY == 0:
                self._tell(done, began)
            if done == count or self._asked_to_end:
                break
        self._tell(done, began)
        return 1 if self._findings else 0

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True

    def _tell(self, done: int, began: float) -> None:
        cost_us = (time.process_time() - began) / done * 1e6
        print(f"{done:,} mutated messages, {cost_us:.0f} µs of CPU each, {len(self._findings)} findings", flush=True)

    def _one(self, data: bytes) -> None:
        try:
            longest = self._longest_call(data, time.perf_counter)
        except Exception as error:  # whatever it is, it is what we are after
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._found(f"{type(error).__name__} at {place.filename}:{place.lineno}", data, traceback.format_exc())
            return
        if longest > _LONGEST_S:  # by the clock; is it by the CPU, too?
            longest = min(self._longest_call(data, time.thread_time) for _ in range(3))
            if longest > _LONGEST_S:
                self._found("too long", data, f"{longest * 1e3:.1f} ms")

    def _longest_call(self, data: bytes, clock: Callable[[], float]) -> float:
        longest = 0.0

        def timed(name: str, call: Call) -> Any:
            nonlocal longest
            began = clock()
            try:
                return self._refusing(name, call)
            finally:
                longest = max(longest, clock() - began)

        self._target.run(data, timed)
        return longest

    def _found(self, what: str, data: bytes, text: str) -> None:
        if what not in self._findings:
            self._findings[what] = text
            with tempfile.NamedTemporaryFile(prefix="finding-", delete=False) as file:
                file.write(data)
            print(f"{what}: {file.name}\n{text}", flush=True)


# One by one.


def cost(target: Target, inputs: Iterable[bytes]) -> str:
    """What the dearest input costs, by function: ms of CPU and KiB at once."""
    longest: dict[str, float] = {}
    most: dict[str, int] = {}
    refusing = _refusing(target)

    def times(data: bytes) -> dict[str, float]:
        """Of each function the longest call for this input."""
        taken: dict[str, float] = {}

        def timed(name: str, call: Call) -> Any:
            began = time.process_time()
            try:
                return refusing(name, call)
            finally:
                taken[name] = max(taken.get(name, 0.0), time.process_time() - began)

        target.run(data, timed)
        return taken

    def weighed(name: str, call: Call) -> Any:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            return refusing(name, call)
        finally:
            most[name] = max(most.get(name, 0), tracemalloc.get_traced_memory()[1] - before)

    all_inputs = [data for data in inputs if len(data) > target.options]
    for data in all_inputs:  # a plan is compiled when it is first needed
        target.run(data, refusing)
    for data in all_inputs:
        taken = times(data)
        if any(seconds > longest.get(name, 0.0) for name, seconds in taken.items()):  # or is it the machine's?
            again = [taken, times(data), times(data)]
            taken = {name: min(each[name] for each in again) for name in taken}
        for name, seconds in taken.items():
            longest[name] = max(longest.get(name, 0.0), seconds)
    tracemalloc.start()
    for data in all_inputs:
        target.run(data, weighed)
    tracemalloc.stop()
    lines = [f"{name:<24} {seconds * 1e3:>8.2f} ms {most[name] / 1024:>8.0f} KiB" for name, seconds in longest.items()]
    return "\n".join([*lines, f"{len(all_inputs)} inputs"])
