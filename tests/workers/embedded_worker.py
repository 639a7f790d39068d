"""The embedded worker with the test's embedding model; with the argument `hold` it never finishes its second batch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from unittest.mock import patch

from tests.fakes.embedding import HashedWords, with_test_model

batches = 0


def hold(texts: Sequence[str]) -> None:
    global batches
    batches += len(texts) > 1  # a single text is the worker's warming up
    while batches > 1:
        time.sleep(0.02)


model = HashedWords()
if "hold" in sys.argv:
    model.before_batch = hold
patch("kb.embedding.models.build_embedding_model", with_test_model(model)).start()

if __name__ == "__main__":
    from workers.embedded import main

    main()
