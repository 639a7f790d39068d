"""Fusing two routes, and what goes to the model with a passage; pure."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from kb.formats import from_record, to_record
from kb.models import Chunk, Passage, Place, Retrieval, RetrievalProfile, Route, RouteHit, Step, Trace
from kb.retrieval.ranking import (
    build_contexts,
    count_distinct,
    estimate_tokens,
    first_distinct,
    fuse,
    gate_lexical,
    merge_identical,
    merge_indexes,
    neighbour_ids,
    scale,
)
from kb.vectors import Hit

VERSION = UUID(int=7)
EVEN = {Route.DENSE: 0.5, Route.LEXICAL: 0.5}


def chunk(ordinal: int, text: str = "", start: int = 0, version: UUID = VERSION) -> Chunk:
    return Chunk(
        id=f"{version.hex}-{ordinal:06d}",
        document_id=UUID(int=8),
        version_id=version,
        ordinal=ordinal,
        start=start,
        end=start + len(text),
        page=1,
        heading="",
        text=text,
        terms="some terms",
    )


def hits(**scores: float) -> list[Hit]:
    return [Hit(chunk(int(name[1:])), score) for name, score in scores.items()]


def passage(chunk: Chunk, rank: int = 1) -> Passage:
    return Passage(chunk, "a.md", rank, 1.0, 1.0, 1.0, RouteHit(1, 0.9, 1.0), None)


# --- fusion ----------------------------------------------------------------------------------------------------


def test_scores_are_scaled_between_the_worst_and_the_best() -> None:
    scaled = scale(hits(c1=10.0, c2=4.0, c3=2.0))
    assert [(hit.rank, hit.score, hit.scaled) for hit in scaled.values()] == [(1, 10, 1), (2, 4, 0.25), (3, 2, 0)]
    assert scale([]) == {}
    assert [hit.scaled for hit in scale(hits(c1=3.0, c2=3.0)).values()] == [1, 1]


def test_chunks_found_by_both_routes_come_first() -> None:
    routes = {Route.DENSE: hits(c1=0.9, c2=0.8, c3=0.1), Route.LEXICAL: hits(c2=12.0, c4=11.0, c5=1.0)}
    found = fuse(routes, EVEN)
    assert [candidate.chunk.ordinal for candidate in found] == [2, 1, 4, 3, 5]
    best = found[0]
    assert best.dense is not None
    assert best.lexical is not None
    assert (best.dense.rank, best.lexical.rank) == (2, 1)
    assert best.fused == pytest.approx((0.875 + 1) / 2)
    assert all(0 <= candidate.fused <= 1 for candidate in found)


def test_cosines_are_compared_within_their_language() -> None:
    """To a Chinese question, any Chinese text has a higher cosine than the English answer."""
    chinese, other, english = (Hit(chunk(number, text), score) for number, text, score in [
        (1, "中文", 0.82), (2, "汉语", 0.81), (3, "English", 0.8)
    ])  # fmt: skip
    routes = {Route.DENSE: [chinese, other, english], Route.LEXICAL: []}
    found = fuse(routes, EVEN, lambda text, score: score - (0.7 if text.isascii() else 0.8))
    assert [candidate.chunk.ordinal for candidate in found] == [3, 1, 2]
    assert found[0].dense == RouteHit(1, 0.8, 1.0)


def test_weak_route_does_not_outweigh_a_strong_one() -> None:
    routes = {Route.DENSE: hits(c1=0.5, c2=0.49, c3=0.48), Route.LEXICAL: hits(c3=30.0, c1=1.0, c2=0.9)}
    assert fuse(routes, {Route.DENSE: 0.4, Route.LEXICAL: 0.6})[0].chunk.ordinal == 3


def test_weights_apply_and_a_single_route_keeps_its_order() -> None:
    routes = {Route.DENSE: hits(c1=0.9, c2=0.1), Route.LEXICAL: hits(c2=9.0, c1=1.0)}
    assert fuse(routes, {Route.DENSE: 0.9, Route.LEXICAL: 0.1})[0].chunk.ordinal == 1
    assert fuse(routes, {Route.DENSE: 0.1, Route.LEXICAL: 0.9})[0].chunk.ordinal == 2
    alone = fuse({Route.LEXICAL: hits(c1=5.0, c2=7.0)}, {Route.DENSE: 0.0, Route.LEXICAL: 0.55})
    assert [(candidate.chunk.ordinal, candidate.fused) for candidate in alone] == [(2, 1.0), (1, 0.0)]
    assert fuse({}, EVEN) == []


def test_equal_scores_have_a_stable_order() -> None:
    routes = {Route.DENSE: hits(c3=1.0, c1=1.0, c2=1.0)}
    assert [candidate.chunk.ordinal for candidate in fuse(routes, EVEN)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("coverage", "dense", "lexical"),
    [(1.0, 0.4, 0.6), (0.4, 0.4, 0.6), (0.25, 0.7, 0.3), (0.1, 1.0, 0.0), (0.0, 1.0, 0.0)],
)
def test_lexical_route_loses_weight_where_its_hits_hold_little_of_the_question(
    coverage: float, dense: float, lexical: float
) -> None:
    weights = gate_lexical({Route.DENSE: 0.4, Route.LEXICAL: 0.6}, coverage)
    assert weights == pytest.approx({Route.DENSE: dense, Route.LEXICAL: lexical})


@pytest.mark.parametrize("weights", [{Route.DENSE: 0.0, Route.LEXICAL: 0.6}, {Route.DENSE: 1.0, Route.LEXICAL: 0.0}])
def test_route_that_is_asked_alone_keeps_its_weight(weights: dict[Route, float]) -> None:
    assert gate_lexical(weights, 0.0) == weights


def test_profile_takes_the_weights_of_its_model_unless_it_has_its_own() -> None:
    def weights(**own: float) -> tuple[float | None, float | None]:
        profile = RetrievalProfile(**own).with_weights(0.4)  # type: ignore[arg-type]
        return profile.dense_weight, profile.lexical_weight

    assert weights() == (0.4, 0.6)
    assert weights(dense_weight=0.3, lexical_weight=0.9) == (0.3, 0.9)
    assert weights(dense_weight=1.0) == (1.0, 0.0)
    assert weights(lexical_weight=0.0) == (1.0, 0.0)


# --- identical texts -------------------------------------------------------------------------------------------


def copy_in(name: str, text: str, rank: int, page: int = 0) -> Passage:
    return replace(passage(replace(chunk(rank, text), page=page), rank), document_name=name)


def test_identical_texts_become_one_passage_that_names_the_other_places() -> None:
    found = [copy_in("a.md", "Same  text.\n", 1), copy_in("b.md", "Other.", 2), copy_in("c.pdf", "Same text.", 3, 7)]
    merged = merge_identical(found)
    assert [(each.document_name, each.chunk.text) for each in merged] == [("a.md", "Same  text.\n"), ("b.md", "Other.")]
    assert [each.also_in for each in merged] == [(Place("c.pdf", 7),), ()]


def test_place_of_an_identical_text_is_named_once() -> None:
    found = [copy_in(name, "Same text.", rank) for rank, name in enumerate(["a.md", "a.md", "b.md", "b.md"], 1)]
    assert [each.also_in for each in merge_identical(found)] == [(Place("b.md"),)]


def test_copies_do_not_count_as_candidates() -> None:
    found = [
        Hit(chunk(number, text), 9.0 - number) for number, text in enumerate(["one", "one", "two", "one ", "three"])
    ]
    assert count_distinct(found) == 3
    assert [hit.chunk.ordinal for hit in first_distinct(found, 2)] == [0, 1, 2, 3]
    assert first_distinct(found, 3) == found


# --- contexts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("word", 1), ("words", 2), ("向量", 2), ("向量 HNSW", 4)])
def test_tokens_are_estimated(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_neighbours_surround_passages_and_exclude_them() -> None:
    found = neighbour_ids([passage(chunk(0)), passage(chunk(2))], 2)
    assert found == [f"{VERSION.hex}-{ordinal:06d}" for ordinal in (1, 3, 4)]


TEXT = "aaaa bbbb cccc dddd eeee"
PIECES = [chunk(ordinal, TEXT[ordinal * 5 : ordinal * 5 + 7], ordinal * 5) for ordinal in range(5)]
BY_ID = {piece.id: piece for piece in PIECES}


def test_context_has_the_surrounding_text_without_repeats() -> None:
    (context,) = build_contexts([passage(PIECES[2])], BY_ID, 1, 100)
    assert context == TEXT[5:22]
    (alone,) = build_contexts([passage(PIECES[2])], BY_ID, 0, 100)
    assert alone == PIECES[2].text


def test_chunk_appears_in_one_context_only() -> None:
    contexts = build_contexts([passage(PIECES[1]), passage(PIECES[3])], {PIECES[2].id: PIECES[2]}, 1, 100)
    assert contexts == [TEXT[5:17], PIECES[3].text]


def test_passages_come_before_neighbours_within_the_budget() -> None:
    passages = [passage(PIECES[0]), passage(PIECES[3])]
    each = estimate_tokens(PIECES[0].text)
    assert build_contexts(passages, BY_ID, 1, 2 * each) == [PIECES[0].text, PIECES[3].text]
    first, second = build_contexts(passages, BY_ID, 1, 3 * each)
    assert (first, second) == (TEXT[:12], PIECES[3].text)
    assert build_contexts(passages, BY_ID, 1, each) == [PIECES[0].text, ""]


def test_best_passage_is_kept_beyond_the_budget() -> None:
    long = chunk(0, "words " * 500)
    assert build_contexts([passage(long), passage(PIECES[1])], {}, 1, 10) == [long.text, ""]


def test_gap_between_chunks_is_a_line_break() -> None:
    apart = chunk(1, "later", start=50)
    assert build_contexts([passage(chunk(0, "early"))], {apart.id: apart}, 1, 100) == ["early\nlater"]


# --- as JSON ---------------------------------------------------------------------------------------------------


def test_retrieval_survives_a_round_trip() -> None:
    steps = (Step("gate", 1.5, 3, "lowered to {lexical}", {"lexical": "0.1"}),)
    trace = Trace(steps, RetrievalProfile(top_k=9), 12.5, ("向量",))
    first = replace(passage(chunk(1, "文")), also_in=(Place("b.md", 2, "标题"),))
    found = Retrieval("问题？", (first, passage(chunk(2, version=uuid4()), 2)), trace)
    again = from_record(json.loads(json.dumps(to_record(found))))
    assert [each.chunk.terms for each in again.passages] == ["", ""]  # left out: they can be computed
    assert again.trace == trace
    assert (again.question, again.passages[0].chunk.text, again.passages[0].dense) == (
        "问题？",
        "文",
        RouteHit(1, 0.9, 1.0),
    )
    assert again.passages[0].also_in == first.also_in
    assert again.passages[1].chunk.version_id == found.passages[1].chunk.version_id


def test_indexes_with_equal_relevance_are_told_apart_by_the_questions_terms() -> None:
    """The best passages of two knowledge bases about the same things often have a relevance of 1."""
    half, whole = (
        [Passage(Chunk(name, uuid4(), uuid4()), fused=fused, overlap=overlap, relevance=1.0) for name, fused in pair]
        for pair, overlap in (((("a", 1.0), ("b", 0.7)), 0.5), ((("c", 1.0), ("d", 0.8)), 1.0))
    )
    assert [passage.chunk.id for passage in merge_indexes([half, whole])] == ["c", "a", "d", "b"]
    assert merge_indexes([half, whole])[0].fused == 1.0
    assert [passage.chunk.id for passage in merge_indexes([whole, [], half])] == ["c", "a", "d", "b"]
