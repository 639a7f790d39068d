"""`zhiwen backup` and `zhiwen restore`: from and to SQLite and PostgreSQL, and the same answers afterwards."""

from __future__ import annotations

import errno
import gzip
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from filelock import FileLock
from pydantic import SecretStr

from kb.cli import backup as backing_up
from kb.cli.copying import copy_rows, sqlite_in
from kb.cli.restore import REPLACED
from kb.config import Settings
from kb.conversations import Conversations, Messages
from kb.database import HEAD, Database
from kb.database.tables import messages, versions
from kb.library import recount_all
from kb.local.plan import Folders
from kb.models import Document, Mode, Scope, VersionState
from kb.providers.store import ProviderDraft
from kb.services import WorkerParts, build_services, build_worker_parts
from kb.users import Users
from tests import real_services
from tests.conftest import Core
from tests.fakes.queue import RecordingQueue
from tests.kb.cli.conftest import Run

TEXT = "# Tower\n\nThe lighthouse is white."


@pytest.fixture
def backup(core: Core, worker: WorkerParts, configured: Settings, zhiwen: Run, tmp_path: Path) -> Path:
    """Of one document that is ready, one that waits, a provider with a key, a conversation, and two webhooks.

    One of these is on, and an event waits to be sent to it.
    """
    base, webhooks = core.knowledge_base("Coast"), core.services.webhooks
    on, off = (webhooks.create(core.user, f"https://{name}.example")[0] for name in ("on", "off"))
    webhooks.disable(core.user, off.id)
    worker.ingestion.ingest(core.upload(base, "tower.md", TEXT).latest.id)
    assert webhooks.deliveries(core.user, on.id, None, 1)[0].due_at
    core.upload(base, "waiting.md", "A bay.")
    draft = ProviderDraft("Provider", "other", "http://127.0.0.1:9/v1", SecretStr("secret-key"))
    core.services.providers.add(core.user, draft)
    core.services.conversations.create(core.user, "About towers", Mode.KNOWLEDGE, Scope.of(base.id))
    file = tmp_path / "backup.tgz"
    ended = zhiwen("backup", str(file), "--json")
    assert (ended.code, ended.json["uploads"]) == (0, 2), ended
    core.services.vectors.drop(base.collection)
    return file


@pytest.fixture
def other_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "other home"
    monkeypatch.setenv("ZHIWEN_HOME", str(home))
    return home


def check_restored(settings: Settings) -> None:
    """A worker indexes the documents, and tells nobody; then a question finds what it found before."""
    services = build_services(settings, RecordingQueue())
    worker = build_worker_parts(services)
    try:
        user = services.users.local_principal()
        (base,) = services.knowledge_bases.list(user)
        with services.database.read() as connection:
            queued = list(connection.scalars(sa.select(versions.c.id).where(versions.c.state == "queued")))
        assert len(queued) == 2
        for version_id in queued:
            worker.ingestion.ingest(version_id)
        states = {each.name: each.latest.state for each in services.documents.list(user, base.id)}
        assert states == {"tower.md": VersionState.READY, "waiting.md": VersionState.READY}
        found = services.retriever.retrieve(user, Scope.of(base.id), "Is the lighthouse white?")
        assert found.passages[0].chunk.text == TEXT
        assert found.unsearchable is None
        assert [each.key.get_secret_value() for each in services.providers.connections(user)] == ["secret-key"]
        assert services.conversations.count(user) == 1
        assert recount_all(services.database) == {}
        for webhook in services.webhooks.list(user):
            assert webhook.disabled_at
            assert services.webhooks.deliveries(user, webhook.id, None, 9) == []
    finally:
        worker.ingestion.close()
        services.close()


def test_restored_home_gives_the_same_answers(
    backup: Path, core: Core, other_home: Path, zhiwen: Run, configured: Settings
) -> None:
    assert backup.stat().st_mode & 0o077 == 0
    ended = zhiwen("restore", str(backup))
    assert ended.code == 0, ended
    assert "1 document will be indexed when Zhiwen starts" in ended.out
    assert "REDIS_URL" in ended.out
    assert "1 webhook is off" in ended.out
    assert "It uses MILVUS_URI and REDIS_URL. If the original runs on" in ended.out
    assert list(other_home.glob("restoring-*")) == []
    assert (other_home / "zhiwen.db").stat().st_mode & 0o077 == 0
    check_restored(configured.model_copy(update={"zhiwen_home": other_home}))


def test_upload_that_is_damaged_in_the_backup_is_left_out(
    backup: Path, other_home: Path, zhiwen: Run, tmp_path: Path
) -> None:
    """Its document would say something else than what was uploaded."""
    rotten = tmp_path / "rotten.tar"
    rotten.write_bytes(gzip.decompress(backup.read_bytes()).replace(b"is white", b"is green"))
    ended = zhiwen("restore", str(rotten), "--json")
    assert ended.code == 0, ended
    assert (list(ended.json["damaged_uploads"].values()), ended.json["without_file"]) == (["tower.md"], 1)
    assert [path.read_text() for path in (other_home / "uploads").rglob("*") if path.is_file()] == ["A bay."]


def test_files_of_an_open_backup_become_private(backup: Path, other_home: Path, zhiwen: Run, tmp_path: Path) -> None:
    """It was made in a home folder of an older version, which anybody could read."""
    opened = tmp_path / "open.tar"
    with tarfile.open(backup) as source, tarfile.open(opened, "w") as target:
        for member in source:
            target.addfile(member.replace(mode=0o644), source.extractfile(member))
    assert zhiwen("restore", str(opened)).code == 0
    restored = [other_home / "secret.key", other_home / "zhiwen.db", *(other_home / "uploads").rglob("*")]
    assert len(restored) > 4
    assert [path for path in restored if path.stat().st_mode & 0o077] == []


def test_nobody_reads_a_backup_in_a_shared_folder(core: Core, zhiwen: Run, tmp_path: Path) -> None:
    """Who knew its name could have made the file before."""
    file = tmp_path / "backup.tar"
    theirs = tmp_path / "backup.tar.partial"
    theirs.touch(mode=0o666)
    with theirs.open("rb") as opened:
        assert zhiwen("backup", str(file)).code == 0
        assert opened.read() == b""
    assert file.stat().st_mode & 0o077 == 0


def test_backup_names_settings_without_values(backup: Path) -> None:
    with tarfile.open(backup) as archive:
        names = archive.getnames()
        member = archive.extractfile("manifest.json")
        assert member
        text = member.read().decode()
    assert {"MILVUS_URI", "REDIS_URL", "EMBEDDING_MODEL"} <= set(json.loads(text)["settings"])
    assert "redis://" not in text
    assert (names[:2], names[-1]) == (["zhiwen.db", "secret.key"], "manifest.json")
    assert len([name for name in names if name.startswith("uploads/")]) == 2


@pytest.mark.parametrize("has_links", [True, False])
def test_document_that_is_deleted_during_a_backup(
    core: Core,
    worker: WorkerParts,
    configured: Settings,
    zhiwen: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_links: bool,
) -> None:
    """It is in the copy of SQL, so its file is in the backup, or is said to be missing; likewise one that is added."""
    base = core.knowledge_base("Coast")
    kept, gone = (core.upload(base, f"{name}.md", TEXT) for name in ("kept", "gone"))
    added: list[Document] = []

    def copy_meanwhile(*given: Any) -> None:
        added.append(core.upload(base, "added.md", TEXT))
        copy_database(*given)
        core.services.documents.delete(core.user, gone.id)
        worker.cleanup.clear_document(gone.id)

    def refuse(*_given: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    copy_database = backing_up._copy_database
    monkeypatch.setattr(backing_up, "_copy_database", copy_meanwhile)
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    file = tmp_path / "backup.tar"
    ended = zhiwen("backup", str(file), "--json")
    missing = {} if has_links else {gone.latest.file_key: "gone.md"}
    assert ended.json["missing_uploads"] == missing
    with tarfile.open(file) as archive:
        uploads = {name.removeprefix("uploads/") for name in archive.getnames() if name.startswith("uploads/")}
        manifest = archive.extractfile("manifest.json")
        assert manifest
        assert json.load(manifest)["missing_uploads"] == missing
    assert uploads == {each.latest.file_key for each in (kept, gone, *added)} - missing.keys()
    assert list(configured.uploads.glob(".*")) == []
    if missing:
        file.unlink()
        monkeypatch.setattr(backing_up, "_copy_database", copy_database)
        core.services.files.delete(kept.latest.file_key)
        assert "1 upload missing, of: kept.md." in zhiwen("backup", str(file)).out


def test_postgresql_is_restored_into_an_empty_home_and_database(
    backup: Path,
    other_home: Path,
    zhiwen: Run,
    configured: Settings,
    postgresql: real_services.PostgreSQL,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """From SQLite into PostgreSQL, and a backup of that into another one; Redis and Milvus are servers."""
    monkeypatch.setenv("DATABASE_URL", postgresql.new_database())
    ended = zhiwen("restore", str(backup))
    assert ended.code == 0, ended
    assert not (other_home / "zhiwen.db").exists()
    assert "not empty" in zhiwen("restore", str(backup)).err
    ended = zhiwen("backup", str(tmp_path / "second.tar"))
    assert ended.code == 0, ended
    third_home, url = tmp_path / "third home", postgresql.new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("ZHIWEN_HOME", str(third_home))
    ended = zhiwen("restore", str(tmp_path / "second.tar"))
    assert ended.code == 0, ended
    check_restored(configured.model_copy(update={"zhiwen_home": third_home, "database_url": url}))


def test_postgresql_is_copied_as_it_was_at_one_moment(
    postgresql: real_services.PostgreSQL, migrated_postgresql: str, configured: Settings, tmp_path: Path
) -> None:
    """A conversation that begins while rows are copied is in the backup neither by itself nor by its messages."""
    settings = configured.model_copy(update={"database_url": postgresql.new_database(migrated_postgresql)})
    with closing(Database(settings)) as source, closing(Database(settings)) as writer:
        user = Users(writer).local_principal()

        def begin_conversation() -> None:
            conversation = Conversations(writer).create(user, "Meanwhile", Mode.LLM)
            Messages(writer).ask(user, conversation.id, "Which lighthouse is white?")

        begin_conversation()

        @sa.event.listens_for(source.engine, "before_cursor_execute")
        def write_meanwhile(*given: Any) -> None:
            if "FROM messages" in given[2]:
                begin_conversation()

        with sqlite_in(tmp_path, settings) as copy:
            copy_rows(source, copy)
            assert Conversations(copy).count(user) == 1
            with copy.read() as connection:
                assert len(set(connection.scalars(sa.select(messages.c.conversation_id)))) == 1
        assert Conversations(writer).count(user) == 2


def test_what_is_there_is_moved_on_demand(backup: Path, core: Core, zhiwen: Run, configured: Settings) -> None:
    core.services.close()
    refused = zhiwen("restore", str(backup))
    assert refused.code == 1
    assert "1 knowledge base, 2 documents" in refused.err
    assert "--force" in refused.err
    ended = zhiwen("restore", str(backup), "--force", "--json")
    assert ended.code == 0, ended
    moved = Path(ended.json["moved_to"])
    assert moved.parent == configured.home
    assert {path.name for path in moved.iterdir()} <= set(REPLACED)
    with sqlite3.connect(moved / "zhiwen.db") as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (2,)


def test_running_zhiwen_is_left_alone(backup: Path, other_home: Path, zhiwen: Run) -> None:
    Folders(other_home).create()
    with FileLock(Folders(other_home).lock):
        ended = zhiwen("restore", str(backup))
    assert ended.code == 1
    assert "End it first" in ended.err


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "other", "absent"])
def test_other_files_are_refused(tmp_path: Path, other_home: Path, zhiwen: Run, content: bytes | None) -> None:
    file = tmp_path / "backup.tar"
    if content is not None:
        file.write_bytes(content)
    ended = zhiwen("restore", str(file))
    assert ended.code == 1
    assert "cannot be read as a backup" in ended.err
    assert not (other_home / "zhiwen.db").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("uploads/file", "../secret.key"),
        ("zhiwen.db", "manifest.json"),
        ("zhiwen.db", None),
        ("manifest.json", b"null"),
        ("manifest.json", b"{}"),
    ],
    ids=["link", "database-link", "database-folder", "no-manifest", "empty-manifest"],
)
def test_made_up_backups_are_refused(
    tmp_path: Path, other_home: Path, zhiwen: Run, name: str, content: str | bytes | None
) -> None:
    """A part in place of another: a link (text), a folder (None) or a file."""
    manifest = {"format": 1, "release": "1", "revision": "0001", "needs_secret_key": False, "settings": []}
    parts = {"manifest.json": json.dumps(manifest).encode(), "secret.key": b"key", "zhiwen.db": b"", name: content}
    file = tmp_path / "backup.tar"
    with tarfile.open(file, "w") as archive:
        for part, held in parts.items():
            entry = tarfile.TarInfo(part)
            if isinstance(held, bytes):
                entry.size = len(held)
                archive.addfile(entry, io.BytesIO(held))
                continue
            entry.type, entry.linkname = (tarfile.SYMTYPE, held) if held else (tarfile.DIRTYPE, "")
            archive.addfile(entry)
    ended = zhiwen("restore", str(file))
    assert ended.code == 1
    assert "cannot be read as a backup" in ended.err
    assert not any((other_home / part).exists() for part in parts)


def altered(database: bytes, statement: str | sa.Insert, folder: Path) -> bytes:
    file = folder / "altered.db"
    file.write_bytes(database)
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(sa.text(statement) if isinstance(statement, str) else statement)
    engine.dispose()
    return file.read_bytes()


OTHER_FILES = sa.insert(versions).values(
    id=uuid4(), document_id=uuid4(), file_key="../secret.key", state="failed", size_bytes=1
)


@pytest.mark.parametrize(
    "change",
    [
        lambda good, _folder: {"zhiwen.db": b""},
        lambda good, _folder: {"zhiwen.db": good[: len(good) // 2]},
        lambda good, _folder: {"zhiwen.db": b"no database" * 1000},
        lambda good, folder: {"zhiwen.db": altered(b"", "CREATE TABLE other (id)", folder)},
        lambda good, folder: {"zhiwen.db": altered(good, "DROP TABLE leftovers", folder)},
        lambda good, folder: {"zhiwen.db": altered(good, "UPDATE alembic_version SET version_num = '9999'", folder)},
        lambda good, folder: {"zhiwen.db": altered(good, OTHER_FILES, folder)},
        lambda good, _folder: {"uploads": b"a file"},
    ],
    ids=["empty", "cut off", "none", "another program's", "table", "newer", "other files", "uploads"],
)
def test_what_is_there_stays_if_the_backup_is_damaged(
    tmp_path: Path,
    other_home: Path,
    zhiwen: Run,
    migrated_sqlite: Path,
    change: Callable[[bytes, Path], dict[str, bytes]],
) -> None:
    good = migrated_sqlite.read_bytes()
    manifest = {"format": 1, "release": "1", "revision": HEAD, "needs_secret_key": False, "settings": []}
    parts = {"zhiwen.db": good, "manifest.json": json.dumps(manifest).encode()} | change(good, tmp_path)
    file = tmp_path / "backup.tar"
    with tarfile.open(file, "w") as archive:
        for part, held in parts.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(held)
            archive.addfile(entry, io.BytesIO(held))
    (other_home / "uploads").mkdir(parents=True)
    (other_home / "uploads" / "mine").write_text("mine")
    ended = zhiwen("restore", str(file), "--force")
    assert ended.code == 1
    assert "cannot be read as a backup" in ended.err
    left = {path.relative_to(other_home).as_posix() for path in other_home.rglob("*") if path.is_file()}
    assert left == {"uploads/mine", "run/lock"}


def test_existing_file_and_empty_home(zhiwen: Run, tmp_path: Path) -> None:
    (tmp_path / "there.tar").touch()
    assert "exists already" in zhiwen("backup", str(tmp_path / "there.tar")).err
    assert "nothing to back up" in zhiwen("backup", str(tmp_path / "new.tar")).err
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == ["there.tar"]
