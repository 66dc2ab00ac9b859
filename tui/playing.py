"""The keys that a capture from a file is played by, on their way to the collector; and the store that comes back."""

from __future__ import annotations

import contextlib
import socket

from probes.playback import Command, Order

_MESSAGE_BYTES = 16


class Remote:
    """`control` leads to the collector's `probes.playing`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        control.setblocking(False)

    def fileno(self) -> int:
        return self._control.fileno()

    def send(self, order: Order, value: int = 0) -> None:
        """Says it; where the collector is gone, or does not listen, nothing happens."""
        with contextlib.suppress(OSError):
            self._control.send(Command(order, value).pack())

    def receive(self) -> int | None:
        """The descriptor of a new store, once there is something to read; None: nothing will come any more."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1)
        except OSError:
            return None
        return descriptors[0] if descriptors else None
