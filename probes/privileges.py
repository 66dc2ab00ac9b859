"""What a process may do, how it dies, and how it ranks: credentials(7), capabilities(7), prctl(2).

All of it counts for the calling thread: to be called before there is another. Raises OSError with the kernel's errno.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
from collections.abc import Iterable

from probes.portable import LINUX

CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_BPF = 2, 19, 39  # linux/capability.h

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64
_OOM_SCORE_ADJ = 900
_NICE = 5
_AUTOGROUP_NICE = -20

_LIBC = ctypes.CDLL(None, use_errno=True)


def die_first() -> None:
    """A sick host comes first: where memory runs out, the kernel kills this process and its children before others."""
    if not LINUX:
        return
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE_ADJ))


def run_last() -> None:
    """Lets others run before this process and the children that it has from now on."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


def run_beside_others() -> None:
    """Lets this process's session have the CPU that it needs on a host whose CPUs are all taken; to be called as root.

    Where no cgroup says otherwise, the kernel shares the CPU out by sessions ("autogroups", sched(7)), not by
    processes: Linux 6.18 leaves a small one waiting for many seconds beside a busy one of the same weight. Where there
    is one CPU only, others would wait for this one: there it stays as it was.
    """
    if not LINUX or os.cpu_count() == 1:
        return
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(_AUTOGROUP_NICE))


def run_at_once() -> None:
    """Lets this process, not its children, run before all others: for one that only waits for what it has to do.

    Without the right to, or in a cgroup that has no real time, everything stays as it was.
    """
    if not LINUX:
        return
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def die_with(parent: int, number: signal.Signals) -> None:
    """Lets the kernel send `number` to this process when its parent dies; `parent` is who that was at the start.

    A change of credentials undoes it: to be called after `become`.
    """
    if LINUX:
        _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def become(uid: int, gid: int) -> None:
    """Gives up the uid for good, and with root's every capability, and takes that user's groups and environment."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        os.setgroups([gid])
    else:
        os.initgroups(user.pw_name, gid)
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name, SHELL=user.pw_shell)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def keep_only(capabilities: Iterable[int] = ()) -> None:
    """Drops all capabilities but these for good: neither an exec nor a set-user-ID program brings them back."""
    if not LINUX:
        return
    kept = frozenset(capabilities)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_MOST_CAPABILITIES):
        if capability not in kept:
            try:
                _prctl(_PR_CAPBSET_DROP, capability)
            except OSError:  # no such capability, or no right to: then no_new_privs alone has to do
                continue
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    _check(_LIBC.capget(header, sets))
    mask = sum(1 << capability for capability in kept)
    for word in (0, 1):
        effective, permitted, inheritable = range(3 * word, 3 * word + 3)
        sets[permitted] &= mask >> 32 * word & 0xFFFFFFFF
        sets[effective], sets[inheritable] = sets[permitted], 0
    _check(_LIBC.capset(header, sets))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    _check(_LIBC.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def _check(result: int) -> None:
    if result:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
