"""Follows both directions of a connection message by message, wherever its chunks were cut, and keeps their heads.

In: chunks, each the bytes of one buffer of a system call or of one segment of a reassembled TCP stream, and how many
bytes of it were not captured. Out: one `Head` per message, once its last byte went by. Whatever the bytes are, nothing
is raised, work is linear in them and memory is bounded.

Both protocols begin each message with its length, so a direction stays in step by lengths alone, and payload is never
looked at. Where it is out of step (a start in mid-stream, bytes lost, a length that cannot be), a message is looked for
only where a chunk begins, for that is where writers put them.

probes/kernel/program/framing.h does the same in the kernel; tests/framing holds both to one corpus of streams. The
kernel alone gives up on a call of more than some 720 messages: what follows in that call is a gap. And it has no
`Skim`, which says what of a Kafka reply is to be kept behind its head (there a broker's sendfile shows where records
end): such a reply has windows, or where records end within its head, a longer head.
"""

from __future__ import annotations

from collections.abc import Generator

from probes.records import Framing, Head
from probes.scope import Skim
from probes.sources.assembly import MOST_WINDOWS, Assembly

PEEK = 64  # bytes that are looked at where a header is due
PRE_READ = 64  # bytes of a message's beginning that count as nothing where the rest is lost
TAIL = 512  # bytes of a cut message's end that are kept
WINDOW = 256  # bytes that are kept after a stretch that was not captured, or that a `Skim` steps over
COMPRESSED_HEAD = 16384
STRANGE_CHUNKS = 256  # chunks that make no sense before a connection is ignored

MONGODB, KAFKA = "mongodb", "kafka"
MONGODB_LONGEST = 48_000_000  # MaxMessageSizeBytes
KAFKA_LONGEST, KAFKA_LONGEST_STRICT = 1 << 30, 200_000_000
KAFKA_TRUSTED = 1 << 24  # a length up to this needs no other sign, in step
CORRELATIONS = 4096  # how far behind the last request a reply may be

OP_COMPRESSED, OP_MSG = 2012, 2013
OPCODES = frozenset({1, 1000, *range(2001, 2008), 2010, 2011, OP_COMPRESSED, OP_MSG})
SASL_HANDSHAKE = 17
NO_CLIENT_ID = (b"\0\0", b"\xff\xff")

IMPLAUSIBLE, UNDECIDED = 0, 1  # verdicts on a header, below any message's length


def mongodb_length(header: bytes, *, strict: bool) -> int:
    """The length of the message that begins with `header`, IMPLAUSIBLE, or UNDECIDED where more bytes are needed.

    MsgHeader: messageLength, requestID, responseTo, opCode; int32 little-endian, the length counts itself.
    """
    if len(header) < 4:
        return UNDECIDED
    length = int.from_bytes(header[:4], "little")
    if not 16 <= length <= MONGODB_LONGEST:
        return IMPLAUSIBLE
    if len(header) < 16:
        return UNDECIDED
    opcode = int.from_bytes(header[12:16], "little")
    if opcode not in OPCODES:
        return IMPLAUSIBLE
    if strict and opcode == OP_MSG:
        if length < 26:
            return IMPLAUSIBLE
        if len(header) < 21:
            return UNDECIDED
        if header[16] & ~3 or header[17] or header[20] > 2:  # unknown required flag bits, section kind
            return IMPLAUSIBLE
    return length


def kafka_request_length(header: bytes, *, strict: bool, sasl: bool = False) -> int:
    """The same for a Kafka request: length, api_key, api_version, correlation_id, client_id; big-endian.

    The length does not count itself. `sasl`: a token without header may take a request's place (KIP-43).
    """
    if len(header) < 4:
        return UNDECIDED
    length = int.from_bytes(header[:4], "big")
    if length > KAFKA_LONGEST:
        return IMPLAUSIBLE
    if sasl and not strict and length <= KAFKA_TRUSTED:
        return length + 4
    if length < 8:
        return IMPLAUSIBLE
    if len(header) < 8:
        return UNDECIDED
    if header[4] or header[5] > 127 or header[6] or header[7] > 63:  # api_key, api_version
        return IMPLAUSIBLE
    if not strict:
        return length + 4 if len(header) >= 12 else UNDECIDED  # its correlation_id has to be seen
    if not 10 <= length <= KAFKA_LONGEST_STRICT:
        return IMPLAUSIBLE
    if len(header) < 14:
        return UNDECIDED
    if header[8] & 0x80:  # correlation_id
        return IMPLAUSIBLE
    client_id = int.from_bytes(header[12:14], "big", signed=True)
    if client_id != -1 and not 0 <= client_id <= min(255, length - 10):
        return IMPLAUSIBLE
    if client_id > 0:
        if len(header) < 15:
            return UNDECIDED
        if header[14] < 0x20 or header[14] == 0x7F:
            return IMPLAUSIBLE
    return length + 4


def kafka_reply_length(header: bytes, *, strict: bool, correlation: int) -> int:
    """The same for a Kafka reply: length, correlation_id. Where `strict` or long, it has to answer a recent request."""
    if len(header) < 4:
        return UNDECIDED
    length = int.from_bytes(header[:4], "big")
    if length > KAFKA_LONGEST:
        return IMPLAUSIBLE
    if not strict and length <= KAFKA_TRUSTED:
        return length + 4
    if length < 4:
        return IMPLAUSIBLE
    if len(header) < 8:
        return UNDECIDED
    behind = (correlation - int.from_bytes(header[4:8], "big")) & 0xFFFFFFFF
    return length + 4 if behind < CORRELATIONS else IMPLAUSIBLE


class ConnectionFraming:
    """The framing of one connection.

    `protocol` is "" until a plausible header told it; a connection that shows none for long is `ignored`, and `tls`
    says whether it looked encrypted. `resynchronised` counts how often a direction fell out of step.
    """

    def __init__(
        self,
        *,
        young: bool,
        head_bytes: int = 1024,
        protocols: tuple[str, ...] = (),
        skim: Skim | None = None,
    ) -> None:
        """`young`: seen from its first byte. `head_bytes` are kept of each message, of Kafka's replies also what `skim`
        says; `protocols` limits the labels."""
        self.protocol = ""
        self.ignored = False
        self.resynchronised = 0
        self._young = young  # until something made no sense
        self._head_bytes = head_bytes
        self._protocols = protocols or (MONGODB, KAFKA)
        self._skim = skim
        self._strange = 0  # chunks that began with nothing plausible, while there is no label
        self._tls_records = 0
        self._sasl = False  # Kafka: frames without header may come
        self._correlation = 0  # Kafka: of the last request
        self._streams = _Stream(False), _Stream(True)

    @property
    def tls(self) -> bool:
        return self._tls_records > self._strange // 2

    def whole(self, outbound: bool) -> int:
        """How many messages of a direction have gone by whole."""
        stream = self._streams[outbound]
        return stream.number - bool(stream.total)

    def feed(
        self, outbound: bool, chunk: bytes, ns: int, *, length: int | None = None, first_ns: int | None = None
    ) -> list[Head]:
        """The messages that end within this chunk, which went by from `first_ns` (none: `ns`) to `ns`.

        `length` is its size on the wire: more than `len(chunk)` where its end was not captured (b"": none of it).
        """
        stream = self._streams[outbound]
        heads: list[Head] = []
        captured, end = len(chunk), max(len(chunk), length or 0)
        at = 0
        while at < end and not self.ignored:
            if stream.total:
                size = min(stream.total - stream.done, (captured if at < captured else end) - at)
                if at < captured:
                    stream.keep(chunk, at, size)
                else:
                    stream.skip(size)
                at += size
                if stream.done == stream.total:
                    heads.append(stream.end(ns))
            elif at < captured:
                at = self._begin(stream, chunk, at, ns if first_ns is None else first_ns)
                if stream.total and stream.cut is not None:
                    heads.append(stream.cut)
                    stream.cut = None
            else:  # headers were in there
                self._lose_step(stream)
                at = end
        return heads

    def gap(self, outbound: bool) -> None:
        """Bytes were lost here, nobody knows how many.

        The message in which that happened comes out as far as it was seen, when the next one of its direction begins.
        """
        self._lose_step(self._streams[outbound])

    def _begin(self, stream: _Stream, chunk: bytes, at: int, first_ns: int) -> int:
        """A header is due, of which some bytes may be held: decides what begins here. Where in the chunk to go on."""
        held = len(stream.held)
        if not held:
            stream.first_ns = first_ns
        header = stream.held + chunk[at : at + PEEK - held]
        labelled = bool(self.protocol)
        length = self._length(stream, header, held + len(chunk) - at)
        if length == UNDECIDED:
            stream.held = header
            return len(chunk)  # no verdict needs PEEK bytes, so the chunk ends here
        if length == IMPLAUSIBLE or length < held:
            return self._find_strange(stream, header, chunk, at)
        if self.protocol == KAFKA and stream.requests:
            self._note_request(header, replies=self._streams[not stream.outbound], first_of_all=not labelled)
        compressed = self.protocol == MONGODB and int.from_bytes(header[12:16], "little") == OP_COMPRESSED
        skim = self._skim if self.protocol == KAFKA and not stream.requests else None
        stream.begin(length, COMPRESSED_HEAD if compressed else self._head_bytes, skim)
        return at

    def _length(self, stream: _Stream, header: bytes, available: int) -> int:
        """The verdict on a header that begins `available` bytes. Labels the connection where there is no label yet."""
        strict = not stream.synced
        if self.protocol == MONGODB:
            return mongodb_length(header, strict=strict)
        if self.protocol == KAFKA and stream.requests:
            return kafka_request_length(header, strict=strict, sasl=self._sasl)
        length = IMPLAUSIBLE
        if self.protocol == KAFKA:
            length = kafka_reply_length(header, strict=strict, correlation=self._correlation)
            if length != IMPLAUSIBLE or stream.number:
                return length
            # No reply was seen here yet. In mid-stream the label may have come from a reply that looks like a request,
            # as those to correlation ids below 64 do: a real request tells.
        elif MONGODB in self._protocols:
            length = mongodb_length(header, strict=True)
            if length > UNDECIDED:
                self.protocol = MONGODB
                return length
        request = kafka_request_length(header, strict=True) if KAFKA in self._protocols else IMPLAUSIBLE
        if request > UNDECIDED and not self._young and header[12:14] in NO_CLIENT_ID and request != available:
            request = IMPLAUSIBLE  # zeros are everywhere: in mid-stream they alone make no request
        if request > UNDECIDED:
            self._take_for_requests(stream)
        return max(length, request)  # undecided if one of them is

    def _take_for_requests(self, stream: _Stream) -> None:
        self.protocol = KAFKA
        stream.requests = True
        replies = self._streams[not stream.outbound]
        if replies.requests:
            replies.requests = replies.synced = False  # it never was in step
            self._lose_step(replies)

    def _note_request(self, header: bytes, *, replies: _Stream, first_of_all: bool) -> None:
        if len(header) >= 12:  # all but SASL tokens
            self._correlation = int.from_bytes(header[8:12], "big")
            if header[5] == SASL_HANDSHAKE and not header[7]:  # version 0: tokens without header follow
                self._sasl = True
            if self._skim is not None:
                self._skim.request(header)
        if first_of_all and self._young and not replies.held:
            replies.synced = True  # the next bytes there are the first reply

    def _find_strange(self, stream: _Stream, header: bytes, chunk: bytes, at: int) -> int:
        """Nothing plausible begins here, but something may at a later one of the held bytes, or with the next chunk."""
        held = stream.held
        self._lose_step(stream)
        if not self.protocol:
            self._tls_records += 0x14 <= header[0] <= 0x17 and header[1] == 3
            self._strange += not held
            self.ignored = self._strange > STRANGE_CHUNKS
        stream.held = held[1:]
        return at if held else len(chunk)

    def _lose_step(self, stream: _Stream) -> None:
        self.resynchronised += stream.synced
        self._young = False
        stream.lose()


class _Stream:
    """One direction."""

    def __init__(self, outbound: bool) -> None:
        self.outbound = outbound
        self.number = 0  # messages begun
        self.requests = False  # Kafka: this direction carries the requests
        self.synced = False  # a message begins where the last one ended
        self.held = b""  # of a header that is still too short to tell
        self.first_ns = 0  # first byte of the current message
        self.total = 0  # its length, 0 while its header is due
        self.done = 0  # bytes of it that went by
        self.cut: Head | None = None  # the last message, where its end was lost
        self._from = self._keep = 0  # bytes are kept while _from <= done < _keep
        self._skim: Skim | None = None  # as long as all that it said is to be kept was there
        self._places: Generator[int, bytes, None] | None = None  # what it says of the current message
        self._pieces = 0  # that it was shown
        self._tail = b""
        self._skipped = False
        self._assembly = Assembly(0, 0, 0, b"")

    def begin(self, total: int, keep: int, skim: Skim | None = None) -> None:
        self._assembly = Assembly(self.number, self.first_ns, total, self.held)
        self._from, self._keep = 0, keep
        self._skim, self._places, self._pieces = skim, None, 0
        self._tail = b""
        self._skipped = False
        self.number += 1
        self.total = total
        self.done = len(self.held)
        self.held = b""
        self.synced = True

    def keep(self, chunk: bytes, at: int, size: int) -> None:
        """`size` bytes of the current message, at `at` in the chunk, go by."""
        done, end, start = self.done, self.done + size, at - self.done
        while True:
            first, last = max(done, self._from), min(end, self._keep)
            if first < last:
                self._assembly.add(self.number - 1, first, chunk[start + first : start + last])
                at = start + last
            if last < self._keep or self._skim is None or not self._look_on(self._skim):
                break
        self.done = end
        if end == self.total:
            self._tail = chunk[max(at, start + end - TAIL) : start + end]

    def skip(self, size: int) -> None:
        """`size` bytes of it go by unseen."""
        self.done += size
        self._skipped = True
        if self.done > self._from:  # some of them were to be kept
            self._keep = max(self._keep, self.done + WINDOW)
            self._skim = None

    def _look_on(self, skim: Skim) -> bool:
        """A piece was kept up to its end: whether another one is to be."""
        piece = self._assembly.last[self._from - self._keep :]
        try:
            if self._places is None:
                self._places = skim.reply(piece)
                place = next(self._places)
            else:
                place = self._places.send(piece)
        except StopIteration:
            place = self.total
        self._pieces += 1
        if place >= self.total or self._pieces > MOST_WINDOWS:
            self._skim = None
            return False
        self._from, self._keep = place, place + WINDOW
        return True

    def end(self, last_ns: int) -> Head:
        """The current message's head; the next message is due."""
        self.total = self.done = 0
        return self._assembly.head(self.outbound, last_ns, self._tail, Framing.MESSAGE)

    def lose(self) -> None:
        """The current message will not end, and where the next one begins is not known."""
        if self.total and (self._skipped or self.done > PRE_READ):
            self.cut = self.end(0)
        self.total = self.done = 0
        self.held = b""
        self.synced = False
