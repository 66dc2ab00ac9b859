"""Names of topics from the log directories of a broker on this host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from probes.protocols.kafka import Kafka
from probes.protocols.kafka.log_directories import topics_of
from probes.protocols.kafka.protocol import FILES_AT_ONCE
from probes.protocols.kafka.walk import uuid_text
from probes.records import Process

ORDERS, AUDIT = bytes(range(16)), b"\7" * 16
ME = Process(os.getpid(), "broker")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def partition(opened: ExitStack, directory: Path, metadata: str | None) -> Path:
    """A partition's directory, its newest segment open in this process."""
    directory.mkdir(parents=True)
    if metadata is not None:
        (directory / "partition.metadata").write_text(metadata)
    opened.enter_context((directory / f"{0:020}.log").open("w"))
    return directory


def metadata(id: bytes) -> str:
    return f"version: 0\ntopic_id: {uuid_text(id)}\n"


def found() -> dict[bytes, str]:
    return dict(filter(None, topics_of(os.getpid())))


def test_topics_of_open_segments(opened: ExitStack, tmp_path: Path) -> None:
    partition(opened, tmp_path / "shop.orders-new-0", metadata(ORDERS))
    partition(opened, tmp_path / "shop.orders-new-11", metadata(ORDERS))
    partition(opened, tmp_path / "audit-3", metadata(AUDIT))
    opened.enter_context((tmp_path / "other.log").open("w"))
    assert found() == {ORDERS: "shop.orders-new", AUDIT: "audit"}


def test_what_is_no_such_file_is_left_alone(opened: ExitStack, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(metadata(AUDIT))
    linked = partition(opened, tmp_path / "linked-0", None)
    (linked / "partition.metadata").symlink_to(secret)
    os.mkfifo(partition(opened, tmp_path / "fifo-0", None) / "partition.metadata")
    (partition(opened, tmp_path / "directory-0", None) / "partition.metadata").mkdir()
    partition(opened, tmp_path / "none-0", None)
    partition(opened, tmp_path / "odd-0", "topic_id: short\n")
    partition(opened, tmp_path / "long-0", "x" * 300 + "\n" + metadata(ORDERS))
    partition(opened, tmp_path / "no-number", metadata(ORDERS))
    assert found() == {}


def test_a_process_that_has_ended_has_none() -> None:
    assert list(topics_of(2**22 + 1)) == []


def test_ids_that_no_reply_told_are_looked_for_once(opened: ExitStack, tmp_path: Path) -> None:
    kafka = Kafka()
    partition(opened, tmp_path / "orders-0", metadata(ORDERS))
    kafka.look_around({ME})
    assert kafka.topics.known(ORDERS) is None  # nobody asked for it
    assert kafka.topics.name(ORDERS) == uuid_text(ORDERS)
    kafka.look_around({ME})
    assert kafka.topics.name(ORDERS) == "orders"
    partition(opened, tmp_path / "audit-0", metadata(AUDIT))
    kafka.look_around({ME})
    assert kafka.topics.known(AUDIT) is None
    kafka.topics.name(AUDIT)
    kafka.look_around({ME})
    assert kafka.topics.name(AUDIT) == "audit"


def test_many_open_files_are_looked_at_bit_by_bit(opened: ExitStack, tmp_path: Path) -> None:
    for number in range(FILES_AT_ONCE + 10):
        opened.enter_context((tmp_path / str(number)).open("w"))
    partition(opened, tmp_path / "orders-0", metadata(ORDERS))
    kafka = Kafka()
    kafka.topics.name(ORDERS)
    kafka.look_around({ME})
    assert kafka.topics.known(ORDERS) is None
    for _ in range(3):
        kafka.look_around({ME})
    assert kafka.topics.known(ORDERS) == "orders"
