"""CPU to parse one MongoDB exchange: headers only, with its query shape, and compressed; µs, best of several runs.

`request` and `reply` are what each message costs while it is captured; `shape` and `record` are for when someone looks.
"""

from __future__ import annotations

import importlib
import timeit
import zlib
from collections.abc import Callable
from typing import Any

from bson import DatetimeMS, Int64, ObjectId

from probes.protocols.mongodb import MongoDB
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    CONNECTION,
    LSID,
    REPLY_END,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    op_msg,
    session,
)

NUMBER, ROUNDS = 5_000, 9
HEAD_BYTES = 1_024

ENVELOPE = {"lsid": LSID, "$clusterTime": CLUSTER_TIME, "$db": "shop"}
ORDER = {
    "_id": ObjectId(),
    "status": "new",
    "items": ["tea", "cup"],
    "total": 12.5,
    "at": DatetimeMS(1_795_420_801_000),
}
FIND = command({"find": "orders", "filter": {"status": "new", "total": {"$gt": 5}}, "sort": {"at": -1}, **ENVELOPE})
FOUND = answer({"cursor": {"firstBatch": [ORDER] * 3, "id": Int64(0), "ns": "shop.orders"}, **REPLY_END})
INSERT = op_msg(kind0({"insert": "orders", "ordered": True, **ENVELOPE}), kind1("documents", [ORDER] * 3))
INSERTED = answer({"n": 3, **REPLY_END})
GET_MORE = command({"getMore": Int64(77), "collection": "orders", **ENVELOPE})
MORE = answer({"cursor": {"nextBatch": [ORDER] * 101, "id": Int64(77), "ns": "shop.orders"}, **REPLY_END})


def _compressed(data: bytes, compressor: int) -> bytes:
    body = data[16:]
    if compressor == 2:
        return compressed(data, 2, zlib.compress(body))
    cramjam = importlib.import_module("cramjam")
    payload = cramjam.snappy.compress_raw(body) if compressor == 1 else cramjam.zstd.compress(body)
    return compressed(data, compressor, bytes(payload))


CASES: dict[str, tuple[bytes, bytes]] = {
    "find": (FIND, FOUND),
    "insert": (INSERT, INSERTED),
    "getMore, cut": (GET_MORE, MORE),
    "find, snappy": (_compressed(FIND, 1), _compressed(FOUND, 1)),
    "find, zlib": (_compressed(FIND, 2), _compressed(FOUND, 2)),
    "find, zstd": (_compressed(FIND, 3), _compressed(FOUND, 3)),
}


def microseconds(action: Callable[[], Any], rounds: int, number: int = NUMBER) -> float:
    """The best of several runs: what it costs where nothing else runs."""
    return min(timeit.repeat(action, number=number, repeat=rounds)) / number * 1e6


def main(rounds: int = ROUNDS) -> str:
    lines = [f"{'MongoDB, µs':<16}{'request':>9}{'reply':>9}{'both':>9}{'shape':>9}{'all three':>11}{'record':>9}"]
    for name, (asked, answered) in CASES.items():
        mongodb = MongoDB()
        memory = mongodb.memory(CONNECTION)
        request_head, reply_head = head(asked, HEAD_BYTES), head(answered, HEAD_BYTES, tail=512)
        request = mongodb.request(request_head, memory)
        reply = mongodb.reply(reply_head, request, memory)
        whole = session(request, reply)

        def answer_it() -> None:
            mongodb.reply_to(reply_head)  # noqa: B023 - called at once
            mongodb.reply(reply_head, request, memory)  # noqa: B023

        asking = microseconds(lambda: mongodb.request(request_head, memory), rounds)  # noqa: B023
        answering = microseconds(answer_it, rounds)
        shaping = microseconds(lambda: mongodb.request(request_head, memory).shape, rounds)  # noqa: B023
        shape = max(0.0, shaping - asking)
        record = microseconds(lambda: mongodb.record(whole, literals=False), rounds, 500)  # noqa: B023
        both = asking + answering
        lines.append(
            f"{name:<16}{asking:>9.2f}{answering:>9.2f}{both:>9.2f}{shape:>9.2f}{both + shape:>11.2f}{record:>9.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
