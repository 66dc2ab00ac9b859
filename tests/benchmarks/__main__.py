"""`python -m tests.benchmarks [NAME …]`: runs the benchmarks named, or all of them, and prints their tables."""

from __future__ import annotations

import argparse

from tests.benchmarks import captures, end, kafka_parsing, mongodb_parsing, recording, screen, start, store, throughput

BENCHMARKS = {
    "captures": captures.main,
    "end": end.main,
    "kafka": kafka_parsing.main,
    "mongodb": mongodb_parsing.main,
    "recording": recording.main,
    "screen": screen.main,
    "start": start.main,
    "store": store.main,
    "throughput": throughput.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="default: all")
    parser.add_argument("--rounds", type=int, help="of each benchmark; fewer are quicker and less exact")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        arguments = (options.rounds,) if options.rounds else ()
        print(BENCHMARKS[name](*arguments), flush=True)


if __name__ == "__main__":
    main()
