"""Getting the built-in model: failures, other builders, killed builds."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from threading import Event

import pytest
from filelock import FileLock

from kb.config import Settings, load_settings
from kb.embedding import ModelState, ModelStatus, builtin, download, ensure_model, model_status
from kb.embedding.build import build_model
from kb.embedding.status import lock_path, model_folder, write_status
from kb.errors import EmbeddingUnavailable, SetupError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(_env_file=None, zhiwen_home=tmp_path)
    settings.models.mkdir()
    return settings


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks a port where nobody listens."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_index")
def test_no_network_is_told_and_can_be_tried_again(settings: Settings) -> None:
    seen: list[ModelStatus] = []
    for _ in range(2):
        with pytest.raises(EmbeddingUnavailable, match="Connection refused") as raised:
            ensure_model(settings, seen.append)
    assert seen[-1].state is ModelState.FAILED
    assert model_status(settings) == seen[-1]
    assert seen[-1].detail == raised.value.values["detail"]
    assert sorted(path.suffix for path in settings.models.iterdir()) == [".json", ".lock"]


def test_a_missing_pip_names_the_remedy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="ensurepip"):
        ensure_model(settings)
    assert "ensurepip" in model_status(settings).detail


def test_a_question_does_not_wait_for_the_download(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, began = model_folder(settings), Event()
    monkeypatch.setattr(builtin, "ensure_model", lambda settings: began.set())
    with FileLock(lock_path(folder)):
        write_status(folder, ModelStatus(ModelState.DOWNLOADING, 40, 100))
        with pytest.raises(EmbeddingUnavailable, match="being downloaded"):
            builtin.BuiltinModel(settings, threads=1).embed_question("?")
    assert began.wait(20)


def test_a_wheel_laid_beside_the_model_is_checked(settings: Settings) -> None:
    (settings.models / download.WHEEL).write_bytes(b"something else")
    with pytest.raises(EmbeddingUnavailable, match="not the file it should be"):
        build_model(model_folder(settings))


def test_the_progress_of_another_process_is_seen(settings: Settings) -> None:
    folder = model_folder(settings)
    status = ModelStatus(ModelState.DOWNLOADING, 40, 100)
    with FileLock(lock_path(folder)):
        write_status(folder, status)
        assert model_status(settings) == status
    assert model_status(settings).state is ModelState.ABSENT  # its writer is gone


def test_what_a_killed_build_left_is_removed(settings: Settings) -> None:
    leftover = settings.models / ".building-killed"
    (leftover / "model").mkdir(parents=True)
    (settings.models / download.WHEEL).write_bytes(b"")
    assert model_status(settings).state is ModelState.ABSENT
    with pytest.raises(EmbeddingUnavailable):
        build_model(model_folder(settings))
    assert not leftover.exists()


def test_a_model_that_is_there_is_not_built_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(settings).mkdir()
    monkeypatch.setattr(subprocess, "Popen", None)
    ensure_model(settings)
    build_model(model_folder(settings))
    assert model_status(settings) == ModelStatus(ModelState.READY)


def test_pips_progress_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / download.WHEEL
    script = f"echo Collecting; echo Progress 1 of 4; echo Progress 4 of 4; printf x > {wheel}"
    monkeypatch.setattr(download, "_command", lambda *_: ["sh", "-c", script])
    monkeypatch.setattr(download, "WHEEL_SHA256", hashlib.sha256(b"x").hexdigest())
    seen: list[tuple[int, int]] = []
    fetched = download.fetch_wheel(tmp_path / "none", tmp_path, lambda done, total: seen.append((done, total)))
    assert fetched == wheel
    assert seen == [(1, 4), (4, 4)]


def test_a_pip_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_command", lambda *_: ["sleep", "60"])
    monkeypatch.setattr(download, "_STALLED_SECONDS", 0.2)
    with pytest.raises(EmbeddingUnavailable, match="did not answer"):
        download.fetch_wheel(tmp_path, tmp_path, lambda done, total: None)
