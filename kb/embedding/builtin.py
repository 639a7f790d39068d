"""A built-in model, which Zhiwen fetches itself and runs on the CPU as int8 ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb import lexical
from kb.config import Settings
from kb.embedding.fetching import GRAPH_FILE, ModelFiles, Published
from kb.embedding.model import Vectors, encodable
from kb.embedding.weights import WEIGHTS_FILE, Architecture
from kb.environment import import_onnxruntime
from kb.errors import N_, EmbeddingUnavailable, ModelNotFetched

Tokenize = Callable[[str], list[int]]
_Run = Callable[[NDArray[np.int64]], Vectors]

PROBE = Path(__file__).with_name("probe.onnx")
_PROVIDERS = ["CPUExecutionProvider"]
_ONLY_ERRORS = 3  # onnxruntime's log severity


@dataclass(frozen=True, slots=True)
class Builtin:
    """A model that Zhiwen knows. `name` is its EMBEDDING_MODEL, and what knowledge bases store.

    `open_tokenizer` takes the model's folder. The tokenizer truncates what is too long for the model.
    """

    name: str
    architecture: Architecture
    scripts: frozenset[str] | None
    dense_weight: float
    published: Published
    open_tokenizer: Callable[[Path], Tokenize]
    question_prefix: str = ""
    document_prefix: str = ""
    simplifies_chinese: bool = False

    @property
    def dimension(self) -> int:
        return self.architecture.hidden

    def files(self, settings: Settings) -> ModelFiles:
        return ModelFiles(self.published, settings.models)


class BuiltinModel:
    """One onnxruntime session per process, loaded at first use. Fetches the model first if it is not there."""

    is_remote = False

    def __init__(self, model: Builtin, settings: Settings, threads: int) -> None:
        self.name = model.name
        self.dimension = model.dimension
        self.scripts = model.scripts
        self.dense_weight = model.dense_weight
        self._model = model
        self._files = model.files(settings)
        self._lock = Lock()
        self._loaded: tuple[Tokenize, _Run] | None = None
        self._fetching: Thread | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embedding")

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`; text that is too long for the model is ignored.

        Each text is run by itself, `threads` at a time: int8 scales are taken over a whole batch, so a text's vector
        would depend on its neighbours (cosine down to .97). Nothing is padded, and it is as fast.
        """
        self._load()
        prefix = self._model.document_prefix
        vectors = list(self._pool.map(lambda text: self._embed(prefix, text), texts))
        return np.stack(vectors) if vectors else np.empty((0, self.dimension), np.float32)

    def embed_question(self, text: str) -> Vectors:
        """(dimension,); while the model is being fetched, raises `EmbeddingUnavailable` instead of waiting for it."""
        if self._loaded is None:
            self._require_files()
        return self._embed(self._model.question_prefix, text)

    def _embed(self, prefix: str, text: str) -> Vectors:
        tokenize, run = self._load()
        text = encodable(text)
        if self._model.simplifies_chinese:
            text = lexical.simplify(text)
        return run(np.array([tokenize(prefix + text)], np.int64))

    def _load(self) -> tuple[Tokenize, _Run]:
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
        self.fetch_in_background()
        if status.failure:
            raise status.failure
        detail = N_("it is being downloaded, see the Knowledge bases page for progress")
        raise EmbeddingUnavailable(model=self._model.published.title, detail=detail)

    def fetch_in_background(self) -> None:
        """Have the files fetched unless they are there; the status tells the rest."""
        if not self._files.is_ready() and (self._fetching is None or not self._fetching.is_alive()):
            self._fetching = Thread(target=self._fetch, name="embedding-model", daemon=True)
            self._fetching.start()

    def _fetch(self) -> None:
        with suppress(ModelNotFetched):  # the status tells everybody
            self._files.fetch(lambda status: None)

    def _open(self) -> tuple[Tokenize, _Run]:
        """The tokenizer, and what turns its ids (1, n) into a vector."""
        onnxruntime = import_onnxruntime()
        folder = self._files.folder
        if changed := self._files.changed():
            raise self._files.damaged(changed)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the pool runs texts side by side
        options.log_severity_level = _ONLY_ERRORS
        options.enable_cpu_mem_arena = False  # it would keep the longest text's memory forever, and is no faster
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        try:
            session = onnxruntime.InferenceSession(self._graph(onnxruntime), options, providers=_PROVIDERS)
            return self._model.open_tokenizer(folder), _runner(session)
        except Exception as error:  # onnxruntime's own have no common root, nor have the tokenizers'
            raise self._files.damaged(str(error)) from error

    def _graph(self, onnxruntime: Any) -> str | bytes:
        """The fastest one that computes exactly here; for the first release's single file there is no choice."""
        path = self._files.folder / GRAPH_FILE
        if _multiplies_exactly(onnxruntime) or not (self._files.folder / WEIGHTS_FILE).exists():
            return str(path)
        return self._model.published.unsigned_graph.read_bytes()


def _multiplies_exactly(onnxruntime: Any) -> bool:
    """Whether this processor multiplies uint8 by int8 without cutting off large sums: see `kb.embedding.graph`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    (sums,) = onnxruntime.InferenceSession(PROBE, options, providers=_PROVIDERS).run(None, {})
    return bool((sums == 255 * 127 * 64).all())


def _runner(session: Any) -> _Run:
    # Graphs of earlier releases have a mask for padding, which we never need; the vectors are the same.
    has_mask = any(each.name == "attention_mask" for each in session.get_inputs())

    def run(ids: NDArray[np.int64]) -> Vectors:
        mask = {"attention_mask": np.ones_like(ids)} if has_mask else {}
        vector: Vectors = session.run(None, {"input_ids": ids} | mask)[0][0]
        return vector

    return run
