"""Settings from the environment and `.env`, and where these and the data are."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from kb import config
from kb.config import find_env_file, load_settings
from kb.errors import SetupError


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("MILVUS_URI", "localhost:19530", "http://host:19530"),
        ("ALLOWED_FETCH_HOSTS", "http://wiki.intranet", "wiki.intranet 10.0.0.5:8080"),
        ("ALLOWED_FETCH_HOSTS", "wiki.intranet:web", "wiki.intranet 10.0.0.5:8080"),
        ("ALLOWED_FETCH_HOSTS", "*.intranet", "wiki.intranet 10.0.0.5:8080"),
        ("ALLOWED_FETCH_HOSTS", "10.0.0.0/8", "wiki.intranet 10.0.0.5:8080"),
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
        ("EMBEDDING_API_KEY", "sk-secret\tb", "a line break"),
        ("SEARXNG_URL", "searxng:8080", "http://host:8080"),
        ("SEARXNG_URL", "http://user:secret@host:port", "http://host:8080"),
        ("TAVILY_API_KEY", "secret\nX-Header: 1", "a line break"),
        ("BRAVE_API_KEY", "“secret”", "curly quotes"),
        ("BOCHA_API_KEY", "secret密钥", "curly quotes"),
        ("WEB_SEARCH_ENGINE", "altavista", "ddgs:bing"),
        ("WEB_SEARCH_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("WORKER_THREADS", "many", "integer"),
    ],
)
def test_invalid_value_is_named(name: str, value: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as caught:
        load_settings(_env_file=None)
    assert f"{name} is not valid" in str(caught.value)
    assert advice in str(caught.value)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


CORP = {"OIDC_PROVIDERS": "corp", "OIDC_CORP_ISSUER": "https://sso.example/realms/a", "OIDC_CORP_CLIENT_ID": "zhiwen"}


def test_providers_have_variables_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment and from `.env`, of which the environment goes first."""
    file = tmp_path / "zhiwen.env"
    lines = [f"{name}={value}" for name, value in CORP.items()]
    lines += ["OIDC_CORP_NAME=Corp", "OIDC_CORP_CLIENT_SECRET='top secret'", "OIDC_B2_ISSUER=http://localhost:8080/"]
    file.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("ZHIWEN_ENV_FILE", str(file))
    monkeypatch.setenv("OIDC_PROVIDERS", "Corp, b2")
    monkeypatch.setenv("OIDC_B2_CLIENT_ID", "2")
    settings = load_settings()
    corp, other = settings.sign_in_providers
    assert (corp.key, corp.name, corp.issuer, corp.client_id) == ("corp", "Corp", CORP["OIDC_CORP_ISSUER"], "zhiwen")
    assert corp.client_secret.get_secret_value() == "top secret"
    assert (other.key, other.name, other.client_secret.get_secret_value()) == ("b2", "b2", "")
    assert "top secret" not in repr(settings) + repr(corp)
    assert settings.model_copy(update={"worker_threads": 1}).sign_in_providers == settings.sign_in_providers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OIDC_PROVIDERS", "my-corp"),
        ("OIDC_CORP_ISSUER", ""),
        ("OIDC_CORP_ISSUER", "http://sso.example"),
        ("OIDC_CORP_ISSUER", "https://secret@sso.example"),
        ("OIDC_CORP_ISSUER", "https://sso.example/?a=secret"),
        ("OIDC_CORP_ISSUER", "sso.example"),
        ("OIDC_CORP_CLIENT_ID", ""),
    ],
)
def test_invalid_provider_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, kept in (CORP | {name: value}).items():
        monkeypatch.setenv(key, kept)
    with pytest.raises(SetupError, match=f"{name} is not valid") as caught:
        load_settings(_env_file=None)
    assert "secret" not in str(caught.value)


def test_postgresql_without_its_driver_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.config.find_spec", lambda _name: None)
    with pytest.raises(SetupError, match=r"pip install .*psycopg"):
        load_settings(_env_file=None, database_url="postgresql://localhost/zhiwen")


def test_usual_addresses_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- where `.env` and the data are -----------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """A source folder, a folder elsewhere, which is the current one, and the user's data folder."""
    monkeypatch.delenv("ZHIWEN_ENV_FILE")
    monkeypatch.delenv("ZHIWEN_HOME")
    source, elsewhere, user = (tmp_path / name for name in ("source", "elsewhere", "user"))
    for folder in (source, elsewhere, user):
        folder.mkdir()
    (source / "pyproject.toml").touch()
    monkeypatch.setattr(config, "SOURCE", source)
    monkeypatch.setattr(config, "user_data_path", lambda name: user / name)
    monkeypatch.chdir(elsewhere)
    return source, elsewhere, user


def test_source_folder_is_used_from_any_working_directory(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, elsewhere, _user = places
    (source / ".env").write_text("LLM_MODEL=ours\n")
    (elsewhere / ".env").write_text("LLM_MODEL=of another program\n")
    for folder in (source, elsewhere):
        monkeypatch.chdir(folder)
        settings = load_settings()
        assert (settings.llm_model, settings.home) == ("ours", source / "data")


@pytest.mark.parametrize("name", ["site-packages", "no pyproject.toml"])
def test_installed_package_uses_the_data_folder_of_the_user(
    name: str, places: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _source, _elsewhere, user = places
    monkeypatch.setattr(config, "SOURCE", tmp_path / name)
    if name == "site-packages":
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").touch()  # some package's mistake
    (user / "zhiwen").mkdir()
    (user / "zhiwen" / ".env").write_text("LLM_MODEL=ours\n")
    settings = load_settings()
    assert (settings.llm_model, settings.home) == ("ours", user / "zhiwen" / "data")


@pytest.mark.parametrize("name", config.OUR_DATA)
def test_existing_data_in_the_working_directory_stays_in_use(name: str, places: tuple[Path, Path, Path]) -> None:
    _source, elsewhere, _user = places
    (elsewhere / "data" / name).parent.mkdir(parents=True)
    (elsewhere / "data" / name).touch()
    (elsewhere / ".env").write_text("LLM_MODEL=ours\n")
    settings = load_settings()
    assert (settings.llm_model, settings.home) == ("ours", elsewhere / "data")


def test_data_folder_of_another_program_is_left_alone(places: tuple[Path, Path, Path]) -> None:
    source, elsewhere, _user = places
    (elsewhere / "data" / "uploads").mkdir(parents=True)
    assert find_env_file() == source / ".env"


def test_relative_home_counts_from_the_file_or_the_shell_that_names_it(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, elsewhere, _user = places
    (source / ".env").write_text("ZHIWEN_HOME=below\n")
    assert load_settings().home == source / "below"
    monkeypatch.setenv("ZHIWEN_HOME", "below")
    assert load_settings().home == elsewhere / "below"
    monkeypatch.setenv("ZHIWEN_HOME", "~/below")
    assert load_settings().home == Path.home() / "below"


def test_another_file_can_be_named(places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _source, elsewhere, user = places
    (user / "settings").write_text("LLM_MODEL=ours\n")
    monkeypatch.setenv("ZHIWEN_ENV_FILE", os.path.relpath(user / "settings"))
    settings = load_settings()
    assert (settings.llm_model, settings.home) == ("ours", user / "data")
    (user / "settings").write_text("LLM_TIMEOUT_SECONDS=soon\n")
    with pytest.raises(SetupError, match=rf"LLM_TIMEOUT_SECONDS is not valid: .*{user / 'settings'}"):
        load_settings()
    assert list(elsewhere.iterdir()) == []
