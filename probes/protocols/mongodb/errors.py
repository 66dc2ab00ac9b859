"""The server's error codes: their names, and whose fault they are.

`error_codes.csv` has the codes of MongoDB's own table (`error_codes.yml` of 2025, and what older releases had beyond
it). The fault is our judgement: `client` where the request cannot succeed as it was sent, else `server`.
"""

from __future__ import annotations

import csv
from importlib import resources

from probes.records import Failure, Fault

CURSOR_NOT_FOUND_CODE = 43


def _load() -> dict[int, tuple[str, Fault]]:
    table = resources.files("probes.protocols.mongodb").joinpath("error_codes.csv").read_text(encoding="ascii")
    return {int(row["code"]): (row["name"], Fault(row["fault"])) for row in csv.DictReader(table.splitlines())}


_CODES = _load()


def code_name(code: int) -> str:
    """The name of `code`; as the server does it, "Location" and the code for one without a name; "" for 0."""
    known = _CODES.get(code)
    return known[0] if known else f"Location{code}" if code else ""


def failure_of(code: int, message: str = "", name: str = "") -> Failure:
    """A failure with `code` (0: unknown), the server's own `name` of it where it was sent."""
    known = _CODES.get(code)
    # A code without a name is the number of a check in the server's source, nearly always one of what was sent.
    fault = known[1] if known else Fault.CLIENT if code else Fault.SERVER
    return Failure(code, name or code_name(code), message, fault)
