"""OP_COMPRESSED: every compressor, whole and cut."""

import struct
import sys
import zlib
from random import Random
from string import ascii_letters
from typing import Any

import pytest
from bson import Int64
from hypothesis import example, given
from hypothesis import strategies as st

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb import MongoDB, compression, snappy
from probes.protocols.mongodb.messages import MongoRequest
from probes.records import Verdict
from tests.effort import bytes_held
from tests.unit.mongodb_messages import (
    CLUSTER_TIME,
    LSID,
    answer,
    command,
    compressed,
    head,
    kind0,
    kind1,
    maybe_request,
    op_msg,
    op_query,
    record_of,
    reply_of,
    request_of,
)

SESSION = {"lsid": LSID, "$clusterTime": CLUSTER_TIME, "$db": "shop"}
FIND = command({"find": "orders", "filter": {"a": "b" * 300}, **SESSION})
FAILED = answer({"ok": 0.0, "errmsg": "no", "code": 13, "codeName": "Unauthorized", "x": "y" * 200})


def squeeze(name: str, inner: bytes) -> bytes:
    """`inner` compressed by the compressor `name`."""
    if name == "noop":
        return compressed(inner, 0)
    if name == "zlib":
        return compressed(inner, 2)
    cramjam = pytest.importorskip("cramjam")
    if name == "snappy":
        return compressed(inner, 1, bytes(cramjam.snappy.compress_raw(inner[16:])))
    return compressed(inner, 3, bytes(cramjam.zstd.compress(inner[16:])))


COMPRESSORS = ("noop", "snappy", "zlib", "zstd")


@pytest.mark.parametrize("name", COMPRESSORS)
class TestWhole:
    def test_a_request(self, name: str) -> None:
        data = squeeze(name, FIND)
        request = request_of(data)
        assert (request.id, request.operation, request.target) == (17, "find", "shop.orders")
        assert (request.opcode, request.compressor, request.truncated) == (2013, name, False)
        assert request.data == data
        record = record_of(request, literals=True)
        assert (record["opcode"], record["compressor"]) == (2013, name)
        assert record["request"]["filter"] == {"a": "b" * 300}

    def test_a_reply(self, name: str) -> None:
        data = squeeze(name, FAILED)
        reply = reply_of(data, request_of(FIND))
        assert reply.failure
        assert (reply.failure.code, reply.compressor, reply.opcode, reply.truncated) == (13, name, 2013, False)
        assert MongoDB().reply_to(head(data)) == 17

    def test_other_layouts(self, name: str) -> None:
        sections = op_msg(kind1("documents", [{"a": 1}] * 30), kind0({"insert": "orders", "$db": "shop"}))
        assert request_of(squeeze(name, sections)).target == "shop.orders"
        assert request_of(squeeze(name, op_query("shop.$cmd", {"count": "orders"}))).operation == "count"

    def test_it_is_identified(self, name: str) -> None:
        for inner, verdict in ((FIND, Verdict.REQUEST), (FAILED, Verdict.REPLY)):
            data = squeeze(name, inner)
            for cut in (25, 40, len(data)):
                assert MongoDB().identify(data[:cut], len(data)) is verdict
            assert MongoDB().identify(data[:24], len(data)) is Verdict.FOREIGN

    def test_cut_at_every_length(self, name: str) -> None:
        data = squeeze(name, FIND)
        for cut in range(16, len(data)):
            request = maybe_request(head(data, cut))
            if request is None:
                continue  # the inner message is cut before its command
            assert request.operation in ("find", "compressed")
            assert request.target in ("", "shop.orders")
            assert request.truncated or request.target  # the last bytes may be of no account
            assert request.compressor in ("", name)
            if request.operation == "compressed":
                assert request.data == data[: 25 if cut >= 25 else 16]


def incompressible(size: int) -> str:
    """Text that no compressor makes much shorter, the same each time."""
    random = Random(1)
    return "".join(random.choice(ascii_letters) for _ in range(size))


class TestPrefixes:
    """Of a cut message: whatever can be told is what was sent."""

    DOCUMENTS = tuple({"_id": n, "text": incompressible(n % 90), "same": "abc" * (n % 50)} for n in range(3000))
    INNER = op_msg(kind0({"insert": "orders", "$db": "shop"}), kind1("documents", DOCUMENTS))

    @pytest.mark.parametrize("name", ["zlib", "snappy", "zstd"])
    @pytest.mark.parametrize("inner", [INNER, INNER[:16] + bytes(300_000), INNER[:70], FIND])
    def test_it_is_a_prefix(self, name: str, inner: bytes) -> None:
        sent = squeeze(name, inner)
        compressor = {"snappy": 1, "zlib": 2, "zstd": 3}[name]
        told = 0
        for cut in [*range(25, 200), *range(200, len(sent), 1 + len(sent) // 40), len(sent)]:
            found = compression.inflate(sent[:cut], len(sent), 1, 0)
            assert (found.compressor, found.length) == (name, len(inner))
            if found.data is not None:
                assert inner[16:].startswith(found.data[16:])
                assert len(found.data) <= compression.INFLATE_BYTES + 16
                told += 1
        assert told
        assert compression.COMPRESSORS[compressor] == name

    @pytest.mark.parametrize(("name", "cut"), [("zlib", 1000), ("snappy", 1000), ("zstd", 200_000)])
    def test_the_command_is_seen(self, name: str, cut: int) -> None:
        request = request_of(head(squeeze(name, self.INNER), cut))
        assert (request.operation, request.target, request.truncated) == ("insert", "shop.orders", False)
        assert request.shape == "insert orders {_id: num, same: str, text: str}"

    def test_a_zstd_block_that_is_not_whole_gives_nothing(self) -> None:
        request = request_of(head(squeeze("zstd", self.INNER), 1000))
        assert (request.operation, request.compressor, request.truncated) == ("compressed", "zstd", True)

    @given(st.binary(max_size=600), st.integers(0, 600))
    @example(b"ab" * 300, 20)
    def test_snappy(self, data: bytes, cut: int) -> None:
        cramjam = pytest.importorskip("cramjam")
        sent = bytes(cramjam.snappy.compress_raw(data))
        assert (snappy.prefix(sent, len(data)) or b"") == data
        assert data.startswith(snappy.prefix(sent[:cut], len(data)) or b"")

    @given(st.binary(max_size=300), st.integers(0, 100_000))
    def test_any_bytes(self, data: bytes, size: int) -> None:
        for compressor in (1, 2, 3):
            body = struct.pack("<iiB", 2013, size, compressor)
            for payload in (data, b"\x28\xb5\x2f\xfd" + data, snappy_length(size) + data):
                sent = struct.pack("<iiii", 25 + 10_000, 1, 0, 2012) + body + payload
                found = compression.inflate(sent, len(sent) + 9000, 1, 0)
                assert found.data is None or len(found.data) <= 16 + min(size, compression.INFLATE_BYTES)


def snappy_length(size: int) -> bytes:
    length = b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return length + bytes([size])


def test_the_sizes_are_told() -> None:
    data = squeeze("zlib", FIND)
    request = request_of(data)
    reply = reply_of(squeeze("zlib", FAILED), request)
    record = record_of(request, reply)
    assert record["request_uncompressed_bytes"] == len(FIND)
    assert record["response_uncompressed_bytes"] == len(FAILED)
    assert "request_uncompressed_bytes" not in record_of(request_of(FIND))
    unread = request_of(compressed(FIND, 3, b"no zstd frame"))
    assert record_of(unread)["request_uncompressed_bytes"] == len(FIND)


@pytest.mark.parametrize("name", ["noop", "zlib"])
def test_the_prefix_of_a_long_message_shows_the_command(name: str) -> None:
    many = [{"_id": n, "text": f"{n * 7919 % 104729}" * 5} for n in range(2000)]
    data = squeeze(name, op_msg(kind0({"insert": "orders", "$db": "shop"}), kind1("documents", many)))
    request = request_of(head(data, 1000))
    assert (request.operation, request.target) == ("insert", "shop.orders")


def test_without_the_optional_library(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {name: squeeze(name, FIND) for name in COMPRESSORS}
    monkeypatch.setitem(sys.modules, "cramjam", None)
    monkeypatch.setattr(compression, "_cramjam", compression._import_cramjam())
    request = request_of(data["zstd"])
    assert (request.operation, request.compressor, request.truncated) == ("compressed", "zstd", True)
    assert (request.opcode, request.data) == (2013, data["zstd"][:25])
    assert record_of(request, literals=True)["opcode_name"] == "OP_MSG"
    for name in ("snappy", "zlib"):
        assert request_of(data[name]).operation == "find"


def test_a_compressor_that_is_not_known() -> None:
    data = compressed(FIND, 9)
    request = request_of(data)
    assert (request.operation, request.compressor, request.truncated) == ("compressed", "compressor 9", True)
    assert MongoDB().identify(data, len(data)) is Verdict.FOREIGN


def test_a_reply_that_cannot_be_inflated_is_unknown_but_there() -> None:
    data = compressed(FAILED, 3, b"no zstd frame at all")
    reply = reply_of(data, request_of(FIND))
    assert (reply.failure, reply.truncated, reply.data) == (None, True, data[:25])


@pytest.mark.parametrize("compressor", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 100, 1 << 20, 47_000_000])
@pytest.mark.parametrize("payload", [b"", b"\0", bytes(200), b"\xff" * 300, zlib.compress(bytes(100))])
def test_payloads_that_are_none(compressor: int, size: int, payload: bytes) -> None:
    data = struct.pack("<iiiiiiB", 25 + len(payload), 17, 0, 2012, 2013, size, compressor) + payload
    request = maybe_request(head(data))
    assert request is None or request.operation == "compressed"


class TestBombs:
    """A few bytes that would inflate to more memory than a message may have."""

    SIZE = 200_000_000

    def claim(self, compressor: int, payload: bytes, size: int) -> MongoRequest | None:
        data = struct.pack("<iiiiiiB", 25 + len(payload), 17, 0, 2012, 2013, size, compressor) + payload
        assert bytes_held(lambda: maybe_request(head(data))) < 1 << 20
        return maybe_request(head(data))

    def bombs(self) -> list[tuple[int, bytes]]:
        zeros = bytes(self.SIZE // 50)
        made: list[tuple[int, bytes]] = [(2, zlib.compress(zeros))]
        cramjam: Any = pytest.importorskip("cramjam")
        made.append((1, bytes(cramjam.snappy.compress_raw(zeros))))
        made.append((3, bytes(cramjam.zstd.compress(zeros))))
        return made

    def test_they_are_bounded(self) -> None:
        for compressor, payload in self.bombs():
            for size in (100, 1000, 400_000, self.SIZE // 50, 47_000_000):
                request = self.claim(compressor, payload, size)
                assert request is None or request.operation == "compressed"


def test_nothing_is_compressed_twice() -> None:
    with pytest.raises(ProtocolError):
        request_of(compressed(compressed(FIND, 0), 0))


def test_a_get_more_in_zlib() -> None:
    data = squeeze("zlib", command({"getMore": Int64(9), "collection": "orders", "$db": "shop"}))
    request = request_of(data)
    assert (request.target, request.cursor_id) == ("shop.orders", 9)


def test_head_and_tail_make_a_compressed_message_whole() -> None:
    data = squeeze("zlib", FIND)
    request = request_of(head(data, len(data) - 30, tail=50))
    assert not request.truncated
    assert request.data == data
    assert record_of(request, literals=True)["request"]["filter"] == {"a": "b" * 300}
