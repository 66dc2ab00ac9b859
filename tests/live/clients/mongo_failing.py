"""COUNT commands answered with ok: 0, in turn by three codes; then the process is gone, its sockets not closed."""

import os
import threading
from collections import Counter
from typing import Any

from pymongo.errors import OperationFailure

from tests.live.clients.mongo import DATABASE, connect
from tests.live.clients.program import arguments, in_threads, ready, report

FAILING: tuple[tuple[int, dict[str, Any]], ...] = (
    (59, {"noSuchCommand": 1}),  # CommandNotFound
    (2, {"find": "orders", "filter": {"quantity": {"$nonsense": 1}}}),  # BadValue
    (26, {"collMod": "nowhere"}),  # NamespaceNotFound
)


def main() -> None:
    options = arguments(__doc__, count=109).parse_args()
    client, counts = connect(options.port, connections=options.threads)
    database = client[DATABASE]
    setup = counts.take()
    codes: Counter[int] = Counter()
    lock = threading.Lock()

    def fail(turns: range) -> None:
        for turn in turns:
            code, command = FAILING[turn % len(FAILING)]
            try:
                database.command(command)
            except OperationFailure as error:
                if error.code == code:
                    with lock:
                        codes[code] += 1
                    continue
                raise
            raise RuntimeError(f"{command} did not fail")

    ready(wait=options.wait)
    in_threads(options.threads, options.count, fail)
    report(setup=setup, commands=counts.take(), codes=codes)
    os._exit(0)


if __name__ == "__main__":
    main()
