"""Questions whose files are still being saved: until SQL has them, the conversation's other tabs show them from here.

A page that is reloaded meanwhile is such a tab. What stands here ends with the process, as the saving does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from kb.errors import KbError


@dataclass(slots=True, eq=False)
class Saving:
    """A question with the names of its files, and why it was refused in the end."""

    question: str
    names: Sequence[str]
    failure: KbError | None = None


_guard = threading.Lock()
_under_way: dict[UUID, list[Saving]] = {}


@contextmanager
def noted(conversation_id: UUID, question: str, names: Sequence[str]) -> Iterator[None]:
    """Inside the block, a question of the conversation is being saved."""
    saving = Saving(question, names)
    with _guard:
        _under_way.setdefault(conversation_id, []).append(saving)
    try:
        yield
    except KbError as error:
        saving.failure = error
        raise
    finally:
        with _guard:
            _under_way[conversation_id].remove(saving)
            if not _under_way[conversation_id]:
                del _under_way[conversation_id]


def under_way(conversation_id: UUID) -> Sequence[Saving]:
    """What is being saved now. Whoever reads SQL, too, asks here first, and misses nothing."""
    with _guard:
        return tuple(_under_way.get(conversation_id, ()))
