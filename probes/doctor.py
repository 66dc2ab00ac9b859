"""What this host can do for a live capture: each fact, whether it suffices, and the command that mends it.

`look` asks the host once; `judge` turns what it saw into facts and asks nothing more. `require_live` is the
quick form that runs before a capture.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from probes.exit_codes import ExitCode, Refusal
from probes.kernel import bpf
from probes.outputs.escape import printable
from probes.portable import LINUX

OLDEST_KERNEL = (5, 8)  # BPF ring buffers, CAP_BPF
ARCHITECTURES = ("x86_64", "aarch64")

CAPABILITIES = {  # name: number, linux/capability.h
    "CAP_DAC_READ_SEARCH": 2,  # tracefs, /proc/PID of others
    "CAP_SYS_PTRACE": 19,  # /proc/PID/fd of others
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
_NEEDED = ("CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE")
_IMPLIED_BY_SYS_ADMIN = ("CAP_BPF", "CAP_PERFMON")

TRACEPOINTS = ("syscalls:sys_enter_read", "syscalls:sys_exit_read", "sock:inet_sock_set_state")

BCC_PACKAGES = {  # by the ID of os-release; other distributions name the nearest one in ID_LIKE
    "debian": "sudo apt-get install python3-bpfcc",
    "ubuntu": "sudo apt-get install python3-bpfcc",
    "fedora": "sudo dnf install python3-bcc",
    "rhel": "sudo dnf install python3-bcc",
    "arch": "sudo pacman -S python-bcc",
}

ELSEWHERE = "a capture needs none of it: ssh -n HOST sudo tcpdump -i any -U -s 1100 -w - tcp | l7top --from -"
"""What can be done where a live capture cannot run."""

_RING_BYTES = 64 * 1024  # a power of two of pages, also where these have 64 KiB
_CHILD_TIMEOUT_S = 60

SYSTEM_PYTHON = "/usr/bin/python3"
_FIND_BCC = "import importlib.util, sys; sys.exit(importlib.util.find_spec('bcc.libbcc') is None)"
_IMPORT_BCC = "from bcc import BPF, __version__; print(__version__)"
_FIND_TRACEPOINTS = """
import json, sys
from probes.kernel import tracefs
mounted = tracefs.find() is not None
root = tracefs.mount_privately()
missing = [name for name in sys.argv[1:] if not (root / "events" / name.replace(":", "/") / "id").exists()]
print(json.dumps([mounted, missing]))
"""


class State(StrEnum):
    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"  # cannot be told from here, and may well be right


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a capture needs. `mend` is the command that brings it, "" where there is none."""

    name: str
    state: State
    detail: str
    mend: str = ""
    exit_code: ExitCode = ExitCode.OK  # of a capture that fails for want of it


class Bcc(StrEnum):
    """What Python finds by the name of bcc."""

    PRESENT = "present"
    FOREIGN = "foreign"  # PyPI's bcc, another project
    ELSEWHERE = "elsewhere"  # only the distribution's own Python has it
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Host:
    """What was seen of a host. Errors are what the system said, "" where there was none."""

    release: str
    machine: str
    root: bool
    capabilities: int  # effective, as a bit mask
    os_ids: tuple[str, ...]  # ID and ID_LIKE of os-release, nearest first
    bcc: Bcc
    bcc_version: str
    bcc_error: str
    tracefs_mounted: bool
    missing_tracepoints: tuple[str, ...]
    tracefs_error: str
    ring_error: str
    lockdown: str  # "none", "integrity", "confidentiality", "" where the kernel does not say
    unprivileged_bpf: str  # the sysctl's value, "" where there is none


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _this_command() -> str:
    """l7top as it was called, for a command that can be copied."""
    return shlex.join(sys.argv) if Path(sys.argv[0]).name == "l7top" else "l7top"


def _child(*command: str) -> subprocess.CompletedProcess[str] | None:
    """`command`, finished; None where it could not be run. What BCC brings or breaks stays in the child."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _last_line(result: subprocess.CompletedProcess[str] | None) -> str:
    lines = result.stderr.strip().splitlines() if result else []
    return lines[-1] if lines else "it cannot be run"


def _find_bcc() -> Bcc:
    """What `import bcc` would find, without importing it: that takes 100 MB."""
    spec = importlib.util.find_spec("bcc")
    if spec is not None:
        places = spec.submodule_search_locations or ()
        return Bcc.PRESENT if any(Path(place, "libbcc.py").exists() for place in places) else Bcc.FOREIGN
    distribution = _child(SYSTEM_PYTHON, "-c", _FIND_BCC)
    return Bcc.ELSEWHERE if distribution is not None and not distribution.returncode else Bcc.ABSENT


def _import_bcc() -> tuple[str, str]:
    """(version, error) of importing BCC."""
    result = _child(sys.executable, "-c", _IMPORT_BCC)
    if result is None or result.returncode:
        return "", _last_line(result)
    return result.stdout.strip(), ""


def _tracepoints() -> tuple[bool, tuple[str, ...], str]:
    """Whether tracefs is mounted for all, the tracepoints it lacks, and what went wrong."""
    result = _child(sys.executable, "-c", _FIND_TRACEPOINTS, *TRACEPOINTS)
    if result is None or result.returncode:
        return False, (), _last_line(result)
    mounted, missing = json.loads(result.stdout)
    return bool(mounted), tuple(missing), ""


def _ring_error() -> str:
    """What stands against a BPF ring buffer, "" where one could be made."""
    try:
        os.close(bpf.create_ring_buffer(_RING_BYTES))
    except OSError as error:
        return "not permitted" if error.errno == errno.EPERM else error.strerror or str(error)
    return ""


def _os_ids() -> tuple[str, ...]:
    """The distribution and what it is like, nearest first: os-release(5)."""
    text = _read("/etc/os-release") or _read("/usr/lib/os-release")
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return tuple(word for key in ("ID", "ID_LIKE") for word in values.get(key, "").strip("\"'").split())


def _capabilities() -> int:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", _read("/proc/self/status"), re.MULTILINE)
    return int(match[1], 16) if match else 0


def _lockdown() -> str:
    match = re.search(r"\[(\w+)\]", _read("/sys/kernel/security/lockdown"))
    return match[1] if match else ""


def look() -> Host:
    """This host. Takes about a second: BCC is imported in a child."""
    found = _find_bcc()
    bcc_version, bcc_error = _import_bcc() if found is Bcc.PRESENT else ("", "")
    mounted, missing_tracepoints, tracefs_error = _tracepoints()
    return Host(
        release=os.uname().release,
        machine=platform.machine(),
        root=os.geteuid() == 0,
        capabilities=_capabilities(),
        os_ids=_os_ids(),
        bcc=found,
        bcc_version=bcc_version,
        bcc_error=bcc_error,
        tracefs_mounted=mounted,
        missing_tracepoints=missing_tracepoints,
        tracefs_error=tracefs_error,
        ring_error=_ring_error(),
        lockdown=_lockdown(),
        unprivileged_bpf=_read("/proc/sys/kernel/unprivileged_bpf_disabled"),
    )


def _fact(name: str, able: bool, detail: str, mend: str, exit_code: ExitCode) -> Fact:
    if able:
        return Fact(name, State.OK, detail)
    return Fact(name, State.MISSING, detail, mend, exit_code)


def kernel_fact(release: str, machine: str) -> Fact:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    young = numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST_KERNEL
    oldest = ".".join(map(str, OLDEST_KERNEL))
    detail = f"{release} on {machine} (needed: {oldest} or newer, on {' or '.join(ARCHITECTURES)})"
    return _fact("kernel", young and machine in ARCHITECTURES, detail, "", ExitCode.KERNEL)


def privileges_fact(root: bool, capabilities: int) -> Fact:
    """Root in a container may lack what it takes, and another user may have it: capabilities decide."""
    held = {name for name, number in CAPABILITIES.items() if capabilities >> number & 1}
    if "CAP_SYS_ADMIN" in held:
        held.update(_IMPLIED_BY_SYS_ADMIN)
    missing = [name for name in _NEEDED if name not in held]
    who = "root" if root else "not root"
    detail = f"{who}, without {', '.join(missing)}" if missing else f"{who}, with {', '.join(_NEEDED)}"
    mend = "start the container with --privileged --pid=host" if root else f"sudo {_this_command()}"
    return _fact("privileges", not missing, detail, mend, ExitCode.PRIVILEGES)


def bcc_fact(found: Bcc, version: str, error: str, ids: tuple[str, ...]) -> Fact:
    install = next((BCC_PACKAGES[name] for name in ids if name in BCC_PACKAGES), "")
    if found is Bcc.PRESENT:
        detail = f"cannot be imported: {error}" if error else version
        return _fact("BCC", not error, detail, install, ExitCode.BCC)
    if found is Bcc.FOREIGN:
        detail = "what Python imports as bcc is another project, from PyPI"
        return _fact("BCC", False, detail, f"{sys.executable} -m pip uninstall bcc", ExitCode.BCC)
    if found is Bcc.ELSEWHERE:
        detail = f"installed for {SYSTEM_PYTHON}, but not visible to {sys.executable}"
        place = sys.prefix if sys.prefix != sys.base_prefix else "DIRECTORY"
        mend = f"{SYSTEM_PYTHON} -m venv --system-site-packages {place}"
        return _fact("BCC", False, detail, mend, ExitCode.BCC)
    return _fact("BCC", False, "not installed", install, ExitCode.BCC)


def tracefs_fact(host: Host, privileged: bool) -> Fact:
    if host.missing_tracepoints:
        detail = f"this kernel has no tracepoint {', '.join(host.missing_tracepoints)}"
        return _fact("tracefs", False, detail, "", ExitCode.KERNEL)
    if not host.tracefs_error:
        detail = "mounted" if host.tracefs_mounted else "not mounted: l7top mounts it for itself alone"
        return _fact("tracefs", True, detail, "", ExitCode.OK)
    if not privileged:
        return Fact("tracefs", State.UNKNOWN, "cannot be looked at without privileges")
    return _fact("tracefs", False, host.tracefs_error, "mount -t tracefs none /sys/kernel/tracing", ExitCode.KERNEL)


def ring_fact(error: str, privileged: bool) -> Fact:
    if error and not privileged:
        return Fact("BPF ring buffer", State.UNKNOWN, "cannot be tried without privileges")
    return _fact("BPF ring buffer", not error, error or "works", "", ExitCode.KERNEL)


def lockdown_fact(lockdown: str) -> Fact:
    """Confidentiality closes tracefs (LOCKDOWN_TRACEFS); integrity leaves all that l7top uses."""
    able = lockdown != "confidentiality"
    mend = "boot with lockdown=integrity"
    return _fact("lockdown", able, lockdown or "not in use", mend, ExitCode.KERNEL)


def judge(host: Host) -> list[Fact]:
    """All facts about `host`, those that decide first."""
    privileges = privileges_fact(host.root, host.capabilities)
    privileged = privileges.state is State.OK
    unprivileged = {"": "not known", "0": "0: allowed", "1": "1: refused", "2": "2: refused, can be changed"}
    sysctl = unprivileged.get(host.unprivileged_bpf, host.unprivileged_bpf)
    return [
        kernel_fact(host.release, host.machine),
        privileges,
        bcc_fact(host.bcc, host.bcc_version, host.bcc_error, host.os_ids),
        tracefs_fact(host, privileged),
        ring_fact(host.ring_error, privileged),
        lockdown_fact(host.lockdown),
        Fact("unprivileged_bpf_disabled", State.OK, f"{sysctl} (l7top needs privileges either way)"),
        Fact("Python", State.OK, f"{platform.python_version()}, {sys.executable}"),
    ]


def exit_code(facts: list[Fact]) -> ExitCode:
    """OK where a live capture can run, else the code it would end with."""
    return next((fact.exit_code for fact in facts if fact.state is State.MISSING), ExitCode.OK)


def require_live() -> None:
    """Raises Refusal where a look that costs nothing tells that no live capture can run."""
    if not LINUX:
        raise Refusal(f"cannot capture: {platform.system()} is no Linux; {ELSEWHERE}", ExitCode.KERNEL)
    facts = [
        kernel_fact(os.uname().release, platform.machine()),
        privileges_fact(os.geteuid() == 0, _capabilities()),
        lockdown_fact(_lockdown()),
    ]
    if exit_code(facts) is ExitCode.OK:
        facts.append(bcc_fact(_find_bcc(), "", "", _os_ids()))
    for fact in facts:
        if fact.state is State.MISSING:
            mend = f"; to mend it: {fact.mend}" if fact.mend else ""
            raise Refusal(f"cannot capture: {fact.name}: {fact.detail}{mend}; {ELSEWHERE}", fact.exit_code)


def as_text(facts: list[Fact]) -> str:
    """One line for each fact, and below it the command that mends it."""
    width = max(len(fact.name) for fact in facts)
    lines = []
    for fact in facts:
        lines.append(f"{fact.state:<8} {fact.name:<{width}}  {printable(fact.detail)}")
        if fact.mend:
            lines.append(f"{'':8} {'':{width}}  mend: {fact.mend}")
    able = exit_code(facts) is ExitCode.OK
    lines.append("a live capture can run" if able else "a live capture cannot run")
    return "\n".join(lines)


def as_json(facts: list[Fact]) -> str:
    """`{"able": bool, "facts": [{"name", "state", "detail", "mend"}]}`; `mend` absent where there is none."""
    listed = []
    for fact in facts:
        entry = {"name": fact.name, "state": str(fact.state), "detail": fact.detail}
        listed.append(entry | ({"mend": fact.mend} if fact.mend else {}))
    return json.dumps({"able": exit_code(facts) is ExitCode.OK, "facts": listed})
