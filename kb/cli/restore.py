"""`zhiwen restore`: the data of a backup in an empty home folder, to be indexed at the next start."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from pydantic import BaseModel

from kb.cli.connecting import OpenQueue, prepare_process
from kb.cli.copying import DATABASE, FORMAT, KEY, MANIFEST, UPLOADS, copy_rows, sqlite_in
from kb.cli.printing import CommandFailed, count, joined, print_json
from kb.config import Settings, load_settings
from kb.database import HEAD, Database
from kb.database.tables import (
    documents,
    index_checks,
    index_loads,
    knowledge_bases,
    leftovers,
    login_sessions,
    now,
    versions,
    webhook_deliveries,
    webhooks,
)
from kb.errors import KbError
from kb.home import keep_private
from kb.library import FileStore, recount_all
from kb.local.plan import Folders
from kb.models import VersionState
from kb.reconciling import index_again

# What Zhiwen keeps in its home folder and a backup replaces; models can stay.
REPLACED = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", KEY, UPLOADS, "milvus", "redis")


class Manifest(BaseModel):
    """What `kb.cli.backup` says of a backup."""

    format: int
    release: str
    revision: str
    needs_secret_key: bool
    settings: list[str]


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    settings, source = load_settings(), Path(asked.file)
    prepare_process(settings)
    keep_private(settings.home)
    if settings.database_url.startswith("sqlite"):
        raise CommandFailed("Restore into the database of the home folder, without DATABASE_URL, or into PostgreSQL.")
    with _alone_on(settings), tempfile.TemporaryDirectory(prefix="restoring-", dir=settings.home) as folder:
        manifest = _unpack(source, Path(folder))
        if manifest.needs_secret_key and not settings.secret_key.get_secret_value():
            raise CommandFailed("The backup's API keys are encrypted with SECRET_KEY. Set it to the same value first.")
        there = _find_data(settings, asked.force)
        restored = _prepare(source, manifest, settings, Path(folder))
        moved = _move_away(settings, there)
        _take_in(settings, Path(folder))
    restored |= {"moved_to": str(moved) if moved else None, "settings": manifest.settings}
    services = {"MILVUS_URI": settings.milvus_uri, "REDIS_URL": settings.redis_url}
    restored |= {"services": [name for name, address in services.items() if address]}
    if asked.json:
        print_json(restored)
    else:
        _print(restored)
    return 0


@contextmanager
def _alone_on(settings: Settings) -> Iterator[None]:
    """Nobody starts on the home folder meanwhile."""
    folders = Folders(settings.home)
    folders.create()
    try:
        with FileLock(folders.lock, timeout=0):
            yield
    except Timeout as error:
        raise CommandFailed(f"Zhiwen runs on {settings.home}. End it first, and all workers.") from error


def _unpack(source: Path, folder: Path) -> Manifest:
    try:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter=_plain_files)
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        if not (folder / DATABASE).is_file():
            raise FileNotFoundError(f"there is no {DATABASE} in it")
        if (folder / KEY).is_dir() or (folder / UPLOADS).is_file():
            raise ValueError(f"{KEY} is no file in it, or {UPLOADS} no folder")
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise _unreadable(source, getattr(error, "strerror", None) or error) from error
    if manifest.format != FORMAT or manifest.revision > HEAD:
        raise CommandFailed(f"{source} is a backup of a newer release ({manifest.release}). Install that one.")
    return manifest


def _unreadable(source: Path, detail: object) -> CommandFailed:
    return CommandFailed(f"{source} cannot be read as a backup of Zhiwen: {detail}")


def _plain_files(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """A backup has no links: one would name another file once the parts are in their places.

    Its files become private, whatever they were where it was made.
    """
    if not (member.isreg() or member.isdir()):
        raise tarfile.SpecialFileError(member)
    plain = tarfile.data_filter(member, folder)
    return plain if plain.isdir() else plain.replace(mode=0o600, deep=False)


# --- room for it -----------------------------------------------------------------------------------------------


def _find_data(settings: Settings, is_forced: bool) -> list[str]:
    """The names of what is there, which is moved away if that was asked for. Errors: `CommandFailed` if it was not."""
    if settings.database_url:
        _require_empty(settings)
    there = [name for name in REPLACED if _holds_data(settings.home / name)]
    if there and not is_forced:
        raise CommandFailed(
            f"{settings.home} is not empty: {_describe(settings)} ({', '.join(there)}). "
            "Set ZHIWEN_HOME to an empty folder, or move this away with --force."
        )
    return there


def _move_away(settings: Settings, there: list[str]) -> Path | None:
    """Where to; None if there is nothing."""
    if not there:
        return None
    aside = settings.home / f"replaced-{datetime.now():%Y%m%d-%H%M%S}"
    aside.mkdir()
    for name in there:
        (settings.home / name).rename(aside / name)
    return aside


def _holds_data(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _describe(settings: Settings) -> str:
    if settings.database_url or not settings.sqlite_path.is_file():
        return "files"
    database = Database(settings)
    try:
        with database.read() as connection:
            numbers = [
                connection.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.deleted_at.is_(None)))
                for table in (knowledge_bases, documents)
            ]
        return f"{count(numbers[0] or 0, 'knowledge base')}, {count(numbers[1] or 0, 'document')}"
    except (sa.exc.SQLAlchemyError, CommandFailed):
        return "a database of another release"
    finally:
        database.close()


def _require_empty(settings: Settings) -> None:
    database = Database(settings)
    try:
        if database.revision() is not None:
            raise CommandFailed("The database of DATABASE_URL is not empty. Create a new one, and name that.")
    finally:
        database.close()


# --- the data --------------------------------------------------------------------------------------------------


def _prepare(source: Path, manifest: Manifest, settings: Settings, folder: Path) -> dict[str, Any]:
    """Bring the unpacked database into the state of this release and home, before anything in the home is touched.

    Errors: `CommandFailed` if it is damaged, or not what the backup says of it.
    """
    database = Database(settings.model_copy(update={"zhiwen_home": folder, "database_url": ""}))
    try:
        if database.revision() != manifest.revision:
            raise _unreadable(source, f"{DATABASE} is not the database that {MANIFEST} describes")
        with database.read() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        if found != "ok":
            raise _unreadable(source, f"{DATABASE} is damaged ({str(found).splitlines()[-1]})")
        database.migrate()
        with database.read() as connection:
            keys = [PurePosixPath(key) for key in connection.scalars(sa.select(versions.c.file_key))]
        if any(key.is_absolute() or ".." in key.parts for key in keys):
            raise _unreadable(source, f"{DATABASE} names files outside of {UPLOADS}")
        files = FileStore(folder / UPLOADS)
        damaged = _leave_out_damaged(database, files, folder / UPLOADS)
        return _begin_anew(database, files) | {"damaged_uploads": damaged}
    except KbError as error:
        raise _unreadable(source, error.values.get("detail", error)) from error
    except sa.exc.SQLAlchemyError as error:
        raise _unreadable(source, str(error).splitlines()[0]) from error
    finally:
        database.close()


def _leave_out_damaged(database: Database, files: FileStore, uploads: Path) -> dict[str, str]:
    """Delete the uploads that are not what was uploaded; returns their keys, and the names of their documents.

    A compressed backup cannot be read where it is damaged; another one holds what the disk made of it.
    """
    columns = versions.c.file_key, versions.c.sha256, documents.c.name
    known = sa.select(*columns).join(documents, documents.c.id == versions.c.document_id).where(versions.c.sha256 != "")
    with database.read() as connection:
        rows = connection.execute(known.order_by(documents.c.name)).all()
    damaged = {}
    for row in rows:
        path = uploads / row.file_key
        if path.is_file() and _sha256(path) != row.sha256:
            files.delete(row.file_key)
            damaged[row.file_key] = row.name
    return damaged


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take_in(settings: Settings, folder: Path) -> None:
    """The files first: without SQL they do no harm."""
    for name in (KEY, UPLOADS):
        if (folder / name).exists():
            shutil.rmtree(settings.home / name, ignore_errors=True)  # an empty folder
            (folder / name).rename(settings.home / name)
    if not settings.database_url:
        (folder / DATABASE).rename(settings.sqlite_path)
        return
    target = Database(settings)
    try:
        target.migrate()
        with sqlite_in(folder, settings) as database:
            copy_rows(database, target)
    finally:
        target.close()


def _begin_anew(database: Database, files: FileStore) -> dict[str, Any]:
    """Queue all documents to be indexed, and forget what was true of another Milvus; sign everybody out.

    Nothing is told to programs: the original may run on, and each document becomes ready once more.
    """
    ready = versions.c.state == VersionState.READY.value
    are_live = versions.c.id.in_(sa.select(documents.c.live_version_id))
    with database.write() as connection:
        for table in (index_checks, index_loads, leftovers, login_sessions):
            connection.execute(sa.delete(table))
        connection.execute(sa.update(versions).where(ready, are_live).values(missing_chunks=versions.c.chunks))
        connection.execute(sa.update(versions).where(~ready).values(stored_chunks=0))
        connection.execute(sa.delete(webhook_deliveries).where(webhook_deliveries.c.due_at.is_not(None)))
        are_on = sa.update(webhooks).where(webhooks.c.disabled_at.is_(None))
        off = connection.execute(are_on.values(disabled_at=now(), failing_since=None)).rowcount
    recount_all(database)
    again = index_again(database, files)
    return {"documents": again.queued, "without_file": again.without_file, "webhooks_switched_off": off}


def _print(restored: dict[str, Any]) -> None:
    print(f"Restored. {count(restored['documents'], 'document')} will be indexed when Zhiwen starts.")
    if damaged := restored["damaged_uploads"]:
        those = joined(damaged.values())
        print(f"{count(len(damaged), 'upload')} damaged in the backup and left out, of: {those}. Upload them again.")
    if restored["without_file"]:
        print(f"The files of {count(restored['without_file'], 'document')} are missing, also in the backup.")
    if off := restored["webhooks_switched_off"]:
        print(
            f"{count(off, 'webhook')} {'is' if off == 1 else 'are'} off, so that programs get nothing from this copy. "
            "If it replaces the original, their users switch them on once the documents are indexed: on the page "
            "“API”, or by POST /api/v1/webhooks/{id}/enable."
        )
    if names := restored["services"]:
        print(
            f"It uses {' and '.join(names)}. If the original runs on, give this copy others before it starts: two "
            "copies on one Milvus delete each other's chunks, and on one Redis they take each other's work."
        )
    if restored["moved_to"]:
        print(f"What was there before is in {restored['moved_to']}.")
    if restored["settings"]:
        print(f"Settings that were set then, and are not part of a backup: {', '.join(restored['settings'])}")
