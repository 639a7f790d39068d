"""System: warnings, services, workers and queue, models, versions, and where the data is."""

from __future__ import annotations

import html
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version

import streamlit as st

from kb.disk import LITTLE_SPACE
from kb.embedding import ModelState, ModelStatus, full_name
from kb.errors import CleanUpFailed, KbError, WebSearchNotConfigured
from kb.extracts import escape_markdown as escape
from kb.ingestion import FailingCleanUp, failing_clean_ups, queue_depth
from kb.llm import KnownModels
from kb.local.milvus_server import TESTED_VERSION, lost_without_patches
from kb.models import ServiceHealth
from kb.progress import WorkerInfo
from kb.providers import host_of
from kb.reconciling import Reconciled, reconciled, request_checks
from kb.vectors.connection import Server
from pages.ui.chat_sidebar import connect_help
from pages.ui.feedback import announce, errors_flashed, live_fragment, missing_worker, show_error
from pages.ui.i18n import _, ago, duration, error_text, ngettext, number, size
from pages.ui.leftovers import draw_leftovers
from pages.ui.resources import current_principal, health_monitor, local_services, services
from pages.ui.unsearchable import draw_lists, draw_remedy

REFRESH_SECONDS = 5.0
FIRST_RESULTS_SECONDS = 0.5
PACKAGES = (
    "zhiwen",
    "streamlit",
    "pymilvus",
    "milvus-lite",
    "langchain-core",
    "openai",
    "dramatiq",
    "redis",
    "pypdfium2",
)
NAMES = {"sql": "SQL", "redis": "Redis", "milvus": "Milvus"}
SHOWN_MODELS = 5
GOOD, BAD, UNKNOWN = "#1a7f37", "#cf222e", "#8c959f"


def main() -> None:
    st.header(_("System"), anchor=False)
    if len(health_monitor().last()) < len(NAMES):
        draw_first_results()
    else:
        draw_system()


@live_fragment(FIRST_RESULTS_SECONDS)
def draw_first_results() -> None:
    """Until each service was asked once."""
    if len(health_monitor().last()) == len(NAMES):
        st.rerun()
    draw_now()


@live_fragment(REFRESH_SECONDS)
def draw_system() -> None:
    draw_now()


def draw_now() -> None:
    health = health_monitor().last()
    draw_warnings(health)
    draw_set_aside()
    found = find_reconciled()
    if found and found.unsearchable:
        draw_remedy(current_principal(), found.unsearchable)
        draw_lists(current_principal())
    left, right = st.columns(2, gap="large")
    with left:
        draw_services(health)
        draw_work()
        draw_models()
        draw_web_search()
    with right:
        draw_data()
        if found:
            draw_reconciled(found)
        draw_versions()


def draw_warnings(health: Sequence[ServiceHealth]) -> None:
    """What is wrong, and the next step, each in one box."""
    for warning in warnings(health):
        st.warning(warning, icon=":material/warning:")


def warnings(health: Sequence[ServiceHealth]) -> Iterator[str]:
    """Each as Markdown."""
    free = shutil.disk_usage(services().settings.home).free
    if free < LITTLE_SPACE:
        yield _warning(
            _("The disk with the data has only {size} left.").format(size=size(free)),
            _("Free some space: a full disk stops uploads and the database."),
        )
    for service in health:
        if service.error:
            yield _failure(service.error)
        elif service.name == "milvus":
            yield from _milvus_limits(services().vectors.server)
    for name in services().embedding_models():
        yield from _embedding_failure(name)
    if error := services().chat_models.known(current_principal()).error:
        yield _failure(error)
    engine = services().web_search.default
    if not engine.is_configured:
        yield _failure(WebSearchNotConfigured(engine=engine.label, setting=engine.setting))


def draw_set_aside() -> None:
    """What an embedded service could not read at a start, and that nothing is lost."""
    texts = {
        "redis": (
            _("The embedded Redis could not read its data {ago}, so it started with none."),
            _(
                "Nothing is lost: Redis holds only waiting tasks and running answers. Waiting documents were queued "
                "again, and an answer that was being written can be tried again. The unreadable files are kept in "
                "{folder}."
            ),
        ),
        "milvus": (
            _("The embedded Milvus could not read the index of a knowledge base {ago}."),
            _(
                "Its documents are not searchable until they are indexed again. The unreadable files are kept in "
                "{folder}."
            ),
        ),
    }
    found = [each for each in local_services().set_aside() if each.kind in texts]
    for each in found:
        problem, fate = texts[each.kind]
        problem, fate = problem.format(ago=ago(each.moment)), fate.format(folder=f"`{each.folder}`")
        # Redis says what could be repaired by hand, which nobody needs: it comes last.
        reason = _("The log says: {reason}").format(reason=_(each.reason))
        st.info(f"**{escape(problem)}**  \n{fate}  \n{escape(reason)}", icon=":material/healing:")
    if found and st.button(_("Delete these files and this notice"), key="delete_set_aside", icon=":material/delete:"):
        try:
            local_services().delete_set_aside()
        except OSError as error:
            show_error(CleanUpFailed(detail=error.strerror or error))
            return
        st.rerun()


def _embedding_failure(name: str) -> Iterator[str]:
    """Why knowledge bases of this model cannot be served."""
    embeddings = services().embeddings
    try:
        embeddings.get(name)
    except KbError as error:
        yield _failure(error)
    status = embeddings.status(name)
    if status and status.failure:
        yield _failure(status.failure)


def _milvus_limits(server: Server) -> Iterator[str]:
    """What this version of Milvus cannot do."""
    if not server.has_bm25:
        yield _warning(
            _("This Milvus server has no BM25, so retrieval uses the dense route only."),
            _("Upgrade Milvus to 2.5 or later, then create the knowledge bases again."),
        )
    if server.is_lite and (lost := lost_without_patches(server.version)):
        text = _("Zhiwen's patches are for Milvus Lite {tested}; this is {installed}, which runs without them:")
        command = f"`pip install milvus-lite=={TESTED_VERSION}`"
        yield _warning(
            text.format(tested=TESTED_VERSION, installed=server.version),
            _("Install the tested version: {command}").format(command=command),
            [_(sentence) for sentence in lost],
        )


def _failure(error: KbError) -> str:
    message, remedy = error_text(error)
    return _warning(message, escape(remedy))


def _warning(problem: str, step: str, points: Iterable[str] = ()) -> str:
    """Markdown: what is wrong, in what ways, and the next step, which is Markdown already."""
    listed = "".join(f"\n- {escape(point)}" for point in points)
    return f"**{escape(problem)}**" + (f"{listed}\n\n{step}" if listed else f"  \n{step}")


def draw_services(health: Sequence[ServiceHealth]) -> None:
    _section(_("Services"))
    found = {service.name: service for service in health}
    embedded = {state.name: state for state in local_services().states()}
    rows = []
    for name, label in NAMES.items():
        service, local = found.get(name), embedded.get(name)
        is_ours = local is not None or (name == "sql" and not services().settings.database_url)
        facts = [_("embedded") if is_ours else _("external")]
        if local and local.restarts:
            facts.append(ngettext("{count} restart", "{count} restarts", local.restarts))
        if service is None:
            rows.append(_Row(label, _("checking…"), facts, UNKNOWN))
            continue
        facts.append(_("{milliseconds} ms").format(milliseconds=number(service.milliseconds)))
        facts.append(_("checked {ago}").format(ago=ago(service.checked_at)))
        if local and local.detail and not service.ok:
            facts.append(local.detail)
        detail = _("not available") if service.error else service.detail
        rows.append(_Row(label, detail, facts, GOOD if service.ok else BAD))
    _table(rows)


def draw_work() -> None:
    _section(_("Workers and queue"))
    try:
        workers = services().board.workers()
        depth = queue_depth(services().database)
        failing = failing_clean_ups(services().database)
    except KbError as error:
        show_error(error)
        return
    if not workers:
        st.warning(missing_worker(), icon=":material/engineering:")
    _table([_worker(worker) for worker in workers])
    st.caption(
        _("In the queue: {ingestion} documents, {maintenance} clean-ups").format(
            ingestion=number(depth.documents), maintenance=number(depth.clean_ups)
        )
    )
    _table([_failing(clean_up) for clean_up in failing])


def _failing(clean_up: FailingCleanUp) -> _Row:
    name = clean_up.document or _("a deleted knowledge base")
    seconds = max(0, round((clean_up.retry_at - datetime.now(UTC)).total_seconds()))
    facts = [
        ngettext("failed {count} time", "failed {count} times", clean_up.failures),
        _("next try in {time}").format(time=duration(seconds)),
    ]
    return _Row(_("Clearing “{name}”").format(name=name), " ".join(error_text(clean_up.error)), facts, BAD)


def _worker(worker: WorkerInfo) -> _Row:
    busy = _("{busy} of {threads} threads busy").format(busy=worker.busy, threads=worker.threads)
    started = _("started {ago}").format(ago=ago(worker.since))
    return _Row(f"{worker.host} ({worker.pid})", busy, [started], GOOD)


def draw_models() -> None:
    _section(_("Models"))
    known = services().chat_models.known(current_principal())
    default, *others = services().embedding_models()
    rows = [_embedding_row(default, [_("for new knowledge bases")] if others else [])]
    rows += [_embedding_row(name) for name in others]
    shown = [_Row(_("Language model"), model.name, [model.server]) for model in known.models[:SHOWN_MODELS]]
    _table([*rows, *shown])
    if hidden := known.models[SHOWN_MODELS:]:
        with st.expander(ngettext("{count} more language model", "{count} more language models", len(hidden))):
            st.html(f"<code>{html.escape(', '.join(model.name for model in hidden))}</code>")
    if not known.lists_models:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(_looked(known), help=None if known.models or known.error else connect_help())
        st.button(
            _("Search again"),
            key="look_again",
            type="tertiary",
            icon=":material/refresh:",
            disabled=known.is_searching,
            on_click=services().chat_models.look_again,
            args=(current_principal(),),
        )


def _embedding_row(name: str, facts: Sequence[str] = ()) -> _Row:
    status = services().embeddings.status(name)
    return _Row(_("Embedding model"), full_name(name), [_model_state(status) if status else "", *facts])


def _looked(known: KnownModels) -> str:
    """What the last look for language models found, and when."""
    if known.is_searching or known.seen_at is None:
        return _("Looking for language models…")
    when = ago(known.seen_at)
    if known.error:
        return _("The list of language models failed {ago}.").format(ago=when)
    if not known.models:
        return _("No language model is connected. Last search: {ago}.").format(ago=when)
    return _("Last search: {ago}").format(ago=when)


def _model_state(status: ModelStatus) -> str:
    names = {
        ModelState.ABSENT: _("not fetched yet"),
        ModelState.FETCHING: _("unpacking") if status.is_unpacking else _("downloading"),
        ModelState.READY: _("ready"),
        ModelState.FAILED: _("failed"),
        ModelState.DAMAGED: _("damaged"),
    }
    return names[status.state]


def draw_web_search() -> None:
    """The search engines that need something to be set, whether it is, and how much of a search is read."""
    _section(_("Web search"))
    settings, search = services().settings, services().web_search
    rows = [_Row(_("Default engine"), _(search.default.label), ["WEB_SEARCH_ENGINE"])]
    for engine in search.engines:
        if engine.setting:
            state = _("set up") if engine.is_configured else _("not set up")
            rows.append(_Row(_(engine.label), state, [engine.setting], GOOD if engine.is_configured else UNKNOWN))
    pages = ngettext("{count} of each search", "{count} of each search", settings.web_search_pages)
    limit = _("within {seconds} s").format(seconds=number(settings.web_pages_timeout_seconds))
    _table([*rows, _Row(_("Web pages read"), pages, [limit])])


def draw_data() -> None:
    _section(_("Where the data is"))
    settings = services().settings
    embedded = {state.name for state in local_services().states()}
    kind = "SQLite" if services().database.is_sqlite else "PostgreSQL"
    sql = _("{kind}, by DATABASE_URL").format(kind=kind) if settings.database_url else str(settings.sqlite_path)
    _table(
        [
            _Row(_("Uploads"), str(settings.uploads)),
            _Row("SQL", sql),
            _Row("Milvus", str(settings.home / "milvus") if "milvus" in embedded else host_of(settings.milvus_uri)),
            _Row("Redis", str(settings.home / "redis") if "redis" in embedded else _("by REDIS_URL")),
        ]
    )


def find_reconciled() -> Reconciled | None:
    try:
        return reconciled(services().database)
    except KbError:
        return None  # the warnings say that SQL is not responding


def draw_reconciled(found: Reconciled) -> None:
    """Whether Milvus and the disk hold what SQL says, and when that was looked at."""
    _section(_("Completeness"))
    lacking = ngettext("{count} not searchable", "{count} not searchable", found.unsearchable)
    lost = ngettext("{count} missing", "{count} missing", found.files_missing)
    when = [_("compared {ago}").format(ago=ago(found.checked_at))] if found.checked_at else []
    rows = [
        _completeness(_("Documents in Milvus"), lacking if found.unsearchable else "", found, when),
        _completeness(_("Original files"), lost if found.files_missing else "", found),
    ]
    names = {base.collection: base.name for base in services().knowledge_bases.list(current_principal())}
    for collection, error in found.errors.items():
        rows.append(_Row(names.get(collection, collection), " ".join(error_text(error)), [collection], BAD))
    _table(rows)
    draw_leftovers(found)
    st.button(_("Compare now"), key="compare", type="tertiary", icon=":material/rule:", on_click=_compare)


def _completeness(name: str, lacking: str, found: Reconciled, facts: Sequence[str] = ()) -> _Row:
    """Nothing is called complete before it was compared."""
    if lacking:
        return _Row(name, lacking, facts, BAD)
    return _Row(name, _("all"), facts, GOOD) if found.checked_at else _Row(name, _("not compared yet"), [], UNKNOWN)


def _compare() -> None:
    with errors_flashed():
        request_checks(services().database, services().queue)
        announce(_("A worker compares the documents with Milvus and the disk."), ":material/rule:")


def draw_versions() -> None:
    _section(_("Versions"))
    _table([_Row("Python", platform.python_version()), *(_Row(name, _version(name)) for name in PACKAGES)])


@cache
def _version(package: str) -> str:
    return version(package)


def _section(title: str) -> None:
    st.markdown(f"##### {title}")


@dataclass(frozen=True)
class _Row:
    """A line of a table; `mark` is the colour of a dot in front of it, or empty."""

    name: str
    value: str
    facts: Sequence[str] = ()
    mark: str = ""

    def html(self) -> str:
        dot = f"<span style='color: {self.mark}'>●</span> " if self.mark else ""
        parts = [self.value, *self.facts]
        texts = [html.escape(part) for part in parts if part]
        # Where the line breaks, a dot stays with what stands before it.
        separator = " ·</span> <span class='zw-fact'>"
        shown = f"<span class='zw-fact'>{separator.join(texts)}</span>"
        return f"<tr><td>{dot}{html.escape(self.name)}</td><td>{shown}</td></tr>"


def _table(rows: Iterable[_Row]) -> None:
    if lines := "".join(row.html() for row in rows):
        st.html(f"<table class='zw-trace zw-facts'>{lines}</table>")


main()
