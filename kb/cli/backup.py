"""`zhiwen backup`: SQL and the uploads in one file, while Zhiwen runs."""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from kb.cli.connecting import OpenQueue, prepare_process
from kb.cli.copying import DATABASE, FORMAT, KEY, MANIFEST, UPLOADS, copy_rows, sqlite_in
from kb.cli.printing import CommandFailed, print_json, progress
from kb.config import Settings, load_settings
from kb.database import HEAD, Database
from kb.database.copies import copy_sqlite
from kb.home import UMASK
from kb.library import FileStore

PARTIAL = ".partial"


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    settings, target = load_settings(), Path(asked.file)
    prepare_process(settings)
    os.umask(UMASK)  # the file holds documents and keys
    if target.exists():
        raise CommandFailed(f"{target} exists already.")
    partial = target.with_name(target.name + PARTIAL)
    try:
        files = _write(settings, partial)
        partial.replace(target)
    except OSError as error:
        raise CommandFailed(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    made = {"file": str(target.resolve()), "size_bytes": target.stat().st_size, "uploads": files}
    if asked.json:
        print_json(made)
    else:
        print(f"{target}: {made['size_bytes']:,} bytes, {files:,} uploads. Keep it safe: it holds documents and keys.")
    return 0


def _write(settings: Settings, target: Path) -> int:
    """SQL first: an upload that it does not list does no harm, one that is missing would. Returns how many uploads."""
    mode: Literal["w:gz", "w"] = "w:gz" if target.name.removesuffix(PARTIAL).endswith((".gz", ".tgz")) else "w"
    with tempfile.TemporaryDirectory(prefix="zhiwen-backup-", dir=target.parent or None) as folder:
        _copy_database(settings, Path(folder))
        with tarfile.open(target, mode) as archive:
            _add_text(archive, MANIFEST, json.dumps(_manifest(settings), indent=2))
            archive.add(Path(folder) / DATABASE, DATABASE)
            if (settings.home / KEY).is_file():
                archive.add(settings.home / KEY, KEY)
            return _add_uploads(archive, settings)


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


def _add_uploads(archive: tarfile.TarFile, settings: Settings) -> int:
    """All complete files but those that are deleted meanwhile."""
    added = 0
    names = [each.key for each in FileStore(settings.uploads).originals()]
    with progress(len(names), "Uploads", "file") as bar:
        for name in sorted(names):
            added += _add_file(archive, settings.uploads / name, f"{UPLOADS}/{name}")
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
