"""How long until the first page, and what an idle web process weighs: `python -m benchmarks.startup [--runs N]`.

Measures the time from `streamlit run webui_st.py`, on a data folder that is set up, to the chat's input field in a
browser; then the resident memory of the web process after ten idle seconds with that page. Reports medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil
from playwright.sync_api import Browser, sync_playwright

from benchmarks.installation import temporary_home
from benchmarks.memory import MB
from benchmarks.web import WebProcess, wait_until

IDLE_SECONDS = 10.0
PAGE_SECONDS = 60.0
QUESTION = ".st-key-question textarea"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@dataclass(frozen=True, slots=True)
class Start:
    """One start, in seconds from the command, and the idle process after it."""

    answers_seconds: float
    first_page_seconds: float
    first_page_cpu_seconds: float  # of the web process only; a busy machine changes it less
    idle_rss_mb: float
    services_rss_mb: float


def main() -> None:
    arguments = _arguments()
    with temporary_home() as home, _browser() as browser:
        starts = []
        for run in range(arguments.runs + 1):
            start = measure(WebProcess(home), browser)
            if run:  # the first one sets the folder up
                starts.append(start)
                print(start, flush=True)
    result = {name: _median(starts, name) for name in Start.__slots__}
    print(json.dumps({"runs": len(starts), **result}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


def measure(web: WebProcess, browser: Browser) -> Start:
    page = browser.new_page()
    began = time.monotonic()
    web.start()
    try:
        wait_until(lambda: _answers(web.url), PAGE_SECONDS, "the web process did not answer")
        answers = time.monotonic() - began
        page.goto(web.url)
        page.locator(QUESTION).wait_for(timeout=PAGE_SECONDS * 1000)
        first_page = time.monotonic() - began
        process = psutil.Process(web.pid)
        cpu = sum(process.cpu_times()[:2])
        time.sleep(IDLE_SECONDS)
        own = process.memory_info().rss
        services = sum(other.memory_info().rss for other in web.processes() if other.pid != web.pid)
    finally:
        page.close()
        web.stop()
    figures = (answers, first_page, cpu, own / MB, services / MB)
    return Start(*(round(figure, 2) for figure in figures))


@contextmanager
def _browser() -> Iterator[Browser]:
    """Chromium: the system's if there is one, else Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


def _answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5):
            return True
    except (URLError, OSError):
        return False


def _median(starts: list[Start], name: str) -> float:
    figures: list[float] = [getattr(start, name) for start in starts]
    return round(statistics.median(figures), 2)


if __name__ == "__main__":
    main()
