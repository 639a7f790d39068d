"""The process and its surroundings: proxies, the CPUs it may use, and packages that must not call out."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

if TYPE_CHECKING:
    from kb.config import Settings

MOST_DESCRIPTORS = 65_536
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def bypass_proxies(settings: Settings) -> None:
    """Complete `no_proxy` so that local hosts are reached directly. All others keep their proxy.

    Call it once, before the first connection. Child processes inherit the result.
    """
    addresses = (
        settings.milvus_uri,
        settings.openai_base_url,
        settings.embedding_base_url,
        settings.rerank_base_url,
        settings.searxng_url,
    )
    if not getproxies_environment():
        return
    _exempt([*LOCAL_HOSTS, *map(_host, addresses)])
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy") and value.startswith("socks://"):
            os.environ[name] = value.replace("socks", "socks5", 1)  # GNOME's spelling, which HTTP clients refuse


def reach_directly(address: str) -> None:
    """Complete `no_proxy` for a server that is named while the process runs. Open connections stay as they are."""
    _exempt([_host(address)])


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


def _exempt(hosts: Sequence[str]) -> None:
    """Add those of the hosts that no proxy could reach, where there is a proxy."""
    proxies = getproxies_environment()
    exempt = [host.strip() for host in proxies.pop("no", "").split(",") if host.strip()]
    added = [host for host in dict.fromkeys(hosts) if is_local(host) and host not in exempt]
    if proxies and added and "*" not in exempt:
        names = ",".join([*exempt, *added])
        os.environ |= {"no_proxy": names, "NO_PROXY": names}


def is_local(host: str) -> bool:
    """Whether no proxy could reach `host`: loopback, a name without a dot, or the machine around a container."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host) and ("." not in host or host.endswith((".localhost", ".docker.internal")))
    return address.is_loopback or address.is_unspecified


def available_cpus(process: Path = Path("/proc/self/cgroup"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many CPUs this process may use at a time: those it is bound to, within its container's quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(quota) for quota in _quotas(process, cgroups))]))


def _quotas(process: Path, cgroups: Path) -> Iterator[float]:
    """The CPU quotas of the process's control group and the groups around it, in CPUs."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers
        # A container may be told its group's path as the host sees it; its own mount then begins at that group.
        for folder in (root / group.lstrip("/"), *(root / group.lstrip("/")).parents):
            if folder.is_relative_to(root):
                yield from _quota(folder, is_v2=not controllers)


def _quota(folder: Path, *, is_v2: bool) -> Iterator[float]:
    try:
        if is_v2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        if float(quota) > 0 and float(period) > 0:
            yield float(quota) / float(period)
    except (OSError, ValueError):  # not there, or "max": no quota
        return


def raise_descriptor_limit() -> None:
    """Allow this process and its children as many open files as the system lets it: at first, it is often 1024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if wanted > descriptor_limit():
        with suppress(OSError, ValueError):  # macOS has a limit of its own besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """How many files and connections this process may have open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, with its telemetry off. Takes half a second and 25 MB, so import it at first use."""
    silence_packages()
    import onnxruntime

    return onnxruntime


def import_fastembed() -> Any:
    """The module `fastembed`, with onnxruntime's telemetry off; raises `ImportError` if it is not installed."""
    silence_packages()
    import fastembed

    return fastembed


def import_rapidocr() -> Any:
    """The module `rapidocr`, with onnxruntime's telemetry off; raises `ImportError` if it is not installed."""
    silence_packages()
    import rapidocr

    return rapidocr


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Empty a variable that a package reads at its import, and take back what the package adds to the environment."""
    before = dict(os.environ)
    os.environ[name] = ""
    try:
        yield
    finally:
        for added in os.environ.keys() - before.keys():
            del os.environ[added]
        os.environ |= before


@contextmanager
def adding(variables: Mapping[str, str]) -> Iterator[None]:
    """Add variables for a package that reads them inside the block; those that are set stay as they are."""
    added = {name: value for name, value in variables.items() if not os.environ.get(name)}
    before = {name: os.environ[name] for name in added if name in os.environ}
    os.environ |= added
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
        os.environ |= before


# What packages would report to their makers or to others, and the variables that stop it. Streamlit's usage statistics
# are off in .streamlit/config.toml, which it reads before our code runs.
QUIET = {
    # Since 1.29, onnxruntime, which FastEmbed and RapidOCR import too, resolves its vendor's host within a minute and
    # keeps a device id and unsent events in the user's cache folder. `onnxruntime.disable_telemetry_events` comes too
    # late for the first event.
    "ORT_DISABLE_TELEMETRY": "1",
    # FastEmbed's downloads of models that somebody chose.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    # LangChain sends every question and answer to LangSmith, if a variable says so that was meant for another program.
    "LANGSMITH_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
}
OUTDATED = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")  # LangChain refuses to run where they are set


def silence_packages() -> None:
    """Stop what packages would send by themselves, for this process and its children, whatever the environment says.

    Call it before they are imported: most of them read these variables only then.
    """
    os.environ |= QUIET
    for name in OUTDATED:
        os.environ.pop(name, None)
