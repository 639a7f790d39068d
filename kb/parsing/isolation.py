"""What a parser child may do: less than its parent, because a hostile file could take it over.

It gets no keys or passwords, can neither open a socket nor look into other processes nor gain privileges, and is the
first to go when the machine is out of memory.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from errno import EACCES
from pathlib import Path

from kb.stderr import complain

# What Python and the libraries need; all else stays with the parent.
_ALLOWED = frozenset({"HOME", "LANG", "LANGUAGE", "PATH", "TZ", "TZDIR", "ZHIWEN_HOME"})
_ALLOWED_PREFIXES = ("LC_", "PYTHON", "LD_", "DYLD_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "GLIBC_", "XDG_")

_OOM_SCORE_ADJ = "800"  # of 1000, which would be the first of all the machine's processes

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1  # for all threads of the process
_SECCOMP_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")  # there if the kernel has filters

# For each machine: its audit number, the number of the call `seccomp`, and of those that are refused: socket, ptrace,
# process_vm_readv, process_vm_writev, io_uring_setup (which opens sockets, too) and pidfd_getfd.
_MACHINES = {
    "x86_64": (0xC000003E, 317, (41, 101, 310, 311, 425, 438)),
    "aarch64": (0xC00000B7, 277, (198, 117, 270, 271, 425, 438)),
}
_X32 = 0x40000000  # from here on, x86_64 has its calls a second time
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of a filter
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in what it is asked about
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | EACCES


def allowed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Those variables that a parser child gets: no keys, passwords or addresses."""
    return {
        name: value for name, value in environment.items() if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)
    }


def why_network_is_open() -> str:
    """Why a child on this system can open sockets; empty if it cannot."""
    if sys.platform != "linux":
        return f"{sys.platform} has no seccomp filters"
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        return f"no filter for {platform.machine()}"
    return "" if _SECCOMP_ACTIONS.exists() else "this kernel has no seccomp filters"


def isolate() -> None:
    """Give up, for this process and for good, what reading files does not need; as much as the system allows."""
    if sys.platform != "linux":
        return
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not why_network_is_open():
        _refuse_calls()


def _refuse_calls() -> None:
    audit, seccomp, refused = _MACHINES[platform.machine()]
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUALS, 0, len(refused) + 3, audit), (_LOAD, 0, 0, _NUMBER)]
    code.append((_AT_LEAST, len(refused) + 1, 0, _X32))
    code += [(_EQUALS, len(refused) - place, 0, number) for place, number in enumerate(refused)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(filters, len(filters))
    program = struct.pack("HP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, program):
        error = os.strerror(ctypes.get_errno())
        complain(f"This parser can reach the network: its filter was refused ({error}).")
