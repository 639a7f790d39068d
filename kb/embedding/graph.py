"""Writes all-MiniLM-L6-v2 (a BERT of 6 layers) as an ONNX graph: token ids → mean-pooled, normalised vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

LAYERS = 6
HEADS = 12
DIMENSION = 384
_EPSILON = 1e-12  # of the layer normalisation
_OPSET = 20  # the first with Gelu

Weights = Mapping[str, NDArray[Any]]


class _Graph:
    """Collects nodes and constants; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def linear(self, x: str, weights: Weights, name: str) -> str:
        weight = self.constant(f"{name}.weight", weights[f"{name}.weight"].T)
        return self.add("Add", self.add("MatMul", x, weight), self.constant(f"{name}.bias", weights[f"{name}.bias"]))

    def layer_norm(self, x: str, weights: Weights, name: str) -> str:
        scale = self.constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=_EPSILON)


def build_graph(weights: Weights) -> ModelProto:
    """Inputs `input_ids` and `attention_mask`, int64 (batch, length); output `embedding`, float32 (batch, 384)."""
    graph = _Graph()
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = _embeddings(graph, weights)
    penalty = _attention_penalty(graph, mask)
    for layer in range(LAYERS):
        hidden = _layer(graph, hidden, penalty, weights, f"encoder.layer.{layer}")
    _pool(graph, hidden, mask)
    return _model(graph)


def _embeddings(graph: _Graph, weights: Weights) -> str:
    """Word, position and (always the first) segment embeddings, summed."""
    # Half precision takes 23 MB off the process and less than 0.001 off any cosine.
    table = graph.constant("words", weights["embeddings.word_embeddings.weight"].astype(np.float16))
    words = graph.add("Cast", graph.add("Gather", table, "input_ids"), to=TensorProto.FLOAT)
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    positions = graph.constant("positions", weights["embeddings.position_embeddings.weight"] + segment)
    length = graph.add("Slice", graph.add("Shape", "input_ids"), *_ints(graph, [1], [2]))
    position = graph.add("Slice", positions, *_ints(graph, [0]), length)
    return graph.layer_norm(graph.add("Add", words, position), weights, "embeddings.LayerNorm")


def _attention_penalty(graph: _Graph, mask: str) -> str:
    """0 for a token, -10,000 for padding, as (batch, 1, 1, length)."""
    inverse = graph.add("Sub", graph.constant("one", np.float32(1)), mask)
    penalty = graph.add("Mul", inverse, graph.constant("minus_much", np.float32(-10_000)))
    return graph.add("Unsqueeze", penalty, *_ints(graph, [1, 2]))


def _layer(graph: _Graph, hidden: str, penalty: str, weights: Weights, name: str) -> str:
    attended = graph.linear(
        _attention(graph, hidden, penalty, weights, name), weights, f"{name}.attention.output.dense"
    )
    hidden = graph.layer_norm(graph.add("Add", attended, hidden), weights, f"{name}.attention.output.LayerNorm")
    inner = graph.add("Gelu", graph.linear(hidden, weights, f"{name}.intermediate.dense"))
    output = graph.linear(inner, weights, f"{name}.output.dense")
    return graph.layer_norm(graph.add("Add", output, hidden), weights, f"{name}.output.LayerNorm")


def _attention(graph: _Graph, hidden: str, penalty: str, weights: Weights, name: str) -> str:
    query, key, value = (_heads(graph, hidden, weights, f"{name}.attention.self.{part}") for part in _PARTS)
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
    scale = graph.constant("scale", np.float32(1 / np.sqrt(DIMENSION // HEADS)))
    shares = graph.add("Softmax", graph.add("Add", graph.add("Mul", scores, scale), penalty), axis=-1)
    joined = graph.add("Transpose", graph.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.add("Reshape", joined, *_ints(graph, [0, 0, DIMENSION]))


_PARTS = ("query", "key", "value")


def _heads(graph: _Graph, hidden: str, weights: Weights, name: str) -> str:
    """(batch, length, 384) → (batch, 12, length, 32)"""
    split = graph.add("Reshape", graph.linear(hidden, weights, name), *_ints(graph, [0, 0, HEADS, DIMENSION // HEADS]))
    return graph.add("Transpose", split, perm=[0, 2, 1, 3])


def _pool(graph: _Graph, hidden: str, mask: str) -> None:
    """The mean over the tokens, of length 1."""
    weight = graph.add("Unsqueeze", mask, *_ints(graph, [2]))
    total = graph.add("ReduceSum", graph.add("Mul", hidden, weight), *_ints(graph, [1]), keepdims=0)
    count = graph.add("ReduceSum", mask, *_ints(graph, [1]), keepdims=1)
    mean = graph.add("Div", total, count)
    length = graph.add("ReduceL2", mean, *_ints(graph, [1]), keepdims=1)
    graph.nodes.append(helper.make_node("Div", [mean, length], ["embedding"], name="embedding"))


def _ints(graph: _Graph, *lists: list[int]) -> list[str]:
    """Each list of integers as a constant that nodes share."""
    return [graph.constant(f"ints_{'_'.join(map(str, values))}", np.array(values, np.int64)) for values in lists]


def _model(graph: _Graph) -> ModelProto:
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIMENSION])
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, [output], list(graph.constants.values()))
    # Version 10 of the format: what onnxruntime 1.24, the oldest supported, reads.
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
