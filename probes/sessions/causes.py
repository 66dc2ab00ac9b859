"""What can become of a message: the names under which the ledger counts it.

Every message that a source showed or knows to have missed is counted under exactly one of them.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    SESSIONS = "sessions"  # is part of a session that was told
    SAMPLED_OUT = "sampled_out"  # likewise, but to spare the host only counted, and not kept
    OTHER_END = "other_end"  # is the other end's view of such a message
    WAITING = "waiting"  # not decided yet (a level, all others are sums)
    DROPPED = "dropped"  # lost on our side, or without its pair because of such a loss
    UNPAIRED = "unpaired"  # a reply whose request was not seen, was evicted, or could not be read
    UNWATCHED = "unwatched"  # a reply to a request older than our view of the connection
    UNPARSED = "unparsed"  # the parser refused it
    PARSER_ERROR = "parser_error"  # the parser broke: a bug, contained
    FOREIGN = "foreign"  # of a connection that was not confirmed to speak a known protocol
    ABORTED = "aborted"  # a plugin asked to tell nothing of it
    SWITCHED_OFF = "switched_off"  # was for a plugin that is switched off
    FILTERED = "filtered"  # of a protocol that is switched off
    EVICTED = "evicted"  # a request that gave way to newer ones: too many waited, or one has its id
    LATE = "late"  # came after its connection was given up
