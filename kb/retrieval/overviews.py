"""Overviews: the names of files, or files from their beginning, for a question that asks for these.

What a question asks for is read in `kb.retrieval.overview_questions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kb.access import Principal
from kb.errors import N_
from kb.lexical import simplify, to_traditional
from kb.library import Documents
from kb.models import (
    Beginning,
    Chunk,
    Document,
    DocumentOrder,
    FileList,
    Passage,
    RetrievalProfile,
    Unread,
    VersionState,
)
from kb.names import fold
from kb.retrieval.corpora import Corpus
from kb.retrieval.overview_questions import Asked, read_question
from kb.retrieval.ranking import estimate_tokens
from kb.retrieval.steps import Steps
from kb.texts import own_texts
from kb.vectors import VectorStore

LISTED_NAMES = 100
MOST_NAMES = 1_000  # with the letters of what is asked for, read to find its words
MOST_FILES = 5  # whose beginnings are read together
MOST_CHUNKS = 30  # of all of them

UNREAD = N_("in the knowledge base, but without text: {names}")


@dataclass(frozen=True, slots=True)
class Overview:
    """Names of files, the beginnings of some, or both; and files that are asked for and have no text yet."""

    files: FileList | None = None
    beginnings: tuple[Beginning, ...] = ()
    passages: tuple[Passage, ...] = ()
    unread: tuple[Unread, ...] = ()


class Overviews:
    """Reads names from SQL and beginnings from Milvus. Safe to share among threads."""

    def __init__(self, documents: Documents, vectors: VectorStore) -> None:
        self._documents = documents
        self._vectors = vectors

    def find(
        self, principal: Principal, corpora: Sequence[Corpus], question: str, profile: RetrievalProfile, steps: Steps
    ) -> Overview | None:
        """What such a question asks for; None if it is an ordinary one, or names what is no file. Notes its `steps`.

        Asks nothing of SQL or Milvus for most ordinary ones. Errors: those of SQL and Milvus.
        """
        asked = read_question(question)
        if asked is None:
            return None
        chosen: list[Document] | None = []
        unread: tuple[Unread, ...] = ()
        if asked.wants_beginnings:
            with steps.take("meant") as note:
                chosen = self._choose(principal, corpora, asked)
                unread = tuple(_unread(document) for document in chosen or () if document.live_version_id is None)
                note.remaining = len(chosen or [])
                if unread:
                    note.text, note.values = UNREAD, {"names": ", ".join(each.name for each in unread)}
        if chosen is None:
            return None
        if not _ready_count(corpora):
            return Overview(unread=unread) if unread else None
        files = None
        if asked.wants_names or not chosen:
            with steps.take("files") as note:
                files = self._list(principal, corpora, which=not asked.wants_names)
                note.remaining = len(files.names)
        if len(unread) == len(chosen):
            return Overview(files, unread=unread)
        with steps.take("beginnings") as note:
            beginnings, passages = self._read(corpora, chosen, profile.context_tokens)
            note.remaining = len(passages)
        return Overview(files, beginnings, passages, unread)

    def _choose(self, principal: Principal, corpora: Sequence[Corpus], asked: Asked) -> list[Document] | None:
        """The files whose beginnings are asked for; none if it is not said which; None if what is named is no file.

        Some may not be ready.
        """
        if not asked.phrases and not asked.titles:
            most = MOST_FILES if asked.is_of_several else 1
            return self._ready(principal, corpora, limit=most) if _ready_count(corpora) <= most else []
        for phrase in asked.phrases:
            if found := self._named(principal, corpora, phrase, asked.is_exact):
                return found
        named = [self._named(principal, corpora, name, asked.is_exact) for name in asked.names[:MOST_FILES]]
        if not named or not all(named):
            named = [self._named(principal, corpora, title, asked.is_exact) for title in asked.titles[:MOST_FILES]]
        distinct = {document.id: document for found in named for document in found}
        return list(distinct.values())[:MOST_FILES] or None

    def _named(self, principal: Principal, corpora: Sequence[Corpus], phrase: str, is_exact: bool) -> list[Document]:
        """The files that are called `phrase`, else those whose name holds its words; none if those are too many.

        One that is not ready counts if it is called so, and no other one is.
        """
        for spelling in dict.fromkeys((phrase, simplify(phrase), to_traditional(phrase))):
            called = [
                document
                for corpus in corpora
                for document in self._documents.called(
                    principal, corpus.base.id, spelling, MOST_FILES, corpus.document_ids
                )
            ]
            if called:
                return ([document for document in called if document.live_version_id] or called)[:MOST_FILES]
        if is_exact:
            return []
        found = self._ready(principal, corpora, search=phrase, limit=MOST_NAMES)
        found = [document for document in found if holds_words(document.name, phrase)]
        return found if len(found) <= MOST_FILES else []

    def _ready(self, principal: Principal, corpora: Sequence[Corpus], limit: int, search: str = "") -> list[Document]:
        """The first ready files of each corpus, by name; `limit` is for each."""
        return [
            document
            for corpus in corpora
            for document in self._documents.list(
                *(principal, corpus.base.id, 0, limit, [VersionState.READY]),
                search=search,
                order=DocumentOrder.NAME,
                within=corpus.document_ids,
            )
        ]

    def _list(self, principal: Principal, corpora: Sequence[Corpus], which: bool) -> FileList:
        """As many names as are listed at most; if there are more, each corpus gets the same share of them."""
        total = _ready_count(corpora)
        share = LISTED_NAMES if total <= LISTED_NAMES else max(1, LISTED_NAMES // len(corpora))
        labels = {corpus.base.id: corpus.label for corpus in corpora}
        names = tuple(
            " · ".join(filter(None, [labels[document.knowledge_base_id], document.name]))
            for document in self._ready(principal, corpora, share)
        )
        is_chosen = any(corpus.document_ids is not None for corpus in corpora)
        return FileList(names, max(total, len(names)), which, len(corpora), is_chosen)

    def _read(
        self, corpora: Sequence[Corpus], chosen: Sequence[Document], budget: int
    ) -> tuple[tuple[Beginning, ...], tuple[Passage, ...]]:
        """The first chunks of each file; together they take at most `budget` tokens, or one chunk a file."""
        homes = {corpus.base.id: corpus for corpus in corpora}
        beginnings: list[Beginning] = []
        passages: list[Passage] = []
        for document in chosen:
            if document.live_version_id is None:
                continue
            most = MOST_CHUNKS // len(chosen)
            home = homes[document.knowledge_base_id]
            chunks = self._vectors.chunks(home.base.collection, document.live_version_id, 0, most)
            read = from_beginning(document.name, chunks, budget // len(chosen), len(passages), home.label)
            if read:
                beginnings.append(Beginning(document.name, len(read), document.latest.chunks))
            passages += read
        return tuple(beginnings), tuple(passages)


def _ready_count(corpora: Sequence[Corpus]) -> int:
    return sum(corpus.ready_count for corpus in corpora)


def _unread(document: Document) -> Unread:
    latest = document.latest
    return Unread(document.name, latest.state.value, latest.error, dict(latest.error_values))


def holds_words(name: str, phrase: str) -> bool:
    """Whether each word of `phrase` is a whole word of the name, or part of it if the word is Chinese."""
    folded = fold(name)
    for word in phrase.split():
        pattern = re.escape(word)
        if word[0].isascii():
            pattern = rf"(?<![a-z0-9]){pattern}"
        if word[-1].isascii():
            pattern = rf"{pattern}(?![a-z0-9])"
        if not re.search(pattern, folded):
            return False
    return True


def from_beginning(
    name: str, chunks: Sequence[Chunk], budget: int, before: int, knowledge_base: str = ""
) -> list[Passage]:
    """The first chunks of a text as passages behind `before` others; at most `budget` tokens, or one chunk."""
    return [
        Passage(chunk, name, rank, context=text, knowledge_base=knowledge_base)
        for rank, (chunk, text) in enumerate(_within(chunks, budget), before + 1)
    ]


def _within(chunks: Sequence[Chunk], budget: int) -> Iterator[tuple[Chunk, str]]:
    """The chunks with their own texts, as long as the budget lasts; the first one in any case."""
    for count, (chunk, text) in enumerate(own_texts(chunks)):
        budget -= estimate_tokens(text)
        if budget < 0 and count:
            return
        yield chunk, text
