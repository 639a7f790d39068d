"""How much memory a process may take, and how much it took, where the system tells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def limit_memory(megabytes: int) -> None:
    """Make allocations beyond the limit fail and disable core dumps, where the system has such limits."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def memory_limit_mb() -> int:
    """The limit of this process; what it has taken if there is none."""
    with suppress(ImportError, OSError):
        import resource

        limit, _hard = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            return limit >> 20
    return peak_memory_mb()


def peak_memory_mb(pid: int | None = None) -> int:
    """The most memory that a process (this one by default) has used; 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return 0


def restart_peak(pid: int) -> bool:
    """Have the system measure a process's peak from now on. False where it does not."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        return True
    return False


def oom_kills() -> int | None:
    """How many processes the kernel has killed for lack of memory so far, in any container. None: it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
