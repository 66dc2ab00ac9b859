"""What the two Kafka brokers of the tests have in common."""

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.servers.server import Server, listens


class Broker(Server):
    """A single Kafka broker."""

    @property
    def bootstrap(self) -> str:
        """Where clients connect, as "host:port"."""
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            admin = self._admin()
        except KafkaError:
            return False
        try:
            return any(not broker.get("is_fenced") for broker in admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            admin.close()

    def create_topic(self, topic: str, *, partitions: int = 1) -> None:
        """Creates `topic`, ready to be written. Raises KafkaError."""
        admin = self._admin()
        try:
            options = {"num_partitions": partitions, "replication_factor": 1}
            admin.create_topics({topic: options}, wait_for_metadata=True)
        finally:
            admin.close()

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000)
