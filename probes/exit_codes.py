"""The one list of exit codes (README, "Exit codes"), and the one way to end with a sentence."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How l7top ends. The numbers are part of the contract with scripts and never change their meaning."""

    OK = 0  # also after --for, --count, SIGINT, SIGTERM, and when the reader of stdout has gone
    USAGE = 2  # options, arguments or filter not understood
    PRIVILEGES = 3  # not root, or a capability is missing
    BCC = 4  # the BPF Compiler Collection cannot be imported
    KERNEL = 5  # kernel, tracefs or lockdown do not allow the probes
    SOURCE = 6  # what --from names cannot be read, or is no capture
    DAMAGED = 7  # a capture is cut off or damaged: what comes before was told
    INTERNAL = 70  # a bug of l7top (EX_SOFTWARE)
    OUTPUT = 74  # stdout, or a recording, cannot be written (EX_IOERR)
    INTERRUPTED = 130  # SIGINT before the capture began


class Refusal(Exception):  # noqa: N818 - the answer to a request, not a fault of the tool
    """What was asked for cannot be done.

    `message` is one sentence, with the command that mends it where there is one.
    """

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
