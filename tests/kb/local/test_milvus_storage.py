"""The embedded Milvus Lite keeps everything it acknowledged, even if its disk fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psutil
import pytest

from kb.config import load_settings
from kb.errors import MilvusUnavailable, Unavailable
from kb.models import Chunk, IndexSettings, KnowledgeBase, RetrievalProfile, chunk_id
from kb.vectors import VectorStore
from tests.real_services import MilvusLite, wait_until

DIMENSION = 384
BATCH = 64


class Shelf:
    """A Milvus Lite with one collection, and a version whose chunks are stored batch by batch."""

    def __init__(self, folder: Path) -> None:
        self.server = MilvusLite(folder)
        self.base = knowledge_base()
        self.version = uuid4()
        self.acknowledged = 0

    def start(self, create: bool = True) -> None:
        self.server.start()
        self.store = VectorStore(load_settings(_env_file=None, milvus_uri=self.server.url))
        wait_until(self.is_answering, 20, "an answer")
        if create:
            self.store.create(self.base)

    def is_answering(self) -> bool:
        try:
            self.store.ping()
        except MilvusUnavailable:
            return False
        return True

    def restart(self, create: bool = True) -> None:
        """As the supervisor does when it has ended."""
        self.store.close()
        self.server.kill()
        self.start(create)

    def add(self, batches: int = 1) -> None:
        for _ in range(batches):
            ordinals = range(self.acknowledged, self.acknowledged + BATCH)
            vectors = np.random.default_rng(1).random((BATCH, DIMENSION), np.float32)
            self.store.upsert(self.base.collection, [chunk(self.version, ordinal) for ordinal in ordinals], vectors)
            self.acknowledged += BATCH

    def found(self) -> int:
        return self.store.count_first(self.base.collection, self.version, self.acknowledged)


def knowledge_base() -> KnowledgeBase:
    key = uuid4()
    index, profile = IndexSettings(), RetrievalProfile()
    return KnowledgeBase(key, uuid4(), "Test", f"kb_{key.hex}", "test", DIMENSION, index, profile, datetime.now(UTC))


def chunk(version_id: UUID, ordinal: int) -> Chunk:
    text = f"chunk {ordinal} " + "word " * 50
    return Chunk(chunk_id(version_id, ordinal), version_id, version_id, ordinal, 0, len(text), 1, "", text, text)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.store.close()
    shelf.server.kill()


@contextmanager
def full_disk(process: psutil.Process, size_bytes: int) -> Iterator[None]:
    """No file can grow beyond this size."""
    process.rlimit(psutil.RLIMIT_FSIZE, (size_bytes, psutil.RLIM_INFINITY))
    yield
    with suppress(psutil.NoSuchProcess):
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can change the limits of another process")
def test_failed_write_loses_nothing(shelf: Shelf) -> None:
    """Recovery cannot read beyond a torn record, so nothing may be written after it."""
    shelf.start()
    with full_disk(psutil.Process(shelf.server.pid), 333_333), pytest.raises(Unavailable):
        shelf.add(batches=100)
    assert 0 < shelf.acknowledged < 100 * BATCH
    if not shelf.is_answering():
        shelf.restart()
    shelf.add(batches=3)
    shelf.restart()
    assert shelf.found() == shelf.acknowledged


def test_failed_sealing_loses_nothing(shelf: Shelf) -> None:
    shelf.start()
    shelf.add(batches=2)
    obstacle = shelf.server.folder / "data" / "collections" / shelf.base.collection / "partitions"
    obstacle.write_text("not a folder")
    with pytest.raises(Unavailable):
        shelf.store.flush(shelf.base.collection)
    wait_until(lambda: not shelf.is_answering(), 20, "the end of the process")
    obstacle.unlink()
    shelf.restart()
    assert shelf.found() == shelf.acknowledged
    shelf.add()
    shelf.store.flush(shelf.base.collection)
    assert shelf.found() == shelf.acknowledged
    shelf.restart()
    assert shelf.found() == shelf.acknowledged


def test_half_written_index_is_built_again(shelf: Shelf) -> None:
    shelf.start()
    shelf.add()
    shelf.store.flush(shelf.base.collection)
    folder = shelf.server.folder / "data" / "collections" / shelf.base.collection
    wait_until(lambda: list(folder.rglob("*.idx")), 20, "a saved index")
    (saved,) = folder.rglob("*.idx")
    saved.write_bytes(saved.read_bytes()[:100])
    shelf.restart()
    vector = np.ones(DIMENSION, np.float32)
    assert len(shelf.store.search_dense(shelf.base.collection, shelf.base.index, vector, 5, 50)) == 5
    assert not list(folder.rglob("*.partial"))


def test_simultaneous_calls_after_a_start_open_one_collection(shelf: Shelf) -> None:
    shelf.start()
    shelf.add(batches=8)
    vector = np.ones(DIMENSION, np.float32)
    for _ in range(4):
        shelf.restart(create=False)
        with ThreadPoolExecutor(3) as pool:
            search = partial(shelf.store.search_dense, shelf.base.collection, shelf.base.index, vector, 5, 50)
            calls: list[Future[Any]] = [pool.submit(search), pool.submit(shelf.add), pool.submit(search)]
            for call in calls:
                call.result()
        assert shelf.found() == shelf.acknowledged
