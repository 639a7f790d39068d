"""Retrieval quality with the built-in model, on a small set of our own (`question_set/`): 40 articles, 50 questions.

The floors leave room for one question less than what was measured.
`python -m benchmarks.retrieval tests/kb/question_set` prints more measures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.measures import Quality, quality
from benchmarks.question_sets import Question, read_question_set
from benchmarks.retrieval import DENSE, HYBRID, LEXICAL, file_name
from kb.config import Settings, load_settings
from kb.embedding.minilm import MINILM
from kb.models import RetrievalProfile, VersionState
from kb.services import build_services, build_worker_parts
from tests.fakes.queue import RecordingQueue

SET = read_question_set(Path(__file__).parent / "question_set")
ENGLISH = [question for question in SET.questions if question.text.isascii()]
CHINESE = [question for question in SET.questions if question not in ENGLISH]

Measure = Callable[[list[Question], RetrievalProfile], Quality]


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, milvus_url: str, model_settings: Settings
) -> Settings:
    home = tmp_path_factory.mktemp("quality")
    (home / "models").symlink_to(model_settings.models)
    return load_settings(_env_file=None, zhiwen_home=home, redis_url=redis_url, milvus_uri=milvus_url)


@pytest.fixture(scope="module")
def measure(settings: Settings) -> Iterator[Measure]:
    """Ingests all articles once."""
    services = build_services(settings, RecordingQueue())
    services.database.migrate()
    worker = build_worker_parts(services)
    user = services.users.local().id
    base = services.knowledge_bases.create(user, "Quality", MINILM.name, MINILM.dimension)
    articles = {}
    for article in SET.articles:
        content = io.BytesIO(article.text.encode())
        document = services.documents.register(user, base.id, file_name(article), content)
        assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
        articles[document.id] = article.id

    def measure(questions: list[Question], profile: RetrievalProfile) -> Quality:
        return quality((rank(question.text, profile), question.relevant) for question in questions)

    def rank(question: str, profile: RetrievalProfile) -> list[str]:
        found = services.retriever.retrieve(user, base.id, question, profile)
        return [articles[passage.chunk.document_id] for passage in found.passages]

    yield measure
    worker.ingestion.close()
    services.vectors.drop(base.collection)
    services.close()


@pytest.mark.parametrize(
    ("profile", "questions", "first", "among_five"),
    [
        pytest.param(DENSE, ENGLISH, 0.86, 0.96, id="dense-english"),
        pytest.param(LEXICAL, ENGLISH, 0.76, 0.83, id="lexical-english"),
        pytest.param(HYBRID, ENGLISH, 0.9, 0.96, id="hybrid-english"),
        pytest.param(LEXICAL, CHINESE, 0.9, 0.95, id="lexical-chinese"),
        pytest.param(HYBRID, CHINESE, 0.9, 0.95, id="hybrid-chinese"),
    ],
)
def test_recall_stays_above_its_floor(
    measure: Measure, profile: RetrievalProfile, questions: list[Question], first: float, among_five: float
) -> None:
    found = measure(questions, profile)
    assert found["recall@1"] >= first
    assert found["recall@5"] >= among_five


@pytest.mark.parametrize("questions", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_hybrid_is_at_least_as_good_as_the_better_route(measure: Measure, questions: list[Question]) -> None:
    dense, lexical, hybrid = (measure(questions, profile) for profile in (DENSE, LEXICAL, HYBRID))
    assert all(hybrid[name] >= max(dense[name], lexical[name]) for name in hybrid), (dense, lexical, hybrid)
