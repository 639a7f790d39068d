"""Collections in Milvus and files in the uploads that SQL does not know: counted and told, never deleted unasked.

They are left where SQL is older than they are, because a backup was restored or the database was lost; where a
knowledge base was deleted while MILVUS_URI named another Milvus; and where a process was killed before it had noted a
file that it had saved. A newer copy of the database may still know them, and the files may be all that is left of
somebody's documents.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.database import Database
from kb.database.tables import knowledge_bases, leftovers, users, versions
from kb.errors import CollectionMissing, MilvusRefused
from kb.library import FileStore
from kb.vectors import VectorStore

COLLECTION, FOLDER = "collection", "folder"
# Younger files may belong to an upload that is about to be noted.
SETTLED_SECONDS = 600.0
NAME_CHARACTERS = 100  # that the column takes
# That of one knowledge base. Attached files of several installations may share theirs.
_OF_ONE_BASE = re.compile(r"kb_[0-9a-f]{32}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A collection with its chunks, or a folder of the uploads with its files; a file, if others there are known."""

    name: str
    items: int
    size_bytes: int = 0


def note_leftovers(database: Database, vectors: VectorStore, files: FileStore) -> None:
    """Look for them, and note what there is. Clears what nobody can miss: OCR results of files that are gone.

    Errors: `DatabaseUnavailable`, `MilvusUnavailable`.
    """
    with database.read() as connection:  # before the disk: what is saved meanwhile is too young
        known = frozenset(connection.scalars(sa.select(versions.c.file_key)))
    _replace(database, FOLDER, _unknown_folders(files, known))
    files.delete_derived(known, SETTLED_SECONDS)
    try:
        _replace(database, COLLECTION, _unknown_collections(database, vectors))
    except MilvusRefused as error:
        log.warning("reconciling.not_listed", reason=str(error))


def drop_collections(database: Database, vectors: VectorStore) -> int:
    """Drop the collections that were noted and that SQL still does not know; returns how many.

    Errors: `DatabaseUnavailable`, `MilvusUnavailable`, `MilvusRefused`.
    """
    with database.read() as connection:
        noted = connection.scalars(sa.select(leftovers.c.name).where(leftovers.c.kind == COLLECTION)).all()
    unknown = sorted(set(noted) - _known_collections(database))
    for name in unknown:
        vectors.drop(name)
        with database.write() as connection:
            connection.execute(sa.delete(leftovers).where(leftovers.c.kind == COLLECTION, leftovers.c.name == name))
        log.info("reconciling.collection_dropped", collection=name)
    return len(unknown)


def _unknown_folders(files: FileStore, known: frozenset[str]) -> list[Leftover]:
    """The folders of which SQL knows nothing; of the others, the files."""
    found: dict[str, Leftover] = {}
    settled_at = time.time() - SETTLED_SECONDS
    in_use = {key.partition("/")[0] for key in known}
    for file in files.originals():
        if file.key not in known and file.changed_at < settled_at:
            folder = file.key.partition("/")[0]
            name = _printable(file.key if folder in in_use else folder)
            before = found.get(name, Leftover(name, 0))
            found[name] = Leftover(name, before.items + 1, before.size_bytes + file.size_bytes)
    return list(found.values())


def _printable(name: str) -> str:
    """A name that SQL and a terminal take: bytes that are not UTF-8 are written as digits, and a long one is cut."""
    name = os.fsencode(name).decode(errors="backslashreplace")
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"


def _unknown_collections(database: Database, vectors: VectorStore) -> list[Leftover]:
    """Those that were created for this database's users. SQL is asked before, and after for what is new."""
    known = _known_collections(database)
    unknown = [name for name in vectors.names() if _OF_ONE_BASE.fullmatch(name) and name not in known]
    if not unknown:
        return []
    own = [each for name in unknown if (each := _own(database, vectors, name))]
    known = _known_collections(database)
    return [each for each in own if each.name not in known]


def _own(database: Database, vectors: VectorStore, name: str) -> Leftover | None:
    """The collection, unless it may belong to another installation. Milvus Lite serves only one."""
    try:
        if not vectors.server.is_lite:
            with database.read() as connection:
                is_own = sa.select(users.c.id).where(users.c.id == vectors.owner(name))
                if connection.scalar(is_own) is None:
                    return None
        return Leftover(name, vectors.stored(name))
    except CollectionMissing:
        return None
    except MilvusRefused:  # it cannot be read
        return Leftover(name, 0)


def _known_collections(database: Database) -> set[str]:
    """Those of all knowledge bases, of deleted ones until they are cleared."""
    with database.read() as connection:
        return set(connection.scalars(sa.select(knowledge_bases.c.collection).distinct()))


def _replace(database: Database, kind: str, found: list[Leftover]) -> None:
    rows = [{"kind": kind, "name": each.name, "items": each.items, "size_bytes": each.size_bytes} for each in found]
    rows.sort(key=lambda row: str(row["name"]))  # of two who insert the same ones, none waits for the other
    with suppress(IntegrityError), database.write() as connection:  # another process noted them at this moment
        connection.execute(sa.delete(leftovers).where(leftovers.c.kind == kind))
        if rows:
            connection.execute(sa.insert(leftovers), rows)
    if rows:
        log.warning("reconciling.leftovers", kind=kind, count=len(rows))
