"""Writes the weights of a BERT encoder as its graph reads them: matrices in int8, word embeddings in 16 or 4 bits.

The graphs, `*.onnx`, are part of this package and made by `kb.embedding.graph`. They hold no weights but refer to
`weights.bin` by offsets; both sides compute them from the same list of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

WEIGHTS_FILE = "weights.bin"
BLOCK = 32  # weights that share a scale, where word embeddings have 4 bits
_ALIGNMENT = 4096  # onnxruntime maps the file into memory, page by page

Tensor = NDArray[Any]


class Weights(Protocol):
    """Tensors by name, such as a dict."""

    def __getitem__(self, name: str, /) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of a BERT encoder, and the precision of its word embeddings in the file."""

    layers: int
    words: int
    word_bits: Literal[16, 4]
    hidden: int = 384
    inner: int = 1_536
    heads: int = 12
    positions: int = 512


def write_weights(architecture: Architecture, weights: Weights, target: Path) -> None:
    """Write the tensors to `target`, one at a time to save memory.

    `weights` has the names of the published safetensors. Word embeddings of 4 bits come as `…word_embeddings.nibbles`
    and `…word_embeddings.scales` instead of `….weight`.
    """
    with target.open("wb") as file:
        for _, offset, tensor in layout(tensors(architecture, weights)):
            file.seek(offset)
            file.write(np.ascontiguousarray(tensor).data)


def layout(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, int, Tensor]]:
    """Each tensor with its name and its offset in the file."""
    offset = 0
    for name, tensor in named:
        yield name, offset, tensor
        offset += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT


def tensors(architecture: Architecture, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The graph's tensors by name, in the order of the file."""
    if architecture.word_bits == 4:
        yield "words", weights["embeddings.word_embeddings.nibbles"]
        yield "word_scales", weights["embeddings.word_embeddings.scales"]
    else:
        # Half precision saves 23 MB of memory and changes no cosine by 0.001.
        yield "words", weights["embeddings.word_embeddings.weight"].astype(np.float16)
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    yield "positions", weights["embeddings.position_embeddings.weight"] + segment
    yield from _copied(weights, "embeddings.LayerNorm")
    for number in range(architecture.layers):
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
