"""Where the built-in model stands, told across processes by a small file beside the model."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from kb.config import Settings

MODEL_NAME = "all-MiniLM-L6-v2"


class ModelState(StrEnum):
    ABSENT = "absent"
    DOWNLOADING = "downloading"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """`done` of `total` bytes while downloading (0 of 0: not known yet); `detail` says why it failed."""

    state: ModelState
    done: int = 0
    total: int = 0
    detail: str = ""


def model_folder(settings: Settings) -> Path:
    """Holds the built model; it appears at once and complete, so being there is being ready."""
    return settings.models / f"{MODEL_NAME}-int8"


def lock_path(folder: Path) -> Path:
    """Held by the process that builds the model in `folder`."""
    return folder.with_name(f"{folder.name}.lock")


def model_status(settings: Settings) -> ModelStatus:
    """The built-in model's state, as the process that prepares it last wrote it."""
    return read_status(model_folder(settings))


def read_status(folder: Path) -> ModelStatus:
    if folder.is_dir():
        return ModelStatus(ModelState.READY)
    try:
        values = json.loads(_status_path(folder).read_text())
    except FileNotFoundError:
        return ModelStatus(ModelState.ABSENT)
    status = ModelStatus(ModelState(values["state"]), values["done"], values["total"], values["detail"])
    if status.state is not ModelState.FAILED and not _is_locked(folder):
        return ModelStatus(ModelState.ABSENT)  # its writer was killed
    return status


def write_status(folder: Path, status: ModelStatus) -> None:
    """Replace the status in one step, so that a reader never sees half of it."""
    path = _status_path(folder)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(asdict(status)))
    aside.replace(path)


def clear_status(folder: Path) -> None:
    _status_path(folder).unlink(missing_ok=True)


def _status_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.status.json")


def _is_locked(folder: Path) -> bool:
    try:
        with FileLock(lock_path(folder), timeout=0):
            return False
    except Timeout:
        return True
