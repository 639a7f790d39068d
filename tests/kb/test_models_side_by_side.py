"""Knowledge bases of both built-in models, in one process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.config import Settings, load_settings
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.models import KnowledgeBase, Passage, RetrievalProfile, Route, Scope, VersionState
from kb.retrieval.search import UNKNOWN_LANGUAGE
from kb.services import Services, WorkerParts, build_services, build_worker_parts
from tests.fakes.queue import RecordingQueue

pytestmark = pytest.mark.timeout(900)  # the first test downloads the models

FILES = {
    "tea.md": "Green tea is steeped at eighty degrees for two minutes.",
    "rates.md": "The central bank raised its interest rates by half a percent.",
    "whale.md": "抹香鲸潜入深海捕食乌贼。",
}
DENSE = RetrievalProfile(dense_weight=1, lexical_weight=0, threshold=0)


@pytest.fixture
def services(tmp_path: Path, redis_url: str, milvus_url: str, model_settings: Settings) -> Iterator[Services]:
    (tmp_path / "models").symlink_to(model_settings.models)
    settings = load_settings(_env_file=None, zhiwen_home=tmp_path, redis_url=redis_url, milvus_uri=milvus_url)
    services = build_services(settings, RecordingQueue())
    yield services
    services.close()


@pytest.fixture
def worker(services: Services) -> Iterator[WorkerParts]:
    worker = build_worker_parts(services)
    yield worker
    worker.ingestion.close()


def filled(services: Services, worker: WorkerParts, model: str) -> KnowledgeBase:
    user = services.users.local_principal()
    base = services.knowledge_bases.create(user, model, model, services.embeddings.get(model).dimension)
    for name, text in FILES.items():
        document = services.arrivals.register(user, base.id, name, io.BytesIO(text.encode())).document
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
    return base


def test_each_knowledge_base_is_asked_with_its_own_model(services: Services, worker: WorkerParts) -> None:
    """The texts are the same, so a vector that is kept for one model must not serve the other."""
    bases = {model.name: filled(services, worker, model.name) for model in (E5, MINILM)}
    user = services.users.local_principal()

    def best(model: str, question: str) -> Passage:
        return services.retriever.retrieve(user, Scope((bases[model].id,)), question, DENSE).passages[0]

    for model, base in bases.items():
        passage = best(model, "What did the bank do?")
        assert passage.document_name == "rates.md"
        embedding = services.embeddings.get(base.embedding_model)
        question, text = (
            embedding.embed_question("What did the bank do?"),
            embedding.embed_documents([FILES["rates.md"]]),
        )
        assert passage.dense
        assert passage.dense.score == pytest.approx(float(text[0] @ question), abs=0.01)
    assert best(E5.name, "Which animal eats squid?").document_name == "whale.md"
    assert best(E5.name, "绿茶要泡多久？").document_name == "tea.md"
    traces = {
        model: services.retriever.retrieve(user, Scope((base.id,)), "绿茶要泡多久？").trace
        for model, base in bases.items()
    }
    notes = {
        model: next(step.note for step in trace.steps if step.name == Route.DENSE) for model, trace in traces.items()
    }
    assert notes == {E5.name: "", MINILM.name: UNKNOWN_LANGUAGE}
    for base in bases.values():
        services.vectors.drop(base.collection)
