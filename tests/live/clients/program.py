"""What every client program does: options, the line "ready", threads, the closing line of JSON."""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def arguments(description: str | None, *, count: int) -> argparse.ArgumentParser:
    """The options that all programs know. `count` is the default number of things to do."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True, help="of the server on 127.0.0.1")
    parser.add_argument("--count", type=int, default=count, help="default %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="they share the count; default %(default)s")
    parser.add_argument("--wait", action="store_true", help="after 'ready' wait for a line on stdin")
    return parser


def ready(*, wait: bool) -> None:
    """Tells that the connections are open; with `wait`, returns when a line has come on stdin."""
    print("ready", flush=True)
    if wait:
        sys.stdin.readline()


def in_threads(threads: int, count: int, work: Callable[[range], None]) -> None:
    """Splits range(count) over threads, each of which calls `work` once. Raises what a thread raised."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, [range(first, count, threads) for first in range(threads)]):
            pass


def report(**facts: object) -> None:
    """The closing line."""
    print(json.dumps(facts, sort_keys=True), flush=True)
