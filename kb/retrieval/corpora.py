"""What a question is looked up in: knowledge bases, whole or only some documents of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from kb.access import Principal
from kb.errors import N_, NotFound, TooManyDocuments
from kb.library import KNOWLEDGE_BASE, Documents, KnowledgeBases
from kb.models import KnowledgeBase, Scope
from kb.vectors.filters import Within

# Databases limit how many values a statement has: SQLite to 32,766.
MOST_DOCUMENTS = 10_000

ATTACHED = N_("Attached files")  # in place of a knowledge base's name


@dataclass(frozen=True, slots=True)
class Corpus:
    """A knowledge base as one question sees it: whole, or only those of its documents that were chosen.

    `ready_count` is how many documents can answer. `is_named`: several are asked, so that it matters which one it is.
    """

    base: KnowledgeBase
    ready_count: int
    document_ids: frozenset[UUID] | None = None  # None: all
    is_named: bool = False

    @property
    def label(self) -> str:
        """The knowledge base's name beside that of a document. Attached files need none."""
        return "" if not self.is_named or self.base.partition else self.base.name

    @property
    def step_label(self) -> str:
        """The knowledge base's name beside that of a step."""
        return ATTACHED if self.is_named and self.base.partition else self.label

    def holds(self, document_id: UUID) -> bool:
        return self.document_ids is None or document_id in self.document_ids

    @property
    def within(self) -> Within:
        """What a search of its index has to be limited to: nothing if all that can answer is chosen."""
        is_whole = self.ready_count == self.base.ready_count
        return Within(None if is_whole else self.document_ids, self.base.partition)


def find_corpora(
    knowledge_bases: KnowledgeBases, documents: Documents, principal: Principal, scope: Scope
) -> tuple[list[Corpus], int]:
    """The knowledge bases of `scope` that still exist, in its order, and how many do not.

    If documents are chosen, those that hold none of them are left out, unless none holds any.
    Errors: `NotFound` if no knowledge base is left; `TooManyDocuments`.
    """
    if len(scope.document_ids) > MOST_DOCUMENTS:
        raise TooManyDocuments(count=len(scope.document_ids), most=MOST_DOCUMENTS)
    bases = knowledge_bases.find(principal, scope.knowledge_base_ids)
    if not bases:
        raise NotFound(what=KNOWLEDGE_BASE)
    corpora = [Corpus(base, base.ready_count) for base in bases]
    if scope.document_ids:
        held = documents.chosen(principal, [base.id for base in bases], scope.document_ids)
        corpora = [
            Corpus(base, sum(held.get(base.id, {}).values()), frozenset(held.get(base.id, ())))
            for base in bases
            if base.id in held or not held
        ]
    if len(corpora) > 1:
        corpora = [replace(corpus, is_named=True) for corpus in corpora]
    return corpora, len(set(scope.knowledge_base_ids)) - len(bases)
