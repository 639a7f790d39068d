"""Documents: register, list, retry, cancel, delete, and their chunks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from kb.database import Database
from kb.database.tables import FOLDED_CHARACTERS, clean_ups, documents, knowledge_bases, now, versions
from kb.errors import KbError, NotFound, RedisUnavailable, WrongState
from kb.library.access import (
    DOCUMENT,
    DOCUMENT_COLUMNS,
    own_document,
    own_knowledge_base,
    own_version,
    to_document,
)
from kb.library.counts import count_answering, count_by_state, count_document, count_move
from kb.library.files import FileStore, Source
from kb.models import Chunk, Document, DocumentOrder, Original, Version, VersionState
from kb.names import clean_file_name, clean_text, fold
from kb.notes import INCOMPLETE
from kb.parsing import detect_media_type
from kb.queue import Queue
from kb.vectors import VectorStore

log = structlog.get_logger()

# What a name is written with or without.
_SEPARATORS = " -_"
_WITHOUT_SEPARATORS = str.maketrans(dict.fromkeys(_SEPARATORS, ""))

# How far `Documents.queue_places` looks.
QUEUE_PLACES = 1_000

_QUEUED = sa.and_(versions.c.state == VersionState.QUEUED.value, versions.c.cancel_requested.is_(False))
_PLACE = sa.tuple_(versions.c.created_at, versions.c.id)
_FIRST_SHOWN = sa.tuple_(
    sa.bindparam("moment", type_=versions.c.created_at.type), sa.bindparam("version", type_=versions.c.id.type)
)
_LAST_SHOWN = sa.tuple_(
    sa.bindparam("last_moment", type_=versions.c.created_at.type),
    sa.bindparam("last_version", type_=versions.c.id.type),
)
# Without `_QUEUED`, for which SQLite would go through the whole queue, and without a join, for which it would go
# through all documents of the user.
_OWNER = sa.select(knowledge_bases.c.owner_id).where(knowledge_bases.c.id == versions.c.listed_in).scalar_subquery()
_OF_USER = (
    sa.select(
        versions.c.created_at.label("moment"),
        versions.c.id.label("version"),
        versions.c.state,
        versions.c.cancel_requested,
    )
    .where(
        versions.c.id.in_(sa.bindparam("ids", expanding=True)),
        sa.bindparam("of_user", type_=knowledge_bases.c.owner_id.type) == _OWNER,
    )
    .order_by(versions.c.created_at, versions.c.id)
)
_AHEAD = sa.select(sa.func.count()).select_from(
    sa.select(versions.c.id).where(_QUEUED, _PLACE < _FIRST_SHOWN).limit(QUEUE_PLACES).subquery()
)
_FOLLOWING = (
    sa.select(versions.c.id)
    .where(_QUEUED, _PLACE >= _FIRST_SHOWN, _PLACE <= _LAST_SHOWN)
    .order_by(versions.c.created_at, versions.c.id)
    .limit(sa.bindparam("most"))
)
_MARK_SENT = sa.update(versions).where(versions.c.id == sa.bindparam("of_version"))

_Columns = tuple[sa.ColumnElement[Any], ...]
_NEWEST_FIRST: _Columns = (versions.c.created_at.desc(), versions.c.id.desc())
_OLDEST_FIRST: _Columns = (versions.c.created_at, versions.c.id)
# The orders that show states after one another. States that come together are sorted by `activity`.
_GROUPS = {
    DocumentOrder.ACTIVITY: (
        [state for state in VersionState if state.is_running],
        [VersionState.QUEUED],
        [state for state in VersionState if not state.is_pending],
    ),
    DocumentOrder.STATE: (
        [VersionState.FAILED],
        [VersionState.CANCELLED],
        [VersionState.PARSING],
        [VersionState.EMBEDDING],
        [VersionState.INDEXING],
        [VersionState.QUEUED],
        [VersionState.READY],
    ),
}
_ALL_STATES = (list(VersionState),)
_ACTIVITIES = {group[0]: 2 - place for place, group in enumerate(_GROUPS[DocumentOrder.ACTIVITY])}
# How documents are sorted within a group, and the reverse.
_KEYS: dict[DocumentOrder, tuple[_Columns, _Columns]] = {
    DocumentOrder.NAME: ((versions.c.folded_name, *_NEWEST_FIRST), (versions.c.folded_name.desc(), *_OLDEST_FIRST)),
    DocumentOrder.LARGEST: ((versions.c.size_bytes.desc(), *_NEWEST_FIRST), (versions.c.size_bytes, *_OLDEST_FIRST)),
}
_KEYS |= dict.fromkeys(set(DocumentOrder) - set(_KEYS), (_NEWEST_FIRST, _OLDEST_FIRST))


class Documents:
    """The documents of each user's knowledge bases."""

    def __init__(self, database: Database, files: FileStore, vectors: VectorStore, queue: Queue) -> None:
        self._database = database
        self._files = files
        self._vectors = vectors
        self._queue = queue

    def register(self, user_id: UUID, knowledge_base_id: UUID, name: str, source: Source) -> Document:
        """Keep an uploaded file, queue it and tell the workers. When this returns, no crash loses anything of it.

        `latest.sent_at` is None if the workers could not be told now; they find the file once all services are back.
        """
        with self._database.read() as connection:
            own_knowledge_base(connection, user_id, knowledge_base_id)
        document_id, version_id = uuid4(), uuid4()
        key = self._files.key(knowledge_base_id, version_id)
        saved = self._files.save(key, name, source)
        label, moment = clean_file_name(name) or "?", now()
        media_type = detect_media_type(self._files.path(key, name), label)
        version = Version(version_id, document_id, VersionState.QUEUED, key, saved.size_bytes, created_at=moment)
        version = replace(version, media_type=media_type)
        document = {"id": document_id, "knowledge_base_id": knowledge_base_id, "name": label}
        document |= {"created_at": moment}
        newest: dict[str, Any] = {"id": version_id, "document_id": document_id, "listed_in": knowledge_base_id}
        newest |= {"folded_name": fold(label)[:FOLDED_CHARACTERS]}
        newest |= {"state": version.state.value, "file_key": key, "created_at": moment}
        newest |= {"size_bytes": saved.size_bytes, "sha256": saved.sha256, "media_type": media_type}
        try:
            with self._database.write() as connection:
                # It may have been deleted meanwhile.
                own_knowledge_base(connection, user_id, knowledge_base_id, lock=True)
                connection.execute(sa.insert(documents), document)
                connection.execute(sa.insert(versions), newest)
                count_document(connection, knowledge_base_id, version.state, 1)
        except KbError:
            self._files.delete(key)
            raise
        version = replace(version, sent_at=self._send(version_id))
        return Document(document_id, knowledge_base_id, label, None, created_at=moment, latest=version)

    def get(self, user_id: UUID, document_id: UUID) -> Document:
        with self._database.read() as connection:
            return to_document(own_document(connection, user_id, document_id))

    def chosen(
        self, user_id: UUID, knowledge_base_ids: Collection[UUID], document_ids: Collection[UUID]
    ) -> dict[UUID, dict[UUID, bool]]:
        """Which of `document_ids` each of these knowledge bases holds, and whether each of them can answer."""
        statement = (
            sa.select(documents.c.knowledge_base_id, documents.c.id, documents.c.live_version_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(documents.c.id.in_(document_ids), _are_own(user_id, knowledge_base_ids))
        )
        found: dict[UUID, dict[UUID, bool]] = {}
        with self._database.read() as connection:
            for knowledge_base_id, document_id, live_version_id in connection.execute(statement):
                found.setdefault(knowledge_base_id, {})[document_id] = live_version_id is not None
        return found

    def original(self, user_id: UUID, knowledge_base_id: UUID, version_id: UUID) -> Original:
        """The file of a version of a document in this knowledge base. Errors: `NotFound`, `FileMissing`."""
        with self._database.read() as connection:
            row = own_version(connection, user_id, version_id)
        if row.knowledge_base_id != knowledge_base_id:
            raise NotFound(what=DOCUMENT)
        return Original(row.name, self._files.path(row.file_key, row.name), row.media_type)

    def called(
        self, user_id: UUID, knowledge_base_id: UUID, name: str, limit: int, within: Collection[UUID] | None = None
    ) -> list[Document]:
        """Documents with this name, in any case, with or without folder and extension, in any state; ready ones first.

        If none is called exactly so, those with other spaces, hyphens and underscores. `within`: of these documents
        only. Reads every name.
        """
        folded = fold(clean_text(name))[:FOLDED_CHARACTERS]
        joined: sa.ColumnElement[str] = versions.c.folded_name
        for separator in _SEPARATORS:
            joined = sa.func.replace(joined, separator, "")
        holding = (
            sa.select(versions.c.id, versions.c.folded_name)
            .where(
                versions.c.listed_in == knowledge_base_id,
                joined.contains(_join(folded), autoescape=True),
                _is_within(versions.c.document_id, within),
            )
            .order_by(versions.c.state != VersionState.READY.value, versions.c.folded_name, versions.c.id)
        )
        with self._database.read() as connection:
            own_knowledge_base(connection, user_id, knowledge_base_id)
            alike = [row for row in connection.execute(holding) if _is_called(_join(row.folded_name), _join(folded))]
            exact = [row for row in alike if _is_called(row.folded_name, folded)]
            found = sa.select(versions.c.id).where(versions.c.id.in_([row.id for row in (exact or alike)[:limit]]))
            rows = connection.execute(_rows_of(found).order_by(versions.c.folded_name, versions.c.id))
            return [to_document(row) for row in rows]

    def list(
        self,
        user_id: UUID,
        knowledge_base_id: UUID,
        offset: int = 0,
        limit: int = 50,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
        order: DocumentOrder = DocumentOrder.ACTIVITY,
        within: Collection[UUID] | None = None,
    ) -> list[Document]:
        """Documents in one of `states` whose name contains every word of `search`, in any case.

        `within`: of these documents only. The ids of a page come from an index, in each order. Only a search, and a
        list `within` some documents, read every name.
        """
        with self._database.read() as connection:
            own_knowledge_base(connection, user_id, knowledge_base_id)
            if not search and within is None:
                return [to_document(row) for row in _page(connection, knowledge_base_id, states, order, offset, limit)]
            keys = (_group_of_state(order), *_KEYS[order][0])
            matching = _matching(knowledge_base_id, states, search).where(_is_within(versions.c.document_id, within))
            found = matching.order_by(*keys).offset(offset).limit(limit)
            return [to_document(row) for row in connection.execute(_rows_of(found).order_by(*keys))]

    def count(
        self,
        user_id: UUID,
        knowledge_base_id: UUID,
        states: Collection[VersionState] = tuple(VersionState),
        search: str = "",
    ) -> int:
        """How many documents `list` would find in all."""
        with self._database.read() as connection:
            own_knowledge_base(connection, user_id, knowledge_base_id)
            if not search:
                counts = count_by_state(connection, knowledge_base_id)
                return sum(count for state, count in counts.items() if state in states)
            found = _matching(knowledge_base_id, states, search).subquery()
            return connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0

    def count_by_state(self, user_id: UUID, knowledge_base_id: UUID) -> dict[VersionState, int]:
        with self._database.read() as connection:
            own_knowledge_base(connection, user_id, knowledge_base_id)
            return count_by_state(connection, knowledge_base_id)

    def queue_places(self, user_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, int | None]:
        """The place (1 is next) of each of the user's queued versions among those of all users.

        None if it is behind the first `QUEUE_PLACES`.
        """
        with self._database.read() as connection:
            asked = connection.execute(_OF_USER, {"ids": list(version_ids), "of_user": user_id})
            shown = [row for row in asked if row.state == VersionState.QUEUED.value and not row.cancel_requested]
            if not shown:
                return {}
            between = {
                "moment": shown[0].moment,
                "version": shown[0].version,
                "last_moment": shown[-1].moment,
                "last_version": shown[-1].version,
            }
            ahead = connection.scalar(_AHEAD, between) or 0
            following = connection.scalars(_FOLLOWING, between | {"most": QUEUE_PLACES - ahead})
            places = {version_id: place for place, version_id in enumerate(following, ahead + 1)}
        # Within the bound, a worker has taken what is missing by now.
        is_bounded = ahead + len(places) >= QUEUE_PLACES
        return {row.version: places.get(row.version) for row in shown if is_bounded or row.version in places}

    def retry(self, user_id: UUID, document_id: UUID) -> UUID:
        """Queue a failed or cancelled document again, and tell the workers; returns its version's id.

        Errors: `WrongState`.
        """
        with self._database.write() as connection:
            document = to_document(own_document(connection, user_id, document_id, lock=True))
            version_id, state = document.latest.id, document.latest.state
            if not state.is_given_up:
                raise WrongState(name=document.name, state=state)
            again = {"state": VersionState.QUEUED.value, "cancel_requested": False}
            again |= dict.fromkeys(("attempts", "crashes", "waits"), 0)
            again |= dict.fromkeys(("retry_at", "sent_at", "finished_at"))
            again |= {"error": "", "error_values": {}}
            connection.execute(sa.update(versions).where(versions.c.id == version_id).values(again))
            # What could not be cleared of the last attempt, the next one replaces.
            connection.execute(sa.delete(clean_ups).where(clean_ups.c.target_id == version_id))
            count_move(connection, version_id, state, VersionState.QUEUED)
        self._send(version_id)
        return version_id

    def cancel(self, user_id: UUID, document_id: UUID) -> None:
        """A queued one is cancelled here and now, a running one at its next batch. Errors: `WrongState`."""
        with self._database.write() as connection:
            document = to_document(own_document(connection, user_id, document_id, lock=True))
            version_id, state = document.latest.id, document.latest.state
            if not state.is_pending:
                raise WrongState(name=document.name, state=state)
            change = sa.update(versions).where(versions.c.id == version_id).values(cancel_requested=True)
            if state is VersionState.QUEUED:
                change = change.values(state=VersionState.CANCELLED.value, finished_at=now())
            connection.execute(change)
            if state is VersionState.QUEUED:
                count_move(connection, version_id, state, VersionState.CANCELLED)

    def delete(self, user_id: UUID, document_id: UUID) -> None:
        """Hide the document from everyone; a worker then clears Milvus and the disk."""
        with self._database.write() as connection:
            document = to_document(own_document(connection, user_id, document_id, lock=True))
            connection.execute(sa.update(documents).where(documents.c.id == document_id).values(deleted_at=now()))
            connection.execute(
                sa.update(versions)
                .where(versions.c.document_id == document_id)
                .values(cancel_requested=True, listed_in=None)
            )
            count_document(connection, document.knowledge_base_id, document.latest.state, -1)
            if document.live_version_id:
                count_answering(connection, document.knowledge_base_id, -1)
        try:
            self._queue.send_clear_document(document_id)
        except RedisUnavailable as error:
            log.warning("clear_document.unsent", document=str(document_id), reason=str(error))  # the reaper sends it

    def chunks(self, user_id: UUID, document_id: UUID, first: int, count: int) -> Sequence[Chunk]:
        """Chunks of the version that answers, in order; none while there is no such version."""
        with self._database.read() as connection:
            row = own_document(connection, user_id, document_id)
        live = row.document_live_version_id
        return self._vectors.chunks(row.collection, live, first, count) if live else []

    def live_names(self, user_id: UUID, knowledge_base_id: UUID, version_ids: Collection[UUID]) -> dict[UUID, str]:
        """Which of `version_ids` are live in this knowledge base, with their documents' names."""
        statement = (
            sa.select(documents.c.live_version_id, documents.c.name)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(
                documents.c.live_version_id.in_(version_ids),
                _are_own(user_id, [knowledge_base_id]),
            )
        )
        with self._database.read() as connection:
            return dict(connection.execute(statement).all())

    def partly_read(
        self, user_id: UUID, knowledge_base_id: UUID, limit: int, within: Collection[UUID] | None = None
    ) -> tuple[int, Sequence[str]]:
        """How many live documents lack something of their files, and the names of the first ones. Reads all notes.

        `within`: of these documents only.
        """
        notes = sa.cast(versions.c.notes, sa.Text)
        noted = (
            sa.select(documents.c.name, sa.func.count().over().label("total"))
            .join(versions, versions.c.id == documents.c.live_version_id)
            .join(knowledge_bases, knowledge_bases.c.id == documents.c.knowledge_base_id)
            .where(
                _are_own(user_id, [knowledge_base_id]),
                _is_within(documents.c.id, within),
                sa.or_(*(notes.contains(f'"{kind}"') for kind in sorted(INCOMPLETE))),
            )
            .order_by(documents.c.name)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(noted).all()
        return (rows[0].total if rows else 0), [row.name for row in rows]

    def _send(self, version_id: UUID) -> datetime | None:
        """Tell the workers of a queued version; when, or None if that cannot be done now: the reaper sends it later."""
        moment = now()
        try:
            self._queue.send_version(version_id)
            mark_sent(self._database, [version_id], moment)
        except KbError as error:
            log.warning("version.unsent", version=str(version_id), reason=str(error))
            return None
        return moment


def mark_sent(database: Database, version_ids: Sequence[UUID], moment: datetime) -> None:
    """Note that a message for these versions was put into the queue."""
    with database.write() as connection:
        connection.execute(_MARK_SENT, [{"of_version": version_id, "sent_at": moment} for version_id in version_ids])


def _page(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    states: Collection[VersionState],
    order: DocumentOrder,
    offset: int,
    limit: int,
) -> list[sa.Row[Any]]:
    """One page. The counters tell in which groups of states it lies, so nothing else is read."""
    counts = count_by_state(connection, knowledge_base_id)
    rows: list[sa.Row[Any]] = []
    for group in _GROUPS.get(order, _ALL_STATES):
        chosen = [state for state in group if state in states]
        size = sum(counts.get(state, 0) for state in chosen)
        count = min(limit - len(rows), size - offset)
        if count > 0:
            rows += _slice(connection, knowledge_base_id, order, chosen, len(chosen) == len(group), size, offset, count)
        offset = max(0, offset - size)
    return rows


def _slice(
    connection: sa.Connection,
    knowledge_base_id: UUID,
    order: DocumentOrder,
    chosen: Sequence[VersionState],
    is_whole: bool,
    size: int,
    offset: int,
    count: int,
) -> list[sa.Row[Any]]:
    """`count` documents of a group after the first `offset`; there are `size` in its `chosen` states.

    Their ids come from an index alone, which is read from its nearer end.
    """
    after = size - offset - count
    is_backwards = after < offset
    skipped = after if is_backwards else offset
    of = {"of_knowledge_base": knowledge_base_id, "skipped": skipped, "count": count, "reach": skipped + count}
    return list(connection.execute(_slice_statement(order, tuple(chosen), is_whole, is_backwards), of))


@cache
def _slice_statement(
    order: DocumentOrder, chosen: tuple[VersionState, ...], is_whole: bool, is_backwards: bool
) -> sa.Select[Any]:
    """Built once: that takes longer than executing it."""
    listed = sa.select(versions.c.id, versions.c.created_at).where(
        versions.c.listed_in == sa.bindparam("of_knowledge_base")
    )
    keys = _KEYS[order][is_backwards]
    if order not in _GROUPS:
        if not is_whole:
            listed = listed.where(_is_in(chosen))
        found = listed.order_by(*keys)
    elif is_whole and order is DocumentOrder.ACTIVITY:
        found = listed.where(versions.c.activity == sa.literal_column(str(_ACTIVITIES[chosen[0]]))).order_by(*keys)
    elif len(chosen) == 1:
        found = listed.where(versions.c.state == chosen[0].value).order_by(*keys)
    else:
        # The first ones of each state: one condition for all would read every document in the other states.
        firsts = [
            listed.where(versions.c.state == state.value).order_by(*keys).limit(sa.bindparam("reach")).subquery()
            for state in chosen
        ]
        merged = sa.union_all(*(sa.select(first) for first in firsts)).subquery()
        merged_keys = (merged.c.created_at, merged.c.id)
        found = sa.select(merged).order_by(*(merged_keys if is_backwards else (key.desc() for key in merged_keys)))
    page = found.offset(sa.bindparam("skipped")).limit(sa.bindparam("count"))
    return _rows_of(page).order_by(*_KEYS[order][0])


def _rows_of(found: sa.Select[Any]) -> sa.Select[Any]:
    """The rows of the versions whose ids are `found`, with their documents."""
    page = found.subquery()
    return (
        sa.select(*DOCUMENT_COLUMNS)
        .select_from(page)
        .join(versions, versions.c.id == page.c.id)
        .join(documents, documents.c.id == versions.c.document_id)
    )


def _group_of_state(order: DocumentOrder) -> sa.ColumnElement[int]:
    """Which group of states a version is shown in."""
    places = {state.value: place for place, group in enumerate(_GROUPS.get(order, _ALL_STATES)) for state in group}
    return sa.case(places, value=versions.c.state)


def _join(name: str) -> str:
    return name.translate(_WITHOUT_SEPARATORS)


def _is_called(name: str, wanted: str) -> bool:
    """Whether `name` is `wanted` with at most folders and an extension: “report.v2.pdf” is not called “report”."""
    path = PurePosixPath(name)
    return wanted in (name, name.removesuffix(path.suffix), path.name, path.stem)


def _is_within(document_id: sa.ColumnElement[UUID], within: Collection[UUID] | None) -> sa.ColumnElement[bool]:
    return sa.true() if within is None else document_id.in_(within)


def _are_own(user_id: UUID, knowledge_base_ids: Collection[UUID]) -> sa.ColumnElement[bool]:
    """Documents of those knowledge bases that are the user's; neither is deleted."""
    return sa.and_(
        documents.c.knowledge_base_id.in_(knowledge_base_ids),
        documents.c.deleted_at.is_(None),
        knowledge_bases.c.owner_id == user_id,
        knowledge_bases.c.deleted_at.is_(None),
    )


def _is_in(states: Collection[VersionState]) -> sa.ColumnElement[bool]:
    """`NOT IN` the other states: for `IN`, planners read an index of states and sort everything that they found."""
    return versions.c.state.not_in([state.value for state in VersionState if state not in states])


def _matching(knowledge_base_id: UUID, states: Collection[VersionState], search: str) -> sa.Select[Any]:
    """All it compares is in the index of names, which is the smallest thing to read."""
    statement = sa.select(versions.c.id).where(versions.c.listed_in == knowledge_base_id)
    if len(states) < len(VersionState):
        statement = statement.where(_is_in(states))
    for word in fold(clean_text(search)).split():
        statement = statement.where(versions.c.folded_name.contains(word, autoescape=True))
    return statement
