"""What l7top says of Kafka's requests, beside the broker's own request log.

Clients of four kinds (kafka-python, librdkafka, Apache Kafka's own, kafkajs) produce, consume in
groups of both protocols, write in transactions, administer, and do what is refused. The broker logs each request and
response, whole, as JSON (`kafka.request.logger`). Beside each stands the record of the same connection and correlation
id: its header, group, generation, acks, error, each partition's error code, offset and high watermark; and, decoded
with `--literals`, every field of both messages. Each difference counts, unless the record is marked truncated and lacks
the fact. tshark reads all of the traffic, too.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.agreement import dissected
from tests.agreement.agreement import MISSING, Agreement
from tests.agreement.drivers import HERE, node_modules
from tests.agreement.table import Row
from tests.agreement.tshark import Capture
from tests.live.clients.process import run_client
from tests.live.tool import Record, Requests
from tests.servers import ApacheKafka
from tests.servers.apache_kafka import libraries

Fields = dict[str, Any]
PRODUCERS = ("kafka_produce_python", "kafka_produce_librdkafka", "JavaProduce")
CONSUMERS = ("kafka_consume_python", "kafka_consume_librdkafka")
JAVA_PROTOCOLS = ("classic", "consumer")  # of groups
_TIMEOUT_S = 60.0
_SETTLE_S = 2.0
_MOST_ODDS = 200  # transactions, and rounds of what is refused: those are slow
_INDEXES = ("partition_index", "partition", "index")
_OFFSETS = ("base_offset", "fetch_offset", "committed_offset", "offset")
_CLIENTS = {  # what they say they are, or where they do not, how they are called here
    "apache-kafka-java": "Apache Kafka's Java client",
    "broker-1-txn-marker-sender": "the broker itself",
    "confluent-kafka-python": "librdkafka",
    "lost": "librdkafka",
}


# What the broker says.


def snake(value: Any) -> Any:
    """The log's JSON with names as the record spells them, and of records only how many bytes they are."""
    if isinstance(value, list):
        return [snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, each in value.items():
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        if name.endswith("_size_in_bytes"):
            result[name.removesuffix("_size_in_bytes")] = {"bytes": each}
        else:
            result[name] = snake(each)
    return result


def logged(broker: ApacheKafka, after: int) -> Iterator[Fields]:
    """The entries of the request log after its first `after` lines that clients caused, not the broker."""
    for line in broker.requests.read_text().splitlines()[after:]:
        _, brace, rest = line.partition("{")
        entry = json.loads(brace + rest)
        # What the broker passes on to the controller comes in an envelope: its own connection, and ids.
        if not entry["isForwarded"] and not str(entry["requestHeader"]["clientId"]).isdecimal():
            yield entry


def lines_of(broker: ApacheKafka) -> int:
    return len(broker.requests.read_text().splitlines())


def partitions_of(node: Any, topic: str | None = None) -> Iterator[tuple[tuple[str | None, int], Fields]]:
    """Every partition within a message, with its topic's id or name."""
    if isinstance(node, list):
        for each in node:
            yield from partitions_of(each, topic)
    elif isinstance(node, dict):
        names = (node.get(name) for name in ("topic_id", "topic", "topic_name", "name"))
        topic = next((name for name in names if isinstance(name, str)), topic)
        index = next((node[name] for name in _INDEXES if isinstance(node.get(name), int)), None)
        if index is not None:
            yield (topic, index), node
        for name, each in node.items():
            if name != "forgotten_topics_data":
                yield from partitions_of(each, topic)


def first_error(response: Fields) -> int:
    """The first error code, of the whole message before one of a part."""
    if response.get("error_code"):
        return int(response["error_code"])
    return next((code for code in _codes(response) if code), 0)


def _codes(node: Any) -> Iterator[int]:
    for each in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from _codes(each)
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name.endswith("error_code") and isinstance(value, int))


# Side by side.


def compare(agreement: Agreement, entry: Fields, record: Record | None) -> None:
    header, request, response = entry["requestHeader"], snake(entry["request"]), snake(entry["response"] or {})
    name = header["requestApiKeyName"]
    where = f"{name}_v{header['requestApiVersion']} {entry['connection']} {header['correlationId']}"
    agreement.requests[name] += 1
    agreement.expect("record", True, record is not None, where)
    if record is None:
        return
    if record["status"] == "dropped":
        agreement.dropped += 1
        return
    own, cut = record["kafka"], record["truncated"]
    agreement.truncated += cut
    if record["status"] == "lost":  # the client left: the broker logs an answer that it could not send
        agreement.lost += 1
        response = {}
    for fact, expected, seen in (
        ("api", header["requestApiKey"], own["api_key"]),
        ("version", header["requestApiVersion"], own["api_version"]),
        ("client id", header["clientId"], own.get("client_id", MISSING)),
        ("error", first_error(response), record.get("error_code", 0)),
        ("throttle", response.get("throttle_time_ms", MISSING), own.get("throttle_ms", MISSING)),
        ("group", request.get("group_id", MISSING), own.get("group", MISSING)),
        ("acks", request.get("acks", MISSING), own.get("acks", MISSING)),
    ):
        if expected is not MISSING and expected != "":
            agreement.expect(fact, expected, seen, where, truncated=cut)
    software = entry["clientInformation"]
    if "client_software" in own and software["softwareName"] != "unknown":  # as ApiVersions itself is logged
        said = f"{software['softwareName']} {software['softwareVersion']}"
        agreement.expect("software", said, own["client_software"], where)
    _compare_partitions(agreement, request, response, record, where)
    for side, truth in (("request", request), ("response", response)):
        if truth and side in record:
            compare_fields(agreement, truth, record[side], f"{where} {side}", truncated=cut)


def _compare_partitions(agreement: Agreement, request: Fields, response: Fields, record: Record, where: str) -> None:
    cut = record["truncated"]
    told = {}
    for part in record["kafka"].get("partitions", ()):
        for topic in (part.get("topic"), part.get("topic_id")):
            told[topic, part["partition"]] = part
    for answers, message in ((False, request), (True, response)):
        for key, truth in partitions_of(message):
            part = told.get(key)
            agreement.expect("partition", True, part is not None or MISSING, f"{where} {key}", truncated=cut)
            if part is None:
                continue
            facts = ("error_code", "high_watermark", "last_stable_offset", "log_start_offset") if answers else ()
            for fact in facts:
                if truth.get(fact, -1) >= 0 or (fact == "error_code" and fact in truth):
                    agreement.expect(fact, truth[fact], part.get(fact, MISSING), f"{where} {key}", truncated=cut)
            size = truth.get("records")
            if isinstance(size, dict) and not (answers and not size["bytes"]):
                agreement.expect("bytes", size["bytes"], part.get("bytes", MISSING), f"{where} {key}", truncated=cut)
            offset = next((truth[each] for each in _OFFSETS if truth.get(each, -1) >= 0), None)
            if offset is not None and not (answers and "fetch_offset" in str(request)):
                agreement.expect("offset", offset, part.get("offset", MISSING), f"{where} {key}", truncated=cut)


def compare_fields(agreement: Agreement, truth: Any, seen: Any, where: str, *, truncated: bool) -> None:
    """All fields of a message, as deep as they go."""
    if isinstance(truth, dict) and isinstance(seen, dict) and "bytes" not in seen:
        for name, expected in truth.items():
            compare_fields(agreement, expected, seen.get(name, MISSING), f"{where}.{name}", truncated=truncated)
    elif isinstance(truth, list) and isinstance(seen, list):
        agreement.expect(
            "field",
            len(truth),
            MISSING if len(seen) < len(truth) else len(seen),
            f"{where} length",
            truncated=truncated,
        )
        for number, (expected, each) in enumerate(zip(truth, seen, strict=False)):
            compare_fields(agreement, expected, each, f"{where}[{number}]", truncated=truncated)
    elif isinstance(seen, dict) and isinstance(truth, str):  # bytes
        agreement.expect("field", len(base64.b64decode(truth)), seen["bytes"], where, truncated=truncated)
    else:
        agreement.expect("field", truth, seen, where, truncated=truncated)


# The clients.


def clients(broker: ApacheKafka, count: int) -> None:
    """Some of everything, `count` messages a client; kafkajs only where there is a Node to run it."""
    if shutil.which("npm"):
        node_client(broker, "orders", count)
    for number, program in enumerate(PRODUCERS):
        run_client(program, port=broker.port, topic="orders", count=count, acks=("all", "1", "0")[number % 3])
        run_client(program, port=broker.port, topic="orders", count=count // 4 or 1, bytes=9_000)
    for program in CONSUMERS:
        run_client(program, port=broker.port, topic="orders", count=count, group=program)
    for protocol in JAVA_PROTOCOLS:
        java_consumer(broker, "orders", f"java-{protocol}", count, protocol)
    transactions(broker, min(count // 10 + 1, _MOST_ODDS))
    refused(broker, min(count // 10 + 1, _MOST_ODDS))


def java_consumer(broker: ApacheKafka, topic: str, group: str, count: int, protocol: str) -> None:
    command = ["java", "-Xmx128m", "-cp", f"{libraries()}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
    options = {
        "--bootstrap-server": broker.bootstrap,
        "--topic": topic,
        "--group": group,
        "--max-messages": str(count),
        "--consumer-property": f"group.protocol={protocol}",
    }
    command += [*(word for option in options.items() for word in option), "--from-beginning"]
    subprocess.run(command, check=True, capture_output=True, timeout=3 * _TIMEOUT_S)


def node_client(broker: ApacheKafka, topic: str, count: int) -> None:
    command = ["node", str(HERE / "kafka_node.mjs"), broker.bootstrap, topic, str(count)]
    environment = {**os.environ, "NODE_MODULES": str(node_modules())}
    subprocess.run(command, check=True, timeout=10 * _TIMEOUT_S, env=environment)


def transactions(broker: ApacheKafka, count: int) -> None:
    """Read, process, write, by librdkafka; every third is aborted."""
    settings = {"bootstrap.servers": broker.bootstrap}
    producer = Producer(
        {**settings, "client.id": "payments", "transactional.id": "payments", "compression.type": "lz4"}
    )
    consumer = Consumer({**settings, "client.id": "reader", "group.id": "payments", "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    producer.init_transactions(_TIMEOUT_S)
    for turn in range(count):
        producer.begin_transaction()
        message = consumer.poll(_TIMEOUT_S)
        producer.produce("audit", f"{turn}", headers={"traceparent": "00-" + 32 * "a" + "-" + 16 * "b" + "-01"})
        if message is not None and not message.error():
            offsets = consumer.position(consumer.assignment())
            known = [each for each in offsets if each.offset >= 0]
            producer.send_offsets_to_transaction(known, consumer.consumer_group_metadata(), _TIMEOUT_S)
        if turn % 3:
            producer.commit_transaction(_TIMEOUT_S)
        else:
            producer.abort_transaction(_TIMEOUT_S)
    consumer.close()


def refused(broker: ApacheKafka, count: int) -> None:
    """Much of what an administrator can ask for, and what brokers refuse."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap, client_id="admin")
    missing = Consumer({"bootstrap.servers": broker.bootstrap, "client.id": "lost", "group.id": "lost"})
    actions: tuple[Callable[[], object], ...] = (
        lambda: admin.create_topics({"orders": {"num_partitions": 1, "replication_factor": 1}}),
        lambda: admin.create_topics({"wide": {"num_partitions": 9, "replication_factor": 7}}),
        lambda: admin.delete_topics(["no-such-topic"]),
        admin.describe_cluster,
        admin.list_groups,
        lambda: admin.describe_groups(["java-classic", "no-such-group"]),
        lambda: admin.list_group_offsets("java-classic"),
        lambda: missing.list_topics("no-such-topic", timeout=_TIMEOUT_S),
    )
    for _ in range(count):
        for action in actions:
            with suppress(KafkaError, KafkaException):
                action()
    missing.close()
    admin.close()


def agree(count: int, head_bytes: int) -> dict[str, Agreement]:
    """Runs it all; by what the clients say they are."""
    agreements: dict[str, Agreement] = defaultdict(Agreement)
    with ApacheKafka(request_log=True) as broker:
        broker.create_topic("orders", partitions=3)
        broker.create_topic("audit")
        tool = Requests("protocol:kafka", f"--head-bytes={head_bytes}", f"--pid={broker.pid}", "--literals")
        with tool, Capture(broker.port, "kafka") as capture:
            before = lines_of(broker)
            clients(broker, count)
            time.sleep(_SETTLE_S)
            entries = list(logged(broker, before))
            capture.stop()
            records = tool.stop()
            again = capture.records(f"--head-bytes={head_bytes}")
            dissections = {
                f"tshark, {source}": dissected.kafka(capture.messages(), its)
                for source, its in (("live", records), ("from the capture", again))
            }
    found: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        found[record["client"], record["request_id"]].append(record)
    software = {entry["connection"]: _software(entry) for entry in entries}  # its last word: at first it is unknown
    for entry in entries:
        client = entry["connection"].split("-")[1]
        candidates = found[client, entry["requestHeader"]["correlationId"]]
        compare(agreements[software[entry["connection"]]], entry, candidates.pop(0) if candidates else None)
    return agreements | dissections


def _software(entry: Fields) -> str:
    name = str(entry["clientInformation"]["softwareName"])
    name = str(entry["requestHeader"]["clientId"]) if name == "unknown" else name
    return _CLIENTS.get(name, name)


def rows(count: int, head_bytes: int) -> tuple[list[Row], list[str]]:
    """A row for each kind of client beside the broker's log, and the details of those that differ."""
    agreements = agree(count, head_bytes)
    titles = {name: f"Kafka's request log, of {name}" for name in agreements}
    titles |= {name: name.replace("tshark", "tshark, of Kafka") for name in agreements if name.startswith("tshark")}
    details = [agreement.table(titles[name]) for name, agreement in agreements.items() if not agreement.agrees]
    return [agreement.row(titles[name]) for name, agreement in agreements.items()], details
