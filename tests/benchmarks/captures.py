"""Reading captures: against tshark with the same fields on the same file, and memory on a file of 2 GB."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pymongo

from tests.benchmarks.measure import Spread, table
from tests.captures.writing import Wire, pcap
from tests.framing import messages as m
from tests.servers import Mongod
from tests.servers.cache import CHECKOUT

ROUNDS = 5
OPERATIONS = 40_000
BIG_BYTES = 2 << 30

# What a record holds, by tshark's names. It knows no durations, and does not pair.
FIELDS = (
    *("frame.time_epoch", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.stream"),
    *("mongo.message_length", "mongo.request_id", "mongo.response_to", "mongo.opcode"),
    *("mongo.msg.flags.checksumpresent", "mongo.msg.flags.moretocome", "mongo.msg.flags.exhaustallowed"),
    *("mongo.element.name", "mongo.element.type", "mongo.element.value.string", "mongo.element.value.double"),
    *("mongo.element.value.int", "mongo.element.value.int64", "mongo.element.value.bool"),
)


def main(rounds: int = ROUNDS) -> str:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        return compared(Path(folder), rounds) + memory(Path(folder))


def compared(folder: Path, rounds: int) -> str:
    path = folder / "traffic.pcap"
    port = record(path)
    fields = [word for field in FIELDS for word in ("-e", field)]
    dissect = ["tshark", "-n", "-r", str(path), "-d", f"tcp.port=={port},mongo", "-Y", "mongo", "-T", "fields", *fields]
    commands = {"tshark": dissect, **{name: l7top(name, path) for name in ("requests", "stat")}}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    wall: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            took = run(command)
            cpu[name].append(took.cpu_s)
            wall[name].append(took.wall_s)
    rows = [("tshark -T fields, s of CPU", Spread.of(cpu["tshark"]).show(2))]
    for name in ("requests", "stat"):
        rows += [
            (f"l7top {name}, s of CPU", Spread.of(cpu[name]).show(2)),
            (f"tshark / l7top {name}, CPU", Spread.of(ratios(cpu["tshark"], cpu[name])).show(2)),
            (f"tshark / l7top {name}, time", Spread.of(ratios(wall["tshark"], wall[name])).show(2)),
        ]
    size = path.stat().st_size / 2**20
    return table(f"A capture of {OPERATIONS} operations, {size:.0f} MiB, {rounds} rounds, median [quartiles]", rows)


def memory(folder: Path) -> str:
    rows = []
    for size in (BIG_BYTES >> 5, BIG_BYTES):
        path = folder / "big.pcap"
        packets = write_big(path, size)
        for command in ("stat", "requests"):
            took = run(l7top(command, path))
            rate = packets / took.wall_s
            name = f"{command}, {path.stat().st_size / 2**20:.0f} MiB, {packets} packets"
            rows.append((name, f"{took.rss_bytes / 2**20:.0f} MiB at most, {took.wall_s:.0f} s, {rate:.0f} packets/s"))
        path.unlink()
    return table("Memory of l7top --from FILE", rows)


class Took:
    """What a command took: CPU and wall time, and the most memory that was resident at a time."""

    def __init__(self, cpu_s: float, wall_s: float, rss_bytes: int) -> None:
        self.cpu_s, self.wall_s, self.rss_bytes = cpu_s, wall_s, rss_bytes


def run(command: Sequence[str]) -> Took:
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return Took(usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss * 1024)


def l7top(command: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "probes.cli", command, "--from", str(path)]


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def record(path: Path) -> int:
    """Lets tcpdump write what a mongod and a client say to each other; the port."""
    with Mongod() as mongod, pymongo.MongoClient[dict[str, object]]("127.0.0.1", mongod.port) as client:
        orders = client["shop"]["orders"]
        orders.insert_many([{"_id": n, "quantity": n, "name": "x" * 50} for n in range(500)])
        command = ["tcpdump", "-i", "lo", "-U", "-B", "65536", "-w", str(path), "tcp", "port", str(mongod.port)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
            assert tcpdump.stderr is not None
            while "listening on" not in tcpdump.stderr.readline():
                pass
            for n in range(OPERATIONS):
                if n % 10:
                    orders.find_one({"_id": n % 500})
                else:
                    orders.update_one({"_id": n % 500}, {"$inc": {"quantity": 1}})
            time.sleep(2)  # for what tcpdump has not taken yet
            tcpdump.terminate()
            tcpdump.stderr.read()
        return mongod.port


def write_big(path: Path, size: int) -> int:
    """A capture of at least so many bytes: one connection after the other, 2 of 100 packets missing; its packets."""
    wire = Wire(most=1448, step_ns=100_000)
    wire.open()
    for n in range(50):
        wire.send(True, m.op_msg(n, padding=n % 7 * 400), acknowledge=True)
        wire.send(False, m.op_msg(5000 + n, answers=n, padding=n % 11 * 300), acknowledge=True)
    wire.close()
    packets = [packet for n, packet in enumerate(wire.packets) if n % 50 != 49]
    whole = pcap(packets)
    template = bytearray(whole[24:])
    places = [0]
    for packet in packets:
        places.append(places[-1] + 16 + 14 + len(packet.data))
    written = 0
    with path.open("wb") as file:
        file.write(whole[:24])
        while file.tell() < size:
            for (place, _), packet in zip(pairwise(places), packets, strict=True):
                seconds, ns = divmod(packet.ns + written * 10_000_000, 1_000_000_000)
                struct.pack_into("<II", template, place, seconds, ns)
            client = struct.pack(">I", 0x0A000003 + written)
            file.write(template.replace(b"\x0a\0\0\1", client))
            written += 1
    return written * len(packets)
