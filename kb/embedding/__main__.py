"""`python -m kb.embedding`: fetch the built-in model now, and show how far it is.

The first start would fetch it as well; a failure here is told and is no obstacle.
"""

from __future__ import annotations

import sys

from kb.config import load_settings
from kb.embedding import ModelState, ModelStatus, ensure_model, model_status
from kb.embedding.builtin import BuiltinModel
from kb.errors import KbError


def main() -> None:
    try:
        settings = load_settings()
        if settings.embedding_model == BuiltinModel.name and model_status(settings).state is not ModelState.READY:
            ensure_model(settings, _show)
            print()
    except KbError as error:
        print(f"\n{error}", file=sys.stderr)


def _show(status: ModelStatus) -> None:
    share = f" {100 * status.done // status.total} %" if status.total else ""
    print(f"\rEmbedding model: {status.state}{share}   ", end="", flush=True)


if __name__ == "__main__":
    main()
