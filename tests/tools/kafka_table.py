"""Derive `probes/protocols/kafka/schema.json` from Apache Kafka's own message definitions.

    python -m tests.tools.kafka_table [--check]

Needs `mvn` and `java` (17 or newer). The kafka-clients jars on Maven Central carry every message of the protocol as
data (`common/message/*.json`) and the error codes as an enum. A release drops versions that older clients and brokers
still speak, so several releases are read, newest first: a definition serves every version that it describes as the
older release does, and the older release's own definition serves the rest. The next Kafka release is one line here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

RELEASES = ("4.3.0", "4.2.0", "4.1.1", "4.0.1", "3.9.1")  # newest first
SLF4J = "org.slf4j:slf4j-api:1.7.36"  # the Errors enum loads its logger
OUTPUT = Path(__file__).parents[2] / "probes" / "protocols" / "kafka" / "schema.json"

ERRORS_JAVA = """
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

public class ErrorTable {
    public static void main(String[] arguments) {
        for (Errors error : Errors.values())
            System.out.println(error.code() + " " + error.name() + " "
                + (error.exception() instanceof RetriableException));
    }
}
"""

Json = dict[str, Any]
Versions = tuple[int, int]
NO_VERSIONS: Versions = (0, -1)
OPEN_END = 32767  # "7+" has no upper bound


def versions(text: str) -> Versions:
    """ "3-13", "7+", "4" or "none" as an inclusive range."""
    if text == "none":
        return NO_VERSIONS
    if text.endswith("+"):
        return int(text[:-1]), OPEN_END
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def snake(name: str) -> str:
    """`ThrottleTimeMs` as `throttle_time_ms`, `KRaftVersionFeature` as `k_raft_version_feature`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def field(definition: Json, structs: dict[str, list[Json]]) -> Json:
    """One field with only what reading needs; `fields` where it is a struct or an array of structs."""
    kind = definition["type"]
    children = definition.get("fields") or structs.get(kind.removeprefix("[]"))
    if children is not None:
        kind = "[]struct" if kind.startswith("[]") else "struct"
    result: Json = {"name": snake(definition["name"]), "type": kind, "versions": definition["versions"]}
    if "flexibleVersions" in definition:
        raise ValueError(f"a field with its own flexible versions: {definition['name']}")
    for ours, theirs in (("nullable", "nullableVersions"), ("tagged", "taggedVersions"), ("entity", "entityType")):
        if theirs in definition:
            result[ours] = definition[theirs]
    if "tag" in definition:
        result["tag"] = definition["tag"]
    if children is not None:
        result["fields"] = [field(child, structs) for child in children]
    return result


def layout(fields: list[Json], version: int) -> list[Any]:
    """What `fields` say about one version: equal layouts read the same bytes the same way."""
    result = []
    for each in fields:
        if not within(version, each["versions"]):
            continue
        tag = each["tag"] if "tagged" in each and within(version, each["tagged"]) else None
        nullable = within(version, each.get("nullable", "none"))
        result.append((each["name"], each["type"], tag, nullable, layout(each.get("fields", []), version)))
    return result


def within(version: int, text: str) -> bool:
    low, high = versions(text)
    return low <= version <= high


def definitions(jar: Path) -> dict[tuple[int, str], Json]:
    """Every message of a release by (api_key, "request" or "response"); ones without any version left out."""
    found = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"common/message/\w+\.json", name):
                continue
            message = json.loads(re.sub(r"(?m)^\s*//.*$", "", archive.read(name).decode()))
            if message["type"] in ("request", "response") and message["validVersions"] != "none":
                found[message["apiKey"], message["type"]] = message
    return found


def readings(releases: list[dict[tuple[int, str], Json]], key: tuple[int, str]) -> list[Json]:
    """The definitions of one message, newest first, each with the versions that it is to be used for."""
    result: list[Json] = []
    for release in releases:
        message = release.get(key)
        if message is None:
            continue
        low, high = versions(message["validVersions"])
        structs = {each["name"]: each["fields"] for each in message.get("commonStructs", [])}
        mine = {
            "flexible": message["flexibleVersions"],
            "fields": [field(each, structs) for each in message["fields"]],
        }
        covered = {version for each in result for version in each["versions"]}
        fresh = [version for version in range(low, high + 1) if version not in covered]
        for version in reversed(fresh):
            for each in [*result, mine]:
                next_to_it = "versions" not in each or version + 1 == each["versions"][0]
                alike = within(version, each["flexible"]) == within(version, mine["flexible"])
                if next_to_it and alike and layout(each["fields"], version) == layout(mine["fields"], version):
                    each["versions"] = [version, *each.get("versions", [])]
                    break
        if "versions" in mine:
            result.append(mine)
    for each in result:
        each["versions"] = [each["versions"][0], each["versions"][-1]]
    return result


def fetch(artifact: str, folder: Path) -> Path:
    """The artifact's jar from Maven Central (or the local repository)."""
    subprocess.run(
        ["mvn", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"],
        check=True,
        stdout=sys.stderr,
    )
    _, name, version = artifact.split(":")
    return folder / f"{name}-{version}.jar"


def errors(jar: Path, folder: Path) -> list[list[Any]]:
    """[code, name, retriable] of every error, by reflection."""
    source = folder / "ErrorTable.java"
    source.write_text(ERRORS_JAVA)
    path = f"{jar}:{fetch(SLF4J, folder)}"
    lines = subprocess.run(
        ["java", "-cp", path, str(source)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    rows = [line.split() for line in lines]
    return [[int(code), name, retriable == "true"] for code, name, retriable in rows]


def table(folder: Path) -> Json:
    jars = [fetch(f"org.apache.kafka:kafka-clients:{release}", folder) for release in RELEASES]
    releases = [definitions(jar) for jar in jars]
    apis = []
    for api_key in sorted({key for release in releases for key, _ in release}):
        newest = next(release[api_key, "request"] for release in releases if (api_key, "request") in release)
        apis.append(
            {
                "key": api_key,
                "name": newest["name"].removesuffix("Request"),
                "request": readings(releases, (api_key, "request")),
                "response": readings(releases, (api_key, "response")),
            }
        )
    return {
        "source": "Apache Kafka's message definitions and error codes, from org.apache.kafka:kafka-clients",
        "releases": list(RELEASES),
        "errors": errors(jars[0], folder),
        "apis": apis,
    }


def dump(table: Json) -> str:
    """The table as JSON with one line for each API, so that a new release reads well as a diff."""
    compact = {"separators": (",", ":")}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in table.items() if name != "apis"]
    apis = ",\n  ".join(json.dumps(api, **compact) for api in table["apis"])  # type: ignore[arg-type]
    return "\n".join(["{", *lines, f' "apis": [\n  {apis}\n ]', "}"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only compare with the file that is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = dump(table(Path(folder)))
    if arguments.check:
        return 0 if OUTPUT.read_text() == text else 1
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
