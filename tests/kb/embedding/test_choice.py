"""EMBEDDING_MODEL chooses the model and what is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from kb.config import Settings, load_settings
from kb.embedding import EmbeddingModels, full_name
from kb.embedding.e5 import E5
from kb.embedding.fastembed import FastEmbedModel
from kb.embedding.minilm import MINILM
from kb.embedding.models import BUILTIN_MODELS
from kb.embedding.openai import OpenAIModel
from kb.errors import EmbeddingProviderGone, EmbeddingUnavailable, ModelKeyLost, SetupError, UnknownEmbeddingModel
from kb.providers.connection import Connection, Source
from tests.fakes.model_server import DIMENSION, ModelServer


def _settings(model: str, **values: object) -> Settings:
    return load_settings(_env_file=None, embedding_model=model, zhiwen_home="/nowhere", **values)


@pytest.mark.parametrize(
    ("model", "scripts"),
    [
        ("builtin", MINILM.scripts),
        ("builtin:multilingual-e5-small", E5.scripts),
        ("openai:text-embedding-3-small", None),
        ("fastembed:BAAI/bge-small-zh-v1.5", None),
        ("fastembed:BAAI/bge-small-en-v1.5", {"latin"}),
    ],
)
def test_each_name_gives_its_model(model: str, scripts: set[str] | None) -> None:
    built = EmbeddingModels(_settings(model, openai_api_key="k"), threads=1).default
    assert built.name == model
    assert built.scripts == scripts


def test_long_name_of_minilm_is_the_stored_one() -> None:
    models = EmbeddingModels(_settings("builtin:all-MiniLM-L6-v2"), threads=1)
    assert models.default is models.get("builtin")
    assert models.default.name == "builtin"


def test_models_live_side_by_side() -> None:
    models = EmbeddingModels(_settings("openai:m", openai_api_key="k"), threads=1)
    assert models.offered() == ("openai:m", *BUILTIN_MODELS)
    for name in (*models.offered(), "openai:other", "fastembed:BAAI/bge-small-zh-v1.5"):
        assert models.get(name).name == name
        assert models.get(name) is models.get(name)


def test_model_of_a_later_version_is_named() -> None:
    with pytest.raises(UnknownEmbeddingModel, match="builtin:of-a-later-version"):
        EmbeddingModels(_settings("builtin"), threads=1).get("builtin:of-a-later-version")


def test_knowledge_base_of_an_endpoint_needs_its_key() -> None:
    with pytest.raises(SetupError, match=r"openai:m, but no API key.*EMBEDDING_API_KEY"):
        EmbeddingModels(_settings("builtin"), threads=1).get("openai:m")


@pytest.mark.parametrize("model", ["bge", "openai:", "hub:x", "builtin:x"])
def test_unknown_model_is_a_setup_error(model: str) -> None:
    with pytest.raises(SetupError, match="EMBEDDING_MODEL"):
        EmbeddingModels(_settings(model), threads=1)


def test_openai_needs_a_key_or_a_base_url() -> None:
    with pytest.raises(SetupError, match="EMBEDDING_API_KEY"):
        EmbeddingModels(_settings("openai:m"), threads=1)
    EmbeddingModels(_settings("openai:m", embedding_base_url="http://127.0.0.1:1/v1"), threads=1)


@pytest.mark.parametrize(
    ("is_own", "own_key", "key"),
    [(False, "", "sk-openai"), (False, "sk-own", "sk-own"), (True, "", "none"), (True, "sk-own", "sk-own")],
)
def test_key_for_chat_goes_to_no_other_server(is_own: bool, own_key: str, key: str) -> None:
    with ModelServer() as server:
        name = "embedding_base_url" if is_own else "openai_base_url"
        settings = _settings(
            "openai:m", openai_api_key="sk-openai", embedding_api_key=own_key, **{name: server.base_url}
        )
        model = EmbeddingModels(settings, threads=1).default
        assert isinstance(model, OpenAIModel)
        model.embed_question("tea")
        model.close()
        assert [request.key for request in server.requests] == [key]


def test_missing_fastembed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(SetupError, match=r"\.\[fastembed\]"):
        FastEmbedModel("BAAI/bge-small-zh-v1.5", tmp_path, 1).embed_question("?")


@pytest.mark.parametrize(
    ("model", "error"), [("BAAI/bge-small-zh-v1.5", EmbeddingUnavailable), ("no-such-model", SetupError)]
)
def test_fastembed_fails_fast_without_the_hub(tmp_path: Path, model: str, error: type[Exception]) -> None:
    probe = f"""
import sys; from pathlib import Path
from kb.embedding.fastembed import FastEmbedModel
from kb.errors import {error.__name__}
try: FastEmbedModel({model!r}, Path({str(tmp_path)!r}), 1).embed_question('?')
except {error.__name__}: sys.exit(7)
"""
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "/usr/bin:/bin"}
    assert subprocess.run([sys.executable, "-c", probe], env=env, timeout=30, check=False).returncode == 7


def test_choosing_a_model_imports_no_heavy_packages() -> None:
    probe = (
        "import sys; from kb.config import Settings; from kb.embedding import EmbeddingModels\n"
        "for model in ('builtin', 'openai:m', 'fastembed:m'):\n"
        "    EmbeddingModels(Settings(_env_file=None, embedding_model=model, openai_api_key='k'), 1)\n"
        "print(*{'onnx', 'onnxruntime', 'langchain_openai', 'openai', 'tokenizers', 'fastembed'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_model_of_a_provider_is_asked_with_its_own_key() -> None:
    provider_id = uuid4()
    name = f"provider:{provider_id}/BAAI/bge-m3"
    connections: dict[UUID, Connection] = {}
    models = EmbeddingModels(_settings("openai:m", openai_api_key="k"), 1, connections.get)
    assert full_name(name) == "BAAI/bge-m3"
    with pytest.raises(EmbeddingProviderGone, match="BAAI/bge-m3"):
        models.get(name)
    with ModelServer() as server:

        def connect(key: str, error: ModelKeyLost | None = None) -> None:
            connections[provider_id] = Connection(
                Source.USER, "Mine", server.base_url, SecretStr(key), provider_id=provider_id, error=error
            )

        connect("first")
        model = models.get(name)
        assert isinstance(model, OpenAIModel)
        assert (model.name, model.dimension, models.get(name)) == (name, DIMENSION, model)
        model.close()
        connect("second")  # the key was changed on the Models page
        changed = models.get(name)
        assert isinstance(changed, OpenAIModel)
        changed.embed_question("tea")
        changed.close()
        assert [(request.key, request.body["model"]) for request in server.requests] == [
            ("first", "BAAI/bge-m3"),
            ("second", "BAAI/bge-m3"),
        ]
        connect("", ModelKeyLost(name="Mine"))
        with pytest.raises(ModelKeyLost):
            models.get(name)


@pytest.mark.parametrize("name", ["provider:", "provider:7/m", "provider:of-a-later-version"])
def test_name_of_no_provider_is_unknown(name: str) -> None:
    with pytest.raises(UnknownEmbeddingModel):
        EmbeddingModels(_settings("builtin"), threads=1).get(name)
