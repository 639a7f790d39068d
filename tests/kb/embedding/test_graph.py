"""The graph and the weights of the built-in model: the shipped file is current, and vectors stay what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from kb.config import Settings
from kb.embedding import ModelState, fetching
from kb.embedding.builtin import MINILM, BuiltinModel
from kb.embedding.fetching import sha256
from kb.embedding.graph import GRAPH, build_graph
from tests.conftest import MakeSettings

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


@pytest.mark.timeout(900)
def test_model_of_an_earlier_release_keeps_working(
    model_settings: Settings, builtin: BuiltinModel, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one file with the weights inside. After an upgrade nothing is downloaded, and vectors stay the same."""
    settings = make_settings(embedding_model="builtin")
    current, earlier = (MINILM.files(each).folder for each in (model_settings, settings))
    earlier.mkdir(parents=True)
    shutil.copyfile(current / "tokenizer.json", earlier / "tokenizer.json")
    onnx.save(onnx.load(current / "model.onnx"), earlier / "model.onnx")
    monkeypatch.setattr(fetching, "_download", None)
    MINILM.files(settings).fetch(lambda status: None)
    assert MINILM.files(settings).status().state is ModelState.READY
    upgraded = BuiltinModel(MINILM, settings, threads=1)
    assert np.array_equal(upgraded.embed_documents(TEXTS), builtin.embed_documents(TEXTS))
    assert sorted(path.name for path in earlier.iterdir()) == ["model.onnx", "tokenizer.json"]
