"""Data that Redis cannot load does not keep it from starting."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kb.errors import SetupError
from kb.local.plan import Plan, ServiceSpec
from kb.local.redis_data import RedisData, prepare_data, reason_in
from kb.local.service import Service
from kb.local.set_aside import list_set_aside
from tests.kb.local.embedded_harness import Embedded
from tests.real_services import wait_until

HEAD = "1:M 27 Nov 2026 07:08:19.282 "


def manifest(data: Path) -> Path:
    return data / "appendonlydir" / "appendonly.aof.manifest"


def overwrite_all(content: bytes) -> Callable[[Path], None]:
    def damage(data: Path) -> None:
        for file in data.rglob("*.aof"):
            file.write_bytes(content)

    return damage


def use_newer_format(data: Path) -> None:
    shutil.rmtree(data)
    data.mkdir()
    (data / "appendonly.aof").write_bytes(b"REDIS0099" + bytes(20))


def replace_by_folder(data: Path) -> None:
    shutil.rmtree(data)
    manifest(data).mkdir(parents=True)


def replace_by_file(data: Path) -> None:
    """With the old data beside it, which nothing reads."""
    data.rename(data.with_name("redis.old"))
    data.write_bytes(b"a file")


DAMAGES = {
    "a file for the whole folder": replace_by_file,
    "garbage": overwrite_all(b"*3\r\n$3\r\nSET\r\n" + b"not a command of the protocol\r\n" * 20),
    "a newer format": use_newer_format,
    "a folder for a file": replace_by_folder,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_data_is_moved_aside(damage: Callable[[Path], None], embedded: Embedded) -> None:
    # Milvus is elsewhere, as it takes a second to start.
    local = embedded.started(milvus_uri="http://127.0.0.1:1")
    embedded.redis(local).set("key", "value")
    local.stop()
    damage(embedded.home / "redis")
    local.start()
    client = embedded.redis(local)
    wait_until(client.ping, what="Redis")
    assert client.get("key") is None
    (moved,) = local.set_aside()
    assert moved.kind == "redis"
    assert moved.reason
    kept = moved.folder / "redis"
    assert kept.is_file() or any(kept.iterdir())
    client.set("key", "new")
    local.stop()
    local.start()
    wait_until(client.ping, what="Redis")
    assert client.get("key") == "new"
    assert local.set_aside() == [moved]


# --- without a server: a program that writes and ends like Redis ---


def plan(home: Path, redis_server: str = "") -> Plan:
    (home / "redis").mkdir(parents=True)
    return Plan("", str(home), 0, 0.0, "", 1, False, redis_server, ())


def run(home: Path, data: RedisData, script: str) -> Service:
    service = Service(ServiceSpec("redis", (sys.executable, "-c", script), home / "redis.log"))
    assert service.tick()
    wait_until(lambda: service.tick() and not service.state.running)
    data.look(service)
    return service


FAIL = "print('Bad file format reading the append only file'); raise SystemExit(1)"


def test_data_comes_back_if_an_empty_redis_fails_as_well(tmp_path: Path) -> None:
    data = RedisData(plan(tmp_path))
    kept = tmp_path / "redis" / "appendonly.aof"
    kept.touch()
    run(tmp_path, data, FAIL)
    assert kept.exists()
    run(tmp_path, data, FAIL)
    assert not kept.exists()
    for _ in range(3):
        run(tmp_path, data, FAIL)
        assert kept.exists()


@pytest.mark.parametrize(
    "script",
    [
        "import os; os.kill(os.getpid(), 9)",  # by the system, for its memory
        "print('Ready to accept connections'); raise SystemExit(1)",
        "print('The server is now ready to accept connections at /run/redis.sock'); raise SystemExit(1)",
    ],
)
def test_sound_data_stays(tmp_path: Path, script: str) -> None:
    data = RedisData(plan(tmp_path))
    kept = tmp_path / "redis" / "appendonly.aof"
    kept.touch()
    for _ in range(3):
        run(tmp_path, data, script)
    assert kept.exists()


@pytest.mark.parametrize(("version", "is_moved"), [("6.2.14", True), ("7.0.15", False)])
def test_data_of_a_newer_redis_is_moved_aside(tmp_path: Path, version: str, is_moved: bool) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    program.chmod(0o755)
    home = tmp_path / "home"
    wanted = plan(home, str(program))
    manifest(home / "redis").parent.mkdir()
    prepare_data(wanted)
    assert (home / "redis" / "appendonlydir").exists() is not is_moved
    assert (home / "redis").is_dir()


@pytest.mark.parametrize("place", ["a file", "a link to nothing", "a closed folder", "nothing"])
def test_redis_gets_a_folder_that_it_can_use(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = plan(tmp_path)
    data = wanted.folders.redis
    data.rmdir()
    match place:
        case "a file":
            data.write_bytes(b"a file")
        case "a link to nothing":
            data.symlink_to(tmp_path / "gone")
        case "a closed folder":
            data.mkdir()
            # The tests may run as root, whom no permission keeps out.
            monkeypatch.setattr(os, "access", lambda path, _mode: path != data or stat.S_IMODE(data.stat().st_mode))
            data.chmod(0)
    prepare_data(wanted)
    assert data.is_dir()
    assert stat.S_IMODE(data.stat().st_mode) & 0o700 == 0o700
    assert len(list_set_aside(tmp_path)) == (place in ("a file", "a link to nothing"))


def test_folder_of_another_user_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = plan(tmp_path)
    kept = wanted.folders.redis / "appendonly.aof"
    kept.touch()
    monkeypatch.setattr(os, "access", lambda path, _mode: path != wanted.folders.redis)
    prepare_data(wanted)
    (moved,) = list_set_aside(tmp_path)
    assert moved.reason == "its folder could not be opened"
    assert (moved.folder / "redis" / "appendonly.aof").exists()
    assert not any(wanted.folders.redis.iterdir())


def test_file_in_the_place_of_another_folder_is_named(embedded: Embedded) -> None:
    embedded.home.mkdir()
    (embedded.home / "logs").write_bytes(b"a file")
    with pytest.raises(SetupError, match=r"/logs is a file, but Zhiwen needs a folder there\. Move that file away"):
        embedded.started(milvus_uri="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (f"{HEAD}* Server initialized\n{HEAD}# Found an empty AOF manifest\n\n", "Found an empty AOF manifest"),
        (f"{HEAD}# Bad file format\n{HEAD}# WARNING Memory overcommit must be enabled\n", "Bad file format"),
        ("Segmentation fault\n", "Segmentation fault"),
        ("", "no message"),
    ],
)
def test_reason_is_what_redis_said(output: str, reason: str) -> None:
    assert reason_in(output) == reason


def test_redis_that_never_starts_is_reported(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'v=7.0.0' && exit\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(SetupError, match="The embedded Redis does not start: ended with code 1: broken"):
        embedded.started(milvus_uri="http://127.0.0.1:1")
    assert (embedded.home / "redis").is_dir()
