"""`zhiwen backup`: SQL and the uploads in one file, while Zhiwen runs."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from kb.cli.connecting import OpenQueue, prepare_process
from kb.cli.copying import DATABASE, FORMAT, KEY, MANIFEST, UPLOADS, copy_rows, sqlite_in
from kb.cli.printing import CommandFailed, count, joined, print_json, progress
from kb.config import Settings, load_settings
from kb.database import HEAD, Database
from kb.database.copies import copy_sqlite
from kb.database.tables import documents, knowledge_bases, versions
from kb.home import UMASK
from kb.library import FileStore
from kb.models import VersionState

PARTIAL = ".partial"
LINKS = ".backup-"
LEFT_SECONDS = 86_400.0  # longer than any backup takes


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    settings, target = load_settings(), Path(asked.file)
    prepare_process(settings)
    os.umask(UMASK)  # the file holds documents and keys
    if target.exists():
        raise CommandFailed(f"{target} exists already.")
    partial = target.with_name(target.name + PARTIAL)
    try:
        files, missing = _write(settings, partial)
        partial.replace(target)
    except OSError as error:
        raise CommandFailed(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    size = target.stat().st_size
    if asked.json:
        print_json({"file": str(target.resolve()), "size_bytes": size, "uploads": files, "missing_uploads": missing})
        return 0
    print(f"{target}: {size:,} bytes, {files:,} uploads. Keep it safe: it holds documents and keys.")
    if missing:
        print(f"{count(len(missing), 'upload')} missing, of: {joined(missing.values())}.")
        print("They were not on this machine's disk, or were deleted meanwhile. The System page tells which are lost.")
    return 0


def _write(settings: Settings, target: Path) -> tuple[int, dict[str, str]]:
    """How many uploads are in it; and those that SQL lists and that are not, with the names of their documents.

    Uploads are linked before SQL is copied, as a document that is deleted later is still in the copy; and once more
    afterwards, those that came meanwhile. One that SQL does not list does no harm.
    """
    mode: Literal["x:gz", "x"] = "x:gz" if target.name.removesuffix(PARTIAL).endswith((".gz", ".tgz")) else "x"
    uploads = dict[str, Path]()
    temporary = tempfile.TemporaryDirectory(prefix="zhiwen-backup-", dir=target.parent or None)
    with temporary as folder, _folder_for_links(settings.uploads) as links:
        _find_uploads(settings.uploads, links, uploads)
        _copy_database(settings, Path(folder))
        _find_uploads(settings.uploads, links, uploads)
        target.unlink(missing_ok=True)  # of a backup that was killed, or somebody else's, who could read this one
        with tarfile.open(target, mode) as archive:
            archive.add(Path(folder) / DATABASE, DATABASE)
            if (settings.home / KEY).is_file():
                archive.add(settings.home / KEY, KEY)
            added = _add_uploads(archive, uploads)
            missing = {key: name for key, name in _listed(settings, Path(folder)).items() if key not in added}
            _add_text(archive, MANIFEST, json.dumps(_manifest(settings) | {"missing_uploads": missing}, indent=2))
        return len(added), missing


def _copy_database(settings: Settings, folder: Path) -> None:
    if not settings.database_url and not settings.sqlite_path.is_file():
        raise CommandFailed(f"There is nothing to back up in {settings.home}.")
    source = Database(settings)
    try:
        if source.revision() != HEAD:
            raise CommandFailed("The database is another release's. Start this release once, which upgrades it.")
        if source.is_sqlite:
            with source.read() as connection:
                copy_sqlite(connection, folder / DATABASE)
            return
        with sqlite_in(folder, settings) as copy:
            copy_rows(source, copy)
    finally:
        source.close()


def _listed(settings: Settings, folder: Path) -> dict[str, str]:
    """The files that the copy of SQL needs, with the names of their documents."""
    needed = (
        sa.select(versions.c.file_key, documents.c.name)
        .join(documents, documents.c.id == versions.c.document_id)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
        .where(
            documents.c.deleted_at.is_(None),
            knowledge_bases.c.deleted_at.is_(None),
            # The file of one that was replaced before it was ready is deleted.
            sa.or_(versions.c.listed_in.is_not(None), versions.c.state == VersionState.READY.value),
        )
        .order_by(documents.c.name)
    )
    with sqlite_in(folder, settings) as database, database.read() as connection:
        return {row.file_key: row.name for row in connection.execute(needed)}


@contextmanager
def _folder_for_links(uploads: Path) -> Iterator[Path | None]:
    """A folder on the disk of the uploads, which no list of uploads shows; None if nothing can be written there."""
    try:
        for left in uploads.glob(f"{LINKS}*"):  # by a backup that was killed
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        links = tempfile.TemporaryDirectory(prefix=LINKS, dir=uploads, ignore_cleanup_errors=True)
    except OSError:
        yield None
        return
    with links as folder:
        yield Path(folder)


def _find_uploads(uploads: Path, links: Path | None, found: dict[str, Path]) -> None:
    """Add all complete files to `found`: links to them, which stay when they are deleted, if the disk has links."""
    for each in FileStore(uploads).originals():
        if each.key not in found:
            file = uploads / each.key
            found[each.key] = _linked(file, links / each.key) if links else file


def _linked(file: Path, link: Path) -> Path:
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(file)
    except OSError:
        return file
    return link


def _add_uploads(archive: tarfile.TarFile, uploads: Mapping[str, Path]) -> set[str]:
    """All files but those that are deleted meanwhile; returns which."""
    added = set()
    with progress(len(uploads), "Uploads", "file") as bar:
        for key in sorted(uploads):
            if _add_file(archive, uploads[key], f"{UPLOADS}/{key}"):
                added.add(key)
            bar.update()
    return added


def _add_file(archive: tarfile.TarFile, path: Path, name: str) -> bool:
    """False if it is gone."""
    try:
        with path.open("rb") as file:
            archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), file)
    except FileNotFoundError:
        return False
    return True


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry, content = tarfile.TarInfo(name), text.encode()
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(datetime.now(UTC).timestamp())
    archive.addfile(entry, io.BytesIO(content))


def _manifest(settings: Settings) -> dict[str, object]:
    return {
        "format": FORMAT,
        "release": version("zhiwen"),
        "revision": HEAD,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": sorted(name.upper() for name in settings.model_fields_set - {"zhiwen_home"}),
        "needs_secret_key": bool(settings.secret_key.get_secret_value()),
    }
