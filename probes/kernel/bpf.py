"""The few operations of bpf(2), perf_event_open(2) and kin that a process without BCC needs.

Raises OSError with the kernel's errno everywhere.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)
_BPF, _PERF_EVENT_OPEN = {"x86_64": (321, 298), "aarch64": (280, 241)}.get(platform.machine(), (0, 0))

_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _CREATE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 1, 2, 3, 4, 0, 5, 17
_RING_BUFFER = 27  # BPF_MAP_TYPE_RINGBUF
TRACEPOINT, RAW_TRACEPOINT = 5, 17  # BPF_PROG_TYPE_*
ANY, NOEXIST = 0, 1  # flags of update
_ELEMENT = struct.Struct("=IIQQQ")  # map_fd, pad, key, value, flags
_ATTR_BYTES = 120

_PERF_TYPE_TRACEPOINT, _PERF_FLAG_FD_CLOEXEC = 2, 8
_PERF_EVENT_IOC_SET_BPF = 0x40042408


def _call(command: int, attr: bytes) -> int:
    buffer = ctypes.create_string_buffer(attr, max(len(attr), _ATTR_BYTES))
    result = int(_LIBC.syscall(_BPF, command, buffer, ctypes.c_uint(_ATTR_BYTES)))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result


class Map:
    """A BPF map by descriptor. Keys and values are bytes of exactly the map's sizes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        facts = fdinfo(fd)
        self.key_size = int(facts["key_size"])
        self.value_size = int(facts["value_size"])
        self.max_entries = int(facts["max_entries"])
        self._key = ctypes.create_string_buffer(self.key_size)
        self._next = ctypes.create_string_buffer(self.key_size)
        # A per-CPU map answers with one value, rounded up to 8 bytes, for each possible CPU.
        self._value = ctypes.create_string_buffer((self.value_size + 7) // 8 * 8 * possible_cpus())

    def _element(self, value: ctypes.Array[ctypes.c_char] | None, flags: int = ANY) -> bytes:
        address = ctypes.addressof(value) if value is not None else 0
        return _ELEMENT.pack(self.fd, 0, ctypes.addressof(self._key), address, flags)

    def lookup(self, key: bytes) -> bytes | None:
        """The value (of a per-CPU map: all CPUs' values, each rounded up to 8 bytes), or None."""
        self._key.raw = key
        try:
            _call(_LOOKUP, self._element(self._value))
        except FileNotFoundError:
            return None
        return bytes(self._value.raw)

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Raises FileExistsError with NOEXIST where the key is there, OSError(E2BIG) where the map is full."""
        if len(value) != self.value_size:
            raise ValueError(f"value of {len(value)} bytes for a map of {self.value_size}")
        self._key.raw = key
        ctypes.memmove(self._value, value, len(value))
        _call(_UPDATE, self._element(self._value, flags))

    def delete(self, key: bytes) -> bool:
        """Whether the key was there."""
        self._key.raw = key
        try:
            _call(_DELETE, self._element(None))
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys. A key deleted meanwhile may make the kernel start over: bounded by the map's size."""
        attr = _ELEMENT.pack(self.fd, 0, 0, ctypes.addressof(self._next), 0)
        for _ in range(self.max_entries):
            try:
                _call(_NEXT_KEY, attr)
            except FileNotFoundError:
                return
            key = bytes(self._next.raw)
            yield key
            self._key.raw = key
            attr = _ELEMENT.pack(self.fd, 0, ctypes.addressof(self._key), ctypes.addressof(self._next), 0)


def create_map(type: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """A new map (BPF_MAP_TYPE_*, sizes in bytes); its descriptor."""
    return _call(_CREATE, struct.pack("=IIIII", type, key_size, value_size, max_entries, flags))


def create_ring_buffer(size: int) -> int:
    """A BPF ring buffer of `size` bytes (a power of two of pages); its descriptor."""
    return create_map(_RING_BUFFER, 0, 0, size, 0)


def load_program(type: int, code: bytes) -> int:
    """Verifies and loads instructions (BPF_PROG_TYPE_*), under the GPL; the program's descriptor."""
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    return _call(_PROG_LOAD, struct.pack("=IIQQIIQII", type, len(code) // 8, *places, 0, 0, 0, 0, 0))


def attach_tracepoint(tracepoint_id: int, program_fd: int) -> int:
    """Attaches a program to a tracepoint on all CPUs; it stays as long as the returned descriptor is open."""
    size = 112  # PERF_ATTR_SIZE_VER5
    attr = struct.pack("=IIQQQQ", _PERF_TYPE_TRACEPOINT, size, tracepoint_id, 1, 0, 0)
    buffer = ctypes.create_string_buffer(attr, size)
    # A program hangs on the tracepoint, not on the event: any one CPU serves for all.
    fd = int(_LIBC.syscall(_PERF_EVENT_OPEN, buffer, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC))
    if fd < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    try:
        fcntl.ioctl(fd, _PERF_EVENT_IOC_SET_BPF, program_fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def attach_raw_tracepoint(name: str, program_fd: int) -> int:
    """The same for a raw tracepoint, by its name without category. Raises FileNotFoundError where there is none."""
    text = ctypes.create_string_buffer(name.encode())
    return _call(_RAW_TRACEPOINT_OPEN, struct.pack("=QII", ctypes.addressof(text), program_fd, 0))


def possible_cpus() -> int:
    """How many values a per-CPU map holds for one key."""
    with open("/sys/devices/system/cpu/possible") as file:
        last = file.read().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


def fdinfo(fd: int) -> dict[str, str]:
    """What the kernel tells of a map or program of this process."""
    with open(f"/proc/self/fdinfo/{fd}") as file:
        pairs = (line.split(":", 1) for line in file if ":" in line)
        return {name: value.strip() for name, value in pairs}
