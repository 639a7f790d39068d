"""Patches of Milvus Lite's storage, so that it neither loses nor hides what it has acknowledged.

No upstream issue covers these; each function names what it replaces.

- A read that runs while new rows are sealed (flushed) finds them neither among the unsealed rows nor among the sealed
  ones. Here sealing is one step for readers.
- If sealing fails (a full disk), it forgets the rows, and deletes their only copy the next time it succeeds. After a
  write that failed halfway, it appends to a log that recovery cannot read beyond that point. Here the process ends at
  once: its write-ahead log contains everything acknowledged, and the supervisor starts it again.
- It leaves writing to the operating system, so a power cut loses seconds of what already reads "ready". Here a call
  returns when the data is on the disk.
- It opens a collection twice if two calls arrive at the same time after a start, and one copy empties the other's log.
  Here calls that open, create or drop a collection take turns.
- It trusts an index file that was half written when the process ended, and then refuses every search. Here index files
  are written aside and renamed, and one that cannot be read is built again.
- A damaged collection fails every call that names it, and one call that names none, and cannot be created again. Here
  its folder is moved aside, so that it counts as missing: see `kb.reconciling`, which finds that out.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from milvus_lite.db import SCHEMA_FILENAME, MilvusLite
from milvus_lite.engine import collection, compaction, flush
from milvus_lite.engine.collection import Collection
from milvus_lite.exceptions import CollectionNotFoundError, ManifestCorruptedError, SchemaValidationError
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex
from milvus_lite.index.faiss_hnsw_sq import FaissHnswSqIndex
from milvus_lite.index.faiss_ivf_flat import FaissIvfFlatIndex
from milvus_lite.index.faiss_ivf_sq8 import FaissIvfSq8Index
from milvus_lite.storage.segment import Segment
from milvus_lite.storage.wal import WAL

from kb.disk import sync
from kb.local.set_aside import set_aside
from kb.stderr import complain

_trigger_flush = Collection._trigger_flush
_attach_index = Segment.build_or_load_index
INDEXES = (BruteForceIndex, FaissHnswIndex, FaissHnswSqIndex, FaissIvfFlatIndex, FaissIvfSq8Index)
SET_ASIDE = "milvus"  # what `kb.local.set_aside` calls a collection that cannot be opened
_opening = threading.RLock()


class DurableLog(WAL):  # type: ignore[misc]
    """Replaces `milvus_lite.storage.wal.WAL`, whose `sync_mode` is "close": writes are on the disk when they return."""

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options, sync_mode="batch")

    def write_insert(self, record_batch: Any) -> None:
        with self._durably(self.data_path):
            super().write_insert(record_batch)

    def write_delete(self, record_batch: Any) -> None:
        with self._durably(self.delta_path):
            super().write_delete(record_batch)

    @contextmanager
    def _durably(self, path: str | None) -> Iterator[None]:
        """Write to the file at `path`. If there is none yet, sync the folder as well, for the new file's entry."""
        with ending_after(OSError):
            yield
            if path is None:
                sync(Path(self.wal_dir))


@contextmanager
def ending_after(failure: type[Exception]) -> Iterator[None]:
    """End this process after such a failure: the memory no longer agrees with the disk."""
    try:
        yield
    except failure as error:
        complain(traceback.format_exc())
        complain(f"Milvus Lite cannot write: {error}")  # pages show the last line
        os._exit(1)


def synced(write: Callable[..., str]) -> Callable[..., str]:
    """Replaces `write_data_file` and `write_delta_file` in `milvus_lite.engine.flush` and `compaction`.

    The file is on the disk before the manifest that names it is written.
    """

    @wraps(write)
    def write_through(table: Any, partition_dir: str, *values: Any, **options: Any) -> str:
        name = write(table, partition_dir, *values, **options)
        path = Path(partition_dir, name)
        sync(path)
        sync(path.parent)
        return name

    return write_through


def seal(self: Any) -> None:
    """Replaces `milvus_lite.engine.collection.Collection._trigger_flush`: readers can wait for its end."""
    with self._maintenance_lock, ending_after(Exception):
        _trigger_flush(self)


def read_whole(read: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces the reads of `milvus_lite.engine.collection.Collection`: repeats one during which rows were sealed."""

    @wraps(read)
    def read_again(self: Any, *values: Any, **options: Any) -> Any:
        unsealed = self._memtable
        found = read(self, *values, **options)
        if self._memtable is unsealed:
            return found
        with self._maintenance_lock:  # nothing is sealed meanwhile
            return read(self, *values, **options)

    return read_again


def in_turn(call: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces the calls of `milvus_lite.db.MilvusLite` that open, create or drop a collection: one at a time."""

    @wraps(call)
    def wait_and_call(*values: Any, **options: Any) -> Any:
        with _opening:
            return call(*values, **options)

    return wait_and_call


def opened_or_missing(open_collection: Callable[..., Collection]) -> Callable[..., Collection]:
    """Replaces `milvus_lite.db.MilvusLite.get_collection`: a collection whose files are damaged is moved aside."""

    @wraps(open_collection)
    def open_whole(self: Any, name: str, database_name: str = "default") -> Collection:
        try:
            return open_collection(self, name, database_name)
        except CollectionNotFoundError:
            raise
        except Exception as error:
            if not _is_damage(error):
                raise
            complain(traceback.format_exc())
            _move_aside(self, name, database_name, str(error))
            raise CollectionNotFoundError(f"collection {name!r} was damaged and has been moved aside") from error

    return open_whole


def created_anew(create: Callable[..., Collection]) -> Callable[..., Collection]:
    """Replaces `milvus_lite.db.MilvusLite.create_collection`: a folder without a schema is no collection.

    It is left where the process ended right after it had made the folder, or where somebody lost the file.
    """

    @wraps(create)
    def create_it(self: Any, name: str, *values: Any, **options: Any) -> Collection:
        database_name = options.get("database_name", "default")
        folder = Path(self._collection_dir(name, database_name))
        if folder.is_dir() and not (folder / SCHEMA_FILENAME).exists():
            _move_aside(self, name, database_name, f"it has no {SCHEMA_FILENAME}")
        return create(self, name, *values, **options)

    return create_it


def _is_damage(error: Exception) -> bool:
    """Whether files hold something else than was written; not that they could not be read at this moment."""
    if isinstance(error, OSError):
        return error.errno is None  # Arrow's, about the content; the system's errors have a number
    return isinstance(error, (ManifestCorruptedError, SchemaValidationError, ValueError, KeyError))


def _move_aside(database: Any, name: str, database_name: str, reason: str) -> None:
    home = Path(database._data_dir).parent
    aside = set_aside(home, SET_ASIDE, Path(database._collection_dir(name, database_name)), reason)
    complain(f"The collection {name} is damaged ({reason}). It was moved to {aside}")


def saved_whole(save: Callable[..., None]) -> Callable[..., None]:
    """Replaces `save` of the classes in `milvus_lite.index`: the file appears complete or not at all."""

    @wraps(save)
    def save_aside(self: Any, path: str) -> None:
        aside = Path(f"{path}.partial")
        save(self, str(aside))
        sync(aside)
        aside.replace(path)

    return save_aside


def attach_index(self: Any, spec: Any, index_dir: str) -> None:
    """Replaces `milvus_lite.storage.segment.Segment.build_or_load_index`: builds an unreadable index again."""
    try:
        _attach_index(self, spec, index_dir)
    except Exception:
        saved = Path(self.index_file_path(index_dir, spec.index_type, spec.field_name))
        if not saved.exists():
            raise
        complain(traceback.format_exc())
        saved.unlink()
        _attach_index(self, spec, index_dir)


def patches() -> Iterator[tuple[Any, str, Any]]:
    """The owner, the name and the replacement of each function."""
    yield collection, "WAL", DurableLog
    yield Segment, "build_or_load_index", attach_index
    yield Collection, "_trigger_flush", seal
    for kind in INDEXES:
        yield kind, "save", saved_whole(kind.save)
    yield MilvusLite, "get_collection", in_turn(opened_or_missing(MilvusLite.get_collection))
    yield MilvusLite, "create_collection", in_turn(created_anew(MilvusLite.create_collection))
    yield MilvusLite, "drop_collection", in_turn(MilvusLite.drop_collection)
    for module, name in ((flush, "write_data_file"), (flush, "write_delta_file"), (compaction, "write_data_file")):
        yield module, name, synced(getattr(module, name))
    for name in ("get", "query", "search", "_num_entities"):
        yield Collection, name, read_whole(getattr(Collection, name))
