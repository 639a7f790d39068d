"""Makes the graphs of the built-in models, BERT encoders: token ids → mean-pooled, normalised vectors.

Developers run `python -m kb.embedding.graph` after a change here or in `kb.embedding.weights`. It needs the package
`onnx`, which Zhiwen itself does not.

Each model has two graphs, because onnxruntime multiplies uint8 by int8 with an instruction that cuts off large sums on
x86 processors without VNNI (cosines of multilingual-e5-small fall to .995, and 3 % fewer questions find a passage in
the other language). uint8 by uint8 is exact there and as fast; with VNNI it is exact, too, but slower.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper, shape_inference

from kb.embedding.builtin import PROBE
from kb.embedding.models import BUILTIN_MODELS
from kb.embedding.weights import BLOCK, WEIGHTS_FILE, Architecture, Tensor, layout, tensors

_EPSILON = 1e-12  # of the layer normalisation
_OPSET = 20  # the first with Gelu
_PARTS = ("query", "key", "value")
_SIGN_BIT = 128  # the difference of a number as uint8 and as int8

WeightType = type[np.int8] | type[np.uint8]


class _Graph:
    """Collects nodes and small constants; each method returns the name of its output."""

    def __init__(self, architecture: Architecture, weight_type: WeightType) -> None:
        self.architecture = architecture
        self.weight_type = weight_type
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: Tensor | np.generic) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(f"ints_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The output's name, or the names of several."""
        name = f"{operator}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def quantise(self, x: str) -> list[str]:
        """`x` as uint8, its scale and its zero point, taken over the whole input."""
        names: list[str] = self.add("DynamicQuantizeLinear", x, outputs=3)
        return names

    def linear(self, quantised: list[str], name: str, size: int) -> str:
        """The matrix product of a quantised input and an 8-bit weight with `size` outputs, plus the bias.

        onnxruntime fuses exactly this pattern of nodes into one fast operation.
        """
        x, scale, zero_point = quantised
        weight, zero = f"{name}.weight", 0
        if self.weight_type is np.uint8:  # computed when the model is loaded
            weight, zero = self.add("BitwiseXor", weight, self.constant("sign_bit", np.uint8(_SIGN_BIT))), _SIGN_BIT
        zeros = self.constant(f"zeros_{size}", np.full(size, zero, self.weight_type))
        product = self.add("MatMulInteger", x, weight, zero_point, zeros)
        scales = self.add("Mul", scale, f"{name}.scale")
        scaled = self.add("Mul", self.add("Cast", product, to=TensorProto.FLOAT), scales)
        return str(self.add("Add", scaled, f"{name}.bias"))

    def layer_norm(self, x: str, name: str) -> str:
        return str(self.add("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=_EPSILON))


def build_graph(architecture: Architecture, title: str, weight_type: WeightType) -> ModelProto:
    """Input `input_ids`, int64 (batch, length), without padding; output `embedding`, float32 (batch, hidden)."""
    graph = _Graph(architecture, weight_type)
    hidden = _embeddings(graph)
    for layer in range(architecture.layers):
        hidden = _layer(graph, hidden, f"encoder.layer.{layer}")
    _pool(graph, hidden)
    return _model(graph, title)


def _embeddings(graph: _Graph) -> str:
    """Word, position and (always the first) segment embeddings, summed."""
    words = _words_of_4_bits(graph) if graph.architecture.word_bits == 4 else _words_of_16_bits(graph)
    length = graph.add("Slice", graph.add("Shape", "input_ids"), graph.ints(1), graph.ints(2))
    position = graph.add("Slice", "positions", graph.ints(0), length)
    return graph.layer_norm(graph.add("Add", words, position), "embeddings.LayerNorm")


def _words_of_16_bits(graph: _Graph) -> str:
    return str(graph.add("Cast", graph.add("Gather", "words", "input_ids"), to=TensorProto.FLOAT))


def _words_of_4_bits(graph: _Graph) -> str:
    """Of each block, byte j holds weight j in its low and weight j + 16 in its high half, both plus 8."""
    hidden = graph.architecture.hidden
    data = graph.add("Gather", "words", "input_ids")
    scales = graph.add("Cast", graph.add("Gather", "word_scales", "input_ids"), to=TensorProto.FLOAT)
    blocks = graph.ints(0, 0, hidden // BLOCK, BLOCK // 2)
    low = graph.add("Reshape", graph.add("BitwiseAnd", data, graph.constant("fifteen", np.uint8(15))), blocks)
    shifted = graph.add("BitShift", data, graph.constant("four", np.uint8(4)), direction="RIGHT")
    halves = graph.add("Concat", low, graph.add("Reshape", shifted, blocks), axis=3)
    values = graph.add("Sub", graph.add("Cast", halves, to=TensorProto.FLOAT), graph.constant("eight", np.float32(8)))
    scaled = graph.add("Mul", values, graph.add("Unsqueeze", scales, graph.ints(3)))
    return str(graph.add("Reshape", scaled, graph.ints(0, 0, hidden)))


def _layer(graph: _Graph, hidden: str, name: str) -> str:
    sizes = graph.architecture
    attention = graph.quantise(_attention(graph, hidden, name))
    attended = graph.linear(attention, f"{name}.attention.output.dense", sizes.hidden)
    hidden = graph.layer_norm(graph.add("Add", attended, hidden), f"{name}.attention.output.LayerNorm")
    inner = graph.add("Gelu", graph.linear(graph.quantise(hidden), f"{name}.intermediate.dense", sizes.inner))
    output = graph.linear(graph.quantise(inner), f"{name}.output.dense", sizes.hidden)
    return graph.layer_norm(graph.add("Add", output, hidden), f"{name}.output.LayerNorm")


def _attention(graph: _Graph, hidden: str, name: str) -> str:
    sizes = graph.architecture
    quantised = graph.quantise(hidden)
    query, key, value = (_heads(graph, quantised, f"{name}.attention.self.{part}") for part in _PARTS)
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
    scale = graph.constant("scale", np.float32(1 / np.sqrt(sizes.hidden // sizes.heads)))
    shares = graph.add("Softmax", graph.add("Mul", scores, scale), axis=-1)
    joined = graph.add("Transpose", graph.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return str(graph.add("Reshape", joined, graph.ints(0, 0, sizes.hidden)))


def _heads(graph: _Graph, quantised: list[str], name: str) -> str:
    """(batch, length, hidden) → (batch, heads, length, hidden / heads)"""
    sizes = graph.architecture
    whole = graph.linear(quantised, name, sizes.hidden)
    split = graph.add("Reshape", whole, graph.ints(0, 0, sizes.heads, sizes.hidden // sizes.heads))
    return str(graph.add("Transpose", split, perm=[0, 2, 1, 3]))


def _pool(graph: _Graph, hidden: str) -> None:
    """The mean over the tokens, scaled to length 1."""
    mean = graph.add("ReduceMean", hidden, graph.ints(1), keepdims=0)
    length = graph.add("ReduceL2", mean, graph.ints(1), keepdims=1)
    graph.nodes.append(helper.make_node("Div", [mean, length], ["embedding"], name="embedding"))


def _model(graph: _Graph, title: str) -> ModelProto:
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", graph.architecture.hidden])
    constants = [*_references(graph.architecture, graph.weight_type), *graph.constants.values()]
    return _proto(helper.make_graph(graph.nodes, title, inputs, [output], constants))


def _proto(body: GraphProto) -> ModelProto:
    # Version 10 of the format is what onnxruntime 1.24, the oldest supported one, can read.
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    # Without the shapes of what is in between, onnxruntime does not fuse additions and normalisations.
    return shape_inference.infer_shapes(model, strict_mode=True)


def _references(architecture: Architecture, weight_type: WeightType) -> list[Any]:
    """The tensors of `weights.bin`: their types, shapes and places. Those in int8 are read as `weight_type`."""
    references = []
    for name, offset, tensor in layout(tensors(architecture, ones(architecture))):
        kind = np.dtype(weight_type) if tensor.dtype == np.int8 else tensor.dtype
        reference = TensorProto(name=name, dims=tensor.shape, data_type=helper.np_dtype_to_tensor_dtype(kind))
        reference.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", tensor.nbytes)):
            reference.external_data.add(key=key, value=str(value))
        references.append(reference)
    return references


def ones(architecture: Architecture) -> dict[str, Tensor]:
    """Weights of the published names, types and shapes; each value is 1."""
    hidden, inner = architecture.hidden, architecture.inner
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.position_embeddings.weight": (architecture.positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
    }
    words: dict[str, Tensor] = {}
    if architecture.word_bits == 4:
        words["embeddings.word_embeddings.nibbles"] = np.ones((architecture.words, hidden // 2), np.uint8)
        words["embeddings.word_embeddings.scales"] = np.ones((architecture.words, hidden // BLOCK), np.float16)
    else:
        shapes["embeddings.word_embeddings.weight"] = (architecture.words, hidden)
    matrices: dict[str, tuple[int, int]] = {}
    norms = ["embeddings.LayerNorm"]
    for layer in range(architecture.layers):
        name = f"encoder.layer.{layer}"
        parts = (*(f"attention.self.{part}" for part in _PARTS), "attention.output.dense")
        matrices |= {f"{name}.{part}": (hidden, hidden) for part in parts}
        matrices |= {f"{name}.intermediate.dense": (inner, hidden), f"{name}.output.dense": (hidden, inner)}
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    shapes |= {f"{name}.weight": shape for name, shape in matrices.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
    shapes |= {f"{name}.{part}": (hidden,) for name in norms for part in ("weight", "bias")}
    return words | {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def build_probe() -> ModelProto:
    """Without input; the outputs are sums of large products of uint8 and int8, to see whether they are cut off."""
    left = numpy_helper.from_array(np.full((4, 64), 255, np.uint8), "left")
    right = numpy_helper.from_array(np.full((64, 16), 127, np.int8), "right")
    output = helper.make_tensor_value_info("sums", TensorProto.INT32, [4, 16])
    nodes = [helper.make_node("MatMulInteger", ["left", "right"], ["sums"])]
    return _proto(helper.make_graph(nodes, "probe", [], [output], [left, right]))


def files() -> dict[Path, bytes]:
    """The content of all files that this module makes."""
    made = {PROBE: build_probe()}
    for each in BUILTIN_MODELS.values():
        for path, kind in ((each.published.graph, np.int8), (each.published.unsigned_graph, np.uint8)):
            made[path] = build_graph(each.architecture, each.published.title, kind)
    return {path: model.SerializeToString(deterministic=True) for path, model in made.items()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_bytes(content)
