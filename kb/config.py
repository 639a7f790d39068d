"""Settings: the only reader of the environment and of `.env`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kb.errors import N_, SetupError
from kb.oidc.settings import OidcProvider, read_providers

SOURCE = Path(__file__).resolve().parents[1]
# Files that only a data folder of ours contains.
OUR_DATA = ("zhiwen.db", "run/services.json")

LEAST_TOKEN = 16  # characters: nobody limits how often one is guessed

# The engines of kb/web_search. After `ddgs:`, the search engine that this library asks; alone, the first that answers.
WebSearchEngine = Literal[
    "ddgs",
    "ddgs:bing",
    "ddgs:duckduckgo",
    "ddgs:brave",
    "ddgs:startpage",
    "ddgs:mojeek",
    "ddgs:yahoo",
    "ddgs:wikipedia",
    "searxng",
    "tavily",
    "brave",
    "bocha",
]


class Settings(BaseSettings):
    """The settings of an installation. Every field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    zhiwen_home: Path = Path("data")  # all data of the embedded services, the uploads and the built-in model

    # An empty address means the embedded service.
    milvus_uri: str = ""
    milvus_token: SecretStr = SecretStr("")
    redis_url: str = ""
    database_url: str = ""

    # builtin:multilingual-e5-small | builtin (MiniLM, English) | openai:<name> | fastembed:<name or local folder>
    embedding_model: str = "builtin:multilingual-e5-small"
    embedding_base_url: str = ""  # empty: OPENAI_BASE_URL
    embedding_api_key: SecretStr = SecretStr("")  # empty: OPENAI_API_KEY if the address is empty too
    embedding_timeout_seconds: float = Field(20.0, gt=0)  # for a question; for documents llm_timeout_seconds

    rerank_model: str = ""  # empty: none, unless one is chosen on the Models page
    rerank_base_url: str = ""  # empty: OPENAI_BASE_URL, with OPENAI_API_KEY
    rerank_api_key: SecretStr = SecretStr("")
    rerank_timeout_seconds: float = Field(8.0, gt=0)

    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = ""
    llm_model: str = ""
    llm_sees_images: Literal["auto", "yes", "no"] = "auto"  # auto: as the model's name suggests
    llm_timeout_seconds: float = 60.0
    conversation_titles: bool = True  # the model names a conversation after its first answer; false: its first question
    secret_key: SecretStr = SecretStr("")  # encrypts API keys in SQL, signs tickets; empty: a file in ZHIWEN_HOME

    web_search_engine: WebSearchEngine = "ddgs"
    web_search_timeout_seconds: float = Field(15.0, gt=0)
    web_search_pages: int = Field(8, ge=1, le=20)  # of each search are read
    web_pages_timeout_seconds: float = Field(12.0, gt=0)  # for all of them
    searxng_url: str = ""
    tavily_api_key: SecretStr = SecretStr("")
    brave_api_key: SecretStr = SecretStr("")
    bocha_api_key: SecretStr = SecretStr("")

    worker_threads: int = Field(3, ge=1, le=64)
    worker_recycle_documents: int = Field(5_000, ge=0)  # 0: a worker process is not replaced for that
    worker_recycle_memory_mb: int = Field(0, ge=0)
    parsing_timeout_seconds: float = 300.0
    parsing_page_timeout_seconds: float = 60.0
    parsing_memory_mb: int = Field(4096, ge=256)
    ocr: bool = True
    max_upload_mb: int = Field(200, ge=1)
    max_chunks_per_document: int = Field(50_000, ge=1)
    lease_seconds: float = Field(20.0, ge=4)  # heartbeats come every 2 s
    drain_seconds: float = Field(60.0, ge=0)  # after SIGTERM; see `web.draining`

    auth: Literal["", "none", "local"] = ""  # empty: local where others can reach server.address, else none
    oidc_providers: str = ""  # with spaces between; each has OIDC_<NAME>_ISSUER and so on: see `kb.oidc.settings`
    registration: Literal["closed", "invitation", "open"] = "closed"  # open: an administrator approves each account
    audit_days: int = Field(365, ge=1)  # for so long the audit log is kept
    conversation_days: int = Field(0, ge=0)  # after so many without a question, one is deleted; 0: never
    public_urls: str = ""  # with spaces between: where browsers reach the app other than at its own port
    # host or host:port, with spaces between: that may be read, told of events or asked as a model though not public
    allowed_fetch_hosts: str = ""

    # For each user; 0: no limit. Documents and files count for who owns their knowledge base.
    user_documents_at_once: int = Field(0, ge=0)  # that all workers together process
    user_documents_queued: int = Field(0, ge=0)
    user_storage_mb: int = Field(0, ge=0)
    user_answers_per_minute: int = Field(0, ge=0)  # on the pages and by programs together

    # For each API key; 0: no limit.
    api_requests_per_minute: int = Field(600, ge=0)
    api_answers_per_minute: int = Field(30, ge=0)

    metrics_token: SecretStr = SecretStr("")  # for /metrics; empty: only this machine may read it

    log_level: str = "INFO"
    log_format: str = "json"  # json | text

    @field_validator("milvus_uri")
    @classmethod
    def _check_milvus_uri(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://", "tcp://", "unix:")):
            raise ValueError(N_("write it as http://host:19530"))
        return value

    @field_validator("openai_base_url", "embedding_base_url", "rerank_base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        if not is_web_address(value):
            raise ValueError(N_("write it as https://host/v1"))
        return value.strip()

    @field_validator("searxng_url")
    @classmethod
    def _check_searxng_url(cls, value: str) -> str:
        if not is_web_address(value):
            raise ValueError(N_("write it as http://host:8080"))
        return value.strip()

    @field_validator(
        "openai_api_key", "embedding_api_key", "rerank_api_key", "tavily_api_key", "brave_api_key", "bocha_api_key"
    )
    @classmethod
    def _check_key(cls, value: SecretStr) -> SecretStr:
        return clean_key(value)

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, value: SecretStr) -> SecretStr:
        token = clean_key(value)
        if 0 < len(token.get_secret_value()) < LEAST_TOKEN:
            raise ValueError(N_("it is shorter than 16 characters; make one with: openssl rand -hex 24"))
        return token

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        from redis.connection import parse_url

        try:
            parse_url(value or "redis://")  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise ValueError(N_("write it as redis://host:6379/0")) from error
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            kind = make_url(value or "sqlite://").drivername
        except (ArgumentError, ValueError):
            kind = ""
        if not kind.startswith(("sqlite", "postgres")):
            raise ValueError(N_("write it as postgresql://user:password@host/database"))
        if kind in ("postgres", "postgresql", "postgresql+psycopg") and find_spec("psycopg") is None:
            raise ValueError(N_('PostgreSQL needs a package that is not installed: pip install "psycopg[binary]"'))
        return value

    @field_validator("allowed_fetch_hosts")
    @classmethod
    def _check_fetch_hosts(cls, value: str) -> str:
        from kb.fetching.addresses import AllowedHosts

        try:
            AllowedHosts.of(value)
        except ValueError as error:
            raise ValueError(N_("write it as wiki.intranet 10.0.0.5:8080, without http://")) from error
        return value

    @field_validator("public_urls")
    @classmethod
    def _check_public_urls(cls, value: str) -> str:
        if not all(is_web_address(url) for url in value.split()):
            raise ValueError(N_("write it as https://zhiwen.example, with a space between two"))
        return value

    _sign_in_providers: tuple[OidcProvider, ...] = PrivateAttr(())

    @property
    def sign_in_providers(self) -> tuple[OidcProvider, ...]:
        """Those of `oidc_providers`."""
        return self._sign_in_providers

    @property
    def home(self) -> Path:
        return self.zhiwen_home.expanduser().resolve()

    @property
    def uploads(self) -> Path:
        return self.home / "uploads"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def sqlite_path(self) -> Path:
        return self.home / "zhiwen.db"

    @property
    def backups(self) -> Path:
        """Copies of the database before each upgrade."""
        return self.home / "backups"

    @property
    def sql_url(self) -> str:
        """The database's URL for SQLAlchemy. PostgreSQL always uses psycopg 3."""
        if not self.database_url:
            from sqlalchemy.engine import URL

            # From its parts: a folder's name may contain a question mark.
            return URL.create("sqlite", database=str(self.sqlite_path)).render_as_string(hide_password=False)
        for prefix in ("postgresql://", "postgres://"):
            if self.database_url.startswith(prefix):
                return "postgresql+psycopg://" + self.database_url.removeprefix(prefix)
        return self.database_url

    def endpoint(self, base_url: str, key: SecretStr) -> tuple[str, SecretStr]:
        """Where a model is asked, and with which key: OPENAI_API_KEY goes to no other server than OPENAI_BASE_URL."""
        if base_url:
            return base_url, key
        return self.openai_base_url, key if key.get_secret_value() else self.openai_api_key

    @property
    def needs_embedded_services(self) -> bool:
        return not (self.milvus_uri and self.redis_url)


def clean_key(value: SecretStr) -> SecretStr:
    """An API key without the white space around it. Errors: `ValueError` for what no key contains, without the key."""
    key = value.get_secret_value().strip()
    if any(character.isspace() for character in key):
        raise ValueError(N_("it contains a space or a line break; paste only the key, in one line"))
    if not (key.isascii() and key.isprintable()):
        raise ValueError(N_("it contains a character that keys never contain; check for curly quotes"))
    return SecretStr(key)


def is_web_address(value: str) -> bool:
    """Whether `value` is an http or https address, or empty."""
    import httpx

    value = value.strip()
    try:
        return not value or (urlsplit(value).scheme in ("http", "https") and bool(httpx.URL(value).host))
    except (ValueError, httpx.InvalidURL):
        return False


def load_settings(**values: object) -> Settings:
    """Read the environment and `.env`; `values` override both. Errors: `SetupError` that names a bad setting."""
    file = find_env_file()
    if home := os.environ.get("ZHIWEN_HOME"):
        values = {"zhiwen_home": Path(home).expanduser().absolute(), **values}  # a shell's relative path is its own
    try:
        settings = Settings(**{"_env_file": file, **values})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise SetupError(
            N_("{setting} is not valid: {detail}."),
            N_("Correct it in the environment or in {file}, then restart."),
            setting=str(first["loc"][0]).upper(),
            detail=first["msg"].removeprefix("Value error, "),
            file=file,
        ) from error
    if settings.oidc_providers:  # whose variables have names that nobody knows before
        in_file = dotenv_values(file) if values.get("_env_file", file) else {}
        settings._sign_in_providers = read_providers(settings.oidc_providers, {**in_file, **os.environ})
    return settings.model_copy(update={"zhiwen_home": file.parent / settings.zhiwen_home.expanduser()})


def find_env_file() -> Path:
    """The `.env` to read, which need not exist. A relative ZHIWEN_HOME in it counts from its folder.

    `.env` and `data` lie side by side: in the current folder if that has data of ours already, else in the source
    folder, and for an installed package in the user's data folder. ZHIWEN_ENV_FILE names another file.
    """
    if given := os.environ.get("ZHIWEN_ENV_FILE"):
        return Path(given).expanduser().resolve()
    if any(Path("data", name).exists() for name in OUR_DATA):
        return Path.cwd() / ".env"
    if (SOURCE / "pyproject.toml").is_file() and SOURCE.name not in ("site-packages", "dist-packages"):
        return SOURCE / ".env"
    return user_data_path("zhiwen") / ".env"


def telemetry_variables() -> dict[str, str]:
    """OpenTelemetry's standard variables: those of the environment before those of `.env`. None is empty."""
    found = {**dotenv_values(find_env_file()), **os.environ}
    return {name: value for name, value in found.items() if name.startswith("OTEL_") and value}
