"""The graph and the weights of the built-in model: the shipped file is current, and vectors stay what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kb.config import Settings
from kb.embedding.builtin import MINILM, BuiltinModel
from kb.embedding.fetching import sha256
from kb.embedding.graph import GRAPH, build_graph

# Of the file that holds the published weights in int8. Existing knowledge bases were embedded with exactly these.
WEIGHTS_SHA256 = "c2ea6ac65a5eff2f0d5406e4a14366d0fc9b6213acdd8736a2692665582af288"
TEXTS = [
    "This is an example sentence",
    "",
    "The committee met on Tuesday to discuss the budget for the new railway line. " * 30,
    "知识库问答：a mixture of scripts",
    "def search(self, question: str, limit: int = 10) -> list[Hit]:",
]


def test_shipped_graph_is_current() -> None:
    """If this fails, run `python -m kb.embedding.graph`."""
    assert GRAPH.read_bytes() == build_graph().SerializeToString(deterministic=True)


@pytest.mark.timeout(900)
def test_weights_are_the_published_ones_in_int8(model_settings: Settings) -> None:
    folder = MINILM.files(model_settings).folder
    assert sha256(folder / "weights.bin") == WEIGHTS_SHA256


@pytest.mark.timeout(900)
def test_vectors_are_those_of_existing_knowledge_bases(builtin: BuiltinModel) -> None:
    """The fixture was written by the first release. Other processors round differently, so we compare cosines."""
    stored = np.load(Path(__file__).with_name("minilm_vectors.npy"))
    cosines = (builtin.embed_documents(TEXTS) * stored).sum(axis=1)
    assert cosines == pytest.approx(1, abs=0.01)
