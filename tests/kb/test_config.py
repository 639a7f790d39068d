"""Settings from the environment."""

from __future__ import annotations

import traceback

import pytest

from kb.config import load_settings
from kb.errors import SetupError


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("MILVUS_URI", "localhost:19530", "http://host:19530"),
        ("MILVUS_URI", "./milvus.db", "http://host:19530"),
        ("REDIS_URL", "localhost:6379", "redis://host:6379/0"),
        ("REDIS_URL", "redis://localhost:port/0", "redis://host:6379/0"),
        ("REDIS_URL", "redis://:secret#2@localhost:6379/0", "redis://host:6379/0"),
        ("DATABASE_URL", "zhiwen.db", "postgresql://user"),
        ("DATABASE_URL", "mysql://localhost/zhiwen", "postgresql://user"),
        ("DATABASE_URL", "postgresql://secret@localhost:port/zhiwen", "postgresql://user"),
        ("OPENAI_BASE_URL", "http://localhost:abc/v1", "https://host/v1"),
        ("OPENAI_BASE_URL", "http://host:11434:80/v1", "https://host/v1"),
        ("OPENAI_BASE_URL", "http://[::1/v1", "https://host/v1"),
        ("EMBEDDING_BASE_URL", "api.example/v1", "https://host/v1"),
        ("OPENAI_API_KEY", "“sk-secret”", "curly quotes"),
        ("EMBEDDING_API_KEY", "sk-secret\tb", "curly quotes"),
        ("WORKER_THREADS", "many", "integer"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    name: str, value: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as caught:
        load_settings(_env_file=None)
    assert f"{name} is not valid" in str(caught.value)
    assert advice in str(caught.value)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_postgresql_without_its_driver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.config.find_spec", lambda _name: None)
    with pytest.raises(SetupError, match=r"pip install .*psycopg"):
        load_settings(_env_file=None, database_url="postgresql://localhost/zhiwen")


def test_usual_addresses_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_URI", "https://milvus.example:443")
    monkeypatch.setenv("REDIS_URL", "rediss://:word@redis.example:6380/1")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:word@sql.example/zhiwen")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:word@[::1]:11434/v1\n")
    monkeypatch.setenv("OPENAI_API_KEY", " sk-key\n")
    settings = load_settings(_env_file=None)
    assert settings.openai_base_url == "http://user:word@[::1]:11434/v1"
    assert settings.openai_api_key.get_secret_value() == "sk-key"
    assert not settings.needs_embedded_services
    assert settings.sql_url == "postgresql+psycopg://user:word@sql.example/zhiwen"
