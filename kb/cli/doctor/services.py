"""SQL, Redis and Milvus, and what they say about workers, the queue and the last comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from kb import redis as kb_redis
from kb.cli.doctor.finding import Finding, Mark, failed, of_error, ok, warning
from kb.cli.printing import count
from kb.config import Settings
from kb.database import HEAD, Database
from kb.errors import KbError, SetupError
from kb.health import check_health
from kb.ingestion import failing_clean_ups, queue_depth
from kb.local.plan import Folders
from kb.local.redis_server import find_redis_server
from kb.local.run_state import read_run_state
from kb.local.running import running
from kb.progress import ProgressBoard
from kb.reconciling import count_lacking, reconciled
from kb.vectors import VectorStore
from kb.vectors.connection import import_pymilvus

START = "Start it: zhiwen run (or make run)."


def check_running(settings: Settings) -> Finding:
    """Whether the embedded services run on the home folder; with services of one's own, that is for the next checks."""
    holder = read_run_state(Folders(settings.home).run_state).holder
    if holder:
        return ok("Zhiwen", f"runs at {holder.url or '?'} (process {holder.web_pid})")
    if not settings.needs_embedded_services:
        return ok("Zhiwen", "uses your own Milvus and Redis")
    try:
        if not settings.redis_url:
            find_redis_server(Folders(settings.home).redis)
    except SetupError as error:  # it would not start
        return of_error("Zhiwen", error)
    return failed("Zhiwen", f"not running on {settings.home}, so Milvus and Redis cannot be asked", START)


# --- the database ----------------------------------------------------------------------------------------------


def check_database(settings: Settings, database: Database | None) -> Finding:
    """`database`: see `open_database`."""
    if database is None:
        return ok("SQL", f"{settings.sqlite_path}, which the first start creates")
    try:
        version, revision = database.ping(), database.revision()
    except KbError as error:
        return of_error("SQL", error)
    if revision is None:
        return ok("SQL", f"{version}, empty; the first start creates the tables")
    if revision > HEAD:
        detail = f"{version}: a newer release of Zhiwen wrote it (revision {revision}; this release knows {HEAD})."
        return failed("SQL", detail, "Run that release again, or restore a backup of this release's data.")
    if revision < HEAD:
        return warning("SQL", f"{version}: an older release's tables ({revision}).", "The next start upgrades them.")
    return ok("SQL", version)


def open_database(settings: Settings) -> Database | None:
    """None if there is no SQLite file yet: a check must not create one."""
    return Database(settings) if settings.database_url or settings.sqlite_path.is_file() else None


# --- Redis and Milvus ------------------------------------------------------------------------------------------


def check_redis_and_milvus(settings: Settings) -> Iterator[Finding]:
    """Of services that run; both are asked at once."""
    import_pymilvus()  # so that this does not count as their time
    with closing(kb_redis.connect(settings)) as client, closing(VectorStore(settings)) as vectors:
        pings = {"Redis": lambda: kb_redis.ping(client), "Milvus": vectors.ping}
        for health in check_health(pings):
            if health.error or not health.ok:
                error = health.error
                yield of_error(health.name, error) if error else failed(health.name, health.detail)
                continue
            yield ok(health.name, f"{health.detail}, {health.milliseconds:.0f} ms")
            if health.name == "Milvus" and not vectors.server.has_bm25:
                detail = "This Milvus server has no BM25, so retrieval uses the dense route only."
                remedy = "Upgrade Milvus to 2.5 or later, then create the knowledge bases again."
                yield warning("Milvus", detail, remedy)


# --- the work --------------------------------------------------------------------------------------------------


def check_work(settings: Settings, database: Database) -> Iterator[Finding]:
    """Workers, the queue, and what the last comparison found. For a database that has its tables."""
    try:
        workers = _workers(running(settings))
        depth, failing = queue_depth(database), failing_clean_ups(database)
    except KbError as error:
        yield of_error("workers", error)
        return
    if workers is None:
        remedy = f"See {Folders(settings.home).log('worker')}." if settings.needs_embedded_services else ""
        remedy = remedy or "Start one: zhiwen worker. It needs the same settings as the web process."
        yield failed("workers", "No worker is alive, so uploads are not processed.", remedy)
    else:
        yield ok("workers", workers)
    queue = f"{count(depth.documents, 'document')} and {count(depth.clean_ups, 'clean-up')} waiting"
    if failing:
        worst = failing[0]
        detail = f"{queue}; {count(len(failing), 'clean-up')} keep failing: {worst.error}"
        yield warning("queue", detail, "They are tried again by themselves.")
    else:
        yield ok("queue", queue)
    yield from _check_comparison(database)


def _workers(settings: Settings) -> str | None:
    """The living ones in words; None if there is none. Errors: `RedisUnavailable`."""
    with closing(kb_redis.quick(settings)) as quick:
        alive = ProgressBoard(quick).workers()
    if not alive:
        return None
    busy, threads = sum(each.busy for each in alive), sum(each.threads for each in alive)
    return f"{count(len(alive), 'worker')}, {busy} of {count(threads, 'thread')} busy"


def _check_comparison(database: Database) -> Iterator[Finding]:
    found = reconciled(database)
    when = f"compared {found.checked_at:%Y-%m-%d %H:%M} UTC" if found.checked_at else "not compared yet"
    lacking = count_lacking(database)
    if lacking.ready:
        detail = f"{count(lacking.ready, 'document')} cannot be searched: Milvus lacks their chunks ({when})."
        yield failed("comparison", detail, "python -m kb.reconciling --index-again")
    if lacking.under_way:
        yield warning("comparison", f"{count(lacking.under_way, 'document')} cannot be searched yet: indexed again.")
    if lacking.given_up:
        detail = f"{count(lacking.given_up, 'document')} could not be indexed again, and cannot be searched."
        yield failed("comparison", detail, "The lists of the knowledge bases say why, and what to do.")
    if lacking.without_file:
        detail = f"{count(lacking.without_file, 'document')} cannot be searched and lost the uploaded file ({when})."
        yield failed("comparison", detail, "Use “Upload a new version…” in the lists of the knowledge bases.")
    if searchable := found.files_missing - lacking.without_file:
        detail = f"{count(searchable, 'document')} lost the uploaded file ({when})."
        yield warning(
            "comparison",
            detail,
            "They can be searched, but not indexed again. Restore the files, or upload them again.",
        )
    for collection, error in found.errors.items():
        yield failed("comparison", f"{collection} could not be compared: {error}")
    if leftovers := len(found.unknown_collections) + len(found.unknown_folders):
        detail = f"{count(leftovers, 'folder or collection', 'folders and collections')} belong to no knowledge base."
        yield Finding("comparison", Mark.WARNING, detail, "python -m kb.reconciling lists them and says what to do.")
    if not (found.unsearchable or found.files_missing or found.errors):
        yield ok("comparison", f"Milvus and the uploads hold what SQL says ({when})" if found.checked_at else when)
