"""Brings the BPF program into the kernel and attaches it, without BCC in this process."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from probes.exit_codes import ExitCode, Refusal
from probes.kernel import bpf, calls, compiler, image, layout, tracefs
from probes.kernel.ring import Ring
from probes.scope import EVERYTHING, Scope

_U32 = 4
_ONLY = bytes(_U32)  # key in a map of one value
_COMPILE_SECONDS = 60


class Kernel:
    """The attached program: its maps by name, its ring buffer. Ends with `close`, or with the process."""

    def __init__(
        self,
        *,
        head_bytes: int,
        ring_bytes: int,
        max_connections: int = 32768,
        scope: Scope = EVERYTHING,
        without: Sequence[str] = (),
    ) -> None:
        """Compiles, loads and attaches; takes some seconds. Raises Refusal where this host cannot.

        `ring_bytes` is rounded up to a power of two of pages. It does as on kernels that are `without` what these of
        the compiler's knobs tell of: SOCKET_TRACEPOINTS (before Linux 6.3), SEND_TRACEPOINT (before 6.16).
        """
        page = os.sysconf("SC_PAGE_SIZE")
        pages = 1 << max(0, (max(ring_bytes, page) - 1) // page).bit_length()
        knobs = {
            "HEAD_BYTES": head_bytes,
            "RING_PAGES": pages,
            "MAX_CONNECTIONS": max_connections,
            "EVERYWHERE": int(scope.everywhere),
            "BY_PORT": functools.reduce(operator.or_, scope.ports.values(), 0),
        }
        knobs |= dict.fromkeys(without, 0)
        maps, programs, attachments, raw = _bring_in(knobs)
        self._settings = layout.Settings()
        if "on_any_call" in programs:
            self._settings = _calibrated(maps["settings"], programs["on_any_call"])
            if not self._settings.registers_at:
                for fd in (*maps.values(), *programs.values()):
                    os.close(fd)
                maps, programs, attachments, raw = _bring_in({**knobs, "SOCKET_TRACEPOINTS": 0})
        # A thread may be in a call when the probes come, and then only its end is seen: that is enough where the
        # tracepoints are within the calls.
        self.adopts = "on_sent" not in raw
        self.maps = {name: bpf.Map(fd) for name, fd in maps.items()}
        self._descriptors = [*maps.values(), *programs.values()]
        for number, call in calls.numbers().items():
            self._settings.kinds[number] = call.kind
        self._set()
        for port, use in scope.ports.items():
            self.maps["ports"].update(port.to_bytes(_U32, sys.byteorder), bytes([use]))
        self.ring = Ring(maps["events"], pages * page)
        self._attached: list[int] = []
        try:
            for tracepoint_id, program in attachments:
                self._attached.append(bpf.attach_tracepoint(tracepoint_id, programs[program]))
            for program, tracepoint in raw.items():
                # On that of older kernels hang only addresses of accepted connections: /proc has them too, if later.
                with contextlib.suppress(*(FileNotFoundError,) if self.adopts else ()):
                    self._attached.append(bpf.attach_raw_tracepoint(tracepoint, programs[program]))
        except OSError as error:
            self.close()
            raise Refusal(
                f"the kernel refused a probe ({error.strerror}): run as root; what is missing says: l7top doctor",
                ExitCode.PRIVILEGES if isinstance(error, PermissionError) else ExitCode.KERNEL,
            ) from error

    def enable(self, on: bool, *, sparing: bool = False) -> None:
        """Lets calls that move bytes and begin from now on count, or not. Off at first. `sparing` keeps heads short.

        Attaching and looking for sockets take a while: without this, one end of a connection would be seen before
        the other, and requests before replies. The opening and closing of connections is always followed.
        """
        self._settings.enabled = on + (on and sparing)
        self._set()

    def quieten(self, connection: bytes) -> None:
        """From now on the messages of this connection are not told, only when they went by.

        Raises OSError where there is no room, or where that was so already.
        """
        shadows = self.maps["shadows"]
        shadows.update(connection, bytes(shadows.value_size), bpf.NOEXIST)
        self._settings.shadows_made += 1
        self._set()

    def _set(self) -> None:
        self.maps["settings"].update(_ONLY, bytes(self._settings))

    def counters(self) -> dict[str, int]:
        """The program's counters by name, of all CPUs together."""
        counts = {}
        for index, name in enumerate(layout.COUNTERS):
            values = self.maps["counters"].lookup(index.to_bytes(_U32, sys.byteorder)) or b""
            counts[name] = sum(memoryview(values).cast("Q"))
        return counts

    def detach(self) -> None:
        """Ends the probes; maps and ring stay readable."""
        self.enable(False)
        for fd in self._attached:
            os.close(fd)  # the kernel waits until no CPU runs it any more, one after the other whoever closes
        self._attached = []

    def close(self) -> None:
        """Ends the probes and gives everything back."""
        self.detach()
        self.ring.close()
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors = []


Attachments = Sequence[tuple[int, str]]  # tracepoint id, program


class _Parts(NamedTuple):
    """Maps and programs in the kernel by name, and the tracepoints that they are to hang on."""

    maps: dict[str, int]
    programs: dict[str, int]
    attachments: Attachments
    raw: Mapping[str, str]  # programs and raw tracepoints


def _bring_in(knobs: dict[str, int]) -> _Parts:
    """From what an earlier start compiled, else by compiling."""
    root = tracefs.find()
    whole = None if root is None else compiler.complete(knobs, root)
    name = None if whole is None else image.key(compiler.source(whole))
    kept = None if name is None else image.read(name)
    if kept is not None and root is not None and whole is not None:
        with contextlib.suppress(OSError):
            return _Parts(*image.bring_in(kept), compiler.attachments(whole, root), compiler.raw_programs(whole))
    answer, descriptors = _compile(knobs)
    if name is not None:
        image.write(name, image.from_json(answer["image"]))
    maps = dict(zip(answer["maps"], descriptors, strict=False))
    programs = dict(zip(answer["programs"], descriptors[len(maps) :], strict=True))
    return _Parts(maps, programs, [(id, program) for id, program in answer["attachments"]], answer["raw"])


def _calibrated(settings: int, program: int) -> layout.Settings:
    """Lets the program look at one system call: the settings with what it found there."""
    found = bpf.Map(settings)
    with contextlib.suppress(OSError):
        for tracepoint in compiler.CALIBRATION.values():
            link = bpf.attach_raw_tracepoint(tracepoint, program)
            os.getppid()
            os.close(link)
    return layout.Settings.from_buffer_copy(found.lookup(_ONLY) or bytes(found.value_size))


def _compile(knobs: dict[str, int]) -> tuple[dict[str, Any], list[int]]:
    """What the compiling child answers, and the descriptors it hands over."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        child = subprocess.Popen(
            # -P: root runs nothing of the working directory
            [sys.executable, "-P", "-m", "probes.kernel.compiler", str(os.getpid())],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.settimeout(_COMPILE_SECONDS)
        try:
            ours.sendall(json.dumps(knobs).encode())
            message, descriptors, _, _ = socket.recv_fds(ours, 1 << 20, 64)
            answer = json.loads(message) if message else {"error": "the compiler ended early"}
            if "error" not in answer:
                ours.sendall(b"x")
        except (TimeoutError, OSError) as error:
            child.kill()
            answer, descriptors = {"error": str(error)}, []
        assert child.stderr is not None
        with child.stderr:
            narration = child.stderr.read().decode(errors="replace")
        child.wait()
    if "error" in answer:
        raise _refusal(answer["error"], narration)
    return answer, descriptors


def _refusal(error: str, narration: str) -> Refusal:
    if "ModuleNotFoundError" in error:
        return Refusal(
            "BCC is not there: apt-get install python3-bpfcc (Fedora, RHEL: dnf install python3-bcc),"
            " and use a venv made with --system-site-packages",
            ExitCode.BCC,
        )
    if "PermissionError" in error or "Operation not permitted" in narration or os.geteuid():
        return Refusal("probes need root: sudo l7top …", ExitCode.PRIVILEGES)
    detail = error if not os.environ.get("L7TOP_DEBUG") else f"{error}\n{narration}"
    return Refusal(f"the probes could not be loaded ({detail}); see: l7top doctor", ExitCode.KERNEL)
