"""The real servers start, answer and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from pymongo import MongoClient

from tests.servers import ApacheKafka, Broker, Mongod, Server, ServerError, Tansu
from tests.servers.cache import CHECKOUT
from tests.servers.server import listens

pytestmark = pytest.mark.live

TIMEOUT_S = 30.0


def test_a_standalone_mongod_answers(mongod: Mongod) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(mongod.uri)
    with client:
        assert client.server_info()["version"] == "6.0.5"
        assert client.admin.command("serverStatus")["pid"] == mongod.pid
        assert mongod.unix_socket.is_socket()


def test_a_replica_set_has_transactions_and_cluster_time(mongod_replica_set: Mongod) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(mongod_replica_set.uri)
    with client, client.start_session() as session, session.start_transaction():
        client["l7top_test"]["orders"].insert_one({"item": "tea"}, session=session)
        assert session.cluster_time is not None


@pytest.mark.parametrize("name", ["tansu", "apache_kafka"])
def test_a_broker_keeps_what_is_written(name: str, request: pytest.FixtureRequest) -> None:
    broker: Broker = request.getfixturevalue(name)
    broker.create_topic("servers-test", partitions=3)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    assert producer.partitions_for("servers-test") == {0, 1, 2}
    assert producer.send("servers-test", b"tea", partition=1).get(TIMEOUT_S).offset == 0
    producer.close()
    consumer = KafkaConsumer(
        "servers-test",
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=TIMEOUT_S * 1000,
    )
    assert next(consumer).value == b"tea"
    consumer.close()


def test_apache_kafka_logs_its_requests(apache_kafka: ApacheKafka) -> None:
    apache_kafka.create_topic("logged")
    lines = apache_kafka.requests.read_text().splitlines()
    assert any('"requestApiKeyName":"CREATE_TOPICS"' in line and '"logged"' in line for line in lines)


@pytest.mark.parametrize("make", [Mongod, Tansu, ApacheKafka])
def test_a_stopped_server_is_gone_with_its_files(make: Callable[[], Server]) -> None:
    with make() as server:
        pid, directory = server.pid, server.directory
        assert listens(server.port)
        assert directory.is_dir()
    assert not Path(f"/proc/{pid}").exists()
    assert not listens(server.port)
    assert not directory.exists()


def test_a_failed_start_shows_the_log_and_leaves_nothing() -> None:
    server = Mongod(options=("--noSuchOption",))
    with pytest.raises(ServerError, match="unrecognised option '--noSuchOption'"):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_server_dies_with_its_owner(tmp_path: Path) -> None:
    program = "from tests.servers import Tansu; print(Tansu().start().pid, flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    deadline = time.monotonic() + TIMEOUT_S
    while alive(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(server)


def alive(pid: int) -> bool:
    """Whether a process runs under this id (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
