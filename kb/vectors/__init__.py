"""Chunks with their vectors in Milvus; the only importer of pymilvus.

pymilvus takes half a second and 100 MB to import, so it is loaded at first use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from kb.config import Settings
from kb.errors import CollectionMissing
from kb.models import Chunk, IndexSettings, KnowledgeBase, chunk_id
from kb.vectors import filters
from kb.vectors.connection import NOT_THERE, Connection, Server, translated
from kb.vectors.filters import EVERYTHING, Within

if TYPE_CHECKING:
    from pymilvus import MilvusClient

SEARCH_TIMEOUT_SECONDS = 10.0
WRITE_TIMEOUT_SECONDS = 60.0
WARM_UP_TIMEOUT_SECONDS = 300.0
# A query returns at most 16,384 rows; our pages stay far below.
PAGE_ROWS = 1_000

NOT_LOADED = 101  # Milvus' error code for a collection that exists but is not loaded

OWNED_BY = "Zhiwen knowledge base of "  # how the description of a collection begins, before the id of a user

TakeTurns = Callable[[str], AbstractContextManager[Any]]
NoteLoading = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a route found. `score` grows with relevance: the cosine, or the one of BM25."""

    chunk: Chunk
    score: float


class VectorStore:
    """The Milvus collections of all knowledge bases. Safe to share among threads.

    `take_turns(collection)` is held while the collection is created, and on Milvus Lite, where concurrent writes are
    not safe, during each write. `note_loading(collection)` is called before one is loaded that Milvus has had before:
    Milvus Lite has forgotten at a restart that it was loaded, and may have lost some of it. What it raises is passed
    on, and nothing is loaded then.
    Errors: `MilvusUnavailable` if there is no answer, `MilvusRefused` if the answer is an error, `CollectionMissing`
    if it is that there is no such collection.
    """

    def __init__(
        self, settings: Settings, take_turns: TakeTurns | None = None, note_loading: NoteLoading | None = None
    ) -> None:
        self._connection = Connection(settings.milvus_uri, settings.milvus_token.get_secret_value())
        self._take_turns = take_turns or (lambda _collection: nullcontext())
        self._note_loading = note_loading or (lambda _collection: None)
        self._created: set[str] = set()  # Milvus collections that we know to exist
        self._reloaded: set[str] = set()

    # --- the server ---

    @property
    def server(self) -> Server:
        return self._connection.server

    def ping(self) -> str:
        """The server's version; raises within seconds if there is no answer."""
        return self._connection.ping()

    def close(self) -> None:
        self._connection.close()

    # --- collections ---

    def create(self, knowledge_base: KnowledgeBase) -> bool:
        """Create the Milvus collection, indexed and loaded, unless it exists; returns whether it was created now.

        Completes a creation that was killed halfway.
        """
        collection = knowledge_base.collection
        if collection in self._created:
            return False
        # Two documents of a new knowledge base can get here together, so this takes turns on a server, too.
        with translated(), self._take_turns(collection):
            is_missing = not self._client.has_collection(collection, timeout=SEARCH_TIMEOUT_SECONDS)
            if is_missing:
                self._create_collection(knowledge_base)
            self._create_indexes(knowledge_base)
            if is_missing:
                self._client.load_collection(collection, timeout=WRITE_TIMEOUT_SECONDS)
            elif not self._is_loaded(collection):
                self._load_again(collection)
        self._created.add(collection)
        return is_missing

    def drop(self, collection: str) -> None:
        """Drop the Milvus collection if it exists."""
        self._created.discard(collection)
        with translated(), self._turn(collection):
            self._client.drop_collection(collection, timeout=WRITE_TIMEOUT_SECONDS)

    def names(self) -> list[str]:
        """All collections of this Milvus, whoever created them."""
        with translated():
            return list(self._client.list_collections(timeout=WARM_UP_TIMEOUT_SECONDS))

    def owner(self, collection: str) -> UUID | None:
        """The user whose knowledge base it was created for. None: not known, as on Milvus Lite, which keeps no notes.

        Errors: `CollectionMissing`.
        """
        with translated():
            found = self._client.describe_collection(collection, timeout=SEARCH_TIMEOUT_SECONDS)
        noted = str(found.get("description", ""))
        with suppress(ValueError):
            return UUID(noted.removeprefix(OWNED_BY)) if noted.startswith(OWNED_BY) else None
        return None

    def take_reloaded(self, collection: str) -> bool:
        """Whether this process had Milvus load the collection again since this was asked."""
        with suppress(KeyError):
            self._reloaded.remove(collection)
            return True
        return False

    # --- writing ---

    def upsert(
        self, collection: str, chunks: Sequence[Chunk], vectors: np.ndarray, partition: UUID | None = None
    ) -> None:
        """Store `chunks` with their `vectors` (n, dimension); replaces chunks with the same id.

        `partition` is the one of the knowledge base, if it shares the collection.
        """
        from kb.vectors import schema

        data = schema.rows(chunks, vectors, partition)
        with self._turn(collection):
            self._call(collection, lambda: self._client.upsert(collection, data, timeout=WRITE_TIMEOUT_SECONDS))

    def flush(self, collection: str) -> None:
        """Seal the written rows, because Milvus Lite searches unsealed ones by brute force.

        A server seals by itself; a flush for each document would leave it with many tiny segments.
        """
        if not self.server.is_lite:
            return
        with suppress(CollectionMissing), self._turn(collection):  # then there is nothing to seal
            self._call(collection, lambda: self._client.flush(collection, timeout=WRITE_TIMEOUT_SECONDS))

    def warm_up(self, collection: str) -> None:
        """Make Milvus Lite build the BM25 index now, instead of at the first search (0.2 to 0.4 s for 1,000 chunks)."""
        if self.server.is_lite:
            self.search_lexical(collection, "a", 1, timeout=WARM_UP_TIMEOUT_SECONDS)

    def delete_partition(self, collection: str, partition: UUID) -> None:
        """Delete one knowledge base's chunks from a shared collection."""
        self._delete(collection, filters.of_partition(partition))

    def delete_version(self, collection: str, version_id: UUID) -> None:
        self._delete(collection, filters.of_version(version_id))

    def delete_from(self, collection: str, version_id: UUID, ordinal: int) -> None:
        """Delete the chunks of a version from `ordinal` on."""
        self._delete(collection, filters.of_version_from(version_id, ordinal))

    def delete_document(self, collection: str, document_id: UUID) -> None:
        self._delete(collection, filters.of_document(document_id))

    # --- reading ---

    def count(self, collection: str, version_id: UUID | None = None) -> int:
        """How many chunks of a version (or in total) can be found, including those just written."""
        chosen = filters.of_version(version_id) if version_id else filters.Filter("")
        result = self._call(
            collection,
            lambda: self._client.query(
                collection,
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=SEARCH_TIMEOUT_SECONDS,
                **self._arguments(chosen),
            ),
        )
        return int(result[0]["count(*)"])

    def size(self, collection: str) -> int:
        """How many chunks a collection has in total, including those just written. Errors: `CollectionMissing`.

        Milvus Lite need not load its indexes for this.
        """
        return self.stored(collection) if self.server.is_lite else self.count(collection)

    def stored(self, collection: str) -> int:
        """How many chunks a collection stores, without loading it; a server leaves out the last minutes' ones.

        Errors: `CollectionMissing`.
        """
        stats = self._call(
            collection, lambda: self._client.get_collection_stats(collection, timeout=WARM_UP_TIMEOUT_SECONDS)
        )
        return int(stats["row_count"])

    def count_by_version(self, collection: str, partition: UUID | None = None) -> Counter[UUID]:
        """How many chunks there are of each version, including those just written. Reads all of them."""
        if not self.server.is_lite:
            self.count(collection)  # the iterator does not wait for what was just written; this does
        chosen = filters.of_partition(partition) if partition else filters.Filter("")
        found: Counter[UUID] = Counter()
        iterator = self._call(
            collection,
            lambda: self._client.query_iterator(
                collection,
                batch_size=PAGE_ROWS,
                output_fields=["version_id"],
                consistency_level="Strong",
                timeout=WARM_UP_TIMEOUT_SECONDS,
                **self._arguments(chosen),
            ),
        )
        with translated():
            while rows := iterator.next():
                found.update(UUID(row["version_id"]) for row in rows)
            iterator.close()
        return found

    def count_first(self, collection: str, version_id: UUID, total: int) -> int:
        """How many of a version's first `total` chunks can be found, including those just written.

        Looks them up by id, which costs the same in a large knowledge base; Milvus Lite filters by reading all rows.
        """
        return self._count(collection, [chunk_id(version_id, ordinal) for ordinal in range(total)])

    def lacks_any(self, collection: str, totals: Mapping[UUID, int], most: int) -> bool:
        """Whether one of the first `most` chunks of these versions cannot be found; `totals` says how many each has.

        Looks them up by id, as `count_first` does.
        """
        all_ids = (chunk_id(version_id, ordinal) for version_id, total in totals.items() for ordinal in range(total))
        ids = list(islice(all_ids, most))
        return self._count(collection, ids) < len(ids)

    def is_loaded(self, collection: str) -> bool:
        """Whether Milvus has loaded the collection since its start. Errors: `CollectionMissing`."""
        with translated():
            return self._is_loaded(collection)

    def lacks_ends(self, collection: str, totals: Mapping[UUID, int]) -> bool:
        """Whether the first or the last chunk of one of these versions cannot be found; `totals` as for `lacks_any`."""
        ends = ((version_id, {0, total - 1}) for version_id, total in totals.items() if total)
        ids = [chunk_id(version_id, ordinal) for version_id, ordinals in ends for ordinal in ordinals]
        return self._count(collection, ids) < len(ids)

    def _count(self, collection: str, ids: Sequence[str]) -> int:
        pages = (ids[first : first + PAGE_ROWS] for first in range(0, len(ids), PAGE_ROWS))
        return sum(len(self._rows(collection, page, ["id"], consistency_level="Strong")) for page in pages)

    def chunks(self, collection: str, version_id: UUID, first: int, count: int) -> list[Chunk]:
        """Up to `count` chunks of a version, in order, starting at ordinal `first`."""
        last = first + min(count, PAGE_ROWS)
        found = self.get(collection, [chunk_id(version_id, ordinal) for ordinal in range(first, last)])
        return sorted(found, key=lambda chunk: chunk.ordinal)

    def get(self, collection: str, ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in any order; unknown ids are skipped."""
        from kb.vectors import schema

        if not ids:
            return []
        return [schema.to_chunk(row) for row in self._rows(collection, ids, schema.OUTPUT_FIELDS)]

    def search_dense(
        self,
        collection: str,
        index: IndexSettings,
        vector: np.ndarray,
        limit: int,
        ef: int,
        within: Within = EVERYTHING,
    ) -> list[Hit]:
        """The `limit` nearest enabled chunks, best first; the score is the cosine, whatever the metric.

        Vectors have length 1, so inner products are cosines, and the cosine follows from L2, the squared distance.
        """
        from kb.vectors import schema

        return self._search(
            collection,
            limit,
            within,
            lambda distance: 1.0 - distance / 2 if index.metric == "L2" else distance,
            data=[vector.tolist()],
            anns_field="dense",
            search_params=schema.search_params(index, ef, limit),
        )

    def search_lexical(
        self,
        collection: str,
        terms: str,
        limit: int,
        within: Within = EVERYTHING,
        timeout: float = SEARCH_TIMEOUT_SECONDS,
    ) -> list[Hit]:
        """The `limit` best enabled chunks by BM25 over `terms`; empty if the server has no BM25."""
        if not self.server.has_bm25 or not terms.strip():
            return []
        # Milvus Lite returns BM25 as a distance (the best is the most negative), a server as a score.
        sign = -1.0 if self.server.is_lite else 1.0
        return self._search(
            collection,
            limit,
            within,
            lambda distance: sign * distance,
            timeout,
            data=[terms],
            anns_field="sparse",
            search_params={"metric_type": "BM25"},
        )

    # --- inside ---

    def _call(self, collection: str, call: Callable[[], Any]) -> Any:
        """Run `call` on a Milvus collection; load it first if needed, because Milvus Lite forgets that at a restart."""
        from pymilvus.exceptions import MilvusException

        with translated():
            try:
                return call()
            except MilvusException as error:
                if error.code == NOT_THERE:
                    self._created.discard(collection)  # another process dropped it; the next attempt creates it again
                if error.code != NOT_LOADED:
                    raise
            self._load_again(collection)
            return call()

    def _is_loaded(self, collection: str) -> bool:
        from pymilvus.client.types import LoadState

        found = self._client.get_load_state(collection, timeout=SEARCH_TIMEOUT_SECONDS)
        return bool(found["state"] == LoadState.Loaded)

    def _load_again(self, collection: str) -> None:
        """Load a collection that Milvus has had before.

        That is said first: this process may end before anybody has compared it, and all others find it loaded.
        """
        self._note_loading(collection)
        self._reloaded.add(collection)
        self._client.load_collection(collection, timeout=WRITE_TIMEOUT_SECONDS)

    def _create_collection(self, knowledge_base: KnowledgeBase) -> None:
        from kb.vectors import schema

        if knowledge_base.dimension is None:
            raise ValueError("a collection needs the dimension of its vectors")
        self._client.create_collection(
            knowledge_base.collection,
            schema=schema.collection_schema(
                knowledge_base.dimension,
                self._tokenizer(),
                is_shared=knowledge_base.partition is not None,
                # Attached files of several installations may share theirs.
                description="" if knowledge_base.partition else f"{OWNED_BY}{knowledge_base.owner_id}",
            ),
            consistency_level="Bounded",
            timeout=WRITE_TIMEOUT_SECONDS,
        )

    def _create_indexes(self, knowledge_base: KnowledgeBase) -> None:
        from pymilvus.milvus_client.index import IndexParams

        from kb.vectors import schema

        collection = knowledge_base.collection
        wanted = schema.index_params(knowledge_base.index, with_bm25=self.server.has_bm25)
        there = self._client.list_indexes(collection, timeout=SEARCH_TIMEOUT_SECONDS)
        missing = [index for index in wanted if index.field_name not in there]
        if missing:
            # Waiting for the indexes of an empty collection would take half a second each.
            chosen = IndexParams()
            chosen.extend(missing)
            self._client.create_index(collection, chosen, timeout=WRITE_TIMEOUT_SECONDS, sync=False)

    @property
    def _client(self) -> MilvusClient:
        return self._connection.client

    def _tokenizer(self) -> str | None:
        if not self.server.has_bm25:
            return None
        return "standard" if self.server.is_lite else "whitespace"

    def _arguments(self, chosen: filters.Filter) -> dict[str, Any]:
        return chosen.arguments(self.server.has_templates)

    def _turn(self, collection: str) -> AbstractContextManager[Any]:
        return self._take_turns(collection) if self.server.is_lite else nullcontext()

    def _delete(self, collection: str, chosen: filters.Filter) -> None:
        arguments = self._arguments(chosen)
        with suppress(CollectionMissing), self._turn(collection):  # then there is nothing to delete
            self._call(
                collection,
                lambda: self._client.delete(collection, timeout=WRITE_TIMEOUT_SECONDS, **arguments),
            )

    def _rows(self, collection: str, ids: Sequence[str], fields: Sequence[str], **options: Any) -> Sequence[Row]:
        """The rows with these ids, in any order; unknown ids are skipped."""
        found: Sequence[Row] = self._call(
            collection,
            lambda: self._client.get(
                collection, list(ids), output_fields=list(fields), timeout=SEARCH_TIMEOUT_SECONDS, **options
            ),
        )
        return found

    def _search(
        self,
        collection: str,
        limit: int,
        within: Within,
        score: Callable[[float], float],
        timeout: float = SEARCH_TIMEOUT_SECONDS,
        **search: Any,
    ) -> list[Hit]:
        from kb.vectors import schema

        parts = within.filters()
        hits = [
            Hit(schema.to_chunk(hit["entity"] | {"id": hit["id"]}), score(hit["distance"]))
            for part in parts
            for hit in self._call(
                collection,
                partial(
                    self._client.search,
                    collection,
                    limit=limit,
                    output_fields=schema.OUTPUT_FIELDS,
                    consistency_level="Bounded",
                    timeout=timeout,
                    **search,
                    **self._arguments(part),
                ),
            )[0]
        ]
        # All are scored by the same index, so the best of all parts are the best.
        return hits if len(parts) == 1 else sorted(hits, key=lambda hit: -hit.score)[:limit]
