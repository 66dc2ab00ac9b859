"""MongoDB: from the heads of messages to requests, replies and their records. `protocol` is the way in."""

from probes.protocols.mongodb.literals import strip_literals
from probes.protocols.mongodb.protocol import MongoDB

__all__ = ["MongoDB", "strip_literals"]
