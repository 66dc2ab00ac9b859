"""Plays a file into stores: what becomes of those that nobody is given."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from probes import privileges
from probes.feeding import Feeding, LiveCapture
from probes.options import CaptureOptions
from probes.playing import Player
from tests.captures.test_command import capture


def test_a_store_that_is_never_shown_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[int] = []

    class Watched(Feeding):
        def begin(self, capture: LiveCapture) -> int:
            stores.append(super().begin(capture))
            return stores[-1]

    monkeypatch.setattr("probes.playing.Feeding", Watched)
    monkeypatch.setattr(privileges, "keep_only", lambda: None)  # these tests need theirs
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(3))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Player(CaptureOptions(source=str(path)), theirs, lambda: True).run(lambda *_: pytest.fail("it is shown"))
    (store,) = stores
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(store)
