"""The graphs and the weights of the built-in models: shipped files are current, and vectors stay what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from kb.config import Settings
from kb.embedding import ModelState, fetching
from kb.embedding.builtin import Builtin, BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.fetching import sha256
from kb.embedding.graph import serialise
from kb.embedding.minilm import MINILM
from kb.embedding.models import BUILTIN_MODELS
from tests.conftest import MakeSettings

# Of the files that hold the published weights in int8. Existing knowledge bases were embedded with exactly these.
WEIGHTS_SHA256 = {
    MINILM.name: "c2ea6ac65a5eff2f0d5406e4a14366d0fc9b6213acdd8736a2692665582af288",
    E5.name: "db0f94981c2c4e33e950d5dcff290d26bc374f33cded6a89d426e0d51d275fa3",
}
TEXTS = [
    "This is an example sentence",
    "",
    "The committee met on Tuesday to discuss the budget for the new railway line. " * 30,
    "知识库问答：a mixture of scripts",
    "def search(self, question: str, limit: int = 10) -> list[Hit]:",
]


@pytest.mark.parametrize("model", BUILTIN_MODELS.values(), ids=lambda model: model.name)
def test_shipped_graph_is_current(model: Builtin) -> None:
    """If this fails, run `python -m kb.embedding.graph`."""
    assert model.published.graph.read_bytes() == serialise(model)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", BUILTIN_MODELS.values(), ids=lambda model: model.name)
def test_weights_are_the_published_ones_in_int8(model: Builtin, model_settings: Settings) -> None:
    folder = model.files(model_settings).folder
    assert sha256(folder / "weights.bin") == WEIGHTS_SHA256[model.name]


@pytest.mark.timeout(900)
def test_vectors_are_those_of_existing_knowledge_bases(minilm: BuiltinModel) -> None:
    """The fixture was written by the first release. Other processors round differently, so we compare cosines."""
    stored = np.load(Path(__file__).with_name("minilm_vectors.npy"))
    cosines = (minilm.embed_documents(TEXTS) * stored).sum(axis=1)
    assert cosines == pytest.approx(1, abs=0.01)


@pytest.mark.timeout(900)
def test_model_of_an_earlier_release_keeps_working(
    model_settings: Settings, minilm: BuiltinModel, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one file that asked for a mask. After an upgrade nothing is downloaded, and vectors stay the same."""
    settings = make_settings(embedding_model="builtin")
    current, earlier = (MINILM.files(each).folder for each in (model_settings, settings))
    earlier.mkdir(parents=True)
    shutil.copyfile(current / "tokenizer.json", earlier / "tokenizer.json")
    model = onnx.load(MINILM.published.graph, load_external_data=False)
    onnx.load_external_data_for_model(model, str(current))
    mask = onnx.helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, ["batch", "length"])
    model.graph.input.append(mask)
    onnx.save(model, earlier / "model.onnx")
    monkeypatch.setattr(fetching, "_download", None)
    MINILM.files(settings).fetch(lambda status: None)
    assert MINILM.files(settings).status().state is ModelState.READY
    upgraded = BuiltinModel(MINILM, settings, threads=1)
    assert np.array_equal(upgraded.embed_documents(TEXTS), minilm.embed_documents(TEXTS))
    assert sorted(path.name for path in earlier.iterdir()) == ["model.onnx", "tokenizer.json"]
