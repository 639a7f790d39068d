"""Fixtures for all tests: an isolated environment and real services."""

from __future__ import annotations

import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import redis
import sqlalchemy as sa

from kb.access import Principal
from kb.config import Settings, load_settings
from kb.conversations import Conversations, Messages
from kb.database import Database
from kb.database.tables import users
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.embedding.weights import WEIGHTS_FILE
from kb.environment import bypass_proxies
from kb.errors import EmbeddingUnavailable
from kb.ingestion import Claims
from kb.library import Arrivals, Documents, FileStore, KnowledgeBases
from kb.library.quotas import Quotas
from kb.models import Document, KnowledgeBase, Version
from kb.names import fold
from kb.parsing import ParserProcess
from kb.parsing.room import Room
from kb.services import Services, WorkerParts, build_services, build_worker_parts
from kb.vectors import VectorStore
from tests import real_services
from tests.fakes.embedding import HashedWords, with_test_model
from tests.fakes.queue import RecordingQueue

MakeSettings = Callable[..., Settings]
# Keeps the built-in models between test runs.
MODELS_HOME = Path(os.environ.get("ZHIWEN_TEST_HOME") or real_services.ROOT / "build")


def pytest_configure() -> None:
    """The tests' own servers are local: behind a proxy, reach them directly."""
    bypass_proxies(Settings.model_construct())


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, since a test often waits for a server; four at most, for their memory."""
    return min((os.cpu_count() or 1) + 1, 4)


_UNSTABLE_NAME = re.compile(r" at 0x[0-9a-f]{6}|frozenset\(|\{'[^':]*', '")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name contents by their parameter: archives hold the time, and all workers must collect the same names."""
    return argname if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 80) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names that hold a whole object: addresses in memory, and the order of sets, differ in each worker."""
    for item in items:
        if _UNSTABLE_NAME.search(item.name):
            raise pytest.UsageError(f"Give `parametrize` ids: this name differs in each process: {item.nodeid[:200]}…")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that passed only when they were run again."""
    rerun = {report.nodeid for report in terminalreporter.getreports("rerun")}
    flaky = sorted(rerun & {report.nodeid for report in terminalreporter.getreports("passed")})
    if flaky:
        terminalreporter.section("flaky tests: failed once, then passed", yellow=True)
        for name in flaky:
            terminalreporter.line(f"FLAKY {name}")


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's settings, in the environment and in `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZHIWEN_ENV_FILE", os.devnull)
    monkeypatch.setenv("ZHIWEN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)


# --- servers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = real_services.Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[real_services.Redis]:
    """A Redis for one test, which may stop and restart it. It keeps its data."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = real_services.Redis(folder, keep=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def quick_milvus_client() -> Iterator[None]:
    """Poll more often than pymilvus does: it sleeps half a second between two checks of an index."""
    from pymilvus.client import grpc_handler

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 0.02))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_handler, "time", SimpleNamespace(time=time.time, sleep=sleep))
        yield


@pytest.fixture(scope="session")
def milvus_url(tmp_path_factory: pytest.TempPathFactory, quick_milvus_client: None) -> Iterator[str]:
    """Milvus Lite."""
    server = real_services.MilvusLite(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def old_milvus_url(tmp_path_factory: pytest.TempPathFactory, quick_milvus_client: None) -> Iterator[str]:
    """Milvus standalone 2.3.5, which has no BM25."""
    server = real_services.OldMilvus(tmp_path_factory.mktemp("old-milvus"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[real_services.PostgreSQL]:
    server = real_services.PostgreSQL()
    server.start()
    yield server
    server.stop()


# --- settings and SQL ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def model_settings() -> Settings:
    """Settings whose models folder holds the built-in models. If one cannot be fetched, skip; in CI, fail.

    What an earlier release kept there has another layout, and is left alone.
    """
    settings = load_settings(_env_file=None, zhiwen_home=MODELS_HOME)
    folder = MINILM.files(settings).folder
    if folder.exists() and not (folder / WEIGHTS_FILE).exists():
        settings = load_settings(_env_file=None, zhiwen_home=MODELS_HOME / "current")
    try:
        for model in (E5, MINILM):
            model.files(settings).fetch(lambda status: None)
    except EmbeddingUnavailable as error:
        real_services.missing(str(error))
    return settings


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    def make(**values: object) -> Settings:
        defaults = {"_env_file": None, "zhiwen_home": tmp_path / "home", "worker_threads": 1, "embedding_model": "test"}
        return load_settings(**defaults | values)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database; "" stands for SQLite in the home folder."""
    if request.param == "sqlite":
        yield ""
        return
    server: real_services.PostgreSQL = request.getfixturevalue("postgresql")
    url = server.new_database()
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy, since a migration takes longer than most tests."""
    settings = load_settings(_env_file=None, database_url="", zhiwen_home=tmp_path_factory.mktemp("migrated"))
    migrated(settings).close()
    return settings.sqlite_path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: real_services.PostgreSQL) -> str:
    """The name of a migrated database to copy."""
    url = postgresql.new_database()
    migrated(load_settings(_env_file=None, database_url=url)).close()
    return url.rpartition("/")[2]


def migrated(settings: Settings) -> Database:
    database = Database(settings)
    database.migrate()
    return database


def copy_sqlite(template: Path, settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, settings.sqlite_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, make_settings: MakeSettings) -> Iterator[Database]:
    """A migrated database; runs the test on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        settings = make_settings(database_url="")
        copy_sqlite(request.getfixturevalue("migrated_sqlite"), settings)
        with closing(Database(settings)) as database:
            yield database
        return
    template = request.getfixturevalue("migrated_postgresql")
    server: real_services.PostgreSQL = request.getfixturevalue("postgresql")
    url = server.new_database(template)
    with closing(Database(make_settings(database_url=url))) as database:
        yield database
    server.drop(url)


def add_user(database: Database, name: str, **values: object) -> Principal:
    """A user who could sign in."""
    principal = Principal(uuid4())
    row = {"id": principal.user_id, "name": name, "folded_name": fold(name), **values}
    with database.write() as connection:
        connection.execute(sa.insert(users), row)
    return principal


@dataclass
class Library:
    """Knowledge bases and documents in SQL and on disk, without Milvus. `user` owns what the helpers create."""

    database: Database
    queue: RecordingQueue
    knowledge_bases: KnowledgeBases
    documents: Documents
    arrivals: Arrivals
    files: FileStore
    uploads: Path
    user: Principal
    stranger: Principal

    def knowledge_base(self, name: str = "Test", owner: Principal | None = None) -> KnowledgeBase:
        return self.knowledge_bases.create(owner or self.user, name, HashedWords.name, HashedWords.dimension)

    def upload(self, knowledge_base: KnowledgeBase, name: str = "a.md", text: str = "# A\n\nText.") -> Document:
        return self.arrivals.register(self.user, knowledge_base.id, name, io.BytesIO(text.encode())).document

    def limit(self, quotas: Quotas) -> None:
        self.documents.quotas = self.arrivals.quotas = quotas

    def version(self, document: Document) -> Version:
        return self.documents.get(self.user, document.id).latest


@pytest.fixture
def library(database: Database, make_settings: MakeSettings) -> Library:
    """Runs the test on SQLite and on PostgreSQL."""
    settings = make_settings()
    files, queue = FileStore(settings.uploads), RecordingQueue()
    return Library(
        database=database,
        queue=queue,
        knowledge_bases=KnowledgeBases(database, queue),
        documents=Documents(database, files, VectorStore(settings), queue),
        arrivals=Arrivals(database, files, queue),
        files=files,
        uploads=settings.uploads,
        user=add_user(database, "user"),
        stranger=add_user(database, "stranger"),
    )


@pytest.fixture
def conversations(library: Library) -> Conversations:
    return Conversations(library.database)


@pytest.fixture
def messages(library: Library) -> Messages:
    return Messages(library.database)


# --- the whole core --------------------------------------------------------------------------------------------


@dataclass
class Core:
    """The whole core on real services, with the test embedding model. `user` owns what the helpers create."""

    services: Services
    queue: RecordingQueue
    embedding: HashedWords
    user: Principal
    stranger: Principal

    def knowledge_base(self, name: str = "Test") -> KnowledgeBase:
        return self.services.knowledge_bases.create(self.user, name, self.embedding.name, self.embedding.dimension)

    def upload(self, knowledge_base: KnowledgeBase, name: str, text: str | bytes) -> Document:
        content = text.encode() if isinstance(text, str) else text
        return self.services.arrivals.register(self.user, knowledge_base.id, name, io.BytesIO(content)).document

    def document(self, document_id: UUID) -> Document:
        return self.services.documents.get(self.user, document_id)

    def count(self, document: Document) -> int:
        """The number of chunks in Milvus of its latest version."""
        collection = self.services.knowledge_bases.get(self.user, document.knowledge_base_id).collection
        return self.services.vectors.count(collection, document.latest.id)


@pytest.fixture
def embedding(monkeypatch: pytest.MonkeyPatch) -> HashedWords:
    """The embedding model that EMBEDDING_MODEL=test names, beside the real ones."""
    model = HashedWords()
    monkeypatch.setattr("kb.embedding.models.build_embedding_model", with_test_model(model))
    return model


@pytest.fixture
def settings(make_settings: MakeSettings, redis_url: str, milvus_url: str, migrated_sqlite: Path) -> Settings:
    """Settings of an installation on SQLite, Redis and Milvus Lite."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    settings = make_settings(redis_url=redis_url, milvus_uri=milvus_url)
    copy_sqlite(migrated_sqlite, settings)
    return settings


@contextmanager
def open_core(settings: Settings, embedding: HashedWords) -> Iterator[Core]:
    queue = RecordingQueue()
    services = build_services(settings, queue)
    try:
        yield Core(
            services, queue, embedding, services.users.local_principal(), add_user(services.database, "stranger")
        )
    finally:
        services.close()


@pytest.fixture
def core(settings: Settings, embedding: HashedWords) -> Iterator[Core]:
    with open_core(settings, embedding) as core:
        yield core


class _SharedParser(ParserProcess):
    """Outlives the worker that uses it."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="session")
def parser_processes() -> Iterator[list[ParserProcess]]:
    """As many as a worker with one thread has; each starts at its first use."""
    room = Room()
    parsers = [_SharedParser(Settings.model_fields["parsing_memory_mb"].default, room=room) for _ in range(2)]
    yield list(parsers)
    for parser in parsers:
        parser.end()


@pytest.fixture
def shared_parser(parser_processes: list[ParserProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the first worker of the test parser processes that run: starting one takes longer than most tests."""
    free = list(parser_processes)

    def make_parser(memory_mb: int, reads_images: bool = True, room: Room | None = None) -> ParserProcess:
        is_usual = reads_images and memory_mb == Settings.model_fields["parsing_memory_mb"].default
        return free.pop() if is_usual and free else ParserProcess(memory_mb, reads_images=reads_images, room=room)

    monkeypatch.setattr("kb.ingestion.parsers.ParserProcess", make_parser)


@pytest.fixture
def worker(core: Core, shared_parser: None) -> Iterator[WorkerParts]:
    parts = build_worker_parts(core.services)
    yield parts
    parts.ingestion.close()


class Clock:
    """A clock that moves only when `advance` is called."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_claims(database: Database, owner: str, clock: Callable[[], datetime]) -> Claims:
    """A lease that is over by `clock` has to be looked at once only."""
    return Claims(database, owner, lease_seconds=20, clock=clock, patience_seconds=0)
