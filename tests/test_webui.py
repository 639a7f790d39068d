"""The launcher, started with `streamlit run webui_st.py`: health, headers, pages, and a clean end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit import config
from streamlit.runtime.scriptrunner.exec_code import modified_sys_path
from streamlit.web.server.app_discovery import discover_asgi_app

from kb.home import OTHERS
from kb.local.sockets import MILVUS, REDIS
from kb.local.sockets import is_listening as socket_answers
from tests.e2e.web import Web, is_alive
from tests.real_services import HOST, ROOT, free_port, is_listening, wait_until
from web.missing import THEME_SCRIPT

pytestmark = pytest.mark.xdist_group("webui")  # one web process, which the last test kills

# Becomes nobody, then opens each of the given files and connects to each of the given sockets. Prints what it could.
OTHER_USER = """
import json, os, socket, sys
names = json.load(sys.stdin)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
reached = []
for name in [".", *names]:
    try:
        if name.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(name)
        elif name == ".":
            os.listdir(name)
        else:
            open(name).close()
        reached.append(name)
    except PermissionError:
        pass
print(json.dumps(reached))
"""

PATHS = ("/", "/knowledge-bases", "/testing", "/history", "/system")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("web"), EMBEDDING_MODEL="openai:none")  # else its worker fetches the built-in one
    web.start()
    yield web
    web.stop()


def test_streamlit_finds_the_app() -> None:
    found = discover_asgi_app(ROOT / "webui_st.py")
    assert found.is_asgi_app
    assert found.app_name == "app"


def test_script_run_keeps_the_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an import in another thread, such as LangChain's before the first answer, can miss its module."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(config, "_main_script_path", None)
    launcher = runpy.run_path(str(ROOT / "webui_st.py"))
    before = list(sys.path)
    with modified_sys_path(str(launcher["SCRIPT"])):
        assert sys.path == before


@pytest.fixture
def web_without_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Below /kb of its host."""
    database_url = f"postgresql://nobody@{HOST}:{free_port()}/none"
    web = Web(tmp_path, DATABASE_URL=database_url, STREAMLIT_SERVER_BASE_URL_PATH="kb")
    monkeypatch.setattr(web, "is_ready", lambda: is_listening(web.port))
    web.start()
    yield web
    web.stop()


def test_health_names_an_unavailable_database(web_without_database: Web) -> None:
    for path in ("/healthz", "/kb/healthz"):
        status, _headers, body = web_without_database.get(path)
        health = json.loads(body)
        assert status == 503
        assert health["ok"] is False
        assert "The database is not responding" in health["services"]["sql"]["detail"]
    assert "The database" not in web_without_database.get("/zhiwen/healthz")[2]


def test_health_names_each_service(web: Web) -> None:
    status, health = web.health()
    assert status == 200
    assert health["ok"] is True
    assert {name: service["ok"] for name, service in health["services"].items()} == {
        "sql": True,
        "redis": True,
        "milvus": True,
        "worker": True,
    }
    assert health["services"]["redis"]["detail"].startswith("Redis ")


def test_health_is_503_when_a_service_is_down(web: Web) -> None:
    (redis,) = [service for service in web.run_state.services if service.name == "redis"]
    assert redis.pid
    os.kill(redis.pid, signal.SIGSTOP)  # one that ended would be started again at once
    try:
        wait_until(lambda: web.health()[0] == 503, 10, "unhealthy")  # a reply is kept for a second
        _status, health = web.health()
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert health["ok"] is False
    assert {name: service["ok"] for name, service in health["services"].items()} == {
        "sql": True,
        "redis": False,
        "milvus": True,
        "worker": True,
    }
    assert "Redis is not responding" in health["services"]["redis"]["detail"]
    wait_until(lambda: web.health()[0] == 200, 30, "healthy again")


def test_killed_service_is_restarted(web: Web) -> None:
    (redis,) = [service for service in web.run_state.services if service.name == "redis"]
    assert redis.pid
    os.kill(redis.pid, signal.SIGKILL)
    wait_until(lambda: _pid(web, "redis") not in (None, redis.pid), 30, "a new Redis")
    wait_until(lambda: web.health()[0] == 200, 30, "healthy again")


def _pid(web: Web, name: str) -> int | None:
    return next((service.pid for service in web.run_state.services if service.name == name), None)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_has_an_address(path: str, web: Web) -> None:
    status, headers, body = web.get(path)
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "<script" in body


@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/_stcore/health", "/static/nothing.js"])
def test_every_response_has_security_headers(path: str, web: Web) -> None:
    _status, headers, _body = web.get(path)
    policy = headers["Content-Security-Policy"]
    for rule in ("default-src 'self'", "img-src 'self' data: blob:", "object-src 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-DNS-Prefetch-Control"] == "off"  # a link in an answer could name anything in its host


def test_policy_allows_only_known_inline_scripts(web: Web) -> None:
    _status, headers, body = web.get("/")
    scripts = [THEME_SCRIPT, *re.findall(r"<script>(.*?)</script>", body, re.DOTALL)]
    wanted = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert set(re.findall(r"'sha256-([^']+)'", headers["Content-Security-Policy"])) == wanted
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"].partition("style-src")[0]


def test_only_the_page_listens_on_a_port(web: Web) -> None:
    assert web.listening_addresses() == {(HOST, web.port)}


def test_home_is_its_owners_only(web: Web) -> None:
    paths = [web.home, *web.home.rglob("*")]
    assert {"zhiwen.db", "worker.log", "redis.conf", "milvus.sock", "redis.sock"} <= {path.name for path in paths}
    assert [str(path) for path in paths if path.lstat().st_mode & OTHERS] == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reaches_nothing(web: Web) -> None:
    """No file of the home folder, neither Redis nor Milvus. Relative names: the folders above are closed, too."""
    names = [str(path.relative_to(web.home)) for path in web.home.rglob("*") if not path.is_dir()]
    assert "run/redis.sock" in names
    found = subprocess.run(
        [sys.executable, "-c", OTHER_USER],
        cwd=web.home,
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == []


def test_start_tells_the_address(web: Web) -> None:
    assert f"Zhiwen: {web.url}/" in (web.folder / "log").read_text()


@pytest.mark.skipif(os.name != "posix" or not os.path.isdir("/proc"), reason="as Linux does it")
def test_kill_9_leaves_no_process_and_no_listener(web: Web) -> None:
    """This must be the last test: it kills the web process that the others share."""
    wait_until(lambda: _pid(web, "worker"), 30, "the worker's start")
    sockets = [Path(web.run_state.sockets, name) for name in (MILVUS, REDIS)]
    assert is_listening(web.port)
    assert all(map(socket_answers, sockets))
    family = web.kill_alone()
    assert len(family) >= 4  # the supervisor, Milvus Lite, Redis, the worker
    wait_until(lambda: not any(map(is_alive, family)), 30, "no process left")
    assert not is_listening(web.port)
    assert not any(map(socket_answers, sockets))
