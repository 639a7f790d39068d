"""Pages of lists. A cursor is opaque to programs: the place of the last one that they have, in the list's order."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from kb.errors import InvalidCursor

MOST = 100
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: str | None = Field(default=None, description="The cursor of the next page; null: this is the last one.")


def cursor_of(moment: datetime, item_id: UUID) -> str:
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), item_id.hex]).encode()).decode()


_EXAMPLE = cursor_of(datetime(2026, 3, 1, tzinfo=UTC), UUID("7d1f0b52-8f0e-4a43-8a0c-0f6a3f1f9b20"))
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.", examples=[50])]
Cursor = Annotated[
    str, Query(max_length=400, description="`next` of the page before; empty: the first page.", examples=[_EXAMPLE])
]


def place_of(cursor: str) -> tuple[datetime, UUID] | None:
    """None for the first page. Errors: `InvalidCursor`."""
    if not cursor:
        return None
    try:
        moment, item_id = json.loads(base64.urlsafe_b64decode(cursor))
        found = datetime.fromisoformat(moment), UUID(item_id)
        if found[0].tzinfo is None:
            raise InvalidCursor
        return found[0].astimezone(UTC), found[1]
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidCursor from error
