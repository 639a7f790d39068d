"""What Milvus lacks of the documents that a question is put to, so that their absence is not taken for an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from uuid import UUID

from kb.access import Principal
from kb.errors import CollectionMissing, RedisUnavailable
from kb.library import Documents
from kb.models import Unsearchable
from kb.retrieval.corpora import Corpus
from kb.vectors import VectorStore

NAMED_FILES = 5
# So long, one knowledge base is not checked again for further questions. Redis may lose a request with its data.
ASK_SECONDS = 15.0
# So many chunks are looked for one by one; more of them are left to the night.
SOUGHT_CHUNKS = 2_000


class Gaps:
    """Finds them. `request_check` has a worker compare a knowledge base with what Milvus holds of it."""

    def __init__(self, documents: Documents, vectors: VectorStore, request_check: Callable[[UUID], None]) -> None:
        self._documents = documents
        self._vectors = vectors
        self._request_check = request_check
        self._asked: dict[UUID, float] = {}
        self._due: set[UUID] = set()  # to be checked: Redis has not taken the request yet

    def find(
        self, principal: Principal, corpora: Sequence[Corpus], missing: Collection[UUID], *, is_empty: bool
    ) -> Unsearchable | None:
        """What is known to be lacking; where nothing was found (`is_empty`), Milvus is asked as well.

        So it is by the first question after Milvus Lite was restarted, which may have lost something at that, or have
        deleted chunks again: a worker compares all of it then.
        `missing` are the knowledge bases whose collections are not there. Errors: those of SQL and Milvus.
        """
        total, names, is_back = 0, list[str](), False
        for corpus in corpora:
            count, some = 0, list[str]()
            if before := corpus.base.unsearchable_count:
                within = corpus.document_ids
                count, found = self._documents.unsearchable(principal, corpus.base.id, NAMED_FILES, within)
                some = list(found)
                # Milvus may have been asked before that.
                is_back |= not count and self._documents.unsearchable(principal, corpus.base.id, 1)[0] < before
            if corpus.base.id in missing:
                self._ask_for_check(corpus.base.id)
                count = max(count, corpus.ready_count)
            total, names = total + count, [*names, *some][:NAMED_FILES]
        if total:
            return Unsearchable(total, tuple(names))
        if is_back:
            return Unsearchable()
        self._due |= {corpus.base.id for corpus in corpora if self._vectors.take_reloaded(corpus.base.collection)}
        suspected = [corpus for corpus in corpora if is_empty or corpus.base.id in self._due]
        short = [corpus for corpus in suspected if corpus.ready_count and self._is_short(principal, corpus)]
        self._due |= {corpus.base.id for corpus in short}
        for corpus in corpora:
            if corpus.base.id in self._due:
                self._ask_for_check(corpus.base.id)
        return Unsearchable() if short else None

    def _is_short(self, principal: Principal, corpus: Corpus) -> bool:
        base = corpus.base
        expected = self._documents.live_chunks(principal, base.id)
        try:
            # Files of conversations share their collection. And what is lacking can be made up for by chunks of
            # versions that are not live: of one that is being stored, or deleted ones that are back.
            is_own = base.partition is None
            if is_own and self._vectors.size(base.collection) < sum(expected.values()):
                return True
            return self._vectors.lacks_any(base.collection, expected, SOUGHT_CHUNKS)
        except CollectionMissing:
            return bool(expected)

    def _ask_for_check(self, knowledge_base_id: UUID) -> None:
        moment = time.monotonic()
        if moment - self._asked.get(knowledge_base_id, -ASK_SECONDS) >= ASK_SECONDS:
            with suppress(RedisUnavailable):  # the next question asks again
                self._request_check(knowledge_base_id)
                self._asked[knowledge_base_id] = moment
                self._due.discard(knowledge_base_id)
