"""What can be checked of docker-compose.yml and Dockerfile without Docker."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from kb import redis as kb_redis
from kb.config import Settings
from kb.errors import SetupError
from kb.local.redis_server import find_redis_server
from kb.progress import ProgressBoard, WorkerInfo
from tests.real_services import missing, wait_until

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STORES = {"postgres", "redis", "milvus", "etcd", "minio"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _resolved(text: str) -> str:
    """As docker compose resolves it, with only the required variables set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "secret", text))


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_and_restarts(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("image", sorted({service["image"] for service in SERVICES.values()}))
def test_images_are_pinned(image: str) -> None:
    tag = image.rpartition(":")[2]
    assert re.search(r"\d+", tag), image
    assert "latest" not in tag


def test_milvus_has_its_security_fixes() -> None:
    version = SERVICES["milvus"]["image"].rpartition(":v")[2]
    assert tuple(int(part) for part in version.split(".")) >= (2, 6, 10)


def test_minio_is_an_image_that_can_still_be_pulled() -> None:
    """MinIO withdrew its own images; those of Milvus remain."""
    assert SERVICES["minio"]["image"].startswith("milvusdb/minio:")


def test_no_store_makes_the_web_process_unhealthy() -> None:
    """Where unhealthy containers are restarted, that of Milvus is to be, and not the pages."""
    assert "/readyz" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert "/readyz" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_and_rotates_its_logs(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[gm]", _resolved(service["mem_limit"]))
    assert 0 < service["pids_limit"] <= 4000
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "no-new-privileges:true" in service["security_opt"]


def test_each_service_knows_only_its_own_passwords() -> None:
    """Web and workers read .env, which has all of them: those not theirs are emptied."""
    known = {name: set(re.findall(r"\$\{(\w+)_PASSWORD", repr(service))) for name, service in SERVICES.items()}
    assert {name: passwords for name, passwords in known.items() if passwords} == {
        "web": {"POSTGRES", "REDIS", "MILVUS"},
        "worker": {"POSTGRES", "REDIS", "MILVUS"},
        "postgres": {"POSTGRES"},
        "redis": {"REDIS"},
        "milvus": {"MILVUS", "MINIO"},
        "minio": {"MINIO"},
    }
    assert [name for name, service in SERVICES.items() if "env_file" in service] == ["web", "worker"]
    for name in ("web", "worker"):
        environment = SERVICES[name]["environment"]
        assert {f"{store}_PASSWORD" for store in ("POSTGRES", "REDIS", "MILVUS", "MINIO")} <= _emptied(environment)
    assert {"TAVILY_API_KEY", "BRAVE_API_KEY", "BOCHA_API_KEY"} <= _emptied(SERVICES["worker"]["environment"])
    # Secrets whose variables people name cannot be emptied: they have a file of their own.
    files = {name: [file["path"] for file in SERVICES[name]["env_file"]] for name in ("web", "worker")}
    assert files == {"web": [".env", "web.env"], "worker": [".env"]}


def _emptied(environment: dict[str, str]) -> set[str]:
    return {name for name, value in environment.items() if not value}


def test_no_password_is_on_a_command_line() -> None:
    for name, service in SERVICES.items():
        assert "PASSWORD" not in repr(service.get("command")), name


def test_redis_takes_its_configuration(tmp_path: Path) -> None:
    (config,) = SERVICES["redis"]["configs"]
    assert SERVICES["redis"]["command"] == ["redis-server", f"/{config}"]
    path, address = tmp_path / config, tmp_path / "r.sock"
    path.write_text(_resolved(COMPOSE["configs"][config]["content"]))
    try:
        program = find_redis_server(tmp_path)
    except SetupError as error:
        missing(str(error))
    options = ["--port", "0", "--unixsocket", str(address), "--dir", str(tmp_path)]
    with (
        subprocess.Popen([program, str(path), *options], stdout=subprocess.DEVNULL) as server,
        redis.Redis(unix_socket_path=str(address), password="secret", decode_responses=True) as client,
    ):
        try:
            wait_until(address.exists, what="Redis")
            wait_until(client.ping, what="an answer")
            kept = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}
            assert {name: client.config_get(name)[name] for name in kept} == kept
        finally:
            server.terminate()


def test_only_pages_are_published_and_only_on_this_machine() -> None:
    published = {name: [_resolved(port) for port in service.get("ports", [])] for name, service in SERVICES.items()}
    assert {name: ports for name, ports in published.items() if ports} == {
        "web": ["127.0.0.1:8501:8501"],
        "attu": ["127.0.0.1:8000:3000"],
    }
    assert SERVICES["attu"]["profiles"] == ["attu"]
    assert not [name for name, service in SERVICES.items() if service.get("network_mode")]


@pytest.mark.parametrize("name", sorted(STORES))
def test_stores_are_on_the_inner_network_only(name: str) -> None:
    assert SERVICES[name]["networks"] == ["stores"]
    assert COMPOSE["networks"]["stores"] == {"internal": True}


@pytest.mark.parametrize("name", sorted(STORES))
def test_data_is_in_named_volumes(name: str) -> None:
    volumes = [volume.partition(":")[0] for volume in SERVICES[name]["volumes"]]
    assert volumes
    assert set(volumes) <= set(COMPOSE["volumes"])


def test_pages_and_workers_share_the_uploads() -> None:
    for name in ("web", "worker"):
        assert SERVICES[name]["volumes"] == ["home:/data"]
        assert SERVICES[name]["environment"]["ZHIWEN_HOME"] == "/data"


def test_every_service_waits_for_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, name
            assert how == {"condition": "service_healthy"}
    for name in ("web", "worker"):
        assert set(SERVICES[name]["depends_on"]) == {"postgres", "redis", "milvus"}


def test_no_password_has_a_default() -> None:
    names = set(re.findall(r"\$\{(\w*PASSWORD)", TEXT))
    assert names == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "MINIO_PASSWORD", "MILVUS_PASSWORD"}
    assert set(re.findall(r"\$\{(\w*PASSWORD):\?set", TEXT)) == names
    assert not re.search(r"\$\{\w*PASSWORD(?!:\?)", TEXT)


def test_commands_exist() -> None:
    web, worker = SERVICES["web"]["command"], SERVICES["worker"]["command"]
    assert web[:2] == ["streamlit", "run"]
    assert (ROOT / web[2]).is_file()
    assert worker[0] == "dramatiq"
    assert importlib.util.find_spec(worker[1]) is not None


def test_image_runs_the_same_command_as_compose() -> None:
    command = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]
    assert yaml.safe_load(command) == SERVICES["web"]["command"]


def test_worker_stops_before_it_is_killed() -> None:
    command = SERVICES["worker"]["command"]
    milliseconds = int(command[command.index("--worker-shutdown-timeout") + 1])
    assert milliseconds / 1000 < int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))


def test_web_has_time_to_end_its_answers() -> None:
    drain_seconds: float = Settings.model_fields["drain_seconds"].default
    assert drain_seconds < int(SERVICES["web"]["stop_grace_period"].removesuffix("s"))


def test_worker_prefetches_as_many_messages_as_it_has_threads() -> None:
    """Dramatiq's prefetch counts running messages: a lower one leaves threads idle, a higher one delays messages."""
    command = SERVICES["worker"]["command"]
    threads = command[command.index("-t") + 1]
    environment = SERVICES["worker"]["environment"]
    assert threads == environment["dramatiq_queue_prefetch"] == environment["WORKER_THREADS"]


def test_dramatiq_accepts_the_worker_command() -> None:
    command = [_resolved(word) for word in SERVICES["worker"]["command"]]
    result = subprocess.run(
        [sys.executable, "-c", _PARSE, *command[1:]], capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout.split() == ["workers", "1", "3", "20000"]


_PARSE = """
from dramatiq.cli import make_argument_parser
arguments = make_argument_parser().parse_args()
print(arguments.broker, arguments.processes, arguments.threads, arguments.worker_shutdown_timeout)
"""


def test_worker_is_healthy_while_its_heartbeat_is_fresh(redis_url: str) -> None:
    script = SERVICES["worker"]["healthcheck"]["test"][-1]

    def is_healthy() -> bool:
        check = subprocess.run([sys.executable, "-c", script], env=os.environ | {"REDIS_URL": redis_url}, timeout=30)
        return check.returncode == 0

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        board = ProgressBoard(kb_redis.QuickRedis(client))
        board.announce_worker(WorkerInfo("elsewhere:1:a", "elsewhere", 1))
        assert not is_healthy()
        own = f"{socket.gethostname()}:1:b"
        board.announce_worker(WorkerInfo(own, socket.gethostname(), 1))
        assert is_healthy()
        client.delete(kb_redis.worker_key(own))  # as when it expires
        assert not is_healthy()


@pytest.mark.parametrize("name", ["web", "worker"])
def test_health_checks_are_valid_python(name: str) -> None:
    compile(SERVICES[name]["healthcheck"]["test"][-1], name, "exec")


def test_image_copies_existing_files_and_runs_without_privileges() -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    for sources in re.findall(r"^COPY (.+) \./?$", DOCKERFILE, re.MULTILINE):
        for source in shlex.split(sources):
            assert source == "." or source in kept, source
    for path in kept:
        assert (ROOT / path).exists(), path
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["zhiwen"]
