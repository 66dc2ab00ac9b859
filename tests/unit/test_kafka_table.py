"""The table of facts: complete, as Kafka has it, and quick to load."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import pytest

from probes.protocols.kafka import table

LOADING = """
from probes.protocols.kafka import table
from tests.effort import lines_run
print(lines_run(lambda: (table.apis(), table.errors(), table.layout(0, 9, "request"))))
"""


def test_all_apis_are_there() -> None:
    assert sorted(table.apis()) == list(range(93))
    assert table.api(93) is None
    assert table.api(-1) is None


@pytest.mark.parametrize(
    ("name", "key", "versions", "first_flexible"),
    [
        ("Produce", 0, range(14), 9),
        ("Fetch", 1, range(19), 12),
        ("ListOffsets", 2, range(12), 6),
        ("Metadata", 3, range(14), 9),
        ("LeaderAndIsr", 4, range(8), 4),
        ("ControlledShutdown", 7, range(4), 3),
        ("OffsetCommit", 8, range(11), 8),
        ("SaslHandshake", 17, range(2), None),
        ("ApiVersions", 18, range(5), 3),
        ("ConsumerGroupHeartbeat", 68, range(2), 0),
        ("DeleteShareGroupOffsets", 92, range(1), 0),
    ],
)
def test_versions(name: str, key: int, versions: range, first_flexible: int | None) -> None:
    api = table.api(key)
    assert api == (key, name, versions, first_flexible)
    assert table.api_key(name) == key


def test_every_version_of_every_message_has_a_layout() -> None:
    for api in table.apis().values():
        for version in api.versions:
            for direction in ("request", "response"):
                layout = table.layout(api.key, version, direction)
                assert layout is not None, (api.name, version, direction)
                assert layout.flexible is api.flexible(version)
        assert table.layout(api.key, api.versions.stop, "request") is None


@pytest.mark.parametrize(
    ("key", "version", "request_tags", "reply_tags", "client_id"),
    [
        (0, 8, False, False, True),
        (0, 9, True, True, True),
        (0, 99, True, True, True),
        (7, 0, False, False, False),
        (7, 1, False, False, True),
        (17, 1, False, False, True),
        (18, 2, False, False, True),
        (18, 3, True, False, True),
        (18, 9, True, False, True),
        (68, 0, True, True, True),
    ],
)
def test_headers(key: int, version: int, request_tags: bool, reply_tags: bool, client_id: bool) -> None:
    api = table.apis()[key]
    assert api.header_tags(version, "request") is request_tags
    assert api.header_tags(version, "response") is reply_tags
    assert api.has_client_id(version) is client_id


def test_versions_that_kafka_4_dropped_keep_their_own_fields() -> None:
    old, new = table.layout(2, 0, "request"), table.layout(2, 1, "request")
    assert old is not None
    assert new is not None
    partitions = [layout.fields[1].struct.fields[1].struct for layout in (old, new) if layout.fields[1].struct]
    names = [[field.name for field in struct.fields] for struct in partitions if struct is not None]
    assert names == [["partition_index", "timestamp", "max_num_offsets"], ["partition_index", "timestamp"]]


@pytest.mark.parametrize(
    ("code", "name", "retriable"),
    [
        (-1, "UNKNOWN_SERVER_ERROR", False),
        (0, "NONE", False),
        (6, "NOT_LEADER_OR_FOLLOWER", True),
        (15, "COORDINATOR_NOT_AVAILABLE", True),
        (35, "UNSUPPORTED_VERSION", False),
        (89, "THROTTLING_QUOTA_EXCEEDED", True),
        (133, "SHARE_SESSION_LIMIT_REACHED", True),
    ],
)
def test_errors(code: int, name: str, retriable: bool) -> None:
    assert table.errors()[code] == (code, name, retriable)
    assert table.error_name(code) == name


def test_all_errors_are_there() -> None:
    assert sorted(table.errors()) == list(range(-1, 134))
    assert table.error_name(134) == "ERROR_134"
    assert table.error_name(-2) == "ERROR_-2"


def test_it_says_where_it_came_from() -> None:
    document = json.loads(files("probes.protocols.kafka").joinpath("schema.json").read_text())
    assert "kafka-clients" in document["source"]
    assert document["releases"][0].startswith("4.")


def test_no_layout_is_made_before_it_is_asked_for() -> None:
    """In a fresh process: this one may know them all. There are hundreds of layouts."""
    loaded = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, check=True, text=True)
    assert int(loaded.stdout) < 1_000
