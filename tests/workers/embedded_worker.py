"""The embedded worker with the test's embedding model, slowed down: `embedded_worker.py SECONDS-A-BATCH`."""

from __future__ import annotations

import sys
import time

import kb.services
from tests.fakes.embedding import HashedWords

model = HashedWords()
model.before_batch = lambda _texts: time.sleep(float(sys.argv[1]))
kb.services.build_embedding_model = lambda _settings, threads: model

if __name__ == "__main__":
    from workers.embedded import main

    main()
