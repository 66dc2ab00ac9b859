"""The kernel program, watched: by the tracepoints within the calls, and as on kernels that have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from probes.kernel.loader import Kernel
from tests.framing.watch import HEAD_BYTES, Watch


@pytest.fixture(scope="module", params=[True, False], ids=["within-calls", "at-exits"])
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    within: bool = request.param
    with closing(
        Kernel(head_bytes=HEAD_BYTES, ring_bytes=16 << 20, max_connections=4096, socket_tracepoints=within)
    ) as kernel:
        assert kernel.adopts is not within
        yield Watch(kernel)
