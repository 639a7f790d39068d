"""The graphs and the weights of the built-in models: shipped files are current, and vectors are the same everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import kb.embedding
from kb.config import Settings
from kb.embedding import ModelState, builtin, fetching, graph
from kb.embedding.builtin import Builtin, BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.fetching import sha256
from kb.embedding.minilm import MINILM
from kb.embedding.models import BUILTIN_MODELS
from kb.environment import import_onnxruntime
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


def test_shipped_graphs_are_current() -> None:
    """If this fails, run `python -m kb.embedding.graph`."""
    shipped = {path: path.read_bytes() for path in Path(kb.embedding.__file__).parent.glob("*.onnx")}
    assert shipped == graph.files()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", BUILTIN_MODELS.values(), ids=lambda model: model.name)
def test_vectors_are_the_same_on_every_processor(
    model: Builtin, model_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever graph computes exactly here gives the vectors of exact arithmetic."""
    embedder = BuiltinModel(model, model_settings, threads=1)
    vectors = embedder.embed_documents(TEXTS)
    exact = _exact_session(model, model_settings)
    monkeypatch.setattr(embedder, "_loaded", (embedder._load()[0], builtin._runner(exact)))
    assert (embedder.embed_documents(TEXTS) * vectors).sum(axis=1) == pytest.approx(1, abs=0.003)


def test_cut_off_sums_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = onnx.load(builtin.PROBE)
    right = next(each for each in probe.graph.initializer if each.name == "right")
    right.CopyFrom(onnx.numpy_helper.from_array(np.full((64, 16), 64, np.int8), "right"))  # as if cut off
    onnx.save(probe, tmp_path / "probe.onnx")
    monkeypatch.setattr(builtin, "PROBE", tmp_path / "probe.onnx")
    assert not builtin._multiplies_exactly(import_onnxruntime())


def _exact_session(model: Builtin, settings: Settings) -> Any:
    """The int8 graph, but each matrix product in float32, which holds its sums exactly."""
    proto = onnx.load(model.published.graph, load_external_data=False)
    nodes = []
    for node in proto.graph.node:
        if node.op_type != "MatMulInteger":
            nodes.append(node)
            continue
        x, weight, zero_point, _zeros = node.input
        product = node.output[0]
        for name in (x, weight, zero_point):
            nodes.append(onnx.helper.make_node("Cast", [name], [f"{product}_{name}"], to=onnx.TensorProto.FLOAT))
        nodes.append(onnx.helper.make_node("Sub", [f"{product}_{x}", f"{product}_{zero_point}"], [f"{product}_left"]))
        nodes.append(onnx.helper.make_node("MatMul", [f"{product}_left", f"{product}_{weight}"], [product]))
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes)
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    folder = model.files(settings).folder
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", BUILTIN_MODELS.values(), ids=lambda model: model.name)
def test_weights_are_the_published_ones_in_int8(model: Builtin, model_settings: Settings) -> None:
    folder = model.files(model_settings).folder
    assert sha256(folder / "weights.bin") == WEIGHTS_SHA256[model.name]


@pytest.mark.timeout(900)
def test_vectors_are_those_of_existing_knowledge_bases(minilm: BuiltinModel) -> None:
    """The fixture was written by the first release, on a processor that cuts off large sums, so we compare cosines."""
    stored = np.load(Path(__file__).with_name("minilm_vectors.npy"))
    cosines = (minilm.embed_documents(TEXTS) * stored).sum(axis=1)
    assert cosines == pytest.approx(1, abs=0.04)


@pytest.mark.timeout(900)
def test_model_of_an_earlier_release_keeps_working(
    model_settings: Settings, minilm: BuiltinModel, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one file that asked for a mask. After an upgrade nothing is downloaded, and vectors stay alike."""
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
    cosines = (upgraded.embed_documents(TEXTS) * minilm.embed_documents(TEXTS)).sum(axis=1)
    assert cosines == pytest.approx(1, abs=0.04)  # it has only the graph that cuts off sums on some processors
    assert sorted(path.name for path in earlier.iterdir()) == ["model.onnx", "tokenizer.json"]
