"""Does a connection speak a protocol, and which direction asks? Decided from its first few heads.

One plausible header is not enough (other traffic has been taken for Kafka by it). What confirms a connection is a
reply with the id of a request, or two plausible requests in a row, or, for a protocol that says so
(`confirms_alone`), one request that was read whole. Where the user named a server's port, that says it all.
"""

from __future__ import annotations

from collections.abc import Sequence

from probes.protocols.interface import RAW, Abort, Pass, ProtocolError, WireProtocol
from probes.records import Connection, Head, Request, Verdict


def may_speak(protocol: WireProtocol, connection: Connection) -> bool:
    """Whether the protocol is to be tried, by the connection's label and ports."""
    if connection.protocol not in ("", protocol.framing, protocol.name):
        return False
    return not protocol.ports or connection.near.port in protocol.ports or connection.far.port in protocol.ports


def requests_outbound(
    protocol: WireProtocol, connection: Connection, heads: Sequence[Head], others: Sequence[WireProtocol] = ()
) -> bool | None:
    """Whether requests go out (True) or come in (False); None as long as nothing confirms the connection.

    `others` are the protocols that read what this one passes. Raises what the protocol decides, Abort or ProtocolError.
    """
    verdicts = [protocol.identify(head.data, head.total) for head in heads]
    if protocol.framing == RAW:
        named = any(verdict is not Verdict.FOREIGN for verdict in verdicts)
        return connection.near.port not in protocol.ports if named else None
    asking = [
        [verdict for head, verdict in zip(heads, verdicts, strict=True) if head.outbound is outbound]
        for outbound in (False, True)
    ]
    for outbound in (True, False):
        there, back = asking[outbound], asking[not outbound]
        if Verdict.REQUEST not in there:
            continue
        requests = [
            _request((protocol, *others), connection, head)
            for head, verdict in zip(heads, verdicts, strict=True)
            if head.outbound is outbound and verdict is Verdict.REQUEST
        ]
        ids = {request.id for request in requests if request is not None and request.expects_reply}
        if any(_answers(protocol, connection, head, ids) for head in heads if head.outbound is not outbound):
            return outbound
        if Verdict.REQUEST in back:
            continue  # both directions look like requests: only a pair can tell
        if there[-2:] == [Verdict.REQUEST] * 2 and None not in requests[-2:]:
            return outbound
        if protocol.confirms_alone and any(map(_whole, requests)):
            return outbound
    return None


def lone_request(protocol: WireProtocol, connection: Connection, head: Head) -> Request | None:
    """The request that the only message of a connection is, where it is one from its first to its last byte.

    Nothing is confirmed by it, and it is no more than likely: for what would otherwise not be shown at all.
    """
    if protocol.identify(head.data, head.total) is not Verdict.REQUEST:
        return None
    request = _request((protocol,), connection, head)
    return request if _whole(request) and request is not None and request.expects_reply else None


def _request(protocols: Sequence[WireProtocol], connection: Connection, head: Head) -> Request | None:
    for protocol in protocols:
        try:
            return protocol.request(head, protocol.memory(connection))
        except Pass:
            continue
        except (Abort, ProtocolError):
            break
    return None


def _answers(protocol: WireProtocol, connection: Connection, head: Head, ids: set[int]) -> bool:
    try:
        return protocol.reply_to(head, protocol.memory(connection)) in ids
    except (Pass, Abort, ProtocolError):
        return False


def _whole(request: Request | None) -> bool:
    return request is not None and bool(request.operation) and not request.truncated
