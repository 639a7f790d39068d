"""`python -m kb.embedding`: fetch the built-in model for new knowledge bases now, and show the progress.

The first start would fetch it as well, so a failure is printed and does not stop `make run`.
"""

from __future__ import annotations

import sys

from kb.config import load_settings
from kb.embedding import EmbeddingModels, ModelState, ModelStatus
from kb.errors import KbError


def main() -> None:
    try:
        embeddings = EmbeddingModels(load_settings(), threads=1)
        name = embeddings.default.name
        if (status := embeddings.status(name)) and status.state is not ModelState.READY:
            if status.state is ModelState.DAMAGED and status.failure:
                raise status.failure
            embeddings.fetch(name, _show)
            print("\rEmbedding model: ready    ")
    except KbError as error:
        print(f"\n{error}", file=sys.stderr)


def _show(status: ModelStatus) -> None:
    share = f" {100 * status.done // status.total} %" if status.total else ""
    print(f"\rEmbedding model: {status.state}{share}   ", end="", flush=True)


if __name__ == "__main__":
    main()
