"""What reranking servers reply: the forms of those that are widely used, and their failures, by the model's name."""

from __future__ import annotations

from typing import Any

PATHS = ("/v1/rerank", "/rerank", "/compatible-api/v1/reranks")
MOST_TEXTS = 4  # that "rerank-tei" takes at once; the real one takes 32
LONGEST_TEXT = 512  # characters that "rerank-short" takes

RERANKERS = (
    "fake-rerank",
    "rerank-voyage",
    "rerank-tei",
    "rerank-logits",
    "rerank-short",
    "rerank-incomplete",
    "rerank-error-in-200",
    "rerank-words",
)


def rerank(path: str, model: str, body: dict[str, Any], favourite: str) -> tuple[int, object]:
    """The status and the reply. A text that holds `favourite` is the best; of the others, the first ones."""
    if model == "rerank-tei":
        return _text_embeddings_inference(path, body, favourite)
    scores = _scores(body["documents"], favourite)
    if model == "rerank-short" and any(len(text) > LONGEST_TEXT for text in body["documents"]):
        return 400, {"error": {"message": "This model's maximum context length is 512 tokens."}}
    if model == "rerank-error-in-200":
        return 200, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}
    if model == "rerank-words":
        return 200, "scores: none"
    if model == "rerank-logits":
        scores = [20 * (score - 0.5) for score in scores]
    results = [{"index": place, "relevance_score": score} for place, score in enumerate(scores)]
    if model == "rerank-incomplete":
        results = results[1:]
    results.sort(key=lambda result: -result["relevance_score"])
    if model == "rerank-voyage":
        return 200, {"object": "list", "data": results, "usage": {"total_tokens": 26}}
    return 200, {"id": "fake", "model": model, "results": results[: body.get("top_n")]}


def _text_embeddings_inference(path: str, body: dict[str, Any], favourite: str) -> tuple[int, object]:
    if path != "/rerank":
        return 404, {"detail": "Not Found"}
    if "texts" not in body:
        return 422, "Failed to deserialize the JSON body into the target type: missing field `texts`"
    if len(body["texts"]) > MOST_TEXTS:
        message = f"batch size {len(body['texts'])} > maximum allowed batch size {MOST_TEXTS}"
        return 413, {"error": message, "error_type": "Validation"}
    scores = _scores(body["texts"], favourite)
    return 200, [{"index": place, "score": score} for place, score in enumerate(scores)]


def _scores(texts: list[str], favourite: str) -> list[float]:
    return [0.95 if favourite and favourite in text else 0.4 / (place + 1) for place, text in enumerate(texts)]
