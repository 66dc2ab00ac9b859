"""What doctor makes of hosts that lack something, and that it looks at this one without harm."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from probes import doctor
from probes.doctor import CAPABILITIES, Bcc, Fact, Host, State, as_json, as_text, exit_code, judge, look
from probes.exit_codes import ExitCode, Refusal

ALL = sum(1 << number for number in CAPABILITIES.values())
NEEDED = ALL & ~(1 << CAPABILITIES["CAP_SYS_ADMIN"])

ABLE = Host(
    release="6.1.0-13-amd64",
    machine="x86_64",
    root=True,
    capabilities=ALL,
    os_ids=("debian",),
    bcc=Bcc.PRESENT,
    bcc_version="0.26.0",
    bcc_error="",
    tracefs_mounted=True,
    missing_tracepoints=(),
    tracefs_error="",
    ring_error="",
    lockdown="integrity",
    unprivileged_bpf="2",
)


def fact(host: Host, name: str) -> Fact:
    return next(fact for fact in judge(host) if fact.name == name)


def test_a_host_with_everything() -> None:
    facts = judge(ABLE)
    assert {fact.state for fact in facts} == {State.OK}
    assert not any(fact.mend for fact in facts)
    assert exit_code(facts) is ExitCode.OK
    assert as_text(facts).endswith("\na live capture can run")


@pytest.mark.parametrize(
    ("change", "name", "detail", "mend", "code"),
    [
        ({"release": "5.4.0-150-generic"}, "kernel", "needed: 5.8 or newer", "", ExitCode.KERNEL),
        ({"release": "unheard"}, "kernel", "unheard", "", ExitCode.KERNEL),
        ({"machine": "riscv64"}, "kernel", "x86_64 or aarch64", "", ExitCode.KERNEL),
        (
            {"root": False, "capabilities": 0},
            "privileges",
            "not root, without CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE",
            "sudo l7top",
            ExitCode.PRIVILEGES,
        ),
        (
            {"capabilities": ALL & ~(1 << CAPABILITIES["CAP_SYS_PTRACE"])},
            "privileges",
            "root, without CAP_SYS_PTRACE",
            "--privileged --pid=host",
            ExitCode.PRIVILEGES,
        ),
        ({"bcc": Bcc.ABSENT}, "BCC", "not installed", "sudo apt-get install python3-bpfcc", ExitCode.BCC),
        (
            {"bcc": Bcc.ABSENT, "os_ids": ("rocky", "rhel", "fedora")},
            "BCC",
            "not installed",
            "sudo dnf install python3-bcc",
            ExitCode.BCC,
        ),
        ({"bcc": Bcc.ABSENT, "os_ids": ("plan9",)}, "BCC", "not installed", "", ExitCode.BCC),
        ({"bcc": Bcc.FOREIGN}, "BCC", "another project", "-m pip uninstall bcc", ExitCode.BCC),
        ({"bcc": Bcc.ELSEWHERE}, "BCC", "not visible to", "-m venv --system-site-packages", ExitCode.BCC),
        ({"bcc_error": "libbcc.so.0: gone"}, "BCC", "cannot be imported: libbcc.so.0: gone", "apt-get", ExitCode.BCC),
        (
            {"tracefs_mounted": False, "tracefs_error": "OSError: [Errno 1] Operation not permitted"},
            "tracefs",
            "Operation not permitted",
            "mount -t tracefs none /sys/kernel/tracing",
            ExitCode.KERNEL,
        ),
        (
            {"missing_tracepoints": ("sock:inet_sock_set_state",)},
            "tracefs",
            "no tracepoint sock:inet_sock_set_state",
            "",
            ExitCode.KERNEL,
        ),
        ({"ring_error": "Invalid argument"}, "BPF ring buffer", "Invalid argument", "", ExitCode.KERNEL),
        ({"lockdown": "confidentiality"}, "lockdown", "confidentiality", "lockdown=integrity", ExitCode.KERNEL),
    ],
)
def test_what_is_missing_is_told_with_what_mends_it(
    change: dict[str, object], name: str, detail: str, mend: str, code: ExitCode
) -> None:
    host = replace(ABLE, **change)  # type: ignore[arg-type]
    found = fact(host, name)
    assert found.state is State.MISSING
    assert detail in found.detail
    assert mend in found.mend
    assert bool(mend) == bool(found.mend)
    assert exit_code(judge(host)) is code
    assert as_text(judge(host)).endswith("\na live capture cannot run")


def test_capabilities_do_without_root_and_without_sys_admin() -> None:
    assert exit_code(judge(replace(ABLE, root=False, capabilities=NEEDED))) is ExitCode.OK
    without_bpf = ALL & ~(1 << CAPABILITIES["CAP_BPF"]) & ~(1 << CAPABILITIES["CAP_PERFMON"])
    assert exit_code(judge(replace(ABLE, capabilities=without_bpf))) is ExitCode.OK


def test_tracefs_that_can_be_mounted_suffices() -> None:
    found = fact(replace(ABLE, tracefs_mounted=False), "tracefs")
    assert found.state is State.OK
    assert "mounts it for itself" in found.detail


def test_without_privileges_what_cannot_be_told_is_unknown() -> None:
    host = replace(
        ABLE, root=False, capabilities=0, tracefs_error="PermissionError: [Errno 13]", ring_error="not permitted"
    )
    assert fact(host, "tracefs").state is State.UNKNOWN
    assert fact(host, "BPF ring buffer").state is State.UNKNOWN
    assert exit_code(judge(host)) is ExitCode.PRIVILEGES


def test_json_says_the_same() -> None:
    facts = judge(replace(ABLE, bcc=Bcc.ABSENT))
    told = json.loads(as_json(facts))
    assert told["able"] is False
    assert [entry["name"] for entry in told["facts"]] == [fact.name for fact in facts]
    assert told["facts"][2] == {
        "name": "BCC",
        "state": "missing",
        "detail": "not installed",
        "mend": "sudo apt-get install python3-bpfcc",
    }
    assert "mend" not in told["facts"][0]


def test_this_host_is_looked_at_without_loading_bcc_here() -> None:
    host = look()
    assert host.release == os.uname().release
    assert host.os_ids
    assert "bcc" not in sys.modules
    assert host.bcc_version or host.bcc is not Bcc.PRESENT or host.bcc_error


def test_what_mounts_tracefs_is_gone_with_the_look() -> None:
    before = Path("/proc/self/mounts").read_text()
    look()
    assert Path("/proc/self/mounts").read_text() == before


def test_a_capture_is_refused_with_the_first_thing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_capabilities", lambda: 0)
    with pytest.raises(Refusal) as caught:
        doctor.require_live()
    assert caught.value.exit_code is ExitCode.PRIVILEGES
    assert "sudo l7top" in caught.value.message or "--privileged" in caught.value.message

    monkeypatch.setattr(doctor, "_capabilities", lambda: ALL)
    monkeypatch.setattr(doctor, "_find_bcc", lambda: Bcc.ABSENT)
    monkeypatch.setattr(doctor, "_os_ids", lambda: ("debian",))
    with pytest.raises(Refusal) as caught:
        doctor.require_live()
    assert caught.value.exit_code is ExitCode.BCC
    mend = "to mend it: sudo apt-get install python3-bpfcc"
    assert caught.value.message == f"cannot capture: BCC: not installed; {mend}; {doctor.ELSEWHERE}"

    monkeypatch.setattr(doctor, "_find_bcc", lambda: Bcc.PRESENT)
    doctor.require_live()


def test_pypis_bcc_is_told_from_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    code = "from probes import doctor; print(doctor._find_bcc())"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(doctor.__file__).parents[1]}"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "foreign\n"
