"""Many people who ask while files are ingested: `python -m benchmarks.sessions [--sessions 20 60] [--files 200]`.

A whole installation with embedded services and the built-in embedding model, one knowledge base with 20 ready files.
So many tabs are open, each with a websocket of its own (`benchmarks.tab`). Then small files are uploaded, and as soon
as the first of them is ready all tabs ask in knowledge-base mode at once. A model server in a process of its own sends
50 tokens a second, the first after 100 ms. Figures for each number of tabs:

errors              tabs that showed an error or a warning, were closed, or whose answer did not end; texts on stderr
lost                tokens that are missing, doubled, out of order or of another answer, on the page or in SQL
first_token_*_ms    from sending the question until the first word of its answer arrives in the tab's messages
gap_p95_ms          between two updates of an answer
search_p50_ms       what the search itself took of the first token
web_rss_mb          the web process's peak
files_ready         of the uploaded ones, in the end
pending             of the uploaded ones, files that were not ready when the last answer began
ingest_s            from the first upload until all files are done

Tabs, model server, services, workers and web process share the machine's processors. The exit code is 1 if anything
was lost or failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import parse_qs
from uuid import UUID

from benchmarks.chat import model_server, new_question, wrong_tokens
from benchmarks.installation import Installation, ready, report_failures, temporary_home
from benchmarks.measures import percentile
from benchmarks.memory import PeakMemory
from benchmarks.tab import Shown, Tab, open_tab
from benchmarks.web import WebProcess, joined
from kb.models import KnowledgeBase, Mode, VersionState
from tests.fakes.model_server import PACED, numbered_tokens

TOKENS = 200
VALVES = 20
PARAGRAPHS = 3
ANSWER_SECONDS = 120.0
INGEST_SECONDS = 300.0
POLL_SECONDS = 0.1
VALVE = "# Valve {n}\n\nValve {n} is checked each spring before the first delivery. Its pressure stays below {n} bar.\n"

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one tab saw of its question."""

    question: str
    began: float
    shown: Shown

    @property
    def first_token_ms(self) -> float | None:
        return (self.shown.updates[0] - self.began) * 1000 if self.shown.updates else None


def main() -> None:
    arguments = _arguments()
    figures: dict[str, Figures] = {}
    with temporary_home() as home, model_server() as base_url:
        web = WebProcess(home, OPENAI_BASE_URL=base_url, OPENAI_API_KEY="none", LLM_MODEL=PACED)
        web.start()
        try:
            web.wait_for_services()
            with joined(web) as installation:
                base = _base_of_valves(installation)
                asyncio.run(warm_up(web, base))
                for count in arguments.sessions:
                    figures[str(count)] = measure(web, installation, base, count, arguments.files)
                    print(count, figures[str(count)], flush=True)
        finally:
            web.stop()
    print(json.dumps({"sessions": figures}))
    is_sound = all(
        not each["errors"] and not each["lost"] and each["files_ready"] == arguments.files for each in figures.values()
    )
    sys.exit(0 if is_sound else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--files", type=int, default=200)
    return parser.parse_args()


def _base_of_valves(installation: Installation) -> KnowledgeBase:
    base = installation.create_knowledge_base("Valves")
    installation.upload(base.id, [(f"valve-{n}.md", BytesIO(VALVE.format(n=n).encode())) for n in range(1, VALVES + 1)])
    assert installation.wait_until_done(base.id, INGEST_SECONDS)
    return base


async def warm_up(web: WebProcess, base: KnowledgeBase) -> None:
    """The first question of a process loads modules and the model."""
    async with open_tab(web.url, mode=Mode.KNOWLEDGE, knowledge_base=str(base.id)) as tab:
        await ask(tab)


def measure(web: WebProcess, installation: Installation, base: KnowledgeBase, count: int, files: int) -> Figures:
    with PeakMemory({web.pid}) as memory:
        uploading = Uploading(installation, base.id, f"{count}-tabs", files)
        asked = asyncio.run(ask_all(web, base, count, uploading))
        pending = uploading.pending_at(max((each.shown.updates[0] for each in asked if each.shown.updates), default=0))
        uploading.join()
    documents = [document for document in installation.list_documents(base.id) if document.name in uploading.names]
    report_failures(documents)
    saved = {each.question: _saved(installation, each) for each in asked}
    failures = [text for each in asked if (text := failure(each))]
    print(*failures, sep="\n", end="\n" if failures else "", file=sys.stderr, flush=True)
    searches = [milliseconds for _, milliseconds in saved.values() if milliseconds]
    return {
        "errors": len(failures),
        "lost": sum(lost_tokens(each, saved[each.question][0]) for each in asked),
        **times(asked),
        "search_p50_ms": round(statistics.median(searches)) if searches else 0,
        "web_rss_mb": memory.own_mb,
        "files_ready": len(ready(documents)),
        "pending": pending,
        "ingest_s": round(uploading.seconds, 1),
    }


# --- the files ---


class Uploading(threading.Thread):
    """Uploads small files, one after another, and waits until they are done."""

    def __init__(self, installation: Installation, knowledge_base_id: UUID, title: str, files: int) -> None:
        super().__init__(name="uploading", daemon=True)
        self.names = {f"{title}-{number}.md": number for number in range(files)}
        self.first_is_ready = threading.Event()
        self.seconds = 0.0
        self._installation = installation
        self._knowledge_base_id = knowledge_base_id
        self._pending: list[tuple[float, int]] = []  # how many are not ready, at what time

    def run(self) -> None:
        began = time.perf_counter()
        before = self._count_ready()
        watch = threading.Thread(target=self._watch, args=(before,), daemon=True)
        watch.start()
        chance = random.Random(min(self.names, default=""))
        for name in self.names:
            self._installation.upload(self._knowledge_base_id, [(name, BytesIO(small_file(name, chance).encode()))])
        watch.join()
        self.seconds = time.perf_counter() - began

    def pending_at(self, moment: float) -> int:
        """How many were not ready at that time, of `time.perf_counter`."""
        return next((count for when, count in reversed(self._pending) if when <= moment), len(self.names))

    def _watch(self, before: int) -> None:
        deadline = time.monotonic() + INGEST_SECONDS
        while time.monotonic() < deadline:
            pending = len(self.names) - (self._count_ready() - before)
            self._pending.append((time.perf_counter(), pending))
            if pending < len(self.names):
                self.first_is_ready.set()
            if not pending:
                return
            time.sleep(POLL_SECONDS)

    def _count_ready(self) -> int:
        installation = self._installation
        counts = installation.services.documents.count_by_state(installation.principal, self._knowledge_base_id)
        return counts.get(VersionState.READY, 0)


def small_file(title: str, chance: random.Random) -> str:
    """Markdown of three paragraphs."""
    words = ("harbour", "ledger", "winter", "keeper", "signal", "barrel", "lantern", "canal", "report", "seal")
    paragraphs = [
        " ".join(chance.choice(words) for _ in range(chance.randint(60, 160))).capitalize() + "."
        for _ in range(PARAGRAPHS)
    ]
    return "\n\n".join([f"# {title}", *paragraphs])


# --- the tabs ---


async def ask_all(web: WebProcess, base: KnowledgeBase, count: int, uploading: Uploading) -> list[Asked]:
    async with AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(open_tab(web.url, mode=Mode.KNOWLEDGE, knowledge_base=str(base.id)))
            for _ in range(count)
        ]
        uploading.start()
        await asyncio.to_thread(uploading.first_is_ready.wait, INGEST_SECONDS)
        return await asyncio.gather(*(ask(tab) for tab in tabs))


async def ask(tab: Tab) -> Asked:
    question = new_question(TOKENS)
    began = await tab.ask(question, numbered_tokens(question)[0].strip())
    await tab.wait_until(lambda shown: shown.has_ended, ANSWER_SECONDS)
    return Asked(question, began, tab.shown)


# --- the figures ---


def failure(asked: Asked) -> str:
    """What went wrong in a tab; empty if nothing did."""
    problems = list(dict.fromkeys(asked.shown.errors))
    if not asked.shown.has_ended:
        problems.append(f"the answer did not end; {len(asked.shown.answer)} characters have arrived")
    return f"{asked.question}: {'; '.join(problems)}" if problems else ""


def lost_tokens(asked: Asked, saved: str) -> int:
    """How many are wrong on the page and in SQL, which has `saved`."""
    return sum(wrong_tokens(numbered_tokens(asked.question), text) for text in (asked.shown.answer, saved))


def times(asked: Sequence[Asked]) -> Figures:
    """In milliseconds; of first tokens that came."""
    first = [each.first_token_ms for each in asked if each.first_token_ms is not None]
    gaps = [gap * 1000 for each in asked for gap in each.shown.gaps]
    return {
        "first_token_p50_ms": round(percentile(first, 0.5)),
        "first_token_p95_ms": round(percentile(first, 0.95)),
        "gap_p95_ms": round(percentile(gaps, 0.95)),
    }


def _saved(installation: Installation, asked: Asked) -> tuple[str, float]:
    """The answer in SQL, and the milliseconds of its search."""
    services, principal = installation.services, installation.principal
    conversation = parse_qs(asked.shown.query).get("conversation")
    if not conversation:
        return "", 0.0
    answer = services.messages.shown(principal, UUID(conversation[0]))[-1]
    whole = services.messages.get(principal, answer.id)
    return whole.content, whole.retrieval.trace.milliseconds if whole.retrieval else 0.0


if __name__ == "__main__":
    main()
