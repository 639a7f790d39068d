"""A team at work: `python -m benchmarks.load [--users 20 100] [--files 1000]`.

A whole installation with a login, embedded services and the built-in embedding model. Three people upload into
knowledge bases of their own: one nine tenths of the files, one the rest but one, and the third, when all these are in
the queue, a single note. Meanwhile so many users ask at once about a knowledge base that is shared with everybody: one
half in the pages, each over a websocket of its own (`benchmarks.tab`), the other half by programs over the HTTP API. A
model server in a process of its own sends 50 tokens a second, the first after 100 ms. Figures for each number of users:

errors            questions that failed, whose answer did not end or lacks a token, and files that are not ready
first_passage_ms  from sending the question until the page shows that passages were found, and offers them
first_token_ms    from sending the question until the first word arrives, on the page or in the program
small_user_wait_s from the upload of the single note until it is ready
rss_mb            peaks of the web process and of the worker with its children; a line each minute says what they take

Everything shares the machine's processors. The exit code is 1 if there is an error.
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
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx

from benchmarks.chat import model_server, new_question, wrong_tokens
from benchmarks.installation import Installation, ready, temporary_home
from benchmarks.measures import percentile
from benchmarks.memory import PeakMemory
from benchmarks.sessions import VALVE, VALVES, small_file
from benchmarks.tab import Tab, open_tab
from benchmarks.web import WebProcess, joined
from kb.access import GranteeKind, KeyScope, Permission
from kb.library.sharing import Grantee
from kb.models import KnowledgeBase, Mode
from tests.conftest import add_user
from tests.fakes.model_server import PACED, numbered_tokens

TOKENS = 200
ANSWER_SECONDS = 300.0
INGEST_SECONDS = 3600.0
POLL_SECONDS = 0.2
LOG_SECONDS = 60.0
PASSAGES = "passages found"  # by this the page offers them
NOTE = "# Note\n\nThe spare key of the boathouse hangs behind the clock.\n"


@dataclass(slots=True)
class Answer:
    """What one user saw of an answer."""

    question: str
    text: str = ""
    first_passage_ms: float | None = None
    first_token_ms: float | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class User:
    cookie: str
    key: str


def main() -> None:
    arguments = _arguments()
    figures: dict[str, dict[str, Any]] = {}
    for count in arguments.users:
        figures[str(count)] = measure(count, arguments.files)
        print(json.dumps({"users": count, **figures[str(count)]}), flush=True)
    print(json.dumps({"users": figures}))
    sys.exit(any(each["errors"] for each in figures.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--files", type=int, default=1000)
    return parser.parse_args()


def measure(count: int, files: int) -> dict[str, Any]:
    with temporary_home() as home, model_server() as base_url:
        web = WebProcess(home, OPENAI_BASE_URL=base_url, OPENAI_API_KEY="none", LLM_MODEL=PACED, AUTH="local")
        web.start()
        try:
            web.wait_for_services()
            with joined(web) as installation:
                base = _shared_base(installation)
                users = [_user(installation, web, number) for number in range(count)]
                asyncio.run(_ask_all(web, base, users[:2]))  # the first question loads modules and the model
                with _memory(web) as memory:
                    return _measure(installation, web, base, users, files, memory)
        finally:
            web.stop()


def _measure(
    installation: Installation, web: WebProcess, base: KnowledgeBase, users: list[User], files: int, memory: Memory
) -> dict[str, Any]:
    owners = [add_user(installation.services.database, f"owner {number}") for number in range(3)]
    large = files * 9 // 10
    ingesting = [
        Ingesting(Installation(installation.services, owner), f"Files of {number}", share)
        for number, (owner, share) in enumerate(zip(owners, (large, files - large - 1), strict=False))
    ]
    for each in ingesting:
        each.start()
    for each in ingesting:
        each.is_queued.wait()
    note = Ingesting(Installation(installation.services, owners[2]), "Note", 1, NOTE)
    note.start()
    answers = asyncio.run(_ask_all(web, base, users))
    note.join()
    for each in ingesting:
        each.join()
    problems = [f"{answer.question}: {problem}" for answer in answers for problem in _problems(answer)]
    problems += [f"{each.title}: {each.missing} files are not ready" for each in (*ingesting, note) if each.missing]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr, flush=True)
    return {
        "errors": len(problems),
        "first_passage_ms": _percentiles([answer.first_passage_ms for answer in answers]),
        "first_token_ms": _percentiles([answer.first_token_ms for answer in answers]),
        "small_user_wait_s": round(note.seconds, 1),
        "ingest_s": round(max(each.seconds for each in ingesting), 1),
        "rss_mb": memory.peaks,
    }


# --- who is there ---


def _shared_base(installation: Installation) -> KnowledgeBase:
    base = installation.create_knowledge_base("Valves")
    installation.upload(base.id, [(f"valve-{n}.md", BytesIO(VALVE.format(n=n).encode())) for n in range(1, VALVES + 1)])
    assert installation.wait_until_done(base.id, INGEST_SECONDS)
    everybody = Grantee(GranteeKind.EVERYBODY)
    installation.services.sharing.grant(installation.principal, base.id, everybody, Permission.VIEW)
    return base


def _user(installation: Installation, web: WebProcess, number: int) -> User:
    services = installation.services
    principal = add_user(services.database, f"user {number}")
    with services.database.write() as connection:
        token = services.accounts.sessions.begin(connection, principal)
    _key, secret = services.api_keys.create(principal, "Program", [KeyScope.ASK])
    return User(f"zhiwen_session_{web.port}={token}", secret.get_secret_value())


class Ingesting(threading.Thread):
    """Uploads files into a knowledge base of its own, and waits until they are done."""

    def __init__(self, installation: Installation, title: str, files: int, text: str = "") -> None:
        super().__init__(name=title, daemon=True)
        self.title = title
        self.is_queued = threading.Event()
        self.seconds = 0.0
        self.missing = files
        self._installation = installation
        self._base = installation.create_knowledge_base(title)
        self._files = files
        self._text = text

    def run(self) -> None:
        began = time.perf_counter()
        chance = random.Random(self.title)
        for number in range(self._files):
            name = f"{self.title} {number}.md"
            content = self._text or small_file(name, chance)
            self._installation.upload(self._base.id, [(name, BytesIO(content.encode()))])
        self.is_queued.set()
        self._installation.wait_until_done(self._base.id, INGEST_SECONDS, POLL_SECONDS)
        self.seconds = time.perf_counter() - began
        documents = self._installation.list_documents(self._base.id)
        self.missing = self._files - len(ready(documents))


# --- the questions ---


async def _ask_all(web: WebProcess, base: KnowledgeBase, users: list[User]) -> list[Answer]:
    """Every other user in a page, the others by programs."""
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(
                open_tab(web.url, user.cookie, mode=Mode.KNOWLEDGE, knowledge_base=str(base.id))
            )
            for user in users[::2]
        ]
        client = await stack.enter_async_context(
            httpx.AsyncClient(limits=limits, timeout=ANSWER_SECONDS, trust_env=False)
        )
        in_pages = [_ask_in_page(tab) for tab in tabs]
        by_programs = [_ask_by_program(client, web, base, user) for user in users[1::2]]
        return list(await asyncio.gather(*in_pages, *by_programs))


async def _ask_in_page(tab: Tab) -> Answer:
    answer = Answer(new_question(TOKENS))
    began = await tab.ask(answer.question, numbered_tokens(answer.question)[0].strip(), PASSAGES)
    if not await tab.wait_until(lambda shown: shown.has_ended, ANSWER_SECONDS):
        answer.problems.append("the answer did not end")
    shown = tab.shown
    answer.problems += dict.fromkeys(shown.errors)
    answer.text = shown.answer
    answer.first_passage_ms = (shown.passages_at - began) * 1000 if shown.passages_at else None
    answer.first_token_ms = (shown.updates[0] - began) * 1000 if shown.updates else None
    return answer


async def _ask_by_program(client: httpx.AsyncClient, web: WebProcess, base: KnowledgeBase, user: User) -> Answer:
    answer = Answer(new_question(TOKENS))
    headers = {"Authorization": f"Bearer {user.key}"}
    address = f"{web.url}api/v1"
    began = time.perf_counter()
    try:
        wanted = {"question": answer.question, "knowledge_base_ids": [str(base.id)]}
        task = (await client.post(f"{address}/generate", json=wanted, headers=headers)).raise_for_status().json()
        while task["state"] == "streaming" and time.perf_counter() - began < ANSWER_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            reply = await client.get(f"{address}/tasks/{task['id']}", headers=headers)
            task = reply.raise_for_status().json()
            if task["text"] and answer.first_token_ms is None:
                answer.first_token_ms = (time.perf_counter() - began) * 1000
    except httpx.HTTPError as error:
        answer.problems.append(f"{type(error).__name__}: {error}")
        return answer
    answer.text = task["text"]
    if task["state"] != "done":
        answer.problems.append(f"{task['state']} {task['reason']}")
    return answer


def _problems(answer: Answer) -> Iterator[str]:
    yield from answer.problems
    if not answer.problems and (lost := wrong_tokens(numbered_tokens(answer.question), answer.text)):
        yield f"{lost} tokens are wrong"


def _percentiles(figures: list[float | None]) -> dict[str, int]:
    known = [figure for figure in figures if figure is not None]
    return {"p50": round(statistics.median(known)), "p95": round(percentile(known, 0.95))} if known else {}


# --- memory ---


class Memory:
    """The web process's and the worker's, sampled."""

    def __init__(self, web: WebProcess) -> None:
        self.web = PeakMemory({web.pid})
        worker = web.service_pid("worker")
        assert worker
        self.worker = PeakMemory({worker})

    @property
    def now(self) -> dict[str, int]:
        return {"web": self.web.now_mb, "worker": self.worker.now_mb}

    @property
    def peaks(self) -> dict[str, int]:
        return {"web": self.web.own_mb, "worker": self.worker.own_mb + self.worker.children_mb}


@contextmanager
def _memory(web: WebProcess) -> Iterator[Memory]:
    memory, is_over = Memory(web), threading.Event()

    def log() -> None:
        began = time.monotonic()
        while not is_over.wait(LOG_SECONDS):
            print(f"rss_mb after {time.monotonic() - began:.0f} s", memory.now, flush=True)

    logging = threading.Thread(target=log, daemon=True)
    with memory.web, memory.worker:
        logging.start()
        try:
            yield memory
        finally:
            is_over.set()
            logging.join()


if __name__ == "__main__":
    main()
