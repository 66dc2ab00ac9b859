"""Where messages carry credentials, and how a head is freed of them before it leaves the parser.

In: a head. Out: bytes of the same length with the credentials overwritten; only the message's header where their place
is not certain (an unknown API or version, a body that contradicts its layout). Raises nothing.
"""

from __future__ import annotations

from probes.protocols.kafka.table import Direction, Layout, api
from probes.protocols.kafka.walk import Ending, walk

COVER = b"*"

# The fields, by api_key and direction. Values of configurations are covered whatever their names: custom ones (of
# plugins, of JAAS) do not tell by their name that they are secret.
_FIELDS: dict[tuple[int, Direction], frozenset[str]] = {
    (33, "request"): frozenset({"value"}),  # AlterConfigs
    (36, "request"): frozenset({"auth_bytes"}),  # SaslAuthenticate
    (36, "response"): frozenset({"auth_bytes"}),
    (38, "response"): frozenset({"hmac"}),  # CreateDelegationToken
    (39, "request"): frozenset({"hmac"}),  # RenewDelegationToken
    (40, "request"): frozenset({"hmac"}),  # ExpireDelegationToken
    (41, "response"): frozenset({"hmac"}),  # DescribeDelegationToken
    (44, "request"): frozenset({"value"}),  # IncrementalAlterConfigs
    (51, "request"): frozenset({"salt", "salted_password"}),  # AlterUserScramCredentials
    # Envelope: a whole message, of any kind, that a broker passes on to the controller
    (58, "request"): frozenset({"request_data", "request_principal"}),
    (58, "response"): frozenset({"response_data"}),
    # FetchSnapshot: the cluster's metadata, which hold SCRAM credentials and the brokers' passwords
    (59, "response"): frozenset({"unaligned_records"}),
}

METADATA_TOPIC = "__cluster_metadata"
METADATA_TOPIC_ID = bytes(15) + b"\x01"
METADATA_FIELDS = frozenset({"records"})
"""What to cover of a Fetch reply that concerns the cluster's metadata topic."""


def fields(api_key: int, direction: Direction) -> frozenset[str] | None:
    """The names of the fields to cover; empty where there are none, None where nobody can know."""
    if api(api_key) is None:
        return None
    return _FIELDS.get((api_key, direction), frozenset())


def cover(layout: Layout, names: frozenset[str], data: bytes, body: int, total: int, *, header_tags: bool) -> bytes:
    """The head `data` with the fields `names` of its body, at `body` (`header_tags`: after those), overwritten."""
    read = walk(layout, data, body, total, wanted=names, header_tags=header_tags)
    certain = read.ending is Ending.CUT or (read.ending is Ending.WHOLE and read.end == total)
    if not certain:
        return data[:body]
    covered = bytearray(data)
    for start, end in read.found:
        end = min(end, len(covered))
        covered[start:end] = COVER * (end - start)
    return bytes(covered)
