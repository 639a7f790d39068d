"""The pages over real services: Redis, Milvus Lite, SQLite, and a model server over HTTP."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from streamlit.config import get_option, set_option

from kb.access import Principal
from kb.config import load_settings
from kb.errors import KbError
from kb.messages import Message
from kb.models import Document, KnowledgeBase, MessageState, Mode, VersionState
from kb.services import Services, WorkerParts, build_worker_parts
from pages.ui import resources
from tests.conftest import copy_sqlite
from tests.fakes.embedding import HashedWords
from tests.fakes.model_server import EMBEDDINGS, ModelServer
from tests.kb.accounts.people import ADDRESS, PASSWORD, quick_passwords
from tests.messages import said
from tests.pages.visitor import Visitor
from tests.real_services import HOST, free_port, wait_until
from web.app import build_web
from workers.broker import NAMESPACE

NOBODY = f"http://{HOST}:1/v1"

TEA = "Green tea is steeped at eighty degrees for two minutes. Black tea is steeped in boiling water for four minutes."


class Installation:
    """One installation with its web process's parts, as the pages have them; `user` is who uses the pages."""

    def __init__(self, environment: pytest.MonkeyPatch, embedding: HashedWords) -> None:
        self._environment = environment
        self._embedding = embedding
        self._worker: WorkerParts | None = None

    def set_up(self, **values: str) -> None:
        """Change settings, as an owner does who restarts the web process."""
        self.close()
        for name, value in values.items():
            self._environment.setenv(name, value)
        resources.provide(lambda: build_web(load_settings()))

    @property
    def services(self) -> Services:
        return resources.services()

    @property
    def user(self) -> Principal:
        return self.services.users.local_principal()

    @property
    def worker(self) -> WorkerParts:
        if self._worker is None:
            self._worker = build_worker_parts(self.services)
        return self._worker

    def knowledge_base(self, name: str = "Kitchen") -> KnowledgeBase:
        return self.services.knowledge_bases.create(self.user, name, self._embedding.name, self._embedding.dimension)

    def upload(self, base: KnowledgeBase, name: str = "tea.md", content: str | bytes = TEA) -> Document:
        """A document that waits."""
        data = content.encode() if isinstance(content, str) else content
        return self.services.arrivals.register(self.user, base.id, name, io.BytesIO(data)).document

    def ingest(self, document: Document) -> VersionState | None:
        """Do a worker's work."""
        return self.worker.ingestion.ingest(document.latest.id)

    def filled(self, name: str = "Kitchen", files: Mapping[str, str | bytes] | None = None) -> KnowledgeBase:
        """A knowledge base with ready documents; without `files` it knows about tea."""
        base = self.knowledge_base(name)
        for file, content in (files or {"tea.md": TEA}).items():
            assert self.ingest(self.upload(base, file, content)) is VersionState.READY
        return base

    def answered(
        self,
        question: str,
        answer: str = "",
        state: MessageState = MessageState.DONE,
        model: str = "",
        user: Principal | None = None,
    ) -> Message:
        """The answer to the first question of a new conversation, as a run left it."""
        owner, messages = user or self.user, self.services.messages
        conversation = self.services.conversations.create(owner, question, Mode.LLM)
        message = messages.ask(owner, conversation.id, question)
        messages.finish(owner, message.id, state, said(answer, model=model))
        return message

    def documents(self, base: KnowledgeBase) -> list[Document]:
        return self.services.documents.list(self.user, base.id)

    def waiting(self, queue_name: str) -> int:
        """How many messages wait for the workers."""
        return int(self.services.redis.llen(f"{NAMESPACE}:{queue_name}"))

    def close(self) -> None:
        if self._worker:
            self._worker.ingestion.close()
            self._worker = None
        resources.close()


@pytest.fixture(scope="session", autouse=True)
def product_options() -> Iterator[None]:
    """Turn magic off, as the product's settings do: Streamlit does not see them, since tests run in another folder."""
    before = get_option("runner.magicEnabled")
    set_option("runner.magicEnabled", False)
    yield
    set_option("runner.magicEnabled", before)


@pytest.fixture(scope="session", autouse=True)
def no_component_scan() -> Iterator[None]:
    """Skip Streamlit's scan of every installed package for components, which took most of a session's CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)
        yield


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def models(model_server: ModelServer) -> ModelServer:
    """The model server, with no request so far."""
    model_server.requests.clear()
    return model_server


@pytest.fixture
def installation(
    tmp_path: Path,
    redis_url: str,
    milvus_url: str,
    migrated_sqlite: Path,
    models: ModelServer,
    embedding: HashedWords,
    shared_parser: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    """Everything runs, and a language model is connected."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    # Not the local models of whoever runs the tests.
    monkeypatch.setattr("kb.llm.LOCAL_SERVERS", (("Ollama", NOBODY),))
    # A thread that outlives the test would build the parts anew.
    monkeypatch.setattr("web.app.Web.warm_up", lambda self: None)
    settings = load_settings(_env_file=None, zhiwen_home=tmp_path / "home")
    copy_sqlite(migrated_sqlite, settings)
    installation = Installation(monkeypatch, embedding)
    installation.set_up(
        ZHIWEN_HOME=str(settings.home),
        WORKER_THREADS="1",
        EMBEDDING_MODEL="test",
        REDIS_URL=redis_url,
        MILVUS_URI=milvus_url,
        OPENAI_BASE_URL=models.base_url,
        OPENAI_API_KEY="good",
        LLM_MODEL="fake",
        LLM_TIMEOUT_SECONDS="3",
        CONVERSATION_TITLES="false",
    )
    yield installation
    installation.close()


@pytest.fixture
def remote_base(installation: Installation, models: ModelServer) -> KnowledgeBase:
    """A knowledge base about tea whose embedding model is on a server."""
    installation.set_up(EMBEDDING_MODEL="openai:fake-embedding", EMBEDDING_BASE_URL=models.base_url)
    services = installation.services
    base = services.knowledge_bases.create(installation.user, "Remote", services.embeddings.default.name)
    assert installation.ingest(installation.upload(base)) is VersionState.READY
    return base


@contextmanager
def silent_embeddings(installation: Installation, models: ModelServer) -> Iterator[None]:
    """The embedding server accepts requests and answers none; questions give it up at once."""
    model = installation.services.embeddings.default
    with models.held(EMBEDDINGS), pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_question_seconds", 0.2)
        yield


@pytest.fixture
def without_model(installation: Installation) -> Installation:
    installation.set_up(OPENAI_BASE_URL="", OPENAI_API_KEY="", LLM_MODEL="")
    return installation


Visit = Callable[..., Visitor]


def models_are_known() -> bool:
    """Whether every server was asked for its models."""
    known = resources.services().chat_models.known(resources.current_principal())
    return all(server.is_known for server in known.servers)


@pytest.fixture
def visit(installation: Installation) -> Visit:
    """Opens a session at the chat, once the models are known; `visit("zh-CN", conversation=…)`."""

    def open_session(locale: str = "en-US", **query: str) -> Visitor:
        with suppress(KbError):  # an installation that cannot start has no models
            wait_until(models_are_known, what="the list of models")
        return Visitor(locale, **query)

    return open_session


@pytest.fixture
def dead_url() -> str:
    return f"redis://{HOST}:{free_port()}/0"


# --- where there is a login ---


class Browsers:
    """Which token the browser of the next page sends."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.token = ""
        accounts = installation.services.accounts
        passwords = quick_passwords()
        for part in (accounts.sign_in, accounts.registration):
            part._passwords = passwords
        accounts.registration.mode = "invitation"

    def sign_up_first(self) -> None:
        registration = self.installation.services.accounts.registration
        self.token = registration.create_first(registration.first_token(), "Ada", PASSWORD, ADDRESS)

    def invite(self, name: str) -> None:
        """And be the invited one from now on."""
        registration = self.installation.services.accounts.registration
        account = self.installation.services.accounts.sessions.find(self.token)
        assert account
        self.token = registration.accept(registration.invite(account.principal), name, PASSWORD, ADDRESS)

    def sign_in(self, name: str) -> None:
        self.token = self.installation.services.accounts.sign_in.sign_in(name, PASSWORD, ADDRESS)


@pytest.fixture
def browsers(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Browsers:
    installation.close()
    resources.provide(lambda: build_web(load_settings(), has_login=True))
    browsers = Browsers(installation)
    monkeypatch.setattr("pages.ui.resources.session_token", lambda: browsers.token)
    monkeypatch.setattr("pages.ui.account.session_token", lambda: browsers.token)
    return browsers
