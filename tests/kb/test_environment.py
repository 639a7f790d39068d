"""Proxies in the environment, and the CPUs of a container."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from kb.completions import ChatClient
from kb.database import Database
from kb.embedding.openai import OpenAIModel
from kb.environment import available_cpus, bypass_proxies, is_local
from kb.errors import ModelError
from kb.llm import ChatModel
from kb.providers.keys import KeySafe
from kb.providers.listing import list_models
from kb.providers.store import ProviderDraft, Providers
from kb.vectors.connection import Connection
from tests.conftest import MakeSettings, add_user
from tests.fakes.model_server import ModelServer
from tests.fakes.proxy import DeadProxy
from tests.real_services import ROOT

EXTERNAL = "http://model.example/v1"


@pytest.fixture
def proxy() -> Iterator[DeadProxy]:
    with DeadProxy() as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies, put back as it was after the test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, "")
            monkeypatch.delenv(spelling)


def exempt() -> list[str]:
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    return os.environ["no_proxy"].split(",")


def request_models(base_url: str) -> None:
    list_models(base_url, "", 5.0)


def request_vectors(base_url: str) -> None:
    with closing(OpenAIModel("fake-embedding", SecretStr("good"), base_url, 5.0, 5.0)) as model:
        model.embed_question("hello")


# --- proxies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [["http_proxy", "https_proxy"], ["HTTP_PROXY", "HTTPS_PROXY"], ["all_proxy"], ["ALL_PROXY"]]
)
@pytest.mark.parametrize("request_something", [request_models, request_vectors])
def test_local_models_bypass_the_proxy_and_external_ones_use_it(
    request_something: Callable[[str], None],
    names: list[str],
    proxy: DeadProxy,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in names:
        monkeypatch.setenv(name, proxy.url)
    with ModelServer() as server:
        bypass_proxies(make_settings(openai_base_url=server.base_url))
        request_something(server.base_url)
        request_something(server.base_url.replace("127.0.0.1", "localhost"))
    assert proxy.asked == []
    with pytest.raises(ModelError):
        request_something(EXTERNAL)
    assert [address.startswith(EXTERNAL) for address in proxy.asked] == [True]


def test_local_chat_model_bypasses_the_proxy(
    proxy: DeadProxy, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chat(base_url: str) -> str:
        client, model = ChatClient(settings), ChatModel("fake", base_url, "a server")
        try:
            return "".join([str(piece) async for piece in client.stream(model, [("user", "hello")])])
        finally:
            await client.close()

    monkeypatch.setenv("http_proxy", proxy.url)
    with ModelServer() as server:
        settings = make_settings(openai_base_url=server.base_url)
        bypass_proxies(settings)
        assert asyncio.run(chat(server.base_url))
    assert proxy.asked == []
    with pytest.raises(ModelError):
        asyncio.run(chat(EXTERNAL))
    assert proxy.asked


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_local_milvus_bypasses_the_proxy(
    name: str, milvus_url: str, proxy: DeadProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy.url)
    with closing(Connection(milvus_url, "")) as connection:
        assert "milvus" in connection.ping()
    assert proxy.asked == []


def test_configured_local_hosts_are_exempt(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    bypass_proxies(
        make_settings(
            milvus_uri="http://milvus:19530",
            openai_base_url="http://127.0.0.5:8000/v1",
            embedding_base_url="https://api.example/v1",
            searxng_url="http://searxng:8080",
        )
    )
    assert exempt() == ["localhost", "127.0.0.1", "::1", "milvus", "127.0.0.5", "searxng"]


def test_provider_in_the_local_network_is_exempt_once_it_is_read(
    make_settings: MakeSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    settings = make_settings()
    bypass_proxies(settings)
    providers, user = Providers(database, KeySafe(settings)), add_user(database, "user")
    for host in ("vllm:8000", "api.example"):
        providers.add(user, ProviderDraft(host.partition(":")[0], "custom", f"http://{host}/v1"))
    providers.connections(user)
    assert exempt() == ["localhost", "127.0.0.1", "::1", "vllm"]


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_exemptions_of_the_user_are_kept(
    name: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv(name, "localhost, .corp.example")
    bypass_proxies(make_settings())
    bypass_proxies(make_settings())
    assert exempt() == ["localhost", ".corp.example", "127.0.0.1", "::1"]
    assert os.environ["https_proxy"] == "http://proxy.example:3128"  # for child processes such as pip


def test_without_a_proxy_nothing_changes(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    bypass_proxies(make_settings())
    assert not {"no_proxy", "NO_PROXY"} & set(os.environ)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "*")
    bypass_proxies(make_settings())
    assert os.environ["no_proxy"] == "*"


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
def test_socks_proxy_does_not_keep_local_models_away(
    scheme: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", f"{scheme}://127.0.0.1:9/")
    with ModelServer() as server:
        bypass_proxies(make_settings(openai_base_url=server.base_url))
        request_models(server.base_url)
        request_vectors(server.base_url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("milvus", True),
        ("host.docker.internal", True),
        ("10.0.0.1", False),
        ("api.openai.com", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_local_hosts(host: str, expected: bool) -> None:
    assert is_local(host) is expected


# --- CPUs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "3200000 100000"}, 8),
        ("0::/a.slice/b", {"a.slice/cpu.max": "300000 100000", "a.slice/b/cpu.max": "max 100000"}, 3),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (
            "3:memory:/\n4:cpu,cpuacct:/docker/x",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "50000\n"},
            2,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:cpuset:/", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, 8),
        ("", {}, 8),
    ],
)
def test_cpu_quota_of_a_container_is_respected(
    group: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    process = tmp_path / "self-cgroup"
    process.write_text(group)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_cpus(process, tmp_path / "cgroup") == expected


@pytest.mark.usefixtures("eight_cpus")
def test_affinity_counts_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "missing", tmp_path) == 8


@pytest.mark.parametrize("module", ["kb.vectors.schema", "kb.vectors.connection"])
def test_pymilvus_is_imported_beside_a_socket_and_leaves_the_environment_alone(module: str) -> None:
    """It reads MILVUS_URI by itself, refuses a socket there, and takes over what a `.env` says."""
    probe = (
        "import os; before = dict(os.environ)\n"
        f"import {module} as module\n"
        "with getattr(module, 'translated', __import__('contextlib').nullcontext)(): pass\n"
        "import pymilvus; print(dict(os.environ) == before)"
    )
    environment = os.environ | {"MILVUS_URI": "unix:/run/milvus.sock", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"
