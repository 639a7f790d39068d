"""A large document: `python -m benchmarks.large` (a PDF of 1,000 pages, and a text as long).

How much memory its ingestion takes, how soon it stops once it is cancelled, and how many of its chunks are embedded
again after its worker is killed in the middle (`redone_chunks`; what `kb.ranges` allows is a range). `reread_seconds`:
from the kill until a chunk that was not stored before is.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.installation import Installation, temporary_installation
from benchmarks.memory import PeakMemory
from benchmarks.samples import long_pdf, long_text
from kb.models import Document, Version, VersionState

MOMENT_SECONDS = 600.0
POLL_SECONDS = 0.02
MANY_CHUNKS = 100  # stored: the document is in the middle of a range


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--pages", type=int, default=1_000)
    pages = parser.parse_args().pages
    pdf, text = long_pdf(pages), long_text(pages)
    with temporary_installation() as installation:
        cancels = {
            "parsing": cancel(installation, "large.pdf", pdf, lambda version: version.state is VersionState.PARSING),
            "embedding": cancel(installation, "large.pdf", pdf, lambda version: version.stored_chunks > 0),
            "text": cancel(installation, "large.txt", text, lambda version: version.stored_chunks > 0),
        }
        print(json.dumps({"cancel_seconds": cancels}), flush=True)
        print(json.dumps({"pages": pages, "cancel_seconds": cancels, **ingest(installation, pdf)}))


def cancel(installation: Installation, name: str, content: bytes, is_moment: Callable[[Version], bool]) -> float:
    """Seconds from a cancel, at the moment, until ingestion has stopped."""
    base = installation.create_knowledge_base(f"cancelled {name}")
    try:
        (document,) = installation.upload(base.id, [(name, io.BytesIO(content))])
        _wait(installation, document, is_moment)
        began = time.monotonic()
        installation.services.documents.cancel(installation.principal, document.id)
        _wait(installation, document, lambda version: version.state is VersionState.CANCELLED)
        return round(time.monotonic() - began, 2)
    finally:
        installation.clear(base)


def ingest(installation: Installation, content: bytes) -> dict[str, Any]:
    """Ingest the PDF, with a worker that is killed in the middle and another that ends it."""
    base = installation.create_knowledge_base("killed")
    (document,) = installation.upload(base.id, [("large.pdf", io.BytesIO(content))])
    with PeakMemory(_workers(installation)) as before:
        version = _wait(installation, document, lambda version: version.stored_chunks >= MANY_CHUNKS)
    for pid in _workers(installation):
        os.kill(pid, signal.SIGKILL)
    killed, stored, fewest = time.monotonic(), version.stored_chunks, version.stored_chunks
    reread = 0.0
    _wait(installation, document, lambda version: version.state is VersionState.PARSING)
    with PeakMemory(_workers(installation)) as after:
        while True:
            version = installation.services.documents.get(installation.principal, document.id).latest
            fewest = min(fewest, version.stored_chunks)
            if not reread and version.stored_chunks > stored:
                reread = time.monotonic() - killed
            if not version.state.is_pending:
                break
            time.sleep(POLL_SECONDS)
    return {
        "state": version.state,
        "chunks": version.chunks,
        "stored_at_kill": stored,
        "redone_chunks": stored - fewest,
        "reread_seconds": round(reread, 1),
        "seconds": round(time.monotonic() - killed, 1),
        "peak_rss_mb": max(before.own_mb, after.own_mb),
        "peak_rss_parsers_mb": max(before.children_mb, after.children_mb),
    }


def _workers(installation: Installation) -> set[int]:
    return {worker.pid for worker in installation.services.board.workers()}


def _wait(installation: Installation, document: Document, is_moment: Callable[[Version], bool]) -> Version:
    deadline = time.monotonic() + MOMENT_SECONDS
    while time.monotonic() < deadline:
        version = installation.services.documents.get(installation.principal, document.id).latest
        if is_moment(version):
            return version
        if version.state is VersionState.FAILED:
            sys.exit(f"“{document.name}” has failed: {version.error}")
        time.sleep(POLL_SECONDS)
    sys.exit(f"“{document.name}” is {version.state} after {MOMENT_SECONDS:g} s.")


if __name__ == "__main__":
    main()
