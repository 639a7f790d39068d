"""Storage of the embedded Milvus Lite that neither loses nor hides what it has taken.

Milvus Lite 3.2, by itself:
- while it seals what was written (a flush), a read that is under way finds the new rows neither among the unsealed nor
  among the sealed. Here sealing is one step for all that read.
- if sealing fails (a full disk), it forgets the rows, and deletes their only copy when it next succeeds; after a write
  that failed halfway it appends to what recovery cannot read past. Here the process ends at once: its write-ahead log
  has everything that was acknowledged, and the supervisor starts it again.
- leaves writing to the system's leisure, so that a power cut takes seconds of what already reads "ready". Here a call
  returns once the disk has it.
- opens a collection twice if two calls come at once after a start, and the one copy empties the other's log. Here calls
  that open, create or drop take turns.
- trusts an index file that was half written when a process ended, and then refuses every search. Here it is written
  aside, and one that cannot be read is built anew.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from milvus_lite.db import MilvusLite
from milvus_lite.engine import collection, compaction, flush
from milvus_lite.engine.collection import Collection
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex
from milvus_lite.index.faiss_hnsw_sq import FaissHnswSqIndex
from milvus_lite.index.faiss_ivf_flat import FaissIvfFlatIndex
from milvus_lite.index.faiss_ivf_sq8 import FaissIvfSq8Index
from milvus_lite.storage.segment import Segment
from milvus_lite.storage.wal import WAL

from kb.disk import sync

_trigger_flush = Collection._trigger_flush
_attach_index = Segment.build_or_load_index
INDEXES = (BruteForceIndex, FaissHnswIndex, FaissHnswSqIndex, FaissIvfFlatIndex, FaissIvfSq8Index)
_opening = threading.RLock()


class DurableLog(WAL):  # type: ignore[misc]
    """A write-ahead log whose writes are on the disk when they return."""

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
        """Write to the file at `path`; where there is none yet, its entry in the folder must last, too."""
        with ending_after(OSError):
            yield
            if path is None:
                sync(Path(self.wal_dir))


@contextmanager
def ending_after(failure: type[Exception]) -> Iterator[None]:
    """End this process after such a failure: what is in memory is no longer what is on the disk."""
    try:
        yield
    except failure as error:
        traceback.print_exc()
        print(f"Milvus Lite cannot write: {error}", file=sys.stderr, flush=True)  # the last line is shown to users
        os._exit(1)


def synced(write: Callable[..., str]) -> Callable[..., str]:
    """A write of a data or delta file that is on the disk when it returns: the manifest that names it follows."""

    @wraps(write)
    def write_through(table: Any, partition_dir: str, *values: Any, **options: Any) -> str:
        name = write(table, partition_dir, *values, **options)
        path = Path(partition_dir, name)
        sync(path)
        sync(path.parent)
        return name

    return write_through


def seal(self: Any) -> None:
    """`Collection._trigger_flush`, so that nobody sees what was sealed taken away before it is put back."""
    with self._maintenance_lock, ending_after(Exception):
        _trigger_flush(self)


def read_whole(read: Callable[..., Any]) -> Callable[..., Any]:
    """A read that is done again if what is not sealed yet was sealed in the middle of it."""

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
    """One call at a time of all that open, create or drop a collection."""

    @wraps(call)
    def wait_and_call(*values: Any, **options: Any) -> Any:
        with _opening:
            return call(*values, **options)

    return wait_and_call


def saved_whole(save: Callable[..., None]) -> Callable[..., None]:
    """An index that is saved whole or not at all."""

    @wraps(save)
    def save_aside(self: Any, path: str) -> None:
        aside = Path(f"{path}.partial")
        save(self, str(aside))
        sync(aside)
        aside.replace(path)

    return save_aside


def attach_index(self: Any, spec: Any, index_dir: str) -> None:
    """`Segment.build_or_load_index`; a saved index that cannot be loaded is built anew."""
    try:
        _attach_index(self, spec, index_dir)
    except Exception:
        saved = Path(self.index_file_path(index_dir, spec.index_type, spec.field_name))
        if not saved.exists():
            raise
        traceback.print_exc()
        saved.unlink()
        _attach_index(self, spec, index_dir)


def correct() -> None:
    """Put the functions in place of Milvus Lite's own."""
    collection.WAL = DurableLog
    Segment.build_or_load_index = attach_index
    for kind in INDEXES:
        kind.save = saved_whole(kind.save)
    for name in ("get_collection", "create_collection", "drop_collection"):
        setattr(MilvusLite, name, in_turn(getattr(MilvusLite, name)))
    for module, name in ((flush, "write_data_file"), (flush, "write_delta_file"), (compaction, "write_data_file")):
        setattr(module, name, synced(getattr(module, name)))
    Collection._trigger_flush = seal
    for name in ("get", "query", "search", "_num_entities"):
        setattr(Collection, name, read_whole(getattr(Collection, name)))
