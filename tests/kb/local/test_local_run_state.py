import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb.local.run_state import Holder, RunState, ServiceState, read_run_state, write_run_state

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATE = RunState(
    holder=Holder(12, 11, NOW),
    milvus_uri="http://127.0.0.1:20001",
    redis_url="redis://:secret@127.0.0.1:20002/0",
    redis_password="secret",
    ports={"milvus": 20001, "redis": 20002},
    services=(ServiceState("redis", 13, True, 1, NOW, "why"), ServiceState("milvus", None, False, 0, None)),
    identities={12: "a", 13: "b"},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_run_state(tmp_path / "services.json", STATE)
    assert read_run_state(tmp_path / "services.json") == STATE


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.touch(mode=0o644)
    write_run_state(path, STATE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"holder": 1, "services": [], "identities": {}}'])
def test_a_file_that_is_not_ours_is_an_empty_state(tmp_path: Path, text: str) -> None:
    path = tmp_path / "services.json"
    path.write_text(text)
    assert read_run_state(path) == RunState()


def test_no_file_is_an_empty_state(tmp_path: Path) -> None:
    assert read_run_state(tmp_path / "services.json") == RunState()


def test_addresses_and_password_outlive_the_processes() -> None:
    kept = STATE.without_processes()
    assert (kept.holder, kept.services, kept.identities) == (None, (), {})
    assert (kept.ports, kept.redis_password) == (STATE.ports, "secret")
