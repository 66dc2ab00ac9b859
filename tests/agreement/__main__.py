"""`sudo python -m tests.agreement`: what l7top tells beside what drivers and servers know, as a table.

Ends with 1 where they differ; what differs is told before the table. A request and its reply are two messages.
"""

from __future__ import annotations

import argparse

from tests.agreement import kafka, mongodb
from tests.agreement.table import table

ROUNDS, COUNT = 170, 10_000  # over 50,000 requests of each protocol


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.agreement", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each MongoDB client; default %(default)s")
    parser.add_argument("--count", type=int, default=COUNT, help="messages of each Kafka client; default %(default)s")
    parser.add_argument("--head-bytes", type=int, default=16_384, help="default %(default)s")
    options = parser.parse_args()
    both = [mongodb.rows(options.rounds, options.head_bytes), kafka.rows(options.count, options.head_bytes)]
    rows = [row for its_rows, _ in both for row in its_rows]
    details = [text for _, its_details in both for text in its_details]
    print("\n".join([*details, table(rows)]))
    return 1 if details else 0


if __name__ == "__main__":
    raise SystemExit(main())
