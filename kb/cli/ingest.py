"""`zhiwen ingest`: make a knowledge base hold the files of a folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from kb.cli.connecting import Connected, OpenQueue, connected, find_knowledge_base
from kb.cli.printing import CommandFailed, count, print_json, progress
from kb.errors import Cancelled, FileNotReadable, KbError, NotFound, Unavailable, WrongState, fill
from kb.library import Content, contents, contents_of
from kb.models import KnowledgeBase, VersionState
from kb.sources import FolderFile, Plan, find_files, plan_folder

POLL_SECONDS = 1.0
LONGEST_WITHOUT_WORKER = 30.0  # seconds; one that is restarted is back by then
SHOWN = 20  # names of a list, at most


@dataclass(slots=True)
class Outcome:
    """What was done, by the names of files, and what became of them; `failed` are errors by name."""

    base: KnowledgeBase
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    tried_again: list[str] = field(default_factory=list)
    unchanged: int = 0
    deleted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    skipped: dict[str, KbError] = field(default_factory=dict)
    failed: dict[str, KbError] = field(default_factory=dict)
    pending: dict[UUID, str] = field(default_factory=dict)  # names by version id
    note: str = ""  # why it was not waited for


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    folder = Path(asked.folder)
    if not folder.is_dir():
        raise CommandFailed(f"{folder} is not a folder.")
    with connected(open_queue) as to:
        limit_bytes = to.services.settings.max_upload_mb << 20
        files = list(find_files(folder, limit_bytes))
        if asked.delete_missing and not any(isinstance(each, FolderFile) for each in files):
            raise CommandFailed(f"{folder} holds no file to upload, so --delete-missing would delete every document.")
        base = _open_knowledge_base(to, asked.knowledge_base, asked.create)
        plan = plan_folder(files, contents(to.services.database, to.principal, base.id))
        outcome = _take_over(plan, base)
        try:
            _upload(to, plan, outcome)
            if asked.delete_missing:
                _delete(to, plan.missing, outcome)
            if not asked.no_wait:
                _wait(to, outcome)
        except (Unavailable, KeyboardInterrupt):
            _print(outcome, asked.json)
            raise
    _print(outcome, asked.json)
    return int(bool(outcome.failed or outcome.note))


def _open_knowledge_base(to: Connected, name: str, creates: bool) -> KnowledgeBase:
    try:
        return find_knowledge_base(to, name)
    except CommandFailed as error:
        if not creates:
            raise CommandFailed(f"{error} To make it: --create") from error
    model = to.services.offered_embeddings(to.principal)[0]
    return to.services.knowledge_bases.create(to.principal, name, model)


def _take_over(plan: Plan, base: KnowledgeBase) -> Outcome:
    """What the plan says already, before anything is done."""
    outcome = Outcome(base, unchanged=len(plan.unchanged), missing=sorted(each.name for each in plan.missing))
    for refused in plan.refused:
        (outcome.skipped if refused.is_skipped else outcome.failed)[refused.name] = refused.error
    outcome.pending = {each.version_id: each.name for each in plan.waiting}
    return outcome


# --- uploads ---------------------------------------------------------------------------------------------------


def _upload(to: Connected, plan: Plan, outcome: Outcome) -> None:
    """One file that cannot be read fails by itself; a service that is away ends it all. Errors: `Unavailable`."""
    arrivals, principal = to.services.arrivals, to.principal
    total = len(plan.new) + len(plan.changed) + len(plan.again)
    with progress(total, "Uploading", "file") as bar:
        for file in plan.new:
            with _noting(file.name, outcome), file.path.open("rb") as source:
                added = arrivals.register(principal, outcome.base.id, file.name, source).document
                outcome.new.append(file.name)
                outcome.pending[added.latest.id] = file.name
            bar.update()
        for file, content in plan.changed:
            with _noting(file.name, outcome), file.path.open("rb") as source:
                changed = arrivals.replace(principal, content.document_id, source).document
                outcome.changed.append(file.name)
                outcome.pending[changed.latest.id] = file.name
            bar.update()
        for content in plan.again:
            with _noting(content.name, outcome):
                _try_again(to, content, outcome)
            bar.update()


def _try_again(to: Connected, content: Content, outcome: Outcome) -> None:
    """Queue a document again that failed or was cancelled; one that would fail as before keeps its reason."""
    if content.error and not content.error.retry_helps:
        outcome.failed[content.name] = content.error
        return
    with suppress(WrongState):  # somebody else was faster
        to.services.documents.retry(to.principal, content.document_id)
    outcome.tried_again.append(content.name)
    outcome.pending[content.version_id] = content.name


def _delete(to: Connected, missing: Sequence[Content], outcome: Outcome) -> None:
    for content in missing:
        with suppress(NotFound):  # somebody else was faster
            to.services.documents.delete(to.principal, content.document_id)
        outcome.deleted.append(content.name)
    outcome.missing = []


@contextmanager
def _noting(name: str, outcome: Outcome) -> Iterator[None]:
    """Note why this file failed, and go on with the next one. Errors: `Unavailable`."""
    try:
        yield
    except Unavailable:
        raise
    except KbError as error:
        outcome.failed[name] = error
    except OSError as error:
        outcome.failed[name] = FileNotReadable(name=name, detail=error.strerror or error)


# --- the workers -----------------------------------------------------------------------------------------------


def _wait(to: Connected, outcome: Outcome) -> None:
    """Until the workers have processed all files, or for a while there is none."""
    seen_at = time.monotonic()
    with progress(len(outcome.pending), "Processing", "file") as bar:
        while outcome.pending:
            if to.services.board.workers():
                seen_at = time.monotonic()
            elif time.monotonic() - seen_at > LONGEST_WITHOUT_WORKER:
                outcome.note = "No worker is alive. The files are processed once one runs; see zhiwen doctor."
                return
            before = len(outcome.pending)
            _collect(to, outcome)
            bar.update(before - len(outcome.pending))
            if outcome.pending:
                time.sleep(POLL_SECONDS)


def _collect(to: Connected, outcome: Outcome) -> None:
    """Take what has ended off the pending ones; what was deleted or replaced meanwhile has, too."""
    found = contents_of(to.services.database, to.principal, outcome.base.id, list(outcome.pending))
    still = {each.version_id: each.name for each in found if each.state.is_pending}
    for content in found:
        if content.state is VersionState.FAILED:
            outcome.failed[content.name] = content.error or KbError()
        elif content.state is VersionState.CANCELLED:
            outcome.failed[content.name] = Cancelled()
    outcome.pending = still


# --- the summary -----------------------------------------------------------------------------------------------


def _print(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print_json(_to_json(outcome))
        return
    done = [f"{len(outcome.new):,} new", f"{len(outcome.changed):,} changed", f"{outcome.unchanged:,} unchanged"]
    if outcome.tried_again:
        done.append(f"{len(outcome.tried_again):,} tried again")
    print(f"Knowledge base “{outcome.base.name}”: {', '.join(done)}")
    if outcome.deleted:
        print(f"Deleted: {count(len(outcome.deleted), 'document')} that the folder does not hold")
    if outcome.missing:
        print(f"Not in the folder: {count(len(outcome.missing), 'document')}, kept; --delete-missing deletes them")
    _print_reasons("Skipped", outcome.skipped)
    _print_reasons("Failed", outcome.failed)
    if outcome.pending:
        print(f"Not processed yet: {count(len(outcome.pending), 'file')}")
    if outcome.note:
        print(outcome.note)


def _print_reasons(title: str, reasons: Mapping[str, KbError]) -> None:
    if not reasons:
        return
    print(f"{title}: {count(len(reasons), 'file')}")
    for name, error in list(reasons.items())[:SHOWN]:
        print(f"  {name}: {fill(error.message, error.values)}")
    if len(reasons) > SHOWN:
        print(f"  and {len(reasons) - SHOWN:,} more; --json lists all")


def _to_json(outcome: Outcome) -> dict[str, object]:
    lists = {name: getattr(outcome, name) for name in ("new", "changed", "tried_again", "unchanged")}
    return {
        "knowledge_base": {"id": outcome.base.id, "name": outcome.base.name},
        **lists,
        "deleted": outcome.deleted,
        "missing": outcome.missing,
        "skipped": _reasons(outcome.skipped),
        "failed": _reasons(outcome.failed),
        "pending": sorted(outcome.pending.values()),
        "note": outcome.note,
    }


def _reasons(errors: Mapping[str, KbError]) -> list[dict[str, str]]:
    return [
        {"name": name, "code": error.code, "message": fill(error.message, error.values)}
        for name, error in errors.items()
    ]
