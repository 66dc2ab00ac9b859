"""Plugins beside real servers: what was sent is what is told, under the plugin's name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from probes.background import Background
from probes.exit_codes import Refusal
from probes.options import CaptureOptions
from probes.store.reader import Reader
from probes.store.view import Is
from tests.live.clients.process import run_client
from tests.live.clients.resp import Client, command
from tests.live.tool import Record, Requests
from tests.servers import Redis, Tansu

pytestmark = pytest.mark.live

PLUGINS = Path(__file__).parents[1] / "example_plugin"
COUNT = 1009
BIG = 1_000_003
PATIENCE_S = 20.0


def watch_redis(redis: Redis, *arguments: str) -> Requests:
    return Requests("--plugin", str(PLUGINS / "redis_resp.py"), "--ports", f"redis={redis.port}", *arguments)


def of_port(records: list[Record], port: int) -> list[Record]:
    return [record for record in records if record.get("server", "").endswith(f":{port}")]


@pytest.mark.parametrize("older", [False, True], ids=["new connection", "older connection"])
@pytest.mark.parametrize("side", ["server", "client", "both"])
def test_each_command_is_a_session(redis: Redis, side: str, older: bool) -> None:
    with ExitStack() as stack:
        if older:
            client = stack.enter_context(Client(redis.port))
            client.do("SET", "user:1", "x")
        tool = stack.enter_context(watch_redis(redis, "--side", side))
        if not older:
            client = stack.enter_context(Client(redis.port))
            client.do("SET", "user:1", "x")
        for number in range(COUNT):
            assert client.do("GET", f"user:{1 + number % 2}") == (b"x" if number % 2 == 0 else None)
        assert client.do("LPUSH", "user:1", "y").startswith(b"-WRONGTYPE")
        assert client.do("NOSUCH").startswith(b"-ERR")
        records = of_port(tool.stop(), redis.port)
    told = Counter((r["protocol"], r["operation"], r.get("target"), r["status"], r.get("error_name")) for r in records)
    expected: Counter[tuple[str | None, ...]] = Counter()
    expected["redis", "GET", "user:*", "ok", None] = COUNT
    expected["redis", "LPUSH", "user:*", "error", "WRONGTYPE"] = 1
    expected["redis", "NOSUCH", None, "error", "ERR"] = 1
    expected["redis", "SET", "user:*", "ok", None] += not older
    assert told == expected
    assert {r["attributes"]["arguments"] for r in records if r["operation"] == "GET"} == {1}
    assert all(r["seen_from"] == "both" and r["duration_ns"] > 0 for r in records)
    assert all("error" not in r for r in records)  # its text may hold what users sent
    assert not {cause for cause in tool.ledger if cause.startswith(("raw_", "plugin_")) and tool.ledger[cause]}


def test_pipelined_requests_meet_their_replies_in_order(redis: Redis) -> None:
    with watch_redis(redis) as tool, Client(redis.port) as client:
        lengths = [1 + number % 23 for number in range(COUNT)]
        requests = [command("ECHO", "e" * length) for length in lengths]
        client.send(b"".join(requests))
        assert [len(client.reply()) for _ in lengths] == lengths
        records = of_port(tool.stop(), redis.port)
    replies = [len(f"${length}\r\n\r\n") + length for length in lengths]
    sizes = list(zip(map(len, requests), replies, strict=True))
    assert [(r["request_bytes"], r["response_bytes"]) for r in records] == sizes
    assert {(r["operation"], r["status"], r["seen_from"]) for r in records} == {("ECHO", "ok", "both")}


def test_messages_longer_than_what_is_captured(redis: Redis) -> None:
    with watch_redis(redis) as tool, Client(redis.port) as client:
        client.do("SET", "big", b"x" * BIG)
        assert len(client.do("GET", "big")) == BIG
        client.do("DEL", "list")
        many = [f"value {number}" for number in range(20_000)]
        client.do("RPUSH", "list", *many)
        assert len(client.do("LRANGE", "list", "0", "-1")) == len(many)
        assert client.do("PING") == b"+PONG"
        records = of_port(tool.stop(), redis.port)
    assert [(r["operation"], r["status"]) for r in records] == [
        (operation, "ok") for operation in ("SET", "GET", "DEL", "RPUSH", "LRANGE", "PING")
    ]
    listed = len(command(*many))  # an array of bulk strings looks the same in both directions
    assert records[0]["request_bytes"] == len(command("SET", "big", b"x" * BIG))
    assert records[1]["response_bytes"] == len(f"${BIG}\r\n\r\n") + BIG
    assert records[3]["request_bytes"] == len(command("RPUSH", "list", *many))
    assert records[4]["response_bytes"] == listed


def test_what_a_server_says_by_itself_is_no_reply(redis: Redis) -> None:
    with watch_redis(redis) as tool, Client(redis.port) as client, Client(redis.port) as other:
        client.do("PING")
        client.do("SUBSCRIBE", "news")
        for _ in range(7):
            assert other.do("PUBLISH", "news", "x") == b":1"
            assert client.reply() == [b"message", b"news", b"x"]
        records = of_port(tool.stop(), redis.port)
    assert Counter(r["operation"] for r in records) == {"PING": 1, "PUBLISH": 7}
    assert tool.ledger["aborted"] == 2 * (1 + 1 + 7)  # of both ends: what was asked, what was answered, what was pushed


def test_another_protocols_bytes_on_the_port_are_nothing(redis: Redis, tansu: Tansu) -> None:
    plugin = ("--plugin", str(PLUGINS / "redis_resp.py"))
    with Requests(*plugin, "--ports", f"redis={tansu.port}", "--protocols", "redis") as tool:
        run_client("kafka_produce_python", port=tansu.port, count=7)
        records = tool.stop()
    assert records == []
    assert tool.ledger["raw_foreign"] > 0


def test_a_kafka_plugin_names_type_and_topic(tansu: Tansu) -> None:
    plugin = ("--plugin", str(PLUGINS / "kafka_types.py"))
    with Requests(*plugin, "--ports", f"kafka-types={tansu.port}") as tool:
        run_client("kafka_produce_python", port=tansu.port, count=COUNT)
        records = of_port(tool.stop(), tansu.port)
    mine = [r for r in records if r["protocol"] == "kafka-types"]
    (produce,) = {r["operation"] for r in mine if r["operation"].startswith("Produce_v")}
    produced = [r for r in mine if r["operation"] == produce]
    assert len(produced) == COUNT
    assert all(r["status"] == "ok" and r["target"] and "version" not in r for r in produced)
    assert {r["attributes"]["acks"] for r in produced} == {-1}
    assert {r["operation"] for r in records if r["protocol"] == "kafka"} == {"ApiVersions"}  # what it passes


def test_a_limit_by_port_leaves_other_ports_alone(tansu: Tansu) -> None:
    with Requests("--ports", "kafka=1,2") as tool:
        run_client("kafka_produce_python", port=tansu.port, count=7)
        records = tool.stop()
    assert of_port(records, tansu.port) == []
    with Requests("--ports", f"kafka=1,{tansu.port}") as tool:
        run_client("kafka_produce_python", port=tansu.port, count=7)
        records = tool.stop()
    assert Counter(r["operation"] for r in of_port(records, tansu.port))["Produce"] == 7


def test_stat_groups_by_a_plugins_protocol(redis: Redis) -> None:
    words = ["stat", "--json", "--for", "4s", "--by", "protocol,operation", "protocol:redis"]
    words += ["--plugin", str(PLUGINS / "redis_resp.py"), "--ports", f"redis={redis.port}", "--protocols", "redis"]
    tool = subprocess.Popen(
        [sys.executable, "-m", "probes.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert tool.stderr is not None
    assert tool.stderr.readline() == "l7top: capturing redis requests of this host\n"
    with Client(redis.port) as client:
        for _ in range(COUNT):
            client.do("INCR", "counter")
        printed, _ = tool.communicate()
    (group,) = json.loads(printed)["groups"]
    assert (group["protocol"], group["operation"], group["requests"]) == ("redis", "INCR", COUNT)


def test_the_dashboards_collector_loads_them_and_its_store_needs_them_not(redis: Redis) -> None:
    options = CaptureOptions(plugins=(str(PLUGINS / "redis_resp.py"),), ports=(("redis", (redis.port,)),))
    with Background(options) as background, Client(redis.port) as client:
        assert background.protocols == ("redis", "mongodb", "kafka")
        view = Reader(background.store)
        client.do("SET", "user:7", "x")
        where = (Is("protocol", "redis"), Is("target", "user:*"))
        deadline = time.monotonic() + PATIENCE_S
        while not len(numbers := view.matching(where).numbers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (row,) = view.pick(numbers)
        session = view.session(row)
    assert session is not None
    assert session.request is not None
    assert (session.request.operation, session.request.attributes) == ("SET", (("arguments", 2),))


def test_a_collector_that_does_not_trust_a_plugin_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text((PLUGINS / "redis_resp.py").read_text())
    path.chmod(0o666)
    with pytest.raises(Refusal, match=f"chmod go-w {path}"), Background(CaptureOptions(plugins=(str(path),))):
        pass


def test_clients_that_are_gone_at_once_are_told_once(redis: Redis) -> None:
    with watch_redis(redis, "--protocols", "redis") as tool:
        for _ in range(7):
            subprocess.run(["redis-cli", "-p", str(redis.port), "GET", "k"], capture_output=True, check=True)
        records = of_port(tool.stop(), redis.port)
    assert [(r["operation"], r["status"], r["seen_from"]) for r in records] == [("GET", "ok", "both")] * 7
