"""A full disk is named as such by whoever meets it."""

from __future__ import annotations

import errno
import io
import sqlite3
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from pymilvus.exceptions import MilvusException
from redis.exceptions import ResponseError

from kb.database import Database
from kb.errors import (
    ITS_DISK_IS_FULL,
    DatabaseUnavailable,
    DiskFull,
    FileNotSaved,
    MilvusRefused,
    RedisUnavailable,
    SetupError,
    is_disk_full,
)
from kb.library.files import FileStore
from kb.local.services import make_plan
from kb.parsing import parse_source
from kb.parsing.builder import Source
from kb.redis import translated as redis_translated
from kb.vectors.connection import translated as milvus_translated
from tests.conftest import MakeSettings

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_database_says_so(make_settings: MakeSettings) -> None:
    settings = make_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings)
    sa.event.listen(database.engine, "connect", lambda raw, _record: raw.execute("PRAGMA max_page_count = 2").close())
    fill = sa.text("CREATE TABLE t AS SELECT zeroblob(1000000)")
    with pytest.raises(DatabaseUnavailable) as raised, database.write() as connection:
        connection.execute(fill)
    assert isinstance(raised.value.__cause__, sa.exc.OperationalError)
    assert raised.value.values["detail"] == ITS_DISK_IS_FULL
    database.close()


def test_redis_says_so() -> None:
    refusal = "MISCONF Errors writing to the AOF file: No space left on device"
    with pytest.raises(RedisUnavailable, match="disk is full"), redis_translated():
        raise ResponseError(refusal)


def test_milvus_says_so() -> None:
    with pytest.raises(MilvusRefused, match="disk is full"), milvus_translated():
        raise MilvusException(65535, "write /data/1.log: no space left on device")


def test_file_store_says_so(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise FULL

    with pytest.raises(FileNotSaved, match=r"could not be saved \(the disk is full\)"):
        FileStore(tmp_path).save("ab/file", "tea.md", Full())


def test_data_folder_says_so(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_path: Path, _data: bytes) -> None:
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(SetupError, match=r"home cannot be written: the disk is full \(.*run\)\. Free some space"):
        make_plan(make_settings(), "", ())


def test_file_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_source: Source) -> None:
        raise FULL

    monkeypatch.setattr("kb.parsing.text.plain.parse", fill)
    (tmp_path / "tea.txt").write_text("Green tea.")
    with pytest.raises(DiskFull):
        list(parse_source(Source(tmp_path / "tea.txt", "tea.txt", "text/plain")))


def test_cause_is_looked_at() -> None:
    error = RuntimeError("writing failed")
    error.__cause__ = FULL
    assert is_disk_full(error)
    assert not is_disk_full(RuntimeError("other"))
    assert is_disk_full(sqlite3.OperationalError("database or disk is full"))
    assert not is_disk_full(grpc.RpcError())


@pytest.mark.timeout(20)
def test_circle_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert not is_disk_full(first)
