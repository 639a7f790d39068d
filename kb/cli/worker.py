"""`zhiwen worker`: start a worker beside web processes with services of their own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kb.config import SOURCE, load_settings

if TYPE_CHECKING:
    from kb.cli.connecting import OpenQueue

# A shutdown waits this long for documents, which are put back then; a thread takes one message at a time.
SHUTDOWN_MS = 20_000
POLL_MS = 100


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    """Becomes `dramatiq workers`, as docker-compose.yml starts it. Options that are given win over ours."""
    threads = str(load_settings().worker_threads)
    ours = ["--processes", "1", "--threads", threads, "--worker-shutdown-timeout", str(SHUTDOWN_MS)]
    script = Path(sys.executable).with_name("dramatiq")  # which finds this Python again when it starts itself anew
    dramatiq = [str(script)] if script.is_file() else ["-m", "dramatiq"]
    program = [sys.executable, "-P", *dramatiq, "workers", "--path", str(SOURCE)]
    polling = {"dramatiq_queue_prefetch": threads, "dramatiq_worker_timeout": str(POLL_MS)}
    os.execve(sys.executable, [*program, *ours, *asked.options], {**polling, **os.environ})
