"""How relevant a passage is; pure."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from kb import lexical
from kb.embedding import Vectors
from kb.models import Chunk
from kb.retrieval.reference import CHINESE, ENGLISH, Reference, References, embed, measure
from kb.retrieval.relevance import Cosines, Relevance
from kb.vectors import Hit
from tests.fakes.embedding import HashedWords

THRESHOLD = 0.5
# Unrelated English texts have a cosine of .7 to the question, Chinese ones .6; a right answer is .1 above.
QUESTION = np.array([1.0, 0.0], np.float32)


def passages(cosine: float) -> Vectors:
    return np.array([[cosine, np.sqrt(1 - cosine**2)]] * 12, np.float32)


REFERENCE = Reference(passages(0.7), passages(0.6), spread=0.1, deviation=0.02)


def chunk(text: str) -> Chunk:
    return Chunk("1", UUID(int=1), UUID(int=2), text=text, terms=lexical.terms(text))


ENGLISH_CHUNK = chunk("A passage in English.")


def relevance(question: str, found: list[float] | None = None) -> Relevance:
    cosines = Cosines(QUESTION, REFERENCE, [Hit(ENGLISH_CHUNK, cosine) for cosine in found]) if found else None
    return Relevance(question, cosines)


def test_cosine_counts_by_how_far_it_stands_out_in_its_language() -> None:
    many = [0.8, *[0.7] * 49]
    compared = relevance("", many)
    english, chinese = chunk("An apple grows on a tree."), chunk("苹果长在树上。")
    assert compared.of(english, 0.8) == pytest.approx(0.955, abs=0.01)
    assert compared.of(english, 0.7) == pytest.approx(0.0, abs=0.01)
    assert compared.of(chinese, 0.7) > compared.of(english, 0.7)


def test_figures_count_as_text_of_the_question_s_own_language() -> None:
    """Rows of measurements are as close to a Chinese question as Chinese text is, though their letters are Latin."""
    reference = Reference(passages(0.6), passages(0.7), spread=0.1, deviation=0.02)
    hits = [Hit(ENGLISH_CHUNK, cosine) for cosine in [0.7, *[0.6] * 49]]
    compared = Relevance("", Cosines(QUESTION, reference, hits))
    assert compared.of(chunk("TA1 0.08 0.03 0.015 0.18 3.7-2 12.5"), 0.7) == pytest.approx(0.0, abs=0.01)
    assert compared.of(chunk("An apple grows on a tree."), 0.7) == pytest.approx(0.955, abs=0.01)


def test_passage_among_many_alike_is_less_relevant() -> None:
    text = chunk("An apple grows on a tree.")
    assert relevance("", [0.78] * 50).of(text, 0.78) < relevance("", [0.78, *[0.7] * 49]).of(text, 0.78)


def test_best_of_a_few_needs_to_stand_out_less() -> None:
    text = chunk("An apple grows on a tree.")
    assert relevance("", [0.75, 0.7]).of(text, 0.75) > relevance("", [0.75, *[0.7] * 49]).of(text, 0.75)


def test_best_of_a_few_without_a_term_of_the_question_needs_to_stand_out_more() -> None:
    few, many = relevance("apples", [0.75, 0.7]), relevance("apples", [0.75, *[0.7] * 49])
    with_term, without = chunk("An apple grows on a tree."), chunk("A pear grows on a tree.")
    gained = [few.of(text, 0.75) - many.of(text, 0.75) for text in (with_term, without)]
    assert gained[0] > gained[1] > 0


def test_passage_that_the_dense_route_missed_has_at_most_its_last_cosine() -> None:
    text = chunk("An apple grows on a tree.")
    found = [0.8, *[0.72] * 49]
    assert relevance("", found).of(text, None) == relevance("", found).of(text, 0.72)


def test_overlap_decides_where_cosines_say_nothing() -> None:
    compared = relevance("Where does the red apple grow?")
    assert compared.of(chunk("The red apple grows on a tree."), None) == 1.0
    assert compared.of(chunk("A pear grows."), None) >= THRESHOLD
    assert compared.of(chunk("The Danube flows."), None) == 0.0
    assert Relevance("").of(chunk("The Danube flows."), None) == 0.0


def test_cosine_of_a_text_that_no_model_reads_whole_does_not_count() -> None:
    """A log that repeats itself has few terms, and the question at its end is not in its vector."""
    log = "The build log repeats one line. " * 300
    assert relevance(f"{log}How long do refunds take?", [0.7]).of(chunk("Refunds take 14 days."), 0.65) >= THRESHOLD


@pytest.mark.parametrize("words", [0, 10, 40, 400, 6_000])
def test_long_question_is_judged_by_its_best_part(words: int) -> None:
    story = " ".join(f"word{number}" for number in range(words))
    compared = relevance(f"{story} How are broken network gateways restarted?")
    assert compared.of(chunk("To restart a broken network gateway, press the button."), None) >= THRESHOLD
    assert compared.of(chunk("The printer jams."), None) < THRESHOLD


@pytest.mark.parametrize("asked", ["2024-01-02", "A-1023/7", "550e8400-e29b-41d4-a716-446655440000", "138 0013 8000"])
def test_passage_with_the_code_that_is_asked_for_need_not_stand_out(asked: str) -> None:
    compared = relevance(f"What happened with {asked}?", [0.72] * 50)
    assert compared.of(chunk(f"Hall 3: pump repaired ({asked})."), 0.72) >= THRESHOLD
    assert compared.of(chunk("Hall 3: pump repaired (2024-02-01, A-1023/9)."), 0.72) < THRESHOLD


@pytest.mark.parametrize("times", [1, 5, 80])
@pytest.mark.parametrize("story", ["设备昨晚突然停止运行，现场工程师检查了电源和网络。", "The pump stopped at night. "])
def test_code_at_the_end_of_a_long_question_is_what_it_asks_for(story: str, times: int) -> None:
    compared = relevance(f"{story * times} E4012", [0.72] * 50)
    assert compared.of(chunk("E4012: valve stuck."), 0.7) >= THRESHOLD
    assert compared.of(chunk("E4013: valve stuck."), 0.7) < THRESHOLD


def test_ordinal_alone_makes_no_passage_relevant() -> None:
    compared = relevance("哪个球队是第一个使用拉里伯德条款的球队，后来又在决赛里战胜了哪个对手？", [0.62] * 50)
    assert compared.of(chunk("第一个来客坐在窗边，点了一杯茶。"), 0.6) < THRESHOLD


@pytest.mark.parametrize("asked", ["2024-01-02", "2024年1月2日", "A-1023/7"])
def test_passage_with_the_code_that_is_asked_for_covers_the_question(asked: str) -> None:
    compared = relevance(f"{asked}的会议上，董事会作出了哪些决定？")
    assert compared.coverage(chunk("The pump was repaired (Jan 2, 2024; A-1023/7).")) == 1
    assert compared.coverage(chunk("The pump was repaired (Feb 1, 2024; A-1023/9).")) < 0.4


def test_passage_without_the_code_that_is_asked_for_is_irrelevant() -> None:
    found = [0.85, *[0.7] * 49]
    with_code, without = chunk("E4012 means that the gateway is broken."), chunk("E4013 means that the gateway hangs.")
    for question in ("E4012", "What does E4012 mean?"):
        compared = relevance(question, found)
        assert compared.of(with_code, 0.85) >= THRESHOLD
        assert compared.of(without, 0.85) < THRESHOLD
    # The rest of the question can still be answered.
    question = "Where can I exchange goods of my order AB12 if the parcel is damaged?"
    assert (
        relevance(question, found).of(chunk("Damaged goods of an order are exchanged in the shop."), 0.85) >= THRESHOLD
    )


@pytest.mark.parametrize("text", ["on the 19th floor", "3.14 metres", "in the 1990s", "100 GB"])
def test_numbers_are_no_codes(text: str) -> None:
    compared = relevance(f"Which apple grows {text}?", [0.85, *[0.7] * 49])
    assert compared.of(chunk("An apple grows on a tree."), 0.85) >= THRESHOLD


# --- the reference ---------------------------------------------------------------------------------------------


def test_reference_texts_are_in_their_language() -> None:
    assert len(ENGLISH) == len(CHINESE)
    assert all(lexical.script_share(text, "han") == 0 for pair in ENGLISH for text in pair)
    assert all(lexical.script_share(text, "han") == 1 for pair in CHINESE for text in pair)


@pytest.mark.parametrize("scripts", [None, frozenset({"latin"}), frozenset({"cyrillic"})])
def test_any_model_can_be_measured(scripts: frozenset[str] | None) -> None:
    model = HashedWords()
    model.scripts = scripts
    measured = measure(embed(model), scripts)
    assert measured.english.shape == measured.chinese.shape == (len(ENGLISH), model.dimension)
    assert measured.spread > 0
    assert measured.deviation > 0


def test_vectors_of_the_reference_are_kept_for_the_next_start(tmp_path: Path) -> None:
    model = HashedWords()
    first = References(tmp_path).of(model)
    model.batches.clear()
    again = References(tmp_path).of(model)
    assert [len(batch) for batch in model.batches] == [1]  # whether the model is still the same
    assert np.array_equal(first.english, again.english)
    assert np.array_equal(first.chinese, again.chinese)
    assert (first.spread, first.deviation) == (again.spread, again.deviation)


@pytest.mark.parametrize("damage", ["emptied", "cut", "changed", "other texts", "other weights", "other questions"])
def test_kept_vectors_that_are_not_the_models_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    model = HashedWords()
    folder = tmp_path / "models"
    References(folder).of(model)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    match damage:
        case "emptied":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "changed":
            path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        case "other texts":
            monkeypatch.setattr("kb.retrieval.reference._TEXTS_SUM", b"other")
        case "other weights":
            monkeypatch.setattr(model, "embed_documents", lambda texts: -HashedWords().embed_documents(texts))
        case "other questions":
            monkeypatch.setattr(model, "embed_question", lambda text: HashedWords().embed_question(f"query: {text}"))
    expected = embed(model)
    found = References(folder).of(model)
    assert np.array_equal(found.english, expected["passages_latin"])
    assert found.spread == measure(expected, model.scripts).spread
    assert [each.name for each in folder.iterdir()] == [path.name]
    assert path.read_bytes() != content or damage in ("emptied", "cut", "changed")


def test_vectors_of_a_remote_model_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HashedWords, "is_remote", True)
    References(tmp_path / "models").of(HashedWords())
    assert not (tmp_path / "models").exists()


def test_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert References(tmp_path / "file").of(HashedWords()).spread > 0
