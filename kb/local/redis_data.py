"""What the embedded Redis keeps on disk never blocks a start: data that it cannot load is moved aside.

Redis holds waiting tasks and running answers. Both are made again from SQL, so an empty one does as well.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from kb.errors import N_
from kb.local.plan import Plan
from kb.local.redis_server import MULTI_PART, has_multi_part, version_of
from kb.local.service import Service
from kb.local.set_aside import put_back, set_aside
from kb.stderr import complain

KIND = "redis"
TRIES = 2  # with the data; something else may have been in the way of the first one
_READY = "ready to accept connections"  # in whatever case: on a port or on a socket
_REMARK = re.compile(r"^\d+:\w \d+ \w+ \d{4} [\d:.]+ [.\-*#] ")
_NEWER = N_("written by Redis 7 or later, which is not installed any more")


def prepare_data(plan: Plan) -> None:
    """Make the folder, and move away what can be no folder for Redis, or holds the data of a newer one.

    An older Redis would overlook that data and leave it for a later start.
    """
    data = plan.folders.redis
    if os.path.lexists(data) and (reason := _obstacle(data)):
        _move(Path(plan.home), data, reason)
        return
    data.mkdir(exist_ok=True)
    if has_multi_part(data):
        version = version_of(plan.redis_server)
        if version and version < MULTI_PART:
            _move(Path(plan.home), data, _NEWER)


def _obstacle(data: Path) -> str:
    """Why `data` is no folder that Redis can use; empty if it is one."""
    if not data.is_dir():
        return N_("a file stood in the place of its folder")
    needed = os.R_OK | os.W_OK | os.X_OK
    if not os.access(data, needed):
        with suppress(OSError):  # another user's
            data.chmod(0o700)
    return "" if os.access(data, needed) else N_("its folder could not be opened")


class RedisData:
    """Watches how Redis starts. Call `look` after each change of its state."""

    def __init__(self, plan: Plan) -> None:
        self._home, self._data = Path(plan.home), plan.folders.redis
        self._failures = 0
        self._moved: Path | None = None
        self._is_at_fault = True  # until an empty Redis failed as well

    def look(self, service: Service) -> None:
        """Move the data aside after the second start that failed, and back if Redis does not start without, either."""
        if service.state.running or not self._is_at_fault:
            return
        output = service.output()
        if _READY in output.lower() or not service.ended_by_itself:
            self._failures, self._moved = 0, None
            return
        self._failures += 1
        if self._moved:
            self._restore(self._moved)
        elif self._failures >= TRIES and _holds_anything(self._data):
            self._moved = _move(self._home, self._data, reason_in(output))
            if self._moved:
                service.start_soon()

    def _restore(self, folder: Path) -> None:
        self._is_at_fault = False
        try:
            put_back(folder, self._data)
        except OSError as error:
            complain(f"Redis's data cannot be moved back from {folder}: {error}")


def _holds_anything(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # it cannot be read
        return True


def reason_in(output: str) -> str:
    """The line of Redis's output that says why it ended: the last one marked as important."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    important = [line for line in lines if " # " in line and "WARNING" not in line]
    return _REMARK.sub("", (important or lines or ["no message"])[-1])[:300]


def _move(home: Path, data: Path, reason: str) -> Path | None:
    """Where the data is now; None if it cannot be moved."""
    try:
        folder = set_aside(home, KIND, data, reason)
        data.mkdir(mode=0o700)
    except OSError as error:
        complain(f"Redis's data cannot be moved aside: {error}")
        return None
    complain(f"Redis could not load its data ({reason}). It was moved to {folder}; nothing of it is needed.")
    return folder
