"""A second start brings the same program into the kernel, without the compiler."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from probes.kernel import image, loader
from probes.kernel.loader import Kernel

pytestmark = pytest.mark.live


def test_the_second_start_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = image.read, image.write
    monkeypatch.setattr(image, "read", lambda name: read(name, tmp_path))
    monkeypatch.setattr(image, "write", lambda name, one: write(name, one, tmp_path))
    Kernel(head_bytes=1024, ring_bytes=1 << 20).close()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(loader, "_compile", lambda knobs: pytest.fail("compiled again"))
    kernel = Kernel(head_bytes=1024, ring_bytes=1 << 20)
    try:
        kernel.enable(True)
        assert told(kernel, bytes.fromhex("15000000 01000000 00000000 dd070000 00000000 00")) == 1
    finally:
        kernel.close()


def test_what_the_kernel_refuses_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = image.Image((image.MapImage("tails", 3, 4, 4, 1, 0),), (), ("walk",))
    monkeypatch.setattr(image, "read", lambda name: broken)
    monkeypatch.setattr(image, "write", lambda name, one: None)
    monkeypatch.setattr(image, "bring_in", refuse)
    Kernel(head_bytes=1024, ring_bytes=1 << 20).close()


def refuse(one: image.Image) -> tuple[dict[str, int], dict[str, int]]:
    raise OSError(22, "Invalid argument")


def told(kernel: Kernel, header: bytes) -> int:
    """How many messages the kernel tells of when one of 26 bytes with this header goes over a connection."""
    message = b"\x1a" + header[1:] + b"\x05\0\0\0\0"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(message)
    heads: list[bytes] = []
    kernel.ring.drain(lambda memory, places: heads.extend(memory[at : at + 128] for at in places))
    return sum(message in head for head in heads)
