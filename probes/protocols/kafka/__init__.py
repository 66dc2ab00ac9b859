"""Kafka's wire protocol (https://kafka.apache.org/protocol), every API and version of its releases."""

from probes.protocols.kafka.protocol import Kafka

__all__ = ["Kafka"]
