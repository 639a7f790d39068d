"""A FastEmbed model, from the Hugging Face hub by name or from a local ONNX folder. Needs the extra `fastembed`."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from kb.embedding.model import DENSE_WEIGHT, Vectors, encodable, normalised
from kb.environment import import_fastembed
from kb.errors import N_, EmbeddingUnavailable, HubUnreachable, SetupError

_BATCH = 16
_PROBE_SECONDS = 3.0
_ENGLISH = re.compile(r"\benglish\b|-en\b|all-minilm", re.IGNORECASE)
_OTHERS = re.compile(r"multi-?lingual|chinese|mixed", re.IGNORECASE)


class FastEmbedModel:
    """`model` is a name that FastEmbed lists or a folder with an ONNX model. Loaded at first use."""

    dense_weight = DENSE_WEIGHT
    is_remote = False

    def __init__(self, model: str, cache: Path, threads: int) -> None:
        self.name = f"fastembed:{model}"
        self._model = model
        self._cache = cache
        self._threads = threads
        self._lock = Lock()
        self._loaded: Any = None

    @cached_property
    def dimension(self) -> int:
        """From the list if possible, because a page must not load the model to create a knowledge base."""
        if listed := self._listed:
            return int(listed["dim"])
        return int(self._load().embedding_size)

    @cached_property
    def scripts(self) -> frozenset[str] | None:
        """From FastEmbed's description, or from the name of the folder."""
        described = str(self._listed["description"] if self._listed else self._model)
        return frozenset({"latin"}) if _ENGLISH.search(described) and not _OTHERS.search(described) else None

    @cached_property
    def _listed(self) -> dict[str, Any]:
        """The model's entry in FastEmbed's list; empty for a folder."""
        models = _text_embedding(self.name).list_supported_models()
        return next((model for model in models if model["model"].lower() == self._model.lower()), {})

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""
        model = self._load()
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return normalised(list(model.embed([encodable(text) for text in texts], batch_size=_BATCH)))

    def embed_question(self, text: str) -> Vectors:
        """(dimension,); some models prepend an instruction to a question."""
        return normalised(next(iter(self._load().query_embed(encodable(text)))))

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._open()
            return self._loaded

    def _open(self) -> Any:
        text_embedding = _text_embedding(self.name)
        folder = Path(self._model).expanduser()
        if folder.is_dir():
            return self._open_folder(text_embedding, folder)
        if not self._listed:
            raise SetupError(
                N_("“{model}” is neither a FastEmbed model nor a folder."),
                N_("Use a model that FastEmbed lists, or put the folder with the ONNX model back in its place."),
                model=self._model,
            )
        return self._open_named(text_embedding)

    def _open_named(self, text_embedding: Any) -> Any:
        """From the cache, else from the hub, after a short probe whether the hub can be reached."""
        options = {"cache_dir": str(self._cache), "threads": self._threads, "enable_cpu_mem_arena": False}
        try:
            return text_embedding(self._model, local_files_only=True, **options)
        except Exception:  # noqa: BLE001 — whatever is wrong with the cached copy, a new one may fix it
            _probe_hub(self.name)
        try:
            return text_embedding(self._model, **options)
        except Exception as error:
            raise EmbeddingUnavailable(model=self.name, detail=_first_line(error)) from error

    def _open_folder(self, text_embedding: Any, folder: Path) -> Any:
        name = str(folder.resolve())
        try:
            _register(text_embedding, name, folder)
            return text_embedding(
                name,
                specific_model_path=name,
                threads=self._threads,
                enable_cpu_mem_arena=False,
                cache_dir=str(self._cache),
            )
        except Exception as error:
            raise SetupError(
                N_("The embedding model in {folder} cannot be loaded: {detail}."),
                N_("It needs an ONNX model with its config.json, tokenizer.json and tokenizer_config.json."),
                folder=folder,
                detail=_first_line(error),
            ) from error


def _text_embedding(model: str) -> Any:
    """FastEmbed's class, imported at first use."""
    try:
        return import_fastembed().TextEmbedding
    except ImportError as error:
        raise SetupError(
            N_("The embedding model is {model}, but FastEmbed is not installed."),
            N_("Install it: {command}"),
            model=model,
            command='pip install -e ".[fastembed]" -c constraints.txt',
        ) from error


def _register(text_embedding: Any, name: str, folder: Path) -> None:
    """Register a local model with FastEmbed; its files tell the pooling and the dimension."""
    from fastembed.common.model_description import ModelSource, PoolingType

    if any(model["model"] == name for model in text_embedding.list_supported_models()):
        return
    pooling_file = folder / "1_Pooling" / "config.json"
    pooling = json.loads(pooling_file.read_text()) if pooling_file.exists() else {}
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx"))
    if not files:
        raise FileNotFoundError(N_("it has no .onnx file"))
    text_embedding.add_custom_model(
        model=name,
        pooling=PoolingType.CLS if pooling.get("pooling_mode_cls_token") else PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=json.loads((folder / "config.json").read_text())["hidden_size"],
        model_file="model.onnx" if "model.onnx" in files else files[0],
    )


def _probe_hub(model: str) -> None:
    """Raise within seconds if the hub cannot be reached; its own client would try for 40 s."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        raise EmbeddingUnavailable(model=model, detail=N_("it is not in the cache, and HF_HUB_OFFLINE is set"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise HubUnreachable(model=model, host=address.netloc) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
