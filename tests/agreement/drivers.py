"""Drivers in other languages, fetched once through their registries' own clients, as the servers are."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.servers.cache import cached, run

HERE = Path(__file__).parent


def node_modules() -> Path:
    """The directory with MongoDB's driver and kafkajs in its `node_modules`."""
    package = HERE / "package.json"

    def fetch(directory: Path) -> None:
        shutil.copy(package, directory)
        run(["npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--silent"])

    return cached(_named("node-drivers", package), fetch)


def mongodb_jars() -> Path:
    """The directory of the jars of MongoDB's Java driver."""
    pom = HERE / "mongodb_java.xml"

    def fetch(directory: Path) -> None:
        maven = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(pom)]
        run([*maven, "dependency:copy-dependencies", f"-DoutputDirectory={directory}"])

    return cached(_named("mongodb-java", pom), fetch)


def mongodb_go() -> Path:
    """The program in Go, with MongoDB's driver."""
    source = HERE / "mongodb_go"

    def build(directory: Path) -> None:
        run(["env", "-C", str(source), "go", "build", "-o", str(directory / "client"), "."])

    return cached(_named("mongodb-go", *sorted(source.iterdir())), build) / "client"


def _named(name: str, *contents: Path) -> str:
    """A name that changes with what the files hold."""
    return f"{name}-{hashlib.sha256(b''.join(each.read_bytes() for each in contents)).hexdigest()[:8]}"
