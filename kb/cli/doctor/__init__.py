"""`zhiwen doctor`: checks the installation, part by part, and says what to do."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

from kb.cli.connecting import OpenQueue, prepare_process
from kb.cli.doctor.finding import Finding, Mark
from kb.cli.doctor.installation import check_home, check_packages, check_python, check_settings
from kb.cli.doctor.models import check_models
from kb.cli.doctor.services import (
    check_database,
    check_redis_and_milvus,
    check_running,
    check_work,
    open_database,
)
from kb.cli.doctor.tracing import check_tracing
from kb.cli.printing import print_json
from kb.config import Settings, load_settings
from kb.database import HEAD, Database
from kb.errors import KbError
from kb.local.running import running

DETAIL_COLUMN = 25


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    findings = []
    for finding in check_all():
        findings.append(finding)
        if not asked.json:
            _print(finding)
    marks = Counter(finding.mark for finding in findings)
    is_well = not marks[Mark.FAILED]
    if asked.json:
        print_json({"ok": is_well, "checks": [asdict(finding) for finding in findings]})
    else:
        print(f"\n{marks[Mark.OK]} ok, {marks[Mark.WARNING]} to look at, {marks[Mark.FAILED]} failed")
    return int(not is_well)


def check_all() -> Iterator[Finding]:
    """What cannot be checked because of an earlier failure is left out."""
    yield check_python()
    yield from check_packages()
    of_settings = list(check_settings())
    yield from of_settings
    if any(finding.mark is Mark.FAILED for finding in of_settings):
        return
    settings = load_settings()
    prepare_process(settings)
    yield from check_home(settings)
    yield from _check_what_runs(settings)


def _check_what_runs(settings: Settings) -> Iterator[Finding]:
    of_running = check_running(settings)
    yield of_running
    database = open_database(settings)
    yield check_database(settings, database)
    usable = database if database and _has_tables(database) else None
    if of_running.mark is Mark.OK:
        yield from check_redis_and_milvus(running(settings))
        if usable:
            yield from check_work(settings, usable)
    yield from check_models(settings, usable)
    yield from check_tracing()
    if database:
        database.close()


def _has_tables(database: Database) -> bool:
    with suppress(KbError):
        return database.revision() == HEAD
    return False


def _print(finding: Finding) -> None:
    print(f"{finding.mark:<8} {finding.check:<15} {finding.detail}", flush=True)
    if finding.remedy:
        print(f"{'':{DETAIL_COLUMN}}{finding.remedy}", flush=True)
