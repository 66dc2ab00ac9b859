"""A capture of a server's traffic, and what tshark's dissectors and l7top read in it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from tests.live.tool import Record
from tests.servers.cache import CHECKOUT

Node: TypeAlias = tuple[tuple[str, Any], ...]
"""What tshark shows of a field's inside, in order; a name may come again."""
_SETTLE_S = 2.0  # for what tcpdump has not taken yet


class Message(NamedTuple):
    """One message as tshark reads it. `client`: its address, as records have it."""

    client: str
    asks: bool  # it comes from the client
    node: Node


class Capture:
    """What tcpdump keeps of a server's traffic, until `stop`."""

    def __init__(self, port: int, dissector: str) -> None:
        self._port, self._dissector = port, dissector
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "traffic.pcap"

    def __enter__(self) -> Self:
        # As root, as which the directory is ours alone; a large buffer, because a loss would look like a difference.
        command = ["tcpdump", "-Z", "root", "-i", "lo", "-U", "-B", "262144", "-w", str(self._path)]
        self._tcpdump = subprocess.Popen(
            [*command, "tcp", "port", str(self._port)], stderr=subprocess.PIPE, text=True, errors="replace"
        )
        assert self._tcpdump.stderr is not None
        while "listening on" not in (line := self._tcpdump.stderr.readline()):
            if not line:
                raise RuntimeError("tcpdump did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tcpdump.kill()
        self._tcpdump.wait()
        self._directory.cleanup()

    def stop(self) -> None:
        time.sleep(_SETTLE_S)
        self._tcpdump.terminate()
        _, said = self._tcpdump.communicate()
        if "\n0 packets dropped by kernel" not in said:
            raise RuntimeError(f"tcpdump lost some: {said}")

    def messages(self) -> Iterator[Message]:
        ports = self._tshark("-T", "fields", "-e", "tcp.srcport", "-e", "tcp.dstport")
        for line, layers in zip(ports, packets(self._tshark("-T", "json", "-J", self._dissector)), strict=True):
            source, destination = map(int, line.split())
            asks = destination == self._port
            for name, node in layers:
                if name == self._dissector:
                    yield Message(f"127.0.0.1:{source if asks else destination}", asks, node)

    def records(self, *options: str) -> list[Record]:
        """What `l7top requests` tells of it."""
        command = [sys.executable, "-m", "probes.cli", "requests", "--inflight", "--from", str(self._path)]
        told = subprocess.run([*command, *options], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in told.splitlines()]

    def _tshark(self, *options: str) -> Iterator[str]:
        command = ["tshark", "-n", "-r", str(self._path), "-d", f"tcp.port=={self._port},{self._dissector}"]
        command += ["-Y", self._dissector, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tshark:
            assert tshark.stdout is not None
            yield from tshark.stdout
        if tshark.returncode:
            raise RuntimeError(f"tshark ended with {tshark.returncode}")


def packets(lines: Iterable[str]) -> Iterator[Node]:
    """The layers of each packet: of the whole list, which may be long, one element at a time."""
    packet: list[str] = []
    for line in lines:
        if line.startswith(("[", "]")):
            continue
        packet.append(line)
        if line.startswith("  }"):
            whole = json.loads("".join(packet).rstrip().removesuffix(","), object_pairs_hook=tuple)
            yield inner(inner(whole, "_source"), "layers")
            packet = []


def value(node: Node, name: str) -> str | None:
    """The text of a field directly within."""
    return next((each for its, each in node if its == name and isinstance(each, str)), None)


def inner(node: Node, name: str) -> Node:
    """The inside of a field directly within; nothing where there is none."""
    return next((each for its, each in node if its == name and isinstance(each, tuple)), ())


def deep(node: Node, name: str) -> Iterator[str]:
    """The texts of a field however deep within."""
    for its, each in node:
        if isinstance(each, tuple):
            yield from deep(each, name)
        elif its == name:
            yield each
