"""What stands beside a command's content: session, transaction, concerns, limits; labels of errors; checksums."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Int64

from probes.protocols.mongodb.checksums import crc32c, is_intact
from probes.protocols.mongodb.options import Transaction, transaction_of
from tests.unit.mongodb_messages import (
    LSID,
    answer,
    command,
    compressed,
    head,
    kind0,
    message,
    op_msg,
    op_query,
    record_of,
    reply_of,
    request_of,
)
from tests.unit.test_mongodb_hostile import HOSTILE, MESSAGES

IN_TRANSACTION = {"lsid": LSID, "txnNumber": Int64(3), "startTransaction": True, "autocommit": False, "$db": "shop"}
SESSION = bytes(range(16))
FIND = {"find": "orders", "filter": {}}


def told(document: dict[str, Any], *, literals: bool = False) -> dict[str, Any]:
    return record_of(request_of(command({**FIND, **document, "$db": "shop"})), literals=literals)


def test_the_place_in_a_transaction() -> None:
    first = {**FIND, **IN_TRANSACTION}
    later = {key: value for key, value in first.items() if key != "startTransaction"}
    retryable = {**FIND, "lsid": LSID, "txnNumber": Int64(4), "$db": "shop"}
    assert transaction_of(command(first)) == Transaction(SESSION, 3, inside=True, starts=True)
    assert transaction_of(compressed(command(later), 2)) == Transaction(SESSION, 3, inside=True, starts=False)
    assert transaction_of(command(retryable)) == Transaction(SESSION, 4, inside=False, starts=False)
    assert transaction_of(command({**FIND, "lsid": LSID})) == Transaction(SESSION, None, inside=False, starts=False)
    assert transaction_of(op_query("shop.$cmd", {"$query": retryable})) == Transaction(
        SESSION, 4, inside=False, starts=False
    )
    record = record_of(request_of(command(first)))
    assert (record["session"], record["txn_number"], record["in_transaction"]) == (SESSION.hex(), 3, True)
    assert "in_transaction" not in record_of(request_of(command(retryable)))


@pytest.mark.parametrize(
    "data", [b"", bytes(30), command(FIND), command({**FIND, "lsid": {"id": "x"}}), *MESSAGES, *HOSTILE.values()]
)
def test_no_transaction_to_be_seen(data: bytes) -> None:
    transaction = transaction_of(data)
    assert transaction is None or len(transaction.session) == 16


def test_options() -> None:
    options = {
        "readConcern": {"level": "majority", "afterClusterTime": bson.Timestamp(1, 2)},
        "writeConcern": {"w": "majority", "j": True, "wtimeout": 500},
        "$readPreference": {"mode": "secondaryPreferred"},
        "maxTimeMS": 250,
        "hint": {"a": 1, "b": -1},
        "comment": "from the billing job",
    }
    expected = {
        "read_concern": "majority",
        "write_concern": {"w": "majority", "j": True, "wtimeout": 500},
        "read_preference": "secondaryPreferred",
        "max_time_ms": 250,
        "hint": "a_1_b_-1",
    }
    record = told(options)
    assert {name: record[name] for name in expected} == expected
    assert "comment" not in record
    assert told(options, literals=True)["comment"] == "from the billing job"
    assert told({"hint": "a_1", "writeConcern": {"w": 0}}) | {"hint": "a_1", "write_concern": {"w": 0}} == told(
        {"hint": "a_1", "writeConcern": {"w": 0}}
    )
    assert not {*expected, "session"} & told({}).keys()
    legacy = record_of(
        request_of(message(2010, b"shop\0count\0" + bson.encode({}) + bson.encode({"count": "c", "maxTimeMS": 5})))
    )
    assert legacy["max_time_ms"] == 5


def test_a_cut_request_has_the_options_that_were_seen() -> None:
    data = command({"insert": "orders", "maxTimeMS": 9, "documents": [{"x": "y" * 2000}], "hint": "a_1", "$db": "shop"})
    record = record_of(request_of(head(data, 500)))
    assert record["max_time_ms"] == 9
    assert "hint" not in record


def test_error_labels() -> None:
    failed = {
        "ok": 0.0,
        "code": 112,
        "codeName": "WriteConflict",
        "errmsg": "x",
        "errorLabels": ["TransientTransactionError"],
    }
    request = request_of(command({**FIND, **IN_TRANSACTION}))
    for data in (answer(failed), compressed(answer(failed), 2)):
        assert record_of(request, reply_of(data, request))["error_labels"] == ["TransientTransactionError"]
    assert "error_labels" not in record_of(request, reply_of(answer({"ok": 1.0}), request))


def test_the_checksum_is_that_of_the_specification() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


def test_a_wrong_checksum_is_told_where_the_message_is_whole() -> None:
    asked = op_msg(kind0({**FIND, "$db": "shop"}), flags=1)
    answered = answer({"cursor": {"firstBatch": [{"x": 1}], "id": Int64(0)}, "ok": 1.0}, flags=1)
    assert is_intact(asked)
    request = request_of(asked)
    assert "wrong_checksums" not in record_of(request, reply_of(answered, request))
    damaged = asked[:-1] + bytes([asked[-1] ^ 1])
    bad = request_of(damaged)
    assert record_of(bad, reply_of(answered, bad))["wrong_checksums"] == ["request"]
    flipped = answered.replace(b"\x10x\0\1", b"\x10x\0\2")
    assert record_of(request, reply_of(flipped, request))["wrong_checksums"] == ["response"]
    assert "wrong_checksums" not in record_of(request_of(head(damaged, len(damaged) - 4)))
    secret = op_msg(kind0({"saslStart": 1, "payload": b"secret", "$db": "shop"}), flags=1)
    assert "wrong_checksums" not in record_of(request_of(secret))
