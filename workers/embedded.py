"""The embedded worker: `python -m workers.embedded`. It ends when its standard input closes."""

from __future__ import annotations

import os
import signal
import threading

from dramatiq import Worker

from kb.config import load_settings
from kb.local.plan import REPLACE
from workers import build_worker

POLL_MS = 100
STOP_TIMEOUT_MS = 5_000
# It shares its processors with the web process: people who wait for an answer go before files.
NICENESS = 5


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
    settings, is_replaced = load_settings(), threading.Event()

    def replace() -> None:
        is_replaced.set()
        stop.set()

    broker = build_worker(settings, replace)
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_threads=settings.worker_threads, worker_timeout=POLL_MS)
    worker.start()
    stop.wait()
    worker.stop(timeout=STOP_TIMEOUT_MS)
    broker.close()
    # A thread in the middle of a native call must not keep the process.
    os._exit(REPLACE if is_replaced.is_set() else 0)


def _wait_for_end_of_input(stop: threading.Event) -> None:
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        pass
    stop.set()


if __name__ == "__main__":
    main()
