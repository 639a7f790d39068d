"""Citations to the spot: where a passage stands in its document, as a person sees it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from kb.access import Principal
from kb.database import Database
from kb.errors import N_, NotFound, PageNotDrawn
from kb.library import Documents, FileStore, lines_between
from kb.library.rows import find_version
from kb.models import Chunk, LineBox
from kb.page_images import PageImages
from kb.parsing.media_types import DRAWN


class SourceState(StrEnum):
    """What has become of the document since a passage was found in it."""

    SAME = "same"
    CHANGED = "changed"  # another version answers now
    GONE = "gone"  # deleted, or somebody else's


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """A page that shows a passage, with the boxes of its lines."""

    number: int
    lines: Sequence[LineBox]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a passage stands. `pages` have images (see `Spots.draw`); other formats, and lost documents, have none.

    `has_marks` is False if it is not known where the lines of the document are: an earlier release read it.
    """

    source: SourceState
    version_id: UUID
    knowledge_base_id: UUID | None = None
    pages: Sequence[MarkedPage] = ()
    has_marks: bool = True


class Spots:
    """The spots of passages, each for the acting user."""

    def __init__(self, database: Database, documents: Documents, files: FileStore, images: PageImages) -> None:
        self._database = database
        self._documents = documents
        self._files = files
        self._images = images

    def find(self, principal: Principal, chunk: Chunk) -> Spot:
        """Where a chunk stands, as it was retrieved. Reads SQL and the disk, draws nothing."""
        try:
            with self._database.read() as connection:
                row = find_version(connection, principal, chunk.version_id)
        except NotFound:
            return Spot(SourceState.GONE, chunk.version_id)
        if row.live_version_id != chunk.version_id:
            return Spot(SourceState.CHANGED, chunk.version_id)
        spot = Spot(SourceState.SAME, chunk.version_id, row.knowledge_base_id)
        if row.media_type not in DRAWN or not chunk.page:
            return spot
        lines = lines_between(self._files.line_boxes(row.file_key), chunk.start, chunk.end)
        pages = [MarkedPage(number, boxes) for number, boxes in (lines or {chunk.page: []}).items()]
        return replace(spot, pages=pages, has_marks=lines is not None)

    def draw(self, principal: Principal, knowledge_base_id: UUID, version_id: UUID, page: int) -> bytes:
        """The image of a page as a JPEG. Errors: `NotFound`, `FileMissing`, `PageNotDrawn`."""
        original = self._documents.original(principal, knowledge_base_id, version_id)
        if original.media_type not in DRAWN:
            raise PageNotDrawn(name=original.name, page=page, detail=N_("its format has no pages"))
        return self._images.draw(original.path, original.name, original.media_type, page)
