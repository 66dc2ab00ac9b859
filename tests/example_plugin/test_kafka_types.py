"""The Kafka plugin: the built-in protocol's requests under other names."""

from __future__ import annotations

import pytest

from probes.protocols.guard import Guard, TimeLimit
from probes.protocols.interface import Pass
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from tests.example_plugin.kafka_types import KafkaTypes
from tests.unit.kafka_messages import CONNECTION, golden, head

EXCHANGES = {
    (each.api_key, each.version): {
        other.direction: other.message
        for other in golden()
        if (other.api_key, other.version) == (each.api_key, each.version)
    }
    for each in golden()
}
FETCH, OFFSET_COMMIT, API_VERSIONS = 1, 8, 18


def told(api_key: int) -> tuple[KafkaRequest, KafkaReply]:
    """An exchange of this API, of the highest version there is, as the plugin tells it."""
    version = max(version for key, version in EXCHANGES if key == api_key)
    messages = EXCHANGES[api_key, version]
    plugin = Guard(KafkaTypes(), TimeLimit())
    memory = plugin.memory(CONNECTION)
    request = plugin.request(head(messages["request"]), memory)
    reply = plugin.reply(head(messages["response"]), request, memory)
    assert isinstance(request, KafkaRequest)
    assert isinstance(reply, KafkaReply)
    assert request.operation.endswith(f"_v{version}")
    return request, reply


def test_the_version_is_part_of_the_type() -> None:
    request, _ = told(FETCH)
    assert request.operation.startswith("Fetch_v")
    assert request.version is None


def test_the_target_is_a_topic_and_the_group_an_attribute() -> None:
    request, _ = told(OFFSET_COMMIT)
    assert request.operation.startswith("OffsetCommit_v")
    assert request.group
    assert request.group not in request.targets
    assert dict(request.attributes)["group"] == request.group


def test_replies_are_read_by_the_version_that_was_asked_for() -> None:
    from probes.protocols.kafka import Kafka

    for (api_key, version), messages in EXCHANGES.items():
        if api_key in (17, API_VERSIONS, 36) or "request" not in messages or "response" not in messages:
            continue
        kafka, plugin = Kafka(), Guard(KafkaTypes(), TimeLimit())
        memories = kafka.memory(CONNECTION), plugin.memory(CONNECTION)
        known = kafka.request(head(messages["request"]), memories[0])
        mine = plugin.request(head(messages["request"]), memories[1])
        assert mine.id == known.id
        assert mine.operation == f"{known.operation}_v{version}"
        reply = head(messages["response"])
        assert plugin.reply(reply, mine, memories[1]) == kafka.reply(reply, known, memories[0]), mine.operation


def test_what_clients_say_of_themselves_is_passed() -> None:
    plugin = Guard(KafkaTypes(), TimeLimit())
    version = max(version for key, version in EXCHANGES if key == API_VERSIONS)
    with pytest.raises(Pass):
        plugin.request(head(EXCHANGES[API_VERSIONS, version]["request"]), plugin.memory(CONNECTION))
    assert plugin.errors == 0
