"""Let Apache Kafka itself encode one message of every API, version and direction: `tests/unit/kafka_golden.jsonl.gz`.

    python -m tests.tools.kafka_golden

Needs `mvn` and `java` (17 or newer). The messages are made up from Kafka's own definitions, not from our table of them,
and encoded by the classes of kafka-clients, so they are an independent truth for the parser. One line a message:
`[api_key, version, "request" or "response", fields, hex of the body]`.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.tools.kafka_table import RELEASES, SLF4J, Json, definitions, fetch, snake, versions, within

OUTPUT = Path(__file__).parents[1] / "unit" / "kafka_golden.jsonl.gz"
SOURCES = (RELEASES[0], RELEASES[-1])  # the newest, and the last with the versions that it dropped
JACKSON = [f"com.fasterxml.jackson.core:jackson-{part}:2.17.2" for part in ("core", "annotations", "databind")]

ENCODE_JAVA = """
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Encode {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split(" ", 3);
            short version = Short.parseShort(parts[1]);
            String converter = "org.apache.kafka.common.message." + parts[0] + "DataJsonConverter";
            Message message = (Message) Class.forName(converter)
                .getMethod("read", JsonNode.class, short.class)
                .invoke(null, mapper.readTree(parts[2]), version);
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(buffer), cache, version);
            System.out.println(HexFormat.of().formatHex(buffer.array()));
        }
    }
}
"""

INTEGERS = {"int8": 2**7, "int16": 2**15, "uint16": 2**16, "int32": 2**31, "uint32": 2**32, "int64": 2**53}


class Maker:
    """Makes up messages: every value differs from its neighbours, arrays have two elements, every third nullable field
    is null, strings of all lengths about the limits of one varint byte occur."""

    def __init__(self) -> None:
        self.number = itertools.count(1)

    def message(self, definition: Json, version: int) -> tuple[Json, Json]:
        """As Kafka's JSON, and as our walk is expected to read it."""
        structs = {each["name"]: each["fields"] for each in definition.get("commonStructs", [])}
        return self.struct(definition["fields"], structs, version)

    def struct(self, fields: list[Json], structs: dict[str, list[Json]], version: int) -> tuple[Json, Json]:
        theirs: Json = {}
        ours: Json = {}
        for each in fields:
            if not within(version, each["versions"]):
                continue
            name = each["name"]
            value = self.field(each, structs, version)
            theirs[name[0].lower() + name[1:]], ours[snake(name)] = value
        return theirs, ours

    def field(self, field: Json, structs: dict[str, list[Json]], version: int) -> tuple[Any, Any]:
        kind = field["type"]
        number = next(self.number)
        tagged = within(version, field.get("taggedVersions", "none"))
        if within(version, field.get("nullableVersions", "none")) and number % 3 == 0 and not tagged:
            return None, None
        element = kind.removeprefix("[]")
        children = field.get("fields") or structs.get(element)
        if not kind.startswith("[]"):
            return self.one(element, children, structs, version)
        pairs = [self.one(element, children, structs, version) for _ in range(2)]
        return [theirs for theirs, _ in pairs], [ours for _, ours in pairs]

    def one(
        self, kind: str, children: list[Json] | None, structs: dict[str, list[Json]], version: int
    ) -> tuple[Any, Any]:
        if children is not None:
            return self.struct(children, structs, version)
        number = next(self.number)
        if kind in INTEGERS:
            limit = INTEGERS[kind]
            value = (number * 2654435761) % limit
            return (value, value) if kind.startswith("u") or number % 5 else (-value, -value)
        if kind == "bool":
            return bool(number % 2), bool(number % 2)
        if kind == "float64":
            return number + 0.5, number + 0.5
        if kind == "string":
            text = f"{number}é" + "x" * (130 if number % 11 == 0 else number % 4)
            return text, text
        if kind == "uuid":
            uuid = base64.urlsafe_b64encode(number.to_bytes(16, "big")).rstrip(b"=").decode()
            return uuid, uuid
        length = 150 if number % 7 == 0 else number % 9
        return base64.b64encode(bytes(length)).decode(), {"bytes": length}


def made(release: dict[tuple[int, str], Json], skip: set[tuple[int, int, str]]) -> Iterator[list[Any]]:
    for (api_key, direction), definition in sorted(release.items()):
        low, high = versions(definition["validVersions"])
        for version in range(low, high + 1):
            if (api_key, version, direction) not in skip:
                theirs, ours = Maker().message(definition, version)
                yield [api_key, version, direction, ours, f"{definition['name']} {version} {json.dumps(theirs)}"]


def main() -> int:
    messages: dict[tuple[int, int, str], list[Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Encode.java").write_text(ENCODE_JAVA)
        others = [str(fetch(artifact, folder)) for artifact in (SLF4J, *JACKSON)]
        for release in SOURCES:
            jar = fetch(f"org.apache.kafka:kafka-clients:{release}", folder)
            rows = list(made(definitions(jar), set(messages)))
            encoded = subprocess.run(
                ["java", "-cp", ":".join([str(jar), *others]), str(folder / "Encode.java")],
                input="\n".join(row[4] for row in rows),
                check=True,
                capture_output=True,
                text=True,
            ).stdout.splitlines()
            for row, line in zip(rows, encoded, strict=True):
                messages[row[0], row[1], row[2]] = [*row[:4], line]
    text = "".join(json.dumps(messages[key], ensure_ascii=False) + "\n" for key in sorted(messages))
    OUTPUT.write_bytes(gzip.compress(text.encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
