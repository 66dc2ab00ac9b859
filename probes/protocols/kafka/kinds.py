"""What is the same for all messages of one API, version and direction: how to read one, and what to cover in it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from probes.protocols.kafka import credentials, table
from probes.protocols.kafka.plan import Plan, plan
from probes.protocols.kafka.table import Direction, Layout
from probes.protocols.kafka.walk import Walk, Windows, walk

_UNSUPPORTED_VERSION = (35).to_bytes(2, "big")


class Kind(NamedTuple):
    """`layout` and `plan` are None where the table does not have the version."""

    api_key: int
    version: int
    operation: str
    has_client_id: bool  # in a request's header
    header_tags: bool
    layout: Layout | None
    plan: Plan | None
    secrets: frozenset[str] | None  # the fields to cover, None where nobody can know

    def read(self, data: bytes, body: int, total: int, windows: Windows = ()) -> Walk | None:
        """The fields of a message whose body, or the header's tags before it, begin at `body`."""
        if self.layout is None:
            return None
        return walk(self.layout, data, body, total, windows, header_tags=self.header_tags)

    def covered(self, data: bytes, body: int, total: int) -> bytes:
        """The head `data` without credentials."""
        if self.secrets is not None and not self.secrets:
            return data
        if self.layout is None or self.secrets is None:
            return data[:body]
        return credentials.cover(self.layout, self.secrets, data, body, total, header_tags=self.header_tags)


@lru_cache(maxsize=4096)
def kind(api_key: int, version: int, direction: Direction) -> Kind:
    """The kind of any message, of APIs and versions that the table does not know too."""
    api = table.api(api_key)
    if api is None:
        return Kind(api_key, version, f"ApiKey_{api_key}", True, False, None, None, None)
    return Kind(
        api_key,
        version,
        api.name,
        api.has_client_id(version),
        api.header_tags(version, direction),
        table.layout(api_key, version, direction),
        plan(api_key, version, direction),
        credentials.fields(api_key, direction),
    )


def reply_kind(api_key: int, version: int, data: bytes) -> Kind:
    """The kind of the reply `data` to a request of that version.

    A broker that does not know a version of ApiVersions answers in the format of version 0 (KIP-511).
    """
    if api_key == table.API_VERSIONS and data[8:10] == _UNSUPPORTED_VERSION:
        version = 0
    return kind(api_key, version, "response")
