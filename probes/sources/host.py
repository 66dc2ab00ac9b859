"""This host as a source: the kernel's program, and what drains it."""

from __future__ import annotations

import time
from collections.abc import Collection

from probes.kernel.loader import Kernel
from probes.scope import Scope
from probes.sources.live import LiveSource
from probes.sources.sink import Sink
from probes.sources.source import Ignored, RingUse

# A wake-up per event is what would cost the traced processes most; and each of ours begins with cold caches, and leaves
# cold ones to whom it interrupts: five a second cost a tenth less than twenty.
DRAIN_EVERY_S = 0.2


class Host:
    """A `probes.sources.source.Source`. Attaches the probes; raises Refusal where this host does not allow it."""

    is_over = False
    damage = ""
    progress = None

    def __init__(self, sink: Sink, *, head_bytes: int, ring_bytes: int, scope: Scope) -> None:
        self._kernel = Kernel(head_bytes=head_bytes, ring_bytes=ring_bytes, scope=scope)
        self._live = live = LiveSource(self._kernel, sink)
        self.tend, self.recheck, self.connections = live.tend, live.recheck, live.connections
        self.quieten, self.quiet_requests = live.quieten, live.quiet_requests
        self.now_ns = time.monotonic_ns
        self._began_ns = time.monotonic_ns()
        self._peak_ring_bytes = 0

    @property
    def elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._began_ns

    @property
    def wall_offset_ns(self) -> int:
        return time.time_ns() - time.monotonic_ns()

    def wait(self, timeout_s: float) -> None:
        time.sleep(min(timeout_s, DRAIN_EVERY_S))

    def drain(self) -> int:
        self._peak_ring_bytes = max(self._peak_ring_bytes, self._kernel.ring.waiting_bytes)
        return self._live.drain()

    def spare(self, on: bool) -> None:
        self._kernel.enable(True, sparing=on)

    def ignored(self) -> Collection[Ignored]:
        return self._live.ignored.values()

    def ring(self) -> RingUse:
        ring = self._kernel.ring
        return RingUse(ring.size, ring.waiting_bytes, self._peak_ring_bytes)

    def counters(self) -> dict[str, int]:
        kernel = self._kernel.counters()
        return {
            "seen": kernel.pop("messages"),
            **kernel,
            **{f"lost_{what}": n for what, n in self._live.losses.items()},
        }

    def stop(self) -> None:
        self._kernel.detach()

    def close(self) -> None:
        self._kernel.close()
