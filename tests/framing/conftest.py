"""The kernel program, watched: by the tracepoints within the calls, and as on kernels that lack some or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from probes.kernel.loader import Kernel
from tests.framing.watch import HEAD_BYTES, Watch

LACKING = {"within-calls": (), "sends-at-enter": ("SEND_TRACEPOINT",), "at-exits": ("SOCKET_TRACEPOINTS",)}


@pytest.fixture(scope="module", params=LACKING)
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    without = LACKING[request.param]
    with closing(Kernel(head_bytes=HEAD_BYTES, ring_bytes=16 << 20, max_connections=4096, without=without)) as kernel:
        assert kernel.adopts is ("SOCKET_TRACEPOINTS" in without)
        yield Watch(kernel)
