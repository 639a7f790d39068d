"""`python -m kb.embedding`: fetch the built-in model now, and show the progress.

The first start would fetch it as well, so a failure is printed and does not stop `make run`.
"""

from __future__ import annotations

import sys

from kb.config import load_settings
from kb.embedding import ModelState, ModelStatus, ensure_model, model_status
from kb.errors import KbError


def main() -> None:
    try:
        settings = load_settings()
        if (status := model_status(settings)) and status.state is not ModelState.READY:
            ensure_model(settings, _show)
            print("\rEmbedding model: ready    ")
    except KbError as error:
        print(f"\n{error}", file=sys.stderr)


def _show(status: ModelStatus) -> None:
    share = f" {100 * status.done // status.total} %" if status.total else ""
    print(f"\rEmbedding model: {status.state}{share}   ", end="", flush=True)


if __name__ == "__main__":
    main()
