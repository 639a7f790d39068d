"""A FastEmbed model from a folder: real, but very small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from huggingface_hub import constants
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from kb.embedding.fastembed import FastEmbedModel
from kb.errors import EmbeddingUnavailable, HubUnreachable, SetupError
from pages.ui.i18n import error_text
from tests.real_services import free_port

WORDS = ["[PAD]", "[UNK]", "apples", "pears", "plums"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with one direction per word; the vector of a text is the mean over its words."""
    vectors = numpy_helper.from_array(np.eye(len(WORDS), dtype=np.float32), "words")
    shape = ["texts", "words"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["words", "input_ids"], ["last_hidden_state"])],
        "words",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, len(WORDS)])],
        [vectors],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = {
        "config.json": {"hidden_size": len(WORDS), "pad_token_id": 0},
        "tokenizer_config.json": {"model_max_length": 128, "pad_token": "[PAD]"},
        "special_tokens_map.json": {"pad_token": "[PAD]", "unk_token": "[UNK]"},
    }
    for name, content in settings.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def test_model_from_a_folder(folder: Path) -> None:
    model = FastEmbedModel(str(folder), folder / "cache", threads=1)
    vectors = model.embed_documents(["apples", "apples pears pears \udcff", "plums " * 20])
    assert model.dimension == len(WORDS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.argmax(vectors, axis=1).tolist() == [2, 3, 4]
    assert np.array_equal(model.embed_question("apples"), vectors[0])
    assert model.embed_documents([]).shape == (0, len(WORDS))


def test_folder_without_a_model_says_what_it_needs(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(SetupError, match=r"no \.onnx file") as raised:
        FastEmbedModel(str(folder), folder / "cache", threads=1).embed_question("?")
    assert error_text(raised.value, "zh_CN")[0].endswith("中的嵌入模型：其中没有 .onnx 文件。")


@pytest.mark.parametrize("name", ["BAAI/bge-small-en-v1.5", "BAAI/bge-small-zh-v1.5"])
def test_unreachable_hub_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(HubUnreachable, match="HF_ENDPOINT") as raised:
        FastEmbedModel(name, tmp_path, threads=1).embed_question("?")
    assert raised.value.values == {"model": f"fastembed:{name}", "host": f"127.0.0.1:{port}"}
    message, remedy = error_text(raised.value, "zh_CN")
    assert f"127.0.0.1:{port}" in message
    assert "HF_ENDPOINT" in remedy
    assert message != raised.value.message


def test_offline_mode_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EmbeddingUnavailable, match="HF_HUB_OFFLINE is set"):
        FastEmbedModel("BAAI/bge-small-en-v1.5", tmp_path, threads=1).embed_question("?")


@pytest.mark.parametrize(
    ("name", "dimension", "scripts"),
    [
        ("thenlper/gte-base", 768, {"latin"}),
        ("BAAI/bge-small-en-v1.5", 384, {"latin"}),
        ("nomic-ai/nomic-embed-text-v1.5", 768, {"latin"}),
        ("BAAI/bge-small-zh-v1.5", 512, None),
        ("jinaai/jina-embeddings-v2-base-zh", 768, None),
        ("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, None),
        ("jinaai/jina-embeddings-v3", 1024, None),
    ],
)
def test_listed_properties_need_no_loading(
    name: str, dimension: int, scripts: set[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FastEmbedModel(name, tmp_path, threads=1)
    monkeypatch.setattr(model, "_load", lambda: pytest.fail("it was loaded"))
    assert (model.dimension, model.scripts) == (dimension, scripts and frozenset(scripts))
