"""What stands in the place of one of our files does not block a start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kb.local.plan import Folders
from tests.kb.local.embedded_harness import Embedded, state_of
from tests.real_services import wait_until

NOTE = "somebody's"


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "note.txt").write_text(NOTE)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "a volume that is not mounted" / "file")


@pytest.mark.parametrize("put", [make_folder, link_to_nothing, os.mkfifo])
def test_start_makes_room_for_its_files(put: Callable[[Path], None], embedded: Embedded) -> None:
    folders = Folders(embedded.home)
    folders.create()
    for path in folders.own_files:
        put(path)
    local = embedded.started(milvus_uri="http://127.0.0.1:1")
    wait_until(embedded.redis(local).ping, what="Redis")
    assert state_of(local, "worker").running
    for path in folders.own_files:
        (kept,) = path.parent.glob(f"{path.name}-unusable-*")
        assert put is not make_folder or (kept / "note.txt").read_text() == NOTE


def test_log_that_is_a_link_is_written_there(embedded: Embedded, tmp_path: Path) -> None:
    folders = Folders(embedded.home)
    folders.create()
    log = folders.log("redis")
    log.symlink_to(tmp_path / "redis.log")  # where there is none yet
    local = embedded.started(milvus_uri="http://127.0.0.1:1")
    wait_until(embedded.redis(local).ping, what="Redis")
    assert (tmp_path / "redis.log").read_bytes()
    assert log.is_symlink()
