"""A web process that produces one answer, for tests that kill it."""

from __future__ import annotations

import json
import sys
import threading
from unittest.mock import patch
from uuid import UUID

import kb.answers.streams
import kb.services
from kb.access import Principal
from kb.config import load_settings
from kb.providers import host_of
from tests.fakes.embedding import HashedWords, with_test_model
from tests.fakes.queue import RecordingQueue

kb.answers.streams.ALIVE_SECONDS = 2
given = json.loads(sys.argv[1])
patch("kb.embedding.models.build_embedding_model", with_test_model(HashedWords())).start()
services = kb.services.build_services(
    load_settings(
        _env_file=None,
        zhiwen_home=given["home"],
        redis_url=given["redis_url"],
        milvus_uri=given["milvus_uri"],
        openai_base_url=given["base_url"],
        embedding_model="test",
    ),
    RecordingQueue(),
)
answers = kb.services.build_answers(services)
answers.start(Principal(UUID(given["user"])), UUID(given["message"]), f"{host_of(given['base_url'])}/long")
threading.Event().wait()
