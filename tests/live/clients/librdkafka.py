"""What librdkafka itself counts, and how its clients begin."""

import json
import time
from collections import Counter
from collections.abc import Callable

STATISTICS_INTERVAL_MS = 100
CONNECT_TIMEOUT_S = 30.0


class RequestCounts:
    """Requests sent, by librdkafka's own names ("ApiVersion" is ApiVersions), summed over its brokers.

    Exact for what goes over the lasting connection (Produce, Fetch); it may forget the bootstrap's Metadata.
    Give `receive` to the client as stats_cb, with statistics.interval.ms = STATISTICS_INTERVAL_MS.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._reports = 0

    def receive(self, statistics: str) -> None:
        self._reports += 1
        self._sent = Counter()
        for broker in json.loads(statistics)["brokers"].values():
            self._sent.update({name: sent for name, sent in broker["req"].items() if sent})

    def settled(self, poll: Callable[[float], object]) -> Counter[str]:
        """The counts once two more reports have come; `poll` is the client's own, so it serves the callback."""
        seen = self._reports
        while self._reports < seen + 2:
            poll(STATISTICS_INTERVAL_MS / 1000)
        return self._sent


def until(done: Callable[[], bool], poll: Callable[[float], object]) -> None:
    """Polls the client until `done()`. Raises TimeoutError after half a minute."""
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the broker does not answer")
        poll(0.05)
