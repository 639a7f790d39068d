"""What the product adds to a model's own time: `python -m benchmarks.chat [--rounds N] [--concurrent 1 20 100]`.

A model server in a process of its own sends 50 tokens a second, the first after 100 ms. The bare `openai` client and
the product ask it by turns. All figures are milliseconds:

added_first_token_ms   from the question to the first token, less the bare client's median. Modes `llm` and `knowledge`:
                       from before the question is stored until the token is in the Redis stream. `retrieval` is what
                       the search itself took, which is no part of `knowledge`. `painted`: from Enter until the token
                       is painted in a browser, in mode `llm`; the slower of a first question and a follow-up.
concurrent             that many answers at once, each read as a page reads it: tokens that were lost, doubled, out of
                       order or of another answer, in the stream or in SQL (`lost`), and the time between two updates

The exit code is 1 if a figure misses its bar.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import openai
from playwright.sync_api import Browser, Page

from benchmarks.installation import ROOT, Installation, connected, temporary_home, wait_for_worker
from benchmarks.measures import percentile
from benchmarks.pages import HAS_TEXT, TIMEOUT_MS, open_browser, time_until
from benchmarks.startup import QUESTION
from benchmarks.web import WebProcess
from kb.answers import Answers
from kb.config import load_settings
from kb.models import Mode, Scope
from kb.redis import answer_key
from kb.services import build_answers
from pages.ui.running import POLL_SECONDS
from tests.fakes.model_server import PACED, numbered_tokens

BRIEF_TOKENS, LONG_TOKENS = 10, 400
BARS = {"llm": 60, "knowledge": 60, "painted": 250}
GAP_BAR, GAP_BAR_AT = 400, 20
ANSWER_SECONDS = 120.0
TEXT = "# Valve {n}\n\nValve {n} is checked each spring before the first delivery. Its pressure stays below {n} bar.\n"

_numbers = count(1)


def main() -> None:
    arguments = _arguments()
    with temporary_home() as home, model_server() as base_url:
        web = WebProcess(
            home,
            EMBEDDING_MODEL="openai:fake-embedding",
            OPENAI_BASE_URL=base_url,
            OPENAI_API_KEY="none",
            LLM_MODEL=PACED,
        )
        web.start()
        try:
            web.wait_for_services()
            bare = BareClient(base_url)
            with product(web, base_url) as asker:
                added = measure_stream(asker, bare, arguments.rounds)
                print(added, flush=True)
                concurrent = {}
                for answers in arguments.concurrent:
                    concurrent[str(answers)] = measure_concurrent(asker, answers)
                    print(answers, concurrent[str(answers)], flush=True)
            with open_browser() as browser:
                added["painted"] = measure_painted(browser, web.url, bare, arguments.rounds)
        finally:
            web.stop()
    print(json.dumps({"added_first_token_ms": added, "concurrent": concurrent}))
    is_late = any(added[name] > bar for name, bar in BARS.items())
    is_slow = concurrent.get(str(GAP_BAR_AT), {}).get("gap_p95_ms", 0) > GAP_BAR
    sys.exit(1 if is_late or is_slow or any(figures["lost"] for figures in concurrent.values()) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 20, 100])
    return parser.parse_args()


# --- who is asked, and who asks ---


@contextmanager
def model_server() -> Iterator[str]:
    """The address of a model server in a process of its own."""
    command = (sys.executable, "-m", "tests.fakes.model_server")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class BareClient:
    """The `openai` client with nothing around it."""

    def __init__(self, base_url: str) -> None:
        self._client = openai.OpenAI(base_url=base_url, api_key="none")

    def first_token_ms(self) -> float:
        began = time.perf_counter()
        first = 0.0
        with self._client.chat.completions.create(
            model=PACED, messages=[{"role": "user", "content": new_question()}], stream=True
        ) as events:
            for event in events:
                if not first and event.choices and event.choices[0].delta.content:
                    first = time.perf_counter()
        return (first - began) * 1000


@dataclass(frozen=True, slots=True)
class Asker:
    """A user of the product, with a knowledge base."""

    installation: Installation
    answers: Answers
    knowledge_base_id: UUID

    def ask(self, question: str, mode: Mode) -> tuple[UUID, UUID]:
        """Ask in a new conversation, as the chat page does. Returns the answer's id, and its run's."""
        services, principal = self.installation.services, self.installation.principal
        scope = Scope.of(self.knowledge_base_id) if mode is Mode.KNOWLEDGE else Scope()
        conversation = services.conversations.create(principal, question, mode, scope)
        message = services.messages.ask(principal, conversation.id, question)
        self.answers.start(principal, message.id)
        assert message.run_id
        return message.id, message.run_id


@contextmanager
def product(web: WebProcess, base_url: str) -> Iterator[Asker]:
    """The product's core in this process, on the services of `web`."""
    state = web.run_state
    settings = load_settings(
        _env_file=None,
        zhiwen_home=web.home,
        milvus_uri=state.milvus_uri,
        redis_url=state.redis_url,
        database_url="",
        embedding_model="openai:fake-embedding",
        openai_base_url=base_url,
        openai_api_key="none",
        llm_model=PACED,
    )
    with connected(settings) as installation:
        wait_for_worker(installation)
        base = installation.create_knowledge_base("Valves")
        installation.upload(base.id, [(f"valve-{n}.md", BytesIO(TEXT.format(n=n).encode())) for n in range(1, 21)])
        assert installation.wait_until_done(base.id, 120)
        answers = build_answers(installation.services)
        try:
            yield Asker(installation, answers, base.id)
        finally:
            answers.close()


def new_question(tokens: int = BRIEF_TOKENS) -> str:
    """A question like no other, whose answer has so many tokens."""
    number = next(_numbers)
    return f"How is valve {number % 20 + 1} checked, and what pressure does it bear? q{number}x{tokens}"


# --- the first token ---


def measure_stream(asker: Asker, bare: BareClient, rounds: int) -> dict[str, float]:
    alone, talked, looked_up, searched = [], [], [], []
    for turn in range(rounds + 1):
        figures = bare.first_token_ms(), first_in_stream(asker, Mode.LLM), first_in_stream(asker, Mode.KNOWLEDGE)
        if turn:  # the first one loads modules and connects
            alone.append(figures[0])
            talked.append(figures[1][0])
            looked_up.append(figures[2][0] - figures[2][1])
            searched.append(figures[2][1])
    usual = statistics.median(alone)
    print(f"bare client: {usual:.1f} ms, {min(alone):.1f} to {max(alone):.1f}", flush=True)
    return {
        "llm": round(statistics.median(talked) - usual, 1),
        "knowledge": round(statistics.median(looked_up) - usual, 1),
        "retrieval": round(statistics.median(searched), 1),
    }


def first_in_stream(asker: Asker, mode: Mode) -> tuple[float, float]:
    """Milliseconds until the first token is in the stream, and those of them that the search took."""
    services, principal = asker.installation.services, asker.installation.principal
    began = time.perf_counter()
    message_id, run_id = asker.ask(new_question(), mode)
    stream, position, first = answer_key(run_id, "stream"), "0-0", 0.0
    while True:
        replies: Any = services.redis.xread({stream: position}, block=int(ANSWER_SECONDS * 1000))
        entries = replies[0][1]
        position = entries[-1][0]
        for _, fields in entries:
            if "text" in fields and not first:
                first = (time.perf_counter() - began) * 1000
            if "end" in fields:
                found = services.messages.get(principal, message_id)
                return first, found.retrieval.trace.milliseconds if found.retrieval else 0.0


def measure_painted(browser: Browser, url: str, bare: BareClient, rounds: int) -> float:
    alone: list[float] = []
    painted: dict[str, list[float]] = {"first question": [], "follow-up": []}
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{url}?mode=llm")
    page.locator(QUESTION).wait_for()
    for turn in range(rounds + 1):
        if turn:
            page.click(".st-key-new_conversation button")
            page.locator(".st-key-welcome").wait_for()
        for figures in painted.values():
            milliseconds = first_on_page(page)
            without = bare.first_token_ms()
            if turn:
                figures.append(milliseconds)
                alone.append(without)
    page.close()
    usual = statistics.median(alone)
    added = {name: round(statistics.median(figures) - usual, 1) for name, figures in painted.items()}
    print(f"painted: bare client {usual:.1f} ms, added {added}", flush=True)
    return max(added.values())


def first_on_page(page: Page) -> float:
    """Milliseconds from Enter until the first token is painted."""
    question = new_question()
    page.fill(QUESTION, question)
    first = numbered_tokens(question)[0].strip()
    milliseconds = time_until(page, HAS_TEXT, first, lambda: page.press(QUESTION, "Enter"))
    page.wait_for_selector(".st-key-stop", state="detached")
    return milliseconds


# --- many answers at once ---


@dataclass(slots=True)
class Reader:
    """What a page has seen of an answer."""

    text: str = ""
    updates: list[float] = field(default_factory=list)
    saved: str = ""

    def read(self, asker: Asker, question: str, together: threading.Barrier) -> None:
        services, principal = asker.installation.services, asker.installation.principal
        together.wait()
        message_id, run_id = asker.ask(question, Mode.LLM)
        position, has_ended, deadline = "0-0", False, time.monotonic() + ANSWER_SECONDS
        while not has_ended and time.monotonic() < deadline:
            update = asker.answers.read(principal, run_id, position)
            self.text, position, has_ended = self.text + update.text, update.position, update.ended
            if update.text:
                self.updates.append(time.perf_counter())
            time.sleep(POLL_SECONDS)
        self.saved = services.messages.get(principal, message_id).content


def measure_concurrent(asker: Asker, answers: int) -> dict[str, float]:
    questions = [new_question(LONG_TOKENS) for _ in range(answers)]
    readers = [Reader() for _ in questions]
    together = threading.Barrier(answers)
    with ThreadPoolExecutor(answers) as pool:
        for running in [
            pool.submit(reader.read, asker, question, together)
            for reader, question in zip(readers, questions, strict=True)
        ]:
            running.result()
    lost = sum(
        wrong_tokens(numbered_tokens(question), text)
        for reader, question in zip(readers, questions, strict=True)
        for text in (reader.text, reader.saved)
    )
    gaps = [(later - earlier) * 1000 for reader in readers for earlier, later in pairwise(reader.updates)]
    return {"lost": lost, "gap_p95_ms": round(percentile(gaps, 0.95))}


def wrong_tokens(sent: Sequence[str], text: str) -> int:
    """How many of the tokens are missing, doubled, out of order, or of another answer."""
    wanted, arrived = [token.strip() for token in sent], text.split()
    if wanted == arrived:
        return 0
    missing, strange = Counter(wanted) - Counter(arrived), Counter(arrived) - Counter(wanted)
    return (missing + strange).total() or sum(a != b for a, b in zip(wanted, arrived, strict=True))


if __name__ == "__main__":
    main()
