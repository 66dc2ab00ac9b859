"""Keeps what a plugin does within bounds: its time, its exceptions, and what it hands back.

A plugin may raise what the interface says. Whatever else it does is counted here, by plugin, and comes out as `Fault`;
a third call that takes too long switches it off.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from probes.protocols.interface import Abort, Pass, ProtocolError, SwitchedOff, WireProtocol
from probes.records import Connection, Head, Reply, Request, Verdict

LIMIT_S = 0.05  # of one call
MOST_OVERTIMES = 3
_SHORTEST_S = 0.001  # an alarm in no time at all would be none

Answer = TypeVar("Answer")


class Fault(Exception):  # noqa: N818 - the plugin's, not ours
    """A plugin did what it must not; counted already."""


class Overtime(BaseException):
    """Interrupts a call."""


class TimeLimit:
    """Interrupts calls that take longer than `seconds`, in the main thread only. SIGALRM is its own.

    The alarm is not set and cleared for each call, which would cost more than most calls: it stays set from one to the
    next, and when it comes looks how long the current one has taken. On a busy host that may be long for want of a
    processor: so it looks twice, and what counts is that the call ran in between, or slept.
    """

    def __init__(self, seconds: float = LIMIT_S) -> None:
        self._half = seconds / 2
        self._is_set = self._runs = False
        self._began = 0.0
        self._seen: _Use | None = None  # when it was looked at this call first
        signal.signal(signal.SIGALRM, self._ring)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # it would kill an interpreter that ends

    def run(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        """What `call` returns. Raises Overtime."""
        self._began = time.monotonic()
        self._seen = None
        self._runs = True
        if not self._is_set:
            self._set(self._half)
        gc.disable()  # the collector's garbage is none of the plugin's
        try:
            return call(*arguments)
        finally:
            gc.enable()
            self._runs = False

    def _set(self, seconds: float) -> None:
        self._is_set = True
        signal.setitimer(signal.ITIMER_REAL, max(seconds, _SHORTEST_S))

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._is_set = False
        if not self._runs:
            return
        early = self._began + self._half - time.monotonic()
        if early > 0:
            self._set(early)
            return
        use = _Use(time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)
        if self._seen is None:
            self._seen = use
        elif use.cpu_s - self._seen.cpu_s >= self._half / 2 or use.sleeps > self._seen.sleeps:
            self._runs = False
            raise Overtime
        self._set(self._half)


class _Use(NamedTuple):
    """What this thread has had of the processor, and how often it gave it away by itself."""

    cpu_s: float
    sleeps: int


class Guard(WireProtocol):
    """`plugin`, its calls bounded by `limit`. `errors` and `overtimes` count what had to be contained."""

    def __init__(self, plugin: WireProtocol, limit: TimeLimit) -> None:
        self.name, self.framing, self.ports = plugin.name, plugin.framing, tuple(plugin.ports)
        self.confirms_alone = plugin.confirms_alone
        self.errors = self.overtimes = 0
        self._plugin = plugin
        self._run = limit.run

    @property
    def is_off(self) -> bool:
        return self.overtimes >= MOST_OVERTIMES

    def memory(self, connection: Connection) -> Any:
        try:
            return self._call(self._plugin.memory, connection)
        except (Fault, SwitchedOff):
            return None

    def frame(self, data: bytes, memory: Any) -> int:
        length = self._call(self._plugin.frame, data, memory)
        if not isinstance(length, int) or length < 0:
            raise self._fault(f"frame gives a length, not {length!r:.50}")
        return length

    def identify(self, data: bytes, total: int) -> Verdict:
        try:
            return Verdict(self._call(self._plugin.identify, data, total))
        except (Fault, SwitchedOff):
            return Verdict.FOREIGN
        except ValueError as error:
            raise self._fault("identify gives a Verdict") from error

    def request(self, head: Head, memory: Any) -> Request:
        request = self._call(self._plugin.request, head, memory)
        if not _is_ours(request, Request) or not _is_sound_request(request):
            raise self._fault(f"request gives a Request, not {request!r:.200}")
        return request

    def reply_to(self, head: Head, memory: Any) -> int | None:
        id = self._call(self._plugin.reply_to, head, memory)
        if id is not None and not isinstance(id, int):
            raise self._fault(f"reply_to gives an id, not {id!r:.50}")
        return id

    def reply(self, head: Head, request: Request | None, memory: Any) -> Reply:
        reply = self._call(self._plugin.reply, head, request, memory)
        if not _is_ours(reply, Reply) or not _is_sound_reply(reply):
            raise self._fault(f"reply gives a Reply, not {reply!r:.200}")
        return reply

    def _call(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        if self.is_off:
            raise SwitchedOff
        try:
            return self._run(call, *arguments)
        except (Pass, Abort, ProtocolError):
            raise
        except Overtime as overtime:
            self.overtimes += 1
            raise Fault(f"plugin {self.name} was interrupted") from overtime
        except (Exception, SystemExit) as error:
            if os.environ.get("L7TOP_DEBUG") == "1":
                traceback.print_exc()
            raise self._fault(f"{type(error).__name__}: {error}") from error

    def _fault(self, what: str) -> Fault:
        self.errors += 1
        return Fault(f"plugin {self.name}: {what}")


def _is_ours(message: object, base: type) -> bool:
    """Whether it is a record of l7top's: others could neither be bounded nor read again."""
    return isinstance(message, base) and type(message).__module__.startswith("probes.")


def _is_sound_request(request: Request) -> bool:
    return (
        isinstance(request.id, int)
        and isinstance(request.operation, str)
        and isinstance(request.data, bytes)
        and isinstance(request.target, str)
        and (request.version is None or isinstance(request.version, int))
        and isinstance(request.targets, tuple)
        and all(isinstance(target, str) for target in request.targets)
        and _are_attributes(request.attributes)
    )


def _is_sound_reply(reply: Reply) -> bool:
    failure = reply.failure
    return (
        (reply.id is None or isinstance(reply.id, int))
        and isinstance(reply.data, bytes)
        and (
            failure is None
            or (isinstance(failure.code, int) and isinstance(failure.name, str) and isinstance(failure.message, str))
        )
        and _are_attributes(reply.attributes)
    )


def _are_attributes(pairs: object) -> bool:
    return isinstance(pairs, tuple) and all(map(_is_attribute, pairs))


def _is_attribute(pair: object) -> bool:
    match pair:
        case (str(), str() | int() | float()):
            return isinstance(pair, tuple)
    return False
