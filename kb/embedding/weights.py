"""Writes the published weights as the model's graph reads them: matrices as int8, word vectors in half precision.

The graph, `all-MiniLM-L6-v2.onnx`, is part of this package and made by `kb.embedding.graph`. It holds no weights but
refers to `weights.bin` by offsets; both sides compute them from the same list of tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS = 6
WEIGHTS_FILE = "weights.bin"
_ALIGNMENT = 4096  # onnxruntime maps the file into memory, page by page

Tensor = NDArray[Any]
Weights = Mapping[str, Tensor]


def write_weights(published: Path, target: Path) -> None:
    """Write the tensors of the safetensors file `published` to `target`, one at a time to save memory."""
    with target.open("wb") as file:
        for _, offset, tensor in layout(tensors(read_safetensors(published))):
            file.seek(offset)
            file.write(tensor.tobytes())


def layout(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, int, Tensor]]:
    """Each tensor with its name and its offset in the file."""
    offset = 0
    for name, tensor in named:
        yield name, offset, tensor
        offset += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT


def tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The graph's tensors by name, in the order of the file."""
    # Half precision saves 23 MB of memory and changes no cosine by 0.001.
    yield "words", weights["embeddings.word_embeddings.weight"].astype(np.float16)
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    yield "positions", weights["embeddings.position_embeddings.weight"] + segment
    yield from _copied(weights, "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            yield from _linear(weights, f"{layer}.attention.self.{part}")
        yield from _linear(weights, f"{layer}.attention.output.dense")
        yield from _copied(weights, f"{layer}.attention.output.LayerNorm")
        yield from _linear(weights, f"{layer}.intermediate.dense")
        yield from _linear(weights, f"{layer}.output.dense")
        yield from _copied(weights, f"{layer}.output.LayerNorm")


def _copied(weights: Weights, name: str) -> Iterator[tuple[str, Tensor]]:
    for part in (f"{name}.weight", f"{name}.bias"):
        yield part, weights[part]


def _linear(weights: Weights, name: str) -> Iterator[tuple[str, Tensor]]:
    """The matrix in int8 with one scale per output: twice as fast as float32, cosine .993 to it."""
    matrix = weights[f"{name}.weight"]
    scales = (np.abs(matrix).max(axis=1).astype(np.float64) / 127).astype(np.float32)
    yield f"{name}.weight", np.ascontiguousarray(np.round(matrix / scales[:, None]).astype(np.int8).T)
    yield f"{name}.scale", scales
    yield f"{name}.bias", weights[f"{name}.bias"]


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped into memory: a length, a JSON header with shapes and offsets, the values."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    values = np.memmap(path, np.uint8, "r", offset=8 + length)
    return {
        name: values[slice(*entry["data_offsets"])].view(np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }
