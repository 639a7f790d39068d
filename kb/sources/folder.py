"""A folder as the source of a knowledge base: its files, and what is to be done so that the knowledge base has them.

A file's path below the folder is the name of its document; its digest tells whether the document has this content.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kb.errors import EmptyFile, FileNotReadable, KbError, NameTwice, UnsupportedFormat, UploadTooLarge
from kb.library import Content
from kb.models import VersionState
from kb.names import clean_file_name
from kb.parsing import SUPPORTED_EXTENSIONS, detect_media_type, require_supported


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file that can be a document. `name` is its path below the folder, as documents keep it."""

    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that cannot be a document, and why. `is_skipped`: nobody would expect it to be one."""

    name: str
    error: KbError

    @property
    def is_skipped(self) -> bool:
        return isinstance(self.error, (UnsupportedFormat, EmptyFile))


@dataclass(slots=True)
class Plan:
    """What is to be done. `changed` and `again` are files with the documents that have older contents, or failed.

    `waiting`: documents with this content that are not ready yet; `missing`: documents without a file.
    """

    new: list[FolderFile] = field(default_factory=list)
    changed: list[tuple[FolderFile, Content]] = field(default_factory=list)
    again: list[Content] = field(default_factory=list)
    waiting: list[Content] = field(default_factory=list)
    unchanged: list[Content] = field(default_factory=list)
    missing: list[Content] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def find_files(folder: Path, limit_bytes: int) -> Iterator[FolderFile | Refused]:
    """The files below `folder`, sorted. Hidden ones, and folders behind links, are passed over.

    Errors: `FileNotReadable` for the folder itself.
    """
    unreadable: list[OSError] = []
    names: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            found = _look_at(path, clean_file_name(path.relative_to(folder).as_posix()), limit_bytes)
            if isinstance(found, FolderFile) and found.name in names:
                found = Refused(found.name, NameTwice(name=found.name))
            names.add(found.name)
            yield found
    for error in unreadable:
        failed = Path(error.filename)
        refusal = FileNotReadable(name=failed, detail=error.strerror or error)
        if failed == folder:
            raise refusal from error
        yield Refused(f"{failed.relative_to(folder).as_posix()}/", refusal)


def _look_at(path: Path, name: str, limit_bytes: int) -> FolderFile | Refused:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for ever
            raise UnsupportedFormat(name=name, kind="not a regular file", supported=" ".join(SUPPORTED_EXTENSIONS))
        if found.st_size == 0:
            raise EmptyFile(name=name)
        if found.st_size > limit_bytes:
            raise UploadTooLarge(name=name, limit=limit_bytes >> 20)
        require_supported(name, detect_media_type(path, name))
    except OSError as error:
        return Refused(name, FileNotReadable(name=name, detail=error.strerror or error))
    except KbError as error:
        return Refused(name, error)
    return FolderFile(name, path, found.st_size)


def plan_folder(files: Iterable[FolderFile | Refused], contents: Sequence[Content]) -> Plan:
    """Compare a folder with what a knowledge base has, the newest first. Reads the files whose size is the same."""
    plan = Plan()
    held: dict[str, list[Content]] = {}
    for content in contents:
        held.setdefault(content.name, []).append(content)
    for found in files:
        documents = held.pop(found.name, [])
        if isinstance(found, Refused):
            plan.refused.append(found)
            continue
        try:
            _plan_file(plan, found, documents)
        except OSError as error:
            plan.refused.append(Refused(found.name, FileNotReadable(name=found.name, detail=error.strerror or error)))
    unread = tuple(refused.name for refused in plan.refused if refused.name.endswith("/"))  # what is in them is unknown
    plan.missing = [each for name, documents in held.items() if not name.startswith(unread) for each in documents]
    return plan


def _plan_file(plan: Plan, file: FolderFile, documents: Sequence[Content]) -> None:
    """Of several documents with this name, which only uploads in the browser make, the newest counts."""
    if not documents:
        plan.new.append(file)
        return
    newest = next((each for each in documents if _holds(each, file)), None)
    if newest is None:
        plan.changed.append((file, documents[0]))
    elif newest.state.is_given_up:
        plan.again.append(newest)
    elif newest.state is VersionState.READY:
        plan.unchanged.append(newest)
    else:
        plan.waiting.append(newest)


def _holds(content: Content, file: FolderFile) -> bool:
    return content.size_bytes == file.size_bytes and content.sha256 == _digest(file.path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
