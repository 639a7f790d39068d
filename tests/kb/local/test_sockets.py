"""Where the embedded services listen, also where the data folder can have no sockets."""

import stat
from pathlib import Path

import pytest
import redis
from pymilvus import MilvusClient

from kb.local import sockets
from kb.local.sockets import choose_folder, is_listening, milvus_uri, redis_url
from tests.kb.local.embedded_harness import Embedded
from tests.real_services import wait_until


def test_sockets_are_in_the_home_folder(tmp_path: Path) -> None:
    assert choose_folder(tmp_path) == tmp_path
    assert not list(tmp_path.glob("*.sock"))


def test_file_system_without_sockets_gets_a_private_folder_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "is_listening", lambda _path: False)
    folder = choose_folder(tmp_path)
    assert folder != tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    sockets.clear_folder(folder, tmp_path)
    assert not folder.exists()


def test_services_of_a_home_with_a_long_path_in_any_script(tmp_path: Path, redis_server: str) -> None:
    embedded = Embedded(tmp_path / ("a long name with 空格 and 100% " * 3))
    local = embedded.started()
    folder = embedded.redis_socket.parent
    try:
        assert len(str(folder)) < 90
        assert embedded.redis(local).ping()
    finally:
        embedded.end()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["with space", "100%", "知问", "a?b#c"])
def test_addresses_are_quoted(name: str, redis_server: str, tmp_path: Path) -> None:
    embedded = Embedded(tmp_path / name)
    local = embedded.started()
    try:
        assert local.settings.milvus_uri == milvus_uri(embedded.home / "run")
        wait_until(lambda: is_listening(embedded.milvus_socket))
        client = MilvusClient(uri=local.settings.milvus_uri)
        assert client.list_collections() == []
        client.close()
        password = str(embedded.redis(local).connection_pool.connection_kwargs["password"])
        assert local.settings.redis_url == redis_url(embedded.home / "run", password)
        with redis.Redis.from_url(local.settings.redis_url) as other:
            assert other.ping()
    finally:
        embedded.end()
