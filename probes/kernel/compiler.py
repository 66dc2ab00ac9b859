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
import platform
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from probes import privileges
from probes.kernel import bpf, calls, image, layout, tracefs
from probes.kernel.layout import CallKind

HERE = Path(__file__).parent
PROGRAM = HERE / "program"
SOURCES = ("events.h", "state.h", "framing.h", "usual.h", "hooks.c")
SHIM = HERE / "shim"  # all the kernel headers BCC asks for, so that every host takes the same way

MAPS = (
    "descriptors",
    "connections",
    "shadows",
    "sends",
    "calls",
    "sockets",
    "settings",
    "ports",
    "locks",
    "counters",
    "cursors",
    "scratches",
    "tails",
    "events",
)
PROGRAMS = ("on_enter", "on_exit", "on_state")
TAILS = ("walk", "walk_raw")  # the entries of the map `tails`
# Raw tracepoints by program. Those within the calls are there from Linux 6.3 on.
RAW_PROGRAMS = {"on_thread_exit": "sched_process_exit", "on_exec": "sched_process_exec"}
SOCKET_PROGRAMS = {"on_received": "sock_recv_length", "on_sent": "sock_send_length"}
OLDER_PROGRAMS = {"on_received": "tcp_rcv_space_adjust"}
SENDING_PROGRAMS = {"on_sending": "tcp_sendmsg_locked"}  # from Linux 6.16 on
CALIBRATION = {"on_any_call": "sys_enter"}
STATE_TRACEPOINT = "sock:inet_sock_set_state"
STEPS = 44  # of a walk, as far as the verifier follows


def complete(knobs: dict[str, int], root: Path) -> dict[str, int]:
    """The knobs, and what this host adds to them."""
    fields = tracefs.field_offsets(root, STATE_TRACEPOINT)
    whole = {
        "STEPS": STEPS,
        "X86_64": int(platform.machine() == "x86_64"),
        "SOCKET_TRACEPOINTS": int(all((root / "events/sock" / name).is_dir() for name in SOCKET_PROGRAMS.values())),
        "SEND_TRACEPOINT": int(all((root / "events/tcp" / name).is_dir() for name in SENDING_PROGRAMS.values())),
        **{f"STATE_{field.upper()}": offset for field, offset in fields.items()},
        **knobs,
    }
    return {**whole, "SEND_TRACEPOINT": whole["SOCKET_TRACEPOINTS"] and whole["SEND_TRACEPOINT"]}


def source(knobs: dict[str, int]) -> str:
    """The whole C program. `knobs` are its constants: MAX_CONNECTIONS, RING_PAGES, HEAD_BYTES and so on."""
    constants = "".join(f"#define {name} {value}\n" for name, value in knobs.items())
    parts = [(PROGRAM / name).read_text() for name in SOURCES]
    return "#include <uapi/linux/ptrace.h>\n" + constants + "".join(parts) + layout.macros()


def raw_programs(knobs: dict[str, int]) -> dict[str, str]:
    """The programs on raw tracepoints, and the names of those."""
    sending = SENDING_PROGRAMS if knobs["SEND_TRACEPOINT"] else {}
    return RAW_PROGRAMS | (SOCKET_PROGRAMS | sending if knobs["SOCKET_TRACEPOINTS"] else OLDER_PROGRAMS)


def attachments(knobs: dict[str, int], root: Path) -> list[tuple[int, str]]:
    """Tracepoint ids and the program that each is to run. Calls that this kernel does not have are left out."""
    within = bool(knobs["SOCKET_TRACEPOINTS"])
    wanted = [(STATE_TRACEPOINT, "on_state")]
    for call in calls.numbers().values():
        if not within or call.kind in (calls.CLOSING if knobs["SEND_TRACEPOINT"] else calls.CLOSING | calls.SENDING):
            wanted.append((f"syscalls:sys_enter_{call.name}", "on_enter"))
        if call.returns and not (within and call.kind <= CallKind.SENDFILE):
            wanted.append((f"syscalls:sys_exit_{call.name}", "on_exit"))
    found = []
    for name, program in wanted:
        try:
            found.append((tracefs.tracepoint_id(root, name), program))
        except FileNotFoundError:
            continue
    return found


def types(knobs: dict[str, int]) -> dict[str, int]:
    """BPF_PROG_TYPE_* of all programs by name."""
    within = bool(knobs["SOCKET_TRACEPOINTS"])
    raw = [*raw_programs(knobs), *(CALIBRATION if within else ())]
    # What is called at a program's tail has to be of its type.
    tails = dict.fromkeys(TAILS, bpf.RAW_TRACEPOINT if within else bpf.TRACEPOINT)
    return {**dict.fromkeys(PROGRAMS, bpf.TRACEPOINT), **tails, **dict.fromkeys(raw, bpf.RAW_TRACEPOINT)}


def build(knobs: dict[str, int]) -> tuple[Any, dict[str, int], dict[str, int]]:
    """Compiles and loads: the BPF object, which has to stay alive, and descriptors of maps and programs by name."""
    os.environ["BCC_KERNEL_SOURCE"] = str(SHIM)
    from bcc import BPF

    compiled = BPF(text=source(knobs), cflags=["-Wno-macro-redefined", "-Wno-unused-value"])
    programs = {name: compiled.load_func(name, type).fd for name, type in types(knobs).items()}
    for index, name in enumerate(TAILS):
        compiled["tails"][ctypes.c_int(index)] = ctypes.c_int(programs[name])
    maps = {name: compiled[name].map_fd for name in MAPS}
    return compiled, maps, programs


def _image(compiled: Any, maps: dict[str, int], knobs: dict[str, int]) -> image.Image:
    names = {fd: name for name, fd in maps.items()}
    return image.Image(
        tuple(image.of_map(name, fd) for name, fd in maps.items()),
        tuple(image.of_program(name, type, compiled.dump_func(name), names) for name, type in types(knobs).items()),
        TAILS,
    )


def main() -> int:
    privileges.die_with(int(sys.argv[1]), signal.SIGKILL)
    channel = socket.socket(fileno=os.dup(0))
    knobs = json.loads(channel.recv(65536))
    try:
        root = tracefs.mount_privately()
        knobs = complete(knobs, root)
        compiled, maps, programs = build(knobs)
    except Exception as error:
        # Whatever it is, the collector tells it in its own words; BCC has put the details on stderr.
        channel.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    answer = {
        "maps": list(maps),
        "programs": list(programs),
        "attachments": attachments(knobs, root),
        "raw": raw_programs(knobs),
        "image": _image(compiled, maps, knobs),
    }
    socket.send_fds(channel, [json.dumps(answer).encode()], [*maps.values(), *programs.values()])
    channel.recv(1)
    os._exit(0)  # LLVM's and BCC's tear-down is slow and does nothing for us


if __name__ == "__main__":
    sys.exit(main())
