"""The file that says what runs and where."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb.local.run_state import Holder, RunState, ServiceState, read_run_state, write_run_state

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATE = RunState(
    holder=Holder(12, 11, 1.5, "http://localhost:8501/", "token"),
    milvus_uri="unix:/home/run/milvus.sock",
    redis_url="unix://:secret@/home/run/redis.sock?db=0",
    redis_password="secret",
    sockets="/home/run",
    services=(ServiceState("redis", 13, True, 1, NOW, "why"), ServiceState("milvus", None, False, 0, None)),
    started={13: 2.5},
)


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    write_run_state(tmp_path / "services.json", STATE)
    assert read_run_state(tmp_path / "services.json") == STATE


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.touch(mode=0o644)
    write_run_state(path, STATE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"holder": 1}', '{"services": [{}]}', "[" * 100_000])
def test_damaged_file_is_read_as_an_empty_state(tmp_path: Path, text: str) -> None:
    path = tmp_path / "services.json"
    path.write_text(text)
    assert read_run_state(path) == RunState()


SERVICE = {"name": "redis", "pid": 13, "running": True, "restarts": 1, "since": None}
WRONG: tuple[dict[str, object], ...] = (
    {"holder": {"pid": 1, "web_pid": 2, "web_started": "yesterday"}},
    {"holder": {"pid": 1, "web_pid": -5, "web_started": 1.0}},
    {"holder": {"pid": 1, "web_pid": 2, "url": 3}},
    {"redis_password": ["a"]},
    {"redis_password": "a\nport 6379"},
    {"sockets": 7},
    {"services": [SERVICE | {"pid": [13]}]},
    {"services": [SERVICE | {"pid": -1}]},
    {"services": [SERVICE | {"pid": 2**70}]},
    {"services": [SERVICE | {"since": "2026-01-01T00:00:00"}]},  # no time zone
    {"started": {"-1": 1.0}},
    {"started": [1]},
)


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_file_with_values_of_other_types_is_read_as_an_empty_state(tmp_path: Path, values: dict[str, object]) -> None:
    path = tmp_path / "services.json"
    path.write_text(json.dumps(values))
    assert read_run_state(path) == RunState()


def test_unreadable_file_is_read_as_an_empty_state(tmp_path: Path) -> None:
    assert read_run_state(tmp_path) == RunState()  # a folder: its owner's rights keep nobody from it, as root


def test_missing_file_is_read_as_an_empty_state(tmp_path: Path) -> None:
    assert read_run_state(tmp_path / "services.json") == RunState()


def test_addresses_and_password_outlive_the_processes() -> None:
    kept = STATE.without_processes()
    assert (kept.holder, kept.services, kept.started) == (None, (), {})
    assert (kept.sockets, kept.redis_password) == (STATE.sockets, "secret")


def test_file_of_another_version_is_read_as_far_as_possible(tmp_path: Path) -> None:
    text = (
        '{"holder": {"pid": 12, "web_pid": 11, "since": "2026-01-02T03:04:05+00:00"}, "database_digest": "", '
        '"ports": {"redis": 20002}, "identities": {"12": "a"}, "redis_password": "secret", '
        '"services": [{"name": "redis", "pid": 13, "running": true, "restarts": 1, "since": null, "new": 1}]}'
    )
    (tmp_path / "services.json").write_text(text)
    state = read_run_state(tmp_path / "services.json")
    assert state.holder == Holder(12, 11)
    assert (state.sockets, state.redis_password) == ("", "secret")
    assert state.services == (ServiceState("redis", 13, True, 1, None),)
