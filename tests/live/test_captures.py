"""One exchange seen by both sources at the same time: live from the kernel, and from what tcpdump wrote of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.clients.process import run_client
from tests.live.test_counts import new_topic
from tests.live.tool import Record, Requests
from tests.servers import Mongod, Tansu
from tests.servers.cache import CHECKOUT

pytestmark = pytest.mark.live

# What only one of the two can know, and times, which differ by the way into and out of the kernel.
OWN = {
    "time",
    "time_us",
    "duration_ns",
    "client_duration_ns",
    "wait_ns",
    "client_process",
    "server_process",
    "seen_from",
}
ENDED = {"ok", "error", "oneway"}


@contextmanager
def tcpdump(path: Path, port: int, *options: str) -> Iterator[None]:
    """All of that port's packets go to `path`, which is complete afterwards."""
    # Not in immediate mode: its buffer has room for whole packets of the greatest size only, so for few of them.
    command = ["tcpdump", *options, "-U", "-s", "0", "-B", "65536", "-w", str(path), "tcp", "port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "tcpdump ended"
        try:
            yield
            wait_until_still(path)
        finally:
            process.terminate()
            said = process.communicate(timeout=60)[1]
    assert "\n0 packets dropped by kernel" in said


def wait_until_still(path: Path) -> None:
    """What tcpdump has not taken yet when it is told to end is lost; the kernel hands it over once a second."""
    before = -1
    while (size := path.stat().st_size) != before:
        before = size
        time.sleep(2.5)


def of_capture(path: Path) -> list[Record]:
    command = [sys.executable, "-m", "probes.cli", "requests", "--from", str(path)]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=100, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def alike(records: list[Record], port: int) -> Counter[str]:
    """The records of requests that ended at that port, without what may differ."""
    return Counter(
        json.dumps({name: value for name, value in record.items() if name not in OWN}, sort_keys=True)
        for record in records
        if record["server"].endswith(f":{port}") and record["status"] in ENDED
    )


@pytest.mark.parametrize("interface", ["lo", "any"])
@pytest.mark.parametrize(
    ("server", "program", "operation", "count"),
    [
        ("mongod", "mongo_find", "find", 1_009),
        ("mongod", "mongo_bulk_duplicates", "insert", 101),
        ("tansu", "kafka_produce_librdkafka", "Produce", 307),
        ("tansu", "kafka_produce_python", "Produce", 307),
    ],
)
def test_both_sources_tell_the_same_sessions(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server: str,
    program: str,
    operation: str,
    count: int,
    interface: str,
) -> None:
    peer: Mongod | Tansu = request.getfixturevalue(server)
    options: dict[str, Any] = {"topic": new_topic(peer)} if isinstance(peer, Tansu) else {}
    tmp_path.chmod(0o777)  # tcpdump writes as another user
    path = tmp_path / "it.pcap"
    with Requests() as tool:
        with tcpdump(path, peer.port, "-i", interface):
            run_client(program, port=peer.port, count=count, **options)
        live = tool.stop()
    captured = of_capture(path)
    mine, theirs = alike(captured, peer.port), alike(live, peer.port)
    assert mine == theirs
    assert sum(n for record, n in mine.items() if json.loads(record)["operation"] == operation) >= count
