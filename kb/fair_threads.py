"""Threads for what takes long: one user, or network, has a part of them at most, so that others have a turn."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

T = TypeVar("T")


class FairThreads:
    """So many at once, of which one user has `most_of_user`; who finds none free waits. For one event loop."""

    def __init__(self, most: int, most_of_user: int) -> None:
        self._all = anyio.CapacityLimiter(most)
        self._most_of_user = most_of_user
        self._of_users: WeakValueDictionary[Hashable, anyio.CapacityLimiter] = WeakValueDictionary()

    async def run(self, user_id: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Who stops waiting does not stop it once it has begun."""
        own = self._of_users.get(user_id) or anyio.CapacityLimiter(self._most_of_user)
        self._of_users[user_id] = own  # as long as somebody holds or awaits it
        async with own:
            return await anyio.to_thread.run_sync(work, limiter=self._all)
