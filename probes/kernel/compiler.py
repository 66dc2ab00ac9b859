"""The child that compiles: `python -m probes.kernel.compiler PARENT`, its standard input a unix socket to that process.

BCC brings LLVM, more than 100 MB of it. So it lives only here: the child takes the knobs as JSON, compiles and loads
the program, hands over the descriptors of its maps and programs, and exits. A process without BCC then attaches and
reads them. `prog_array`s are handed over like every map: without their own descriptor their entries vanish with the
child.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from probes import privileges
from probes.kernel import bpf, calls, image, layout, tracefs

HERE = Path(__file__).parent
PROGRAM = HERE / "program"
SOURCES = ("events.h", "state.h", "framing.h", "hooks.c")
SHIM = HERE / "shim"  # all the kernel headers BCC asks for, so that every host takes the same way

MAPS = (
    "descriptors",
    "connections",
    "shadows",
    "calls",
    "sockets",
    "call_kinds",
    "enabled",
    "locks",
    "counters",
    "cursors",
    "scratches",
    "tails",
    "events",
)
PROGRAMS = ("on_enter", "on_exit", "walk", "on_state", "on_received", "on_thread_exit", "on_exec")
TAILS = ("walk",)  # the entries of the map `tails`
RAW_PROGRAMS = {"on_received": "tcp_rcv_space_adjust"}
STATE_TRACEPOINT = "sock:inet_sock_set_state"
HOOKS = {  # beside those of the system calls
    STATE_TRACEPOINT: "on_state",
    "sched:sched_process_exit": "on_thread_exit",
    "sched:sched_process_exec": "on_exec",
}
STEPS = 48  # of a walk, as far as the verifier follows


def source(knobs: dict[str, int], tracefs_root: Path) -> str:
    """The whole C program. `knobs` are its constants: MAX_CONNECTIONS, RING_PAGES, HEAD_BYTES and so on."""
    fields = tracefs.field_offsets(tracefs_root, STATE_TRACEPOINT)
    offsets = {f"STATE_{field.upper()}": offset for field, offset in fields.items()}
    constants = "".join(f"#define {name} {value}\n" for name, value in {**knobs, **offsets, "STEPS": STEPS}.items())
    parts = [(PROGRAM / name).read_text() for name in SOURCES]
    return "#include <uapi/linux/ptrace.h>\n" + constants + "".join(parts) + layout.macros()


def attachments(root: Path) -> list[tuple[int, str]]:
    """Tracepoint ids and the program that each is to run. Calls that this kernel does not have are left out."""
    wanted = list(HOOKS.items())
    for call in calls.numbers().values():
        wanted.append((f"syscalls:sys_enter_{call.name}", "on_enter"))
        if call.returns:
            wanted.append((f"syscalls:sys_exit_{call.name}", "on_exit"))
    found = []
    for name, program in wanted:
        try:
            found.append((tracefs.tracepoint_id(root, name), program))
        except FileNotFoundError:
            continue
    return found


def build(knobs: dict[str, int], root: Path) -> tuple[Any, dict[str, int], dict[str, int]]:
    """Compiles and loads: the BPF object, which has to stay alive, and descriptors of maps and programs by name."""
    os.environ["BCC_KERNEL_SOURCE"] = str(SHIM)
    from bcc import BPF

    compiled = BPF(text=source(knobs, root), cflags=["-Wno-macro-redefined", "-Wno-unused-value"])
    programs = {name: compiled.load_func(name, _type(name)).fd for name in PROGRAMS}
    for index, name in enumerate(TAILS):
        compiled["tails"][ctypes.c_int(index)] = ctypes.c_int(programs[name])
    maps = {name: compiled[name].map_fd for name in MAPS}
    return compiled, maps, programs


def _type(program: str) -> int:
    return bpf.RAW_TRACEPOINT if program in RAW_PROGRAMS else bpf.TRACEPOINT


def _image(compiled: Any, maps: dict[str, int]) -> image.Image:
    names = {fd: name for name, fd in maps.items()}
    return image.Image(
        tuple(image.of_map(name, fd) for name, fd in maps.items()),
        tuple(image.of_program(name, _type(name), compiled.dump_func(name), names) for name in PROGRAMS),
        TAILS,
    )


def main() -> int:
    privileges.die_with(int(sys.argv[1]), signal.SIGKILL)
    channel = socket.socket(fileno=os.dup(0))
    knobs = json.loads(channel.recv(65536))
    try:
        root = tracefs.mount_privately()
        compiled, maps, programs = build(knobs, root)
    except Exception as error:
        # Whatever it is, the collector tells it in its own words; BCC has put the details on stderr.
        channel.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    answer = {
        "maps": list(maps),
        "programs": list(programs),
        "attachments": attachments(root),
        "image": _image(compiled, maps),
    }
    socket.send_fds(channel, [json.dumps(answer).encode()], [*maps.values(), *programs.values()])
    channel.recv(1)
    os._exit(0)  # LLVM's and BCC's tear-down is slow and does nothing for us


if __name__ == "__main__":
    sys.exit(main())
