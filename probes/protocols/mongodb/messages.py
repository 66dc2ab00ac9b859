"""MongoDB's requests and replies as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from probes.protocols.mongodb.commands import UNKNOWN_COMMAND, Command
from probes.protocols.mongodb.opened import Windows
from probes.protocols.mongodb.shapes import shape_of
from probes.protocols.mongodb.wire import OP_MSG, OPCODE_NAMES
from probes.records import Reply, Request


class Client(NamedTuple):
    """What a client said of itself in its hello; "" where it did not."""

    app_name: str
    driver: str
    platform: str


@dataclass(slots=True)
class Memory:
    """What is remembered of one connection."""

    client: Client | None = None


@dataclass
class MongoRequest(Request):
    """A request. `opcode` is the inner one of a compressed message, `compressor` how it was compressed.

    `windows`: what was kept of the message beside `data`, as (offset, bytes), its tail among it; where one begins
    within `data`, that is not as it was sent from there on.
    """

    opcode: int = OP_MSG
    flags: int = 0
    command: Command = UNKNOWN_COMMAND
    client: Client | None = None
    compressor: str = ""
    plain: bool = False  # nothing in its reply asks for more care than `ok` and errors
    waits: bool = False  # its reply may open a cursor whose getMore waits for data
    cursor_id: int | None = None  # the one it asks for
    windows: Windows = ()
    # The shape of all requests that differ from this one in values only, once one of them was asked for it.
    its_shape: list[str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def shape(self) -> str:
        known = self.its_shape
        if known is None:
            return self.shape_of(self.data)
        if not known:
            known.append(self.shape_of(self.data))
        return known[0]

    @property
    def application(self) -> str:
        return "" if self.client is None else self.client.app_name or self.client.driver

    @property
    def opcode_name(self) -> str:
        return f"OP_COMPRESSED {self.compressor}" if self.compressor else OPCODE_NAMES.get(self.opcode, "")

    @classmethod
    def shape_of(cls, data: bytes) -> str:
        return shape_of(data)


@dataclass
class MongoReply(Reply):
    """A reply. `cursor_id` and `returned` (documents) are what its parser found, beyond the bytes of `data` at least:
    None says nothing. `windows` as a request's.
    """

    opcode: int = OP_MSG
    flags: int = 0
    compressor: str = ""
    cursor_id: int | None = None
    returned: int | None = None
    windows: Windows = ()
