"""Kafka's requests by type and topic: l7top --plugin kafka_types.py --ports kafka-types=9092,9093.

On these ports it answers in the place of the built-in protocol, whose parser it uses: the operation has its version in
it ("Fetch_v13"), the target is always a topic, never a group. What clients say of themselves it passes, so that stays
"kafka".
"""

from __future__ import annotations

from dataclasses import replace

from probes.protocols.interface import Pass
from probes.protocols.kafka.messages import KafkaReply, KafkaRequest, Memory
from probes.protocols.kafka.protocol import Kafka
from probes.records import Head, Request

PASSED = frozenset(("ApiVersions", "SaslHandshake", "SaslAuthenticate", "SaslToken"))


class KafkaTypes(Kafka):
    name = "kafka-types"
    framing = "kafka"
    ports = (9092,)

    def request(self, head: Head, memory: Memory) -> KafkaRequest:
        request = super().request(head, memory)
        if request.operation in PASSED:
            raise Pass
        topics = tuple(target for target in request.targets if target != request.group)
        facts = {"group": request.group, "client_id": request.client_id, "acks": request.acks}
        return replace(
            request,
            operation=f"{request.operation}_v{request.version}",
            version=None,
            target=topics[0] if topics else "",
            targets=topics,
            attributes=tuple((name, value) for name, value in facts.items() if value not in (None, "")),
        )

    def reply(self, head: Head, request: Request | None, memory: Memory) -> KafkaReply:
        if isinstance(request, KafkaRequest):
            operation, _, version = request.operation.rpartition("_v")
            request = replace(request, operation=operation, version=int(version))
        return super().reply(head, request, memory)
