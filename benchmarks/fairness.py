"""What large files cost others: `python -m benchmarks.fairness`.

note_s  three texts of 200 MB are uploaded, and once they are worked on, a note of one line by the same user into
        another knowledge base: seconds from its upload until it is ready (bar: 10)
web_mb  15 files of 100 MB are sent at once to the route for uploads: by how much the web process grows (bar: 100)

A whole installation with embedded services and the built-in embedding model. The exit code is 1 over a bar.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import psutil

from benchmarks.installation import Installation, ready, temporary_home
from benchmarks.memory import MB, PeakMemory
from benchmarks.samples import long_text
from benchmarks.web import WebProcess, joined, wait_until
from kb.access.tickets import Action
from kb.models import KnowledgeBase

TEXTS, TEXT_MB = 3, 200
FILES, FILE_MB = 15, 100
NOTE_BAR_SECONDS = 10.0
WEB_BAR_MB = 100
MOMENT_SECONDS = 600.0
SAMPLE_PAGES = 100
NOTE = b"The spare key of the boathouse hangs behind the clock.\n"


def main() -> None:
    with temporary_home() as home:
        # The texts have more than a document may have, and would fail while the note waits.
        web = WebProcess(home, MAX_CHUNKS_PER_DOCUMENT="10000000")
        web.start()
        try:
            web.wait_for_services()
            with joined(web) as installation:
                note_seconds = measure_note(installation, home)
                print(json.dumps({"note_s": note_seconds}), flush=True)
                web_mb = measure_web(web, installation)
        finally:
            web.stop()
    print(json.dumps({"note_s": note_seconds, "web_mb": web_mb}))
    sys.exit(note_seconds > NOTE_BAR_SECONDS or web_mb > WEB_BAR_MB)


def measure_note(installation: Installation, folder: Path) -> float:
    """Seconds until the note is ready, while the texts are worked on."""
    large, small = (installation.create_knowledge_base(name) for name in ("Large", "Small"))
    text = folder / "text"
    with text.open("wb") as file:
        file.writelines(_blocks("text", TEXT_MB))
    for number in range(TEXTS):
        with text.open("rb") as content:
            installation.upload(large.id, [(f"text {number}.txt", content)])
    wait_until(lambda: _are_worked_on(installation, large), MOMENT_SECONDS, "no text was worked on")
    began = time.monotonic()
    installation.upload(small.id, [("note.md", BytesIO(NOTE))])
    is_done = installation.wait_until_done(small.id, MOMENT_SECONDS, poll_seconds=0.05)
    seconds = time.monotonic() - began
    if not is_done or not ready(installation.list_documents(small.id)):
        sys.exit("The note is not ready.")
    if not _are_worked_on(installation, large):
        sys.exit("The texts were done before the note.")
    installation.services.knowledge_bases.delete(installation.principal, large.id)
    return round(seconds, 1)


def _are_worked_on(installation: Installation, base: KnowledgeBase) -> bool:
    return any(document.latest.state.is_running for document in installation.list_documents(base.id))


def measure_web(web: WebProcess, installation: Installation) -> int:
    """By how many MB the web process grows while files are sent to it."""
    base = installation.create_knowledge_base("Sent")
    send(web, installation, base, "first.txt", 1)  # which loads what all need
    before = psutil.Process(web.pid).memory_info().rss
    names = [f"file {number}.txt" for number in range(FILES)]
    with PeakMemory({web.pid}) as memory, ThreadPoolExecutor(FILES) as pool:
        list(pool.map(lambda name: send(web, installation, base, name, FILE_MB), names))
    if len(installation.list_documents(base.id)) != FILES + 1:
        sys.exit("Files are missing.")
    return memory.own_mb - before // MB


def send(web: WebProcess, installation: Installation, base: KnowledgeBase, name: str, size_mb: int) -> None:
    """As the component on the page does."""
    ticket = installation.services.tickets.issue(Action.UPLOAD, installation.principal, base.id)
    headers = {"X-Ticket": ticket, "Content-Length": str(size_mb * MB)}
    address = f"{web.url}api/uploads/{base.id}"
    reply = httpx.put(
        address, params={"name": name}, headers=headers, content=_blocks(name, size_mb), timeout=MOMENT_SECONDS
    )
    reply.raise_for_status()


def _blocks(name: str, size_mb: int) -> Iterator[bytes]:
    """So many MB of text."""
    text = f"{name}\n".encode() + long_text(SAMPLE_PAGES)
    block = (text * (MB // len(text) + 1))[:MB]
    for _ in range(size_mb):
        yield block


if __name__ == "__main__":
    main()
