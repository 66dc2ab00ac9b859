"""What l7top says of Kafka's requests is what the broker's own request log says of them."""

import pytest

from tests.agreement.kafka import agree

pytestmark = pytest.mark.live


def test_all_clients_and_the_log_agree() -> None:
    agreements = agree(count=8, head_bytes=16_384)
    assert {"kafka-python", "librdkafka", "Apache Kafka's Java client"} <= agreements.keys()
    for name, agreement in agreements.items():
        assert agreement.agrees, agreement.table(name)
        # A broker's sendfile is no part of a head, but of a capture: there it may push later partitions out of it.
        assert agreement.truncated == 0 or name == "tshark, from the capture"
