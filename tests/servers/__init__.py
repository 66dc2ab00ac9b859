"""Real servers for tests and the demo: fetched once, started on free ports, killed surely.

    with Mongod() as mongod, Tansu() as tansu:
        print(mongod.uri, tansu.bootstrap)

Each class has `start`, `stop`, `port` and `pid`. The module knows nothing of pytest.
"""

from tests.servers.apache_kafka import ApacheKafka
from tests.servers.broker import Broker
from tests.servers.mongod import Mongod
from tests.servers.redis import Redis
from tests.servers.server import Server, ServerError
from tests.servers.tansu import Tansu

__all__ = ["ApacheKafka", "Broker", "Mongod", "Redis", "Server", "ServerError", "Tansu"]
