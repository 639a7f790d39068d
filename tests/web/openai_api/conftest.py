"""A server that speaks OpenAI's protocol, on the services of the tests: one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kb.access import KeyScope, Principal
from kb.answers import Answers
from kb.config import load_settings
from kb.services import WorkerParts, build_answers, build_worker_parts
from tests.conftest import Core, copy_sqlite, open_core
from tests.fakes.embedding import HashedWords, with_test_model
from tests.fakes.model_server import ModelServer
from tests.web.api.test_script import served
from web import openai_api
from web.api.parties import Parties

ONE_WORKER = pytest.mark.xdist_group("openai")  # the tests share one server
PEARS = "A pear is green. Its tree grows slowly."
MANUAL = "Valve 7 is checked each spring, before the first delivery."


@dataclass
class Installation:
    """A running server at `url`, whose user has two knowledge bases; and the language models' server."""

    core: Core
    answers: Answers
    model_server: ModelServer
    url: str
    fruit: UUID

    @cached_property
    def ask_key(self) -> str:
        return self.key(KeyScope.ASK)

    def key(
        self,
        *scopes: KeyScope,
        who: Principal | None = None,
        only: list[UUID] | None = None,
        lifetime: timedelta | None = None,
    ) -> str:
        """A new one, with all scopes if none is given."""
        keys = self.core.services.api_keys
        _key, secret = keys.create(who or self.core.user, "Program", scopes or tuple(KeyScope), only, lifetime)
        return secret.get_secret_value()

    def client(self, key: str | None = None) -> httpx.Client:
        key = self.ask_key if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, timeout=60)


@pytest.fixture(scope="package")
def installation(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, milvus_url: str, migrated_sqlite: Path
) -> Iterator[Installation]:
    with pytest.MonkeyPatch.context() as patch, ModelServer() as model_server:
        model = HashedWords()
        patch.setattr("kb.embedding.models.build_embedding_model", with_test_model(model))
        settings = load_settings(
            _env_file=None,
            zhiwen_home=tmp_path_factory.mktemp("openai"),
            redis_url=redis_url,
            milvus_uri=milvus_url,
            database_url="",
            embedding_model="test",
            openai_base_url=model_server.base_url,
            llm_model="fake",
            conversation_titles=False,
            api_requests_per_minute=0,
            api_answers_per_minute=0,
        )
        copy_sqlite(migrated_sqlite, settings)
        with open_core(settings, model) as core:
            answers = build_answers(core.services)
            api = openai_api.build_openai_api(lambda: Parties(core.services, answers))
            with served(Starlette(routes=[Mount("/v1", api)])) as url:
                worker = build_worker_parts(core.services)
                fruit = _filled(core, worker, "Fruit", "pears.md", PEARS)
                _filled(core, worker, "Harbour manual", "manual.md", MANUAL)
                worker.ingestion.close()
                yield Installation(core, answers, model_server, url, fruit)
            answers.close()


def _filled(core: Core, worker: WorkerParts, name: str, file: str, text: str) -> UUID:
    base = core.knowledge_base(name)
    assert worker.ingestion.ingest(core.upload(base, file, text).latest.id) == "ready"
    return base.id


def error_of(reply: httpx.Response) -> tuple[int, str, str | None]:
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return reply.status_code, error["code"], error["param"]


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(installation: Installation) -> Iterator[Ask]:
    """Asks for a chat completion, by default of the knowledge base “Fruit”."""
    with installation.client() as client:

        def send(question: str = "Which colour has a pear?", **body: object) -> httpx.Response:
            asked = {"model": "knowledge-base/Fruit", "messages": [{"role": "user", "content": question}]} | body
            return client.post("/chat/completions", json=asked)

        yield send


@pytest.fixture(autouse=True)
def no_requests_yet(installation: Installation) -> None:
    installation.model_server.requests.clear()
