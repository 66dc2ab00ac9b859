"""Rows and cells read by column: what they are grouped by, and which of them fit a condition.

Rows of the log and cells have the columns of `layout.CELL` in common, so that everything here reads either. Names are
decided once per name, and looked up by its number for each record: a million rows take some tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from probes.filters import FIELDS, FilterError, Term, matcher
from probes.records import Address
from probes.store.kinds import TABLE_OF, TARGETS_SEPARATOR, error_of, process_of
from probes.store.layout import NO_VERSION, SIDES, STATUSES, Flag, Records
from probes.store.names import NamesReader
from probes.store.tally import Numbers, durations_of
from probes.store.view import GROUP_FIELDS, LOG_FIELDS, Condition, Is, Key, KeyValue

Mask: TypeAlias = NDArray[np.bool_]

_PORTS = 1 << 16


class NotOfCellsError(FilterError):
    """Only the log's rows can say whether this condition holds."""


class Grouping(NamedTuple):
    """To which of `keys` each record belongs."""

    of: Numbers
    keys: list[Key]


def group(records: Records, by: Sequence[str], names: NamesReader) -> Grouping:
    """Records by the fields `by`. Raises ValueError where one does not exist."""
    of: Numbers = np.zeros(len(records), np.int64)
    keys: list[Key] = [()] if len(records) else []
    for field in by:
        present, its_code = _distinct(_codes(field, records))
        values = [_value(field, int(code), names) for code in present]
        number = {value: index for index, value in enumerate(dict.fromkeys(values))}
        index_of_code = np.array([number[value] for value in values], np.int64)
        combined, of = _distinct(of * max(1, len(number)) + index_of_code[its_code])
        distinct = list(number)
        keys = [(*keys[each // len(distinct)], distinct[each % len(distinct)]) for each in combined.tolist()]
    return Grouping(of, keys)


def _distinct(codes: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Which codes there are, ascending, and for each record the index of its own."""
    present = _present(codes)
    if present is None:
        return np.unique(codes, return_inverse=True)
    index = np.zeros(len(present), np.int64)
    found = np.flatnonzero(present)
    index[found] = np.arange(len(found))
    return found, np.take(index, codes)


def _present(codes: NDArray[Any]) -> Mask | None:
    """By code, whether a record has it; None where the codes are too great for a table of them."""
    most = int(codes.max(initial=0))
    return None if most > 4 * len(codes) + _PORTS else np.bincount(codes, minlength=1) > 0


_COLUMN_OF = {
    "protocol": "protocol",
    "operation": "operation",
    "target": "target",
    "shape": "shape",
    "opcode": "opcode",
    "error_name": "error",
    "client": "client_host",
    "application": "application",
    "client_process": "client_process",
    "server_process": "server_process",
}
_TABLE_OF = TABLE_OF | {"shape": "shape"}  # the reader's own
_OF_EITHER_PROCESS = frozenset({"process", "pid", "container"})


def _codes(field: str, records: Records) -> NDArray[Any]:
    """A number for each record; records with the same number have the same value of `field`."""
    if field == "shape" and field not in (records.dtype.names or ()):
        raise _only_of_rows(field)
    if field in _COLUMN_OF:
        return records[_COLUMN_OF[field]]
    if field in _OF_EITHER_PROCESS:
        server, client = records["server_process"], records["client_process"]
        return np.where(server != 0, server, client)
    if field == "version":
        return records["version"].astype(np.int64) - NO_VERSION
    if field == "server":
        addresses: Numbers = records["server_host"].astype(np.int64) * _PORTS + records["server_port"]
        return addresses
    if field == "seen_from":
        return records["side"]
    raise _no_such_field(field)


def _only_of_rows(field: str) -> NotOfCellsError:
    return NotOfCellsError(f"only the log can say which sessions fit {field}")


def _no_such_field(field: str) -> ValueError:
    return ValueError(f"nothing is grouped by {field!r}: the fields are {', '.join((*GROUP_FIELDS, *LOG_FIELDS))}")


def _value(field: str, code: int, names: NamesReader) -> KeyValue:
    """The value of `field` that a number stands for."""
    if field == "version":
        return None if code == 0 else code + NO_VERSION
    if field == "seen_from":
        return str(SIDES[code])
    if field == "server":
        return str(Address(names.text("host", code // _PORTS), code % _PORTS))
    if field in _OF_EITHER_PROCESS:
        text = names.text("process", code)
        process = process_of(text)
        if process is None:
            return None if field == "pid" else text if field == "process" else ""
        return process.name if field == "process" else process.pid if field == "pid" else process.container
    text = names.text(_TABLE_OF[_COLUMN_OF[field]], code)
    if field in ("client_process", "server_process"):
        return process_of(text)
    if field == "error_name":
        return error_name(text)
    return text


def error_name(text: str) -> str:
    """The name of an error, as it is grouped by."""
    failure = error_of(text)
    return text if failure is None else failure.name


def mask(where: Sequence[Condition], records: Records, names: NamesReader) -> Mask:
    """Which records fit all conditions. Raises FilterError; of it NotOfCellsError where only rows could tell."""
    are_rows = "request_first" in (records.dtype.names or ())
    for condition in where:
        _check(condition, are_rows)
    fitting = np.ones(len(records), np.bool_)
    for condition in where:
        if fitting.any():
            fitting &= _is(condition, records, names) if isinstance(condition, Is) else _term(condition, records, names)
    return fitting


def asks_for(field: str, where: Sequence[Condition]) -> bool:
    """Whether one of the conditions is about `field`."""
    return any(condition.field.lower() == field for condition in where)


def _check(condition: Condition, are_rows: bool) -> None:
    """Raises what is wrong with a condition."""
    if isinstance(condition, Is):
        if condition.field not in (*GROUP_FIELDS, *LOG_FIELDS):
            raise _no_such_field(condition.field)
        if condition.field in LOG_FIELDS and not are_rows:
            raise _only_of_rows(condition.field)
        return
    matcher(condition)
    field = condition.field.lower()
    of_rows = field in _OF_ROWS or (field == "client" and _may_name_a_port(condition.value))
    if of_rows and not are_rows:
        raise _only_of_rows(condition.field)


def _is(condition: Is, records: Records, names: NamesReader) -> Mask:
    def equal(code: int) -> bool:
        return _value(condition.field, code, names) == condition.value

    return _decided(equal, _codes(condition.field, records))


def _decided(decide: Callable[[int], bool], codes: NDArray[Any]) -> Mask:
    """What was decided of each record's code, having been asked once for each that there is."""
    codes = np.ascontiguousarray(codes)
    fitting = _present(codes)
    if fitting is None:
        present, its_code = np.unique(codes, return_inverse=True)
        return np.take(np.array([decide(code) for code in present.tolist()], np.bool_), its_code)
    for code in np.flatnonzero(fitting).tolist():
        fitting[code] = decide(code)
    return np.take(fitting, codes)


def _term(term: Term, records: Records, names: NamesReader) -> Mask:
    field, fits = term.field.lower(), matcher(term)
    if field in _TEXTS:
        fitting = _texts(field, fits, records, names)
    elif field in _NUMBERS:
        values, known = _NUMBERS[field](records)
        fitting = known & fits(values)
    elif field in _CHOICES:
        choices, chosen = _CHOICES[field](records)
        fitting = np.array([fits(each) for each in choices], np.bool_)[chosen]
    else:
        fitting = _addresses(field, term.value.casefold(), fits, records, names)
    return ~fitting if term.operator == "!=" else fitting


def _error_values(text: str) -> Sequence[str]:
    failure = error_of(text)
    return () if failure is None else (failure.name, str(failure.code))


def _pid(text: str) -> Sequence[int]:
    process = process_of(text)
    return () if process is None else (process.pid,)


def _process_name(text: str) -> Sequence[str]:
    process = process_of(text)
    return () if process is None else (process.name,)


_PROCESSES = ("client_process", "server_process")

# The columns that hold a field as names, and the values that such a name has.
_TEXTS: dict[str, tuple[Sequence[str], Callable[[str], Sequence[Any]]]] = {
    "protocol": (("protocol",), lambda text: (text,)),
    "operation": (("operation",), lambda text: (text,) if text else ()),
    "target": (("target", "targets"), lambda text: text.split(TARGETS_SEPARATOR) if text else ()),
    "shape": (("shape",), lambda text: (text,) if text else ()),
    "error": (("error",), _error_values),
    "pid": (_PROCESSES, _pid),
    "process": (_PROCESSES, _process_name),
}


def _texts(field: str, fits: Callable[[Any], bool], records: Records, names: NamesReader) -> Mask:
    columns, values = _TEXTS[field]
    fitting = np.zeros(len(records), np.bool_)
    for column in columns:
        if column in (records.dtype.names or ()):
            fitting |= _of_names(lambda text: any(map(fits, values(text))), records, column, names)
    return fitting


def _of_names(decide: Callable[[str], bool], records: Records, column: str, names: NamesReader) -> Mask:
    """What was decided of the name that each record has in a column."""
    table = _TABLE_OF[column]
    return _decided(lambda code: decide(names.text(table, code)), records[column])


def _has(records: Records, flag: Flag) -> Mask:
    return np.asarray(records["flags"] & flag, np.bool_)


def _duration(long_poll: bool) -> Callable[[Records], tuple[NDArray[Any], Mask]]:
    def durations(rows: Records) -> tuple[NDArray[Any], Mask]:
        return durations_of(rows), _has(rows, Flag.REPLIED) & (_has(rows, Flag.LONG_POLL) == long_poll)

    return durations


def _bytes(column: str) -> Callable[[Records], tuple[NDArray[Any], Mask]]:
    def lengths(rows: Records) -> tuple[NDArray[Any], Mask]:
        return rows[column], rows[column] != 0

    return lengths


# A field's values as numbers, and where there are such.
_NUMBERS: dict[str, Callable[[Records], tuple[NDArray[Any], Mask]]] = {
    "version": lambda records: (records["version"], records["version"] != NO_VERSION),
    "duration": _duration(False),
    "wait": _duration(True),
    "request_bytes": _bytes("request_bytes"),
    "response_bytes": _bytes("reply_bytes"),
}


def _truncated(rows: Records) -> tuple[Sequence[str], NDArray[Any]]:
    return _TRUTH, _has(rows, Flag.REQUEST_CUT | Flag.REPLY_CUT).astype(np.intp)


_OF_ROWS = frozenset(
    {"shape", "duration", "wait", "request_bytes", "response_bytes", "truncated"}
)  # fields that cells lack
_TRUTH = ("false", "true")

# The values that a field may have, and the index of each record's.
_CHOICES: dict[str, Callable[[Records], tuple[Sequence[str], NDArray[Any]]]] = {
    "status": lambda records: (STATUSES, records["status"]),
    "seen_from": lambda records: (SIDES, records["side"]),
    "long_poll": lambda records: (_TRUTH, _has(records, Flag.LONG_POLL).astype(np.intp)),
    "truncated": _truncated,
}


def _addresses(field: str, pattern: str, fits: Callable[[Any], bool], records: Records, names: NamesReader) -> Mask:
    """`client` and `server`: a host fits, or a host with its port."""
    host_column, port_column = f"{field}_host", f"{field}_port"
    fitting = _of_names(lambda host: bool(host) and fits(host), records, host_column, names)
    if not _may_name_a_port(pattern):
        return fitting

    def fits_with_port(code: int) -> bool:
        return fits(str(Address(names.text("host", code // _PORTS), code % _PORTS)))

    # Only where the host is part of the pattern may its ports decide.
    any_host = "*" in pattern
    left = ~fitting & _of_names(
        lambda host: bool(host) and (any_host or host.casefold() in pattern), records, host_column, names
    )
    codes = records[host_column][left].astype(np.int64) * _PORTS + records[port_column][left]
    fitting[left] = _decided(fits_with_port, codes)
    return fitting


def _may_name_a_port(pattern: str) -> bool:
    """Whether a host with a port may fit where the host alone does not."""
    if "*" in pattern:
        return ":" in pattern or not pattern.endswith("*")
    try:
        ip_address(pattern)
    except ValueError:
        return ":" in pattern
    return False


assert set(FIELDS) == {*_TEXTS, *_NUMBERS, *_CHOICES, "client", "server"}
