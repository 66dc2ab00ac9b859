"""What a command's reply says went wrong: the command itself, single writes of it, or their write concern.

The failure of a reply is the command's own, else its first write's, else its write concern's. All read what is
visible of a cut document; a code that was cut away is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from probes.protocols.interface import ProtocolError
from probes.protocols.mongodb.documents import (
    ARRAY,
    DOCUMENT,
    NUMERIC,
    Document,
    Element,
    Fields,
    elements,
    find_fields,
)
from probes.protocols.mongodb.errors import failure_of
from probes.records import Failure

FIELDS = frozenset({b"ok", b"errmsg", b"code", b"codeName", b"writeErrors", b"writeConcernError"})
FIELDS_ELSEWHERE = frozenset({b"err", b"nErrors", b"cursor"})
OF_ERRORS = frozenset({b"writeErrors", b"writeConcernError", b"nErrors", b"cursor"})
"""Where a reply tells of failures beside the command's own."""

_MAX_ERRORS = 1024  # of one reply


class WriteError(NamedTuple):
    """A write that failed, by its place in the request. What is None was cut away."""

    place: int | None
    code: int | None
    message: str


def read_ok(document: Document, fields: Fields) -> bool | None:
    """A reply's `ok`, from its end where it was cut before it; None where it is not to be seen."""
    ok = fields.truth(b"ok")
    if ok is None and not fields.complete:
        element = document.find_at_end(b"ok", NUMERIC)
        return element.truth() if element is not None else None
    return ok


def read_failure(document: Document, fields: Fields, ok: bool | None) -> Failure | None:
    """The failure that a reply with these fields tells of."""
    code = fields.integer(b"code")
    message = fields.text(b"errmsg")
    if ok is False or (ok is None and code is not None and message is not None):
        if code is None and not fields.complete:
            element = document.find_at_end(b"code", NUMERIC)
            code = element.integer() if element is not None else None
        return failure_of(code or 0, message or "", fields.text(b"codeName") or "")
    for error in write_errors(document, fields.get(b"writeErrors")):
        return failure_of(error.code or 0, error.message)
    return _status(document, fields.get(b"writeConcernError"))


def read_failure_elsewhere(document: Document) -> Failure | None:
    """What getLastError says of an earlier write, and bulkWrite of its own."""
    fields = find_fields(document, FIELDS | FIELDS_ELSEWHERE)
    if fields.text(b"err") is not None:
        return status_of(fields, b"err")
    if not fields.integer(b"nErrors"):
        return None
    for error in bulk_errors(document, fields.get(b"cursor")):
        return failure_of(error.code or 0, error.message)
    return failure_of(0)


def status_of(fields: Fields, text: bytes) -> Failure:
    """The failure that {code, codeName} and a text say."""
    return failure_of(fields.integer(b"code") or 0, fields.text(text) or "", fields.text(b"codeName") or "")


def write_errors(document: Document, element: Element | None) -> Iterator[WriteError]:
    """The entries of `writeErrors`, which `element` is: {index, code, errmsg}."""
    yield from _entries(document, element, b"index", failed_only=False)


def bulk_errors(document: Document, element: Element | None) -> Iterator[WriteError]:
    """The failed writes among a bulkWrite's results: {ok, idx, code, errmsg} in the batch of its cursor."""
    cursor = document.nested(element)
    if cursor is not None:
        batch = find_fields(cursor, {b"firstBatch"}).get(b"firstBatch")
        yield from _entries(cursor, batch, b"idx", failed_only=True)


def all_errors(document: Document, fields: Fields) -> list[WriteError | Failure]:
    """Every failed write and the write concern's failure, of which the code is visible. `fields` are `OF_ERRORS`."""
    errors: list[WriteError | Failure] = [
        error for error in write_errors(document, fields.get(b"writeErrors")) if error.code is not None
    ]
    if b"nErrors" in fields:
        errors += [error for error in bulk_errors(document, fields.get(b"cursor")) if error.code is not None]
    concern = _status(document, fields.get(b"writeConcernError"))
    if concern is not None and concern.code:
        errors.append(concern)
    return errors


def _entries(document: Document, element: Element | None, index: bytes, *, failed_only: bool) -> Iterator[WriteError]:
    array = document.nested(element) if element is not None and element.type == ARRAY else None
    if array is None:
        return
    try:
        for item in islice(elements(array), _MAX_ERRORS):
            entry = array.nested(item)
            if entry is None:
                continue
            fields = find_fields(entry, {b"ok", index, b"code", b"errmsg"})
            if failed_only and fields.truth(b"ok") is not False:
                continue
            yield WriteError(fields.integer(index), fields.integer(b"code"), fields.text(b"errmsg") or "")
    except ProtocolError:
        return


def _status(document: Document, element: Element | None) -> Failure | None:
    """A document {code, codeName, errmsg} as a failure."""
    status = document.nested(element) if element is not None and element.type == DOCUMENT else None
    return None if status is None else status_of(find_fields(status, FIELDS), b"errmsg")
