"""Retrieval quality with the built-in models, on a small set of our own (`question_set/`): 40 articles, 50 questions.

The floors leave room for one question less than what was measured.
`python -m benchmarks.retrieval tests/kb/question_set` prints more measures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmarks.measures import Quality, quality
from benchmarks.question_sets import Question, read_question_set
from benchmarks.retrieval import DENSE, HYBRID, LEXICAL, THRESHOLD, file_name
from kb.config import Settings, load_settings
from kb.embedding.builtin import Builtin
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.models import Retrieval, RetrievalProfile, Scope, VersionState
from kb.services import build_services, build_worker_parts
from tests.fakes.queue import RecordingQueue

# One process ingests the articles, and keeps what each question finds: several tests ask the same.
pytestmark = pytest.mark.xdist_group("question-set")

SET = read_question_set(Path(__file__).parent / "question_set")
ENGLISH = [question for question in SET.questions if question.text.isascii()]
CHINESE = [question for question in SET.questions if question not in ENGLISH]
# Their answers are in articles of the other language alone.
OTHER_LANGUAGE = [
    Question(text, frozenset({article}))
    for text, article in {
        "怎样保存咖啡豆？": "coffee-storage",
        "水泵电机绕组过热怎么办？": "error-e4022",
        "蜜蜂怎么告诉同伴花在哪里？": "bees",
        "潮汐是怎么形成的？": "tides",
        "冰川为什么是蓝色的？": "glaciers",
        "What do giant pandas eat?": "zh-panda",
        "How long is the Grand Canal of China?": "zh-grand-canal",
        "How many books can a reader borrow from the library?": "zh-library",
        "How long is the probation period?": "zh-probation",
        "What are the 24 solar terms?": "zh-solar-terms",
    }.items()
]
UNANSWERED = """
Who won the football world cup in 1998?
What is the capital of Mongolia?
How do I install a graphics driver?
Which vitamins are in spinach?
When was the Berlin Wall built?
How does a jet engine work?
谁是第一个登上月球的人？
怎么给汽车换轮胎？
光合作用需要什么条件？
股票和基金有什么区别？
钢琴有多少个琴键？
巴西的官方语言是什么？
baoxiuqi
of the and
E9999
""".strip().splitlines()

Retrieve = Callable[[Builtin, str, RetrievalProfile], Retrieval]
Measure = Callable[[Builtin, list[Question], RetrievalProfile], Quality]


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, milvus_url: str, model_settings: Settings
) -> Settings:
    home = tmp_path_factory.mktemp("quality")
    (home / "models").symlink_to(model_settings.models)
    return load_settings(_env_file=None, zhiwen_home=home, redis_url=redis_url, milvus_uri=milvus_url)


@pytest.fixture(scope="module")
def retrieve(settings: Settings) -> Iterator[Retrieve]:
    """Ingests all articles once with each model. Passages carry their article's id as the document's name."""
    services = build_services(settings, RecordingQueue())
    services.database.migrate()
    worker = build_worker_parts(services)
    user = services.users.local_principal()
    bases = {}
    articles = {}
    for model in (E5, MINILM):
        base = services.knowledge_bases.create(user, model.name, model.name, model.dimension)
        bases[model.name] = base
        for article in SET.articles:
            content = io.BytesIO(article.text.encode())
            document = services.arrivals.register(user, base.id, file_name(article), content).document
            assert worker.ingestion.ingest(document.latest.id) is VersionState.READY
            articles[document.id] = article.id

    @cache
    def retrieve(model: Builtin, question: str, profile: RetrievalProfile) -> Retrieval:
        found = services.retriever.retrieve(user, Scope((bases[model.name].id,)), question, profile)
        named = (replace(each, document_name=articles[each.chunk.document_id]) for each in found.passages)
        return replace(found, passages=tuple(named))

    yield retrieve
    worker.ingestion.close()
    for base in bases.values():
        services.vectors.drop(base.collection)
    services.close()


@pytest.fixture(scope="module")
def measure(retrieve: Retrieve) -> Measure:
    def rank(model: Builtin, question: Question, profile: RetrievalProfile) -> list[str]:
        return [passage.document_name for passage in retrieve(model, question.text, profile).passages]

    return lambda model, questions, profile: quality(
        (rank(model, question, profile), question.relevant) for question in questions
    )


@pytest.mark.parametrize(
    ("model", "profile", "questions", "first", "among_five"),
    [
        pytest.param(E5, DENSE, ENGLISH, 0.8, 0.93, id="e5-dense-english"),
        pytest.param(E5, HYBRID, ENGLISH, 0.9, 0.96, id="e5-hybrid-english"),
        pytest.param(E5, DENSE, CHINESE, 0.9, 0.95, id="e5-dense-chinese"),
        pytest.param(E5, HYBRID, CHINESE, 0.95, 0.95, id="e5-hybrid-chinese"),
        pytest.param(E5, HYBRID, OTHER_LANGUAGE, 0.5, 0.8, id="e5-hybrid-other-language"),
        pytest.param(MINILM, DENSE, ENGLISH, 0.86, 0.96, id="minilm-dense-english"),
        pytest.param(MINILM, LEXICAL, ENGLISH, 0.76, 0.83, id="lexical-english"),
        pytest.param(MINILM, HYBRID, ENGLISH, 0.9, 0.96, id="minilm-hybrid-english"),
        pytest.param(MINILM, LEXICAL, CHINESE, 0.9, 0.95, id="lexical-chinese"),
        pytest.param(MINILM, HYBRID, CHINESE, 0.9, 0.95, id="minilm-hybrid-chinese"),
    ],
)
def test_recall_stays_above_its_floor(
    measure: Measure,
    model: Builtin,
    profile: RetrievalProfile,
    questions: list[Question],
    first: float,
    among_five: float,
) -> None:
    found = measure(model, questions, profile)
    assert found["recall@1"] >= first
    assert found["recall@5"] >= among_five


@pytest.mark.parametrize("model", [E5, MINILM], ids=["e5", "minilm"])
@pytest.mark.parametrize("questions", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_hybrid_is_at_most_one_question_behind_the_better_route(
    measure: Measure, model: Builtin, questions: list[Question]
) -> None:
    dense, lexical, hybrid = (measure(model, questions, profile) for profile in (DENSE, LEXICAL, HYBRID))
    floors = {name: max(dense[name], lexical[name]) - 1 / len(questions) for name in hybrid}
    assert all(hybrid[name] >= floor - 0.001 for name, floor in floors.items()), (dense, lexical, hybrid)


@pytest.mark.parametrize(
    ("model", "questions", "floor"),
    [
        pytest.param(E5, ENGLISH, 0.9, id="e5-english"),
        pytest.param(E5, CHINESE, 0.95, id="e5-chinese"),
        pytest.param(E5, OTHER_LANGUAGE, 0.5, id="e5-other-language"),
        pytest.param(MINILM, ENGLISH, 0.93, id="minilm-english"),
        pytest.param(MINILM, CHINESE, 0.75, id="minilm-chinese"),
    ],
)
def test_default_threshold_keeps_the_right_passage(
    retrieve: Retrieve, model: Builtin, questions: list[Question], floor: float
) -> None:
    lost = [
        question.text
        for question in questions
        if question.relevant.isdisjoint(
            each.document_name for each in retrieve(model, question.text, THRESHOLD).passages
        )
    ]
    assert 1 - len(lost) / len(questions) >= floor, lost


@pytest.mark.parametrize("model", [E5, MINILM], ids=["e5", "minilm"])
def test_default_threshold_drops_what_nothing_answers(retrieve: Retrieve, model: Builtin) -> None:
    found = [question for question in UNANSWERED if retrieve(model, question, THRESHOLD).passages]
    assert len(found) <= 0.3 * len(UNANSWERED), found
