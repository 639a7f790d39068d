"""What pages ask each second, and what a question costs SQL, with many documents: `python -m benchmarks.scale`.

On SQLite and on a PostgreSQL of its own, one after the other: one knowledge base with 50,000 documents, of which 10,000
wait. Each figure in milliseconds is the worst of several requests (first, middle and last page, and each filter), each
the median of many calls. A question is counted from the chat's `ask` to the saved answer, while a page follows it;
transaction control (`BEGIN`) is not counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from benchmarks.installation import Installation, temporary_installation
from kb.database import Database
from kb.database.tables import documents, versions
from kb.ingestion import queue_depth
from kb.library.counts import recount
from kb.models import DocumentOrder, VersionState
from kb.names import fold
from kb.services import build_answers
from tests.real_services import PostgreSQL
from tests.statements import ask_as_the_page_does, counted_statements

PAGE_DOCUMENTS = 30
CALLS = 30
INSERTED_ROWS = 5_000
TEXT = b"# Apples\n\nAn apple grows on a tree and is often red.\n"
QUESTION = "Where does an apple grow?"

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--queued", type=int, default=10_000)
    arguments = parser.parse_args()
    results = {"sqlite": measure("", arguments.documents, arguments.queued)}
    server = PostgreSQL()
    server.start()
    try:
        results["postgresql"] = measure(server.new_database(), arguments.documents, arguments.queued)
    finally:
        server.stop()
    worst = {name: max(result[name] for result in results.values()) for name in results["sqlite"]}
    print(json.dumps(worst | results))


def measure(database_url: str, total: int, queued: int) -> Result:
    os.environ["DATABASE_URL"] = database_url
    with temporary_installation() as installation:
        base_id = installation.create_knowledge_base("Scale").id
        installation.upload(base_id, [("apples.md", io.BytesIO(TEXT))])
        assert installation.wait_until_done(base_id, 120)
        ask(installation, base_id)  # loads the models
        statements = count_statements(installation, base_id)
        fill(installation.services.database, base_id, total - 1, queued)
        return {
            "documents": total,
            **measure_polling(installation, base_id),
            "question_sql_statements": statements,
            **measure_searching(installation, base_id),
        }


def fill(database: Database, knowledge_base_id: UUID, total: int, queued: int) -> None:
    """Documents as an installation has them after a while: most are ready, some failed, the newest wait."""
    now, later = datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)
    document_rows, version_rows = [], []
    for number in range(total):
        state = VersionState.READY
        if number >= total - queued:
            state = VersionState.QUEUED
        elif number >= total - queued - 3:
            state = VersionState.EMBEDDING
        elif number % 500 == 0:
            state = VersionState.FAILED
        document_id, version_id, name = uuid4(), uuid4(), f"Report {number % 1000} of {number}.pdf"
        moment = now - timedelta(seconds=total - number)
        is_ready = state is VersionState.READY
        document_rows.append(
            {
                "id": document_id,
                "knowledge_base_id": knowledge_base_id,
                "name": name,
                "live_version_id": version_id if is_ready else None,
                "created_at": moment,
            }
        )
        version_rows.append(
            {
                "id": version_id,
                "document_id": document_id,
                "listed_in": knowledge_base_id,
                "folded_name": fold(name),
                "state": state.value,
                "file_key": "none",
                "size_bytes": number,
                "chunks": 10,
                "created_at": moment,
                # The worker must leave all of them alone.
                "retry_at": later if state is VersionState.QUEUED else None,
                "lease_owner": "elsewhere" if state.is_running else "",
                "lease_until": later if state.is_running else None,
            }
        )
    for first in range(0, total, INSERTED_ROWS):
        with database.write() as connection:
            connection.execute(sa.insert(documents), document_rows[first : first + INSERTED_ROWS])
            connection.execute(sa.insert(versions), version_rows[first : first + INSERTED_ROWS])
    with database.write() as connection:
        recount(connection, knowledge_base_id)
    if not database.is_sqlite:  # what its autovacuum does within a minute
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))


def measure_polling(installation: Installation, base_id: UUID) -> Result:
    services, user = installation.services, installation.principal
    library = services.documents
    counts = library.count_by_state(user, base_id)
    total, waiting = sum(counts.values()), counts[VersionState.QUEUED]
    pending = [state for state in VersionState if state.is_pending]
    given_up = [state for state in VersionState if state.is_given_up]

    def page(offset: int = 0, states: list[VersionState] | None = None) -> Callable[[], object]:
        return lambda: library.list(user, base_id, offset, PAGE_DOCUMENTS, states or list(VersionState))

    lists = [
        page(),
        page(waiting // 2),
        page(total // 2),
        page(total - PAGE_DOCUMENTS),
        page(states=pending),
        page(states=given_up),
        page(states=[VersionState.READY]),
    ]
    shown = [version.latest.id for version in library.list(user, base_id, waiting - PAGE_DOCUMENTS, PAGE_DOCUMENTS)]
    newest = [version.latest.id for version in library.list(user, base_id, 0, PAGE_DOCUMENTS)]
    places = [lambda: library.queue_places(user, shown), lambda: library.queue_places(user, newest)]
    counted = [
        lambda: library.count_by_state(user, base_id),
        lambda: services.knowledge_bases.list(user),
        lambda: queue_depth(services.database),
    ]
    return {"list_ms": worst_ms(lists), "queue_ms": worst_ms(places), "counts_ms": worst_ms(counted)}


def measure_searching(installation: Installation, base_id: UUID) -> Result:
    """Not polled unless it is used. What every name matches takes the longest."""
    services, user = installation.services, installation.principal
    library = services.documents
    total = library.count(user, base_id)

    def found(offset: int = 0, **options: Any) -> Callable[[], object]:
        return lambda: library.list(user, base_id, offset, PAGE_DOCUMENTS, **options)

    searches = [found(search="report 77"), found(search="report"), found(search="nowhere")]
    searches.append(lambda: library.count(user, base_id, search="report"))
    orders = [order for order in DocumentOrder if order is not DocumentOrder.ACTIVITY]
    sorts = [found(offset, order=order) for order in orders for offset in (0, total // 2, total - PAGE_DOCUMENTS)]
    return {"search_ms": worst_ms(searches), "sort_ms": worst_ms(sorts)}


def worst_ms(requests: Sequence[Callable[[], object]]) -> float:
    return round(max(median_ms(request) for request in requests), 2)


def median_ms(request: Callable[[], object]) -> float:
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        request()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def count_statements(installation: Installation, base_id: UUID) -> int:
    with counted_statements(installation.services.database) as statements:
        ask(installation, base_id)
        return len(statements)


def ask(installation: Installation, base_id: UUID) -> None:
    services = installation.services
    answers = build_answers(services)
    try:
        answer = ask_as_the_page_does(services, answers, services.users.local_principal(), base_id, QUESTION)
        assert answer.retrieval
        assert answer.retrieval.passages
    finally:
        answers.close()


if __name__ == "__main__":
    main()
