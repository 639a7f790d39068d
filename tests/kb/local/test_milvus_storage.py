"""The embedded Milvus Lite keeps everything it acknowledged, even if its disk fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
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
from kb.errors import CollectionMissing, MilvusUnavailable, Unavailable
from kb.local.milvus_storage import SET_ASIDE
from kb.local.set_aside import KEPT, list_set_aside
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


def cut_data(folder: Path) -> None:
    for path in folder.rglob("*.parquet"):
        os.truncate(path, 3_000)


def garble_data(folder: Path) -> None:
    """Damage pages of a file whose beginning and end are whole."""
    for path in folder.rglob("*.parquet"):
        content = bytearray(path.read_bytes())
        content[200:600] = b"\xff" * 400
        path.write_bytes(content)


def damage_manifests(folder: Path) -> None:
    for path in folder.glob("manifest*"):
        path.write_bytes(b"\0" * 100)


def damage_schema(folder: Path) -> None:
    (folder / "schema.json").write_text("{")


def lose_schema(folder: Path) -> None:
    (folder / "schema.json").unlink()


DAMAGES: tuple[Callable[[Path], None], ...] = (cut_data, garble_data, damage_manifests, damage_schema, lose_schema)


def test_damaged_collection_is_moved_aside(shelf: Shelf) -> None:
    """It counts as missing, other collections do not suffer, and it can be created and filled again."""
    shelf.start()
    shelf.add()
    shelf.store.flush(shelf.base.collection)
    bases = {damage: knowledge_base() for damage in DAMAGES}
    version, vectors = uuid4(), np.ones((3, DIMENSION), np.float32)
    chunks = [chunk(version, ordinal) for ordinal in range(3)]
    for base in bases.values():
        shelf.store.create(base)
        shelf.store.upsert(base.collection, chunks, vectors)
        shelf.store.flush(base.collection)
    shelf.store.close()
    shelf.server.kill()
    data = shelf.server.folder / "data"
    for damage, base in bases.items():
        damage(data / "collections" / base.collection)
    shelf.start(create=False)
    for base in bases.values():
        with pytest.raises(CollectionMissing):
            shelf.store.size(base.collection)
        assert shelf.store.create(base)
        shelf.store.upsert(base.collection, chunks, vectors)
        assert shelf.store.size(base.collection) == 3
    assert shelf.found() == shelf.acknowledged
    aside = list_set_aside(shelf.server.folder)
    assert len(aside) == KEPT
    assert all(each.kind == SET_ASIDE and each.reason for each in aside)


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
