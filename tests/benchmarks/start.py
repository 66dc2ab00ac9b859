"""From the command to the probes, and to the first session on stdout, under a mongod's traffic."""

from __future__ import annotations

import subprocess
import sys
import time

import pymongo

from tests.benchmarks.load import Load
from tests.benchmarks.measure import Spread, table
from tests.servers import Mongod

ROUNDS = 7


def main(rounds: int = ROUNDS) -> str:
    attached, first = [], []
    with Mongod() as mongod:
        with pymongo.MongoClient[dict[str, int]]("127.0.0.1", mongod.port) as client:
            client["bench"]["orders"].insert_one({"_id": 1, "quantity": 3})
        with Load(mongod.port, connections=1):
            for _ in range(rounds):
                began = time.monotonic()
                command = [sys.executable, "-m", "probes.cli", "requests", "--count", "1"]
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                    assert process.stderr is not None
                    assert process.stdout is not None
                    while "capturing" not in process.stderr.readline():
                        pass
                    attached.append(time.monotonic() - began)
                    process.stdout.readline()
                    first.append(time.monotonic() - began)
    rows = [
        ("probes attached, s", Spread.of(attached).show(2)),
        ("first session, s", Spread.of(first).show(2)),
    ]
    return table(f"Start beside one busy connection, {rounds} starts, median [quartiles]", rows)
