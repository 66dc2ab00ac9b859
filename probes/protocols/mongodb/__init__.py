"""MongoDB: from the heads of messages to requests, replies and their records. `protocol` is the way in."""

from probes.protocols.mongodb.protocol import MongoDB

__all__ = ["MongoDB"]
