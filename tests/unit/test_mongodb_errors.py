"""The table of the server's error codes."""

import pytest

from probes.protocols.mongodb.errors import code_name, failure_of
from probes.records import Fault


@pytest.mark.parametrize(
    ("code", "name", "fault"),
    [
        (11000, "DuplicateKey", Fault.CLIENT),
        (13, "Unauthorized", Fault.CLIENT),
        (26, "NamespaceNotFound", Fault.CLIENT),
        (121, "DocumentValidationFailure", Fault.CLIENT),
        (43, "CursorNotFound", Fault.CLIENT),
        (1, "InternalError", Fault.SERVER),
        (50, "MaxTimeMSExpired", Fault.SERVER),
        (91, "ShutdownInProgress", Fault.SERVER),
        (112, "WriteConflict", Fault.SERVER),
        (189, "PrimarySteppedDown", Fault.SERVER),
        (10107, "NotWritablePrimary", Fault.SERVER),
        (11601, "Interrupted", Fault.SERVER),
        (13435, "NotPrimaryNoSecondaryOk", Fault.SERVER),
        (40415, "IDLUnknownField", Fault.CLIENT),
        (51024, "Location51024", Fault.CLIENT),
        (0, "", Fault.SERVER),
    ],
)
def test_the_codes(code: int, name: str, fault: Fault) -> None:
    assert code_name(code) == name
    failure = failure_of(code)
    assert (failure.code, failure.name, failure.fault) == (code, name, fault)
