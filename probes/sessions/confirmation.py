"""Does a connection speak a protocol, and which direction asks? Decided from its first few heads.

One plausible header is not enough (other traffic has been taken for Kafka by it). What confirms a connection is a
reply with the id of a request, or two plausible requests in a row, or, for a protocol that says so
(`confirms_alone`), one request that was read whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from probes.protocols.interface import ProtocolError, WireProtocol
from probes.records import Connection, Head, Request, Verdict


def requests_outbound(protocol: WireProtocol, connection: Connection, heads: Sequence[Head]) -> bool | None:
    """Whether requests go out (True) or come in (False); None as long as nothing confirms the connection."""
    verdicts = [protocol.identify(head.data, head.total) for head in heads]
    asking = [
        [verdict for head, verdict in zip(heads, verdicts, strict=True) if head.outbound is outbound]
        for outbound in (False, True)
    ]
    for outbound in (True, False):
        there, back = asking[outbound], asking[not outbound]
        if Verdict.REQUEST not in there:
            continue
        requests = [
            _request(protocol, connection, head)
            for head, verdict in zip(heads, verdicts, strict=True)
            if head.outbound is outbound and verdict is Verdict.REQUEST
        ]
        ids = {request.id for request in requests if request is not None and request.expects_reply}
        if any(_answers(protocol, head, ids) for head in heads if head.outbound is not outbound):
            return outbound
        if Verdict.REQUEST in back:
            continue  # both directions look like requests: only a pair can tell
        if there[-2:] == [Verdict.REQUEST] * 2 and None not in requests[-2:]:
            return outbound
        if getattr(protocol, "confirms_alone", False) and any(map(_whole, requests)):
            return outbound
    return None


def lone_request(protocol: WireProtocol, connection: Connection, head: Head) -> Request | None:
    """The request that the only message of a connection is, where it is one from its first to its last byte.

    Nothing is confirmed by it, and it is no more than likely: for what would otherwise not be shown at all.
    """
    if protocol.identify(head.data, head.total) is not Verdict.REQUEST:
        return None
    request = _request(protocol, connection, head)
    return request if _whole(request) and request is not None and request.expects_reply else None


def _request(protocol: WireProtocol, connection: Connection, head: Head) -> Request | None:
    try:
        return protocol.request(head, protocol.memory(connection))
    except ProtocolError:
        return None


def _answers(protocol: WireProtocol, head: Head, ids: set[int]) -> bool:
    try:
        return protocol.reply_to(head) in ids
    except ProtocolError:
        return False


def _whole(request: Request | None) -> bool:
    return request is not None and bool(request.operation) and not request.truncated
