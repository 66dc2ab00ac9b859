"""What a reply says went wrong: the error code's name, its text and whose fault it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from probes.protocols.kafka import table
from probes.protocols.texts import KnownTexts
from probes.records import Failure, Fault

# Errors that a correct, authorised and up-to-date request can meet, by the cluster's state alone. All others ask the
# client to do something differently.
_SERVER_FAULTS = {
    "UNKNOWN_SERVER_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "STALE_CONTROLLER_EPOCH",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "NOT_CONTROLLER",
    "TRANSACTION_COORDINATOR_FENCED",
    "KAFKA_STORAGE_ERROR",
    "LOG_DIR_NOT_FOUND",
    "LISTENER_NOT_FOUND",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "STALE_BROKER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "UNSTABLE_OFFSET_COMMIT",
    "INCONSISTENT_VOTER_SET",
    "FEATURE_UPDATE_FAILED",
    "PRINCIPAL_DESERIALIZATION_FAILURE",
    "SNAPSHOT_NOT_FOUND",
    "DUPLICATE_BROKER_REGISTRATION",
    "BROKER_ID_NOT_REGISTERED",
    "INCONSISTENT_TOPIC_ID",
    "INCONSISTENT_CLUSTER_ID",
    "INELIGIBLE_REPLICA",
    "NEW_LEADER_ELECTED",
    "OFFSET_MOVED_TO_TIERED_STORAGE",
    "UNKNOWN_CONTROLLER_ID",
    "INVALID_REGISTRATION",
    "FENCED_STATE_EPOCH",
    "SHARE_SESSION_LIMIT_REACHED",
}
_TEXTS = ("error_message", "batch_index_error_message")
_KNOWN_TEXTS = KnownTexts.load(__package__)


def failure(code: int, message: str) -> Failure:
    """The failure that an error code means; a code that the table does not know is the server's."""
    known = table.errors().get(code)
    server = known is None or known.name in _SERVER_FAULTS
    return Failure(code, table.error_name(code), message, Fault.SERVER if server else Fault.CLIENT)


def error_text(message: dict[str, Any]) -> str:
    """The first error text of a decoded reply, one of the whole message before one of a part; "" without any."""
    return next(_texts(message), "")


def without_literals(failure: Failure) -> str:
    """The failure's text without what may be a value in it."""
    return _KNOWN_TEXTS.masked(failure.code, failure.message)


def _texts(node: dict[str, Any]) -> Iterator[str]:
    for name in _TEXTS:
        if node.get(name):
            yield node[name]
    for value in node.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield from _texts(part)
