"""System: each service, the workers and the queue, the models, the versions, and where the data is."""

from __future__ import annotations

import html
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

import streamlit as st

from kb.embedding import ModelState, model_status
from kb.errors import KbError
from kb.extracts import escape_markdown as escape
from kb.health import check_health
from kb.ingestion import queue_depth
from kb.local.milvus_server import TESTED_VERSION, lost_without_patches
from kb.models import ServiceHealth
from kb.providers import host_of
from kb.vectors.connection import Server
from pages.ui.chat_sidebar import connect_help
from pages.ui.feedback import missing_worker, show_error
from pages.ui.i18n import _, ago, error_text, ngettext, number
from pages.ui.resources import local_services, services

REFRESH_SECONDS = 5.0
PACKAGES = ("zhiwen", "streamlit", "pymilvus", "milvus-lite", "langchain-core", "dramatiq", "redis", "pypdfium2")
NAMES = {"sql": "SQL", "redis": "Redis", "milvus": "Milvus"}


def main() -> None:
    st.header(_("System"), anchor=False)

    @st.fragment(run_every=REFRESH_SECONDS)
    def live() -> None:
        health = check_health(services().pings())
        draw_services(health)
        draw_work()

    live()
    draw_models()
    draw_data()
    draw_versions()


def draw_services(health: Sequence[ServiceHealth]) -> None:
    _section(_("Services"))
    embedded = {state.name: state for state in local_services().states()}
    for service in health:
        local = embedded.get(service.name)
        is_ours = local is not None or (service.name == "sql" and not services().settings.database_url)
        where = _("embedded") if is_ours else _("external")
        restarts = ngettext("{count} restart", "{count} restarts", local.restarts) if local and local.restarts else ""
        detail = " ".join(error_text(service.error)) if service.error else service.detail
        facts = [escape(detail), where, restarts, f"{number(service.milliseconds)} ms"]
        _row(service.ok, NAMES[service.name], facts)
        if local and local.detail and not service.ok:
            st.caption(escape(local.detail))
    if any(service.name == "milvus" and service.ok for service in health):
        draw_milvus_limits(services().vectors.server)


def draw_milvus_limits(server: Server) -> None:
    """What this version of Milvus cannot do."""
    if not server.has_bm25:
        st.info(_("This Milvus server has no BM25 (it came with 2.5): retrieval uses the dense route only."))
    if server.is_lite and (lost := lost_without_patches(server.version)):
        warning = _("Zhiwen's patches are for Milvus Lite {tested}; this is {installed}, which runs without them:")
        remedy = _("Install the tested version: {command}")
        lines = [
            warning.format(tested=TESTED_VERSION, installed=escape(server.version)),
            *(f"- {_(sentence)}" for sentence in lost),
            "",
            remedy.format(command=f"`pip install milvus-lite=={TESTED_VERSION}`"),
        ]
        st.warning("\n".join(lines), icon=":material/warning:")


def draw_work() -> None:
    """Workers and queues."""
    _section(_("Workers"))
    try:
        workers = services().board.workers()
        depth = queue_depth(services().database)
    except KbError as error:
        show_error(error)
        return
    if not workers:
        st.warning(missing_worker())
    for worker in workers:
        busy = _("{busy} of {threads} threads busy").format(busy=worker.busy, threads=worker.threads)
        _row(True, f"{worker.host} ({worker.pid})", [busy, _("since {ago}").format(ago=ago(worker.since))])
    st.caption(
        _("In the queue: {ingestion} documents, {maintenance} clean-ups").format(
            ingestion=number(depth.documents), maintenance=number(depth.clean_ups)
        )
    )


def draw_models() -> None:
    _section(_("Models"))
    settings, known = services().settings, services().chat_models.known()
    name = services().embedding.name
    status = model_status(settings)
    detail = _model_state(status.state) if status else ""
    models = [(_("Language model"), model.name, model.server) for model in known.models]
    _table([(_("Embedding model"), name, detail), *models])
    if status and status.failure:
        show_error(status.failure)
    if known.error:
        show_error(known.error)
    elif known.seen_at is None:
        st.caption(_("Looking for language models…"))
    elif not models:
        st.caption(_("No language model is connected."), help=connect_help())


def _model_state(state: ModelState) -> str:
    names = {
        ModelState.ABSENT: _("not fetched yet"),
        ModelState.FETCHING: _("downloading"),
        ModelState.READY: _("ready"),
        ModelState.FAILED: _("failed"),
    }
    return names[state]


def draw_data() -> None:
    _section(_("Where the data is"))
    settings = services().settings
    embedded = {state.name for state in local_services().states()}
    kind = "SQLite" if services().database.is_sqlite else "PostgreSQL"
    sql = _("{kind}, by DATABASE_URL").format(kind=kind) if settings.database_url else str(settings.sqlite_path)
    _table(
        [
            (_("Uploads"), str(settings.uploads), ""),
            ("SQL", sql, ""),
            ("Milvus", str(settings.home / "milvus") if "milvus" in embedded else host_of(settings.milvus_uri), ""),
            ("Redis", str(settings.home / "redis") if "redis" in embedded else _("by REDIS_URL"), ""),
        ]
    )


def draw_versions() -> None:
    _section(_("Versions"))
    _table([("Python", platform.python_version(), ""), *((name, version(name), "") for name in PACKAGES)])


def _section(title: str) -> None:
    st.markdown(f"##### {title}")


def _row(ok: bool, name: str, facts: Iterable[str]) -> None:
    icon = ":green[:material/check_circle:]" if ok else ":red[:material/error:]"
    st.markdown(f"{icon} **{escape(name)}** · {' · '.join(filter(None, facts))}")


def _table(rows: Iterable[tuple[str, str, str]]) -> None:
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(value)}</code></td><td>{html.escape(detail)}</td></tr>"
        for name, value, detail in rows
    )
    st.html(f"<table class='zw-trace'>{cells}</table>")


main()
