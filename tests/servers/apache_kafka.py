"""Apache Kafka 4.0.0: one node, broker and controller (KRaft), from Maven Central, under the host's Java."""

import hashlib
from pathlib import Path

from tests.servers.broker import Broker
from tests.servers.cache import cached, run
from tests.servers.server import free_port

POM = Path(__file__).with_name("apache_kafka.xml")
CLUSTER_ID = "bDd0b3AtdGVzdHMtLS0tLQ"  # any 16 bytes in base64
# A short life on a small machine: start fast, leave nothing in /tmp.
JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")


class ApacheKafka(Broker):
    """A Kafka broker; ready after about five seconds.

    With `request_log` the broker writes each request and its response as a line of JSON to `requests`:
    a truth about the traffic that owes nothing to our parsers.
    """

    name = "apache-kafka"

    def __init__(self, *, request_log: bool = False) -> None:
        super().__init__()
        self.controller_port = free_port()
        self.request_log = request_log

    @property
    def requests(self) -> Path:
        """The request log."""
        return self.directory / "requests.log"

    def command(self) -> list[str]:
        properties = self.directory / "server.properties"
        properties.write_text(self._properties())
        logging = self.directory / "log4j2.properties"
        logging.write_text(self._logging())
        java = ["java", *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{libraries()}/*"]
        run([*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)])
        return [*java, "kafka.Kafka", str(properties)]

    def _properties(self) -> str:
        controller = f"127.0.0.1:{self.controller_port}"
        return f"""
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{self.bootstrap}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{controller}
log.dirs={self.directory / "data"}
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

    def _logging(self) -> str:
        return f"""
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c %m%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console

appender.requests.type = File
appender.requests.name = requests
appender.requests.fileName = {self.requests}
appender.requests.layout.type = PatternLayout
appender.requests.layout.pattern = %m%n
logger.requests.name = kafka.request.logger
logger.requests.level = {"DEBUG" if self.request_log else "OFF"}
logger.requests.additivity = false
logger.requests.appenderRef.requests.ref = requests
"""


def libraries() -> Path:
    """The directory of the broker's jars; Kafka's own clients and tools come with them."""
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]

    def fetch(directory: Path) -> None:
        maven = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(POM)]
        run([*maven, "dependency:copy-dependencies", f"-DoutputDirectory={directory}"])

    return cached(f"apache-kafka-{version}", fetch)
