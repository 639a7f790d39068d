"""What is counted of answers, of the searches for them, and of the models that write them."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from kb.errors import KbError
from kb.metrics.registries import PROCESS, FewNames
from kb.models import MessageState, Mode, Trace

UNKNOWN_MODE = "unknown"
_ANSWER_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300)
_SEARCH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_answers = Counter(
    "zhiwen_answers",
    "Answers that ended, by mode, by how (done, stopped, failed, interrupted) and by the error's code.",
    ["mode", "state", "error"],
    registry=PROCESS,
)
_answer_seconds = Histogram(
    "zhiwen_answer_duration_seconds",
    "From the question to the end of the answer.",
    ["mode"],
    buckets=_ANSWER_BUCKETS,
    registry=PROCESS,
)
_first_token_seconds = Histogram(
    "zhiwen_answer_first_token_seconds",
    "From the question to the first words or thoughts of the model, the search included.",
    ["mode"],
    buckets=_ANSWER_BUCKETS,
    registry=PROCESS,
)
_tokens = Counter(
    "zhiwen_model_tokens",
    "Tokens of chat models, as their servers counted them, by direction (prompt, completion).",
    ["model", "direction"],
    registry=PROCESS,
)
_retrievals = Counter(
    "zhiwen_retrievals",
    "Searches of knowledge bases, by outcome (found, nothing, failed) and by the error's code.",
    ["outcome", "error"],
    registry=PROCESS,
)
_retrieval_seconds = Histogram(
    "zhiwen_retrieval_duration_seconds",
    "Searches of knowledge bases, from the question to the passages.",
    buckets=_SEARCH_BUCKETS,
    registry=PROCESS,
)
_step_seconds = Histogram(
    "zhiwen_retrieval_step_duration_seconds",
    "Steps of these searches.",
    ["step"],
    buckets=_SEARCH_BUCKETS,
    registry=PROCESS,
)
_model_names = FewNames()


def note_answer(
    mode: Mode | None, state: MessageState, error: KbError | None, seconds: float, first_token_seconds: float
) -> None:
    """An answer ended. `mode`: None if that is not known; both times are 0 if they are not."""
    name = mode.value if mode else UNKNOWN_MODE
    _answers.labels(name, state.value, error.code if error else "").inc()
    if seconds:
        _answer_seconds.labels(name).observe(seconds)
    if first_token_seconds:
        _first_token_seconds.labels(name).observe(first_token_seconds)


def note_tokens(model: str, prompt: int, completion: int) -> None:
    """A model of this name read and wrote so many tokens."""
    name = _model_names.of(model)
    _tokens.labels(name, "prompt").inc(max(0, prompt))  # some servers count nonsense
    _tokens.labels(name, "completion").inc(max(0, completion))


def note_retrieval(trace: Trace, *, has_found: bool) -> None:
    _retrievals.labels("found" if has_found else "nothing", "").inc()
    _retrieval_seconds.observe(trace.milliseconds / 1000)
    for step in trace.steps:
        if step.milliseconds:  # else it was left out
            _step_seconds.labels(step.name).observe(step.milliseconds / 1000)


def note_failed_retrieval(error: KbError) -> None:
    _retrievals.labels("failed", error.code).inc()
