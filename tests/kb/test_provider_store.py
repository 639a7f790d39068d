"""Providers in SQL: what is kept of them, for whom, and that no key is in there."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from kb.access import Principal
from kb.config import Settings
from kb.database import Database
from kb.database.tables import model_choices
from kb.database.tables import providers as table
from kb.embedding import OF_PROVIDER
from kb.errors import InvalidName, InvalidProvider, ModelKeyLost, NotFound, ProviderInUse, ProviderNameTaken, SetupError
from kb.providers import PRESETS
from kb.providers.connection import ModelSettings, Purpose
from kb.providers.keys import KEY_FILE, KeySafe
from kb.providers.store import ProviderDraft, Providers, clean_base_url
from kb.users import Users
from tests.conftest import Library, MakeSettings, add_user

KEY = "sk-very-secret-0123456789"
SETTINGS = ModelSettings(0.3, 500, 8_000, "Be brief.")
DRAFT = ProviderDraft("DeepSeek", "deepseek", "https://api.deepseek.com/v1", SecretStr(KEY), ("a", "b"), SETTINGS)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings()


@pytest.fixture
def providers(database: Database, settings: Settings) -> Providers:
    """Runs the test on SQLite and on PostgreSQL."""
    return Providers(database, KeySafe(settings))


@pytest.fixture
def user(database: Database) -> Principal:
    return add_user(database, "user")


@pytest.fixture
def stranger(database: Database) -> Principal:
    return add_user(database, "stranger")


def key_of(providers: Providers, user: Principal) -> str:
    (connection,) = providers.connections(user)
    return connection.key.get_secret_value()


def test_provider_is_kept_with_its_settings(providers: Providers, user: Principal) -> None:
    provider_id = providers.add(user, DRAFT)
    (provider,) = providers.list(user)
    assert (provider.id, provider.name, provider.preset) == (provider_id, "DeepSeek", "deepseek")
    assert (provider.base_url, provider.has_key) == ("https://api.deepseek.com/v1", True)
    assert (provider.model_names, provider.settings) == (("a", "b"), SETTINGS)
    (connection,) = providers.connections(user)
    assert (connection.names, connection.settings, connection.provider_id) == (("a", "b"), SETTINGS, provider_id)
    assert connection.key.get_secret_value() == KEY


def test_key_is_in_no_table_and_no_representation(providers: Providers, user: Principal, database: Database) -> None:
    providers.add(user, DRAFT)
    with database.read() as connection:
        row = connection.execute(sa.select(table)).one()
    assert KEY not in str(tuple(row))
    assert KEY not in repr(providers.list(user)) + repr(providers.connections(user)) + repr(DRAFT)


def test_change_keeps_the_key_unless_another_is_given(providers: Providers, user: Principal) -> None:
    provider_id = providers.add(user, DRAFT)
    providers.change(user, provider_id, replace(DRAFT, name="Other", key=None, settings=ModelSettings()))
    assert providers.list(user)[0].name == "Other"
    assert providers.list(user)[0].settings == ModelSettings()
    assert key_of(providers, user) == KEY
    providers.change(user, provider_id, replace(DRAFT, key=SecretStr("  sk-new \n")))
    assert key_of(providers, user) == "sk-new"
    providers.change(user, provider_id, replace(DRAFT, key=SecretStr("")))
    assert key_of(providers, user) == ""


def test_stored_key_goes_to_no_other_host(providers: Providers, user: Principal) -> None:
    provider_id = providers.add(user, DRAFT)
    elsewhere = replace(DRAFT, base_url="https://evil.example/v1", key=None)
    with pytest.raises(InvalidProvider, match="enter the key for it"):
        providers.change(user, provider_id, elsewhere)
    assert providers.list(user)[0].base_url == DRAFT.base_url
    providers.change(user, provider_id, replace(DRAFT, base_url="https://api.deepseek.com/beta", key=None))
    providers.change(user, provider_id, replace(elsewhere, key=SecretStr("sk-own")))
    assert key_of(providers, user) == "sk-own"


def test_providers_belong_to_their_owner(providers: Providers, user: Principal, stranger: Principal) -> None:
    provider_id = providers.add(user, DRAFT)
    assert (len(providers.list(stranger)), len(providers.connections(stranger))) == (0, 0)
    with pytest.raises(NotFound):
        providers.change(stranger, provider_id, DRAFT)
    with pytest.raises(NotFound):
        providers.delete(stranger, provider_id)
    providers.add(stranger, DRAFT)  # the same name
    with pytest.raises(ProviderNameTaken):
        providers.add(user, DRAFT)
    other = providers.add(user, replace(DRAFT, name="Other"))
    with pytest.raises(ProviderNameTaken):
        providers.change(user, other, DRAFT)
    assert [provider.name for provider in providers.list(user)] == ["DeepSeek", "Other"]


def test_deleted_provider_takes_the_choices_of_its_models_along(
    providers: Providers, user: Principal, database: Database
) -> None:
    gone, kept = providers.add(user, DRAFT), providers.add(user, replace(DRAFT, name="Other"))
    providers.choose_model(user, Purpose.CHAT, f"{gone}/a")
    providers.choose_model(user, Purpose.REWRITING, f"{kept}/a")
    providers.delete(user, gone)
    with pytest.raises(NotFound):
        providers.delete(user, gone)
    assert [provider.id for provider in providers.list(user)] == [kept]
    assert providers.chosen_model(user, Purpose.CHAT) == ""
    assert providers.chosen_model(user, Purpose.REWRITING) == f"{kept}/a"


def test_provider_that_knowledge_bases_need_is_not_deleted(providers: Providers, library: Library) -> None:
    provider_id = providers.add(library.user, DRAFT)
    base = library.knowledge_bases.create(library.user, "Handbook", f"{OF_PROVIDER}{provider_id}/bge-m3", 64)
    with pytest.raises(ProviderInUse, match="Handbook"):
        providers.delete(library.user, provider_id)
    connection = providers.connection(provider_id)
    assert connection is not None
    assert connection.key.get_secret_value() == KEY
    library.knowledge_bases.delete(library.user, base.id)
    providers.delete(library.user, provider_id)
    assert providers.connection(provider_id) is None


def test_choice_of_a_model_is_replaced(providers: Providers, database: Database) -> None:
    user = Users(database).local_principal()
    for model in ("host/a", "host/b", ""):
        providers.choose_model(user, Purpose.CHAT, model)
        assert providers.chosen_model(user, Purpose.CHAT) == Users(database).local().chat_model == model
    with pytest.raises(NotFound):
        providers.choose_model(Principal(uuid4()), Purpose.CHAT, "host/a")
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(model_choices)) == 1


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"name": " \n"}, InvalidName, "1 to 100"),
        ({"base_url": ""}, InvalidProvider, "Base URL is not valid: write it as https://host/v1"),
        ({"base_url": "ftp://host/v1"}, InvalidProvider, "Base URL"),
        ({"base_url": "https://ho st/v1"}, InvalidProvider, "Base URL"),
        ({"base_url": "https://user:pass@host/v1"}, InvalidProvider, "leave out the user name"),
        ({"key": SecretStr("sk-a\nsk-b")}, InvalidProvider, "API key is not valid: it contains a space"),
        ({"key": SecretStr("“sk-a”")}, InvalidProvider, "curly quotes"),
        ({"model_names": ("m",) * 2 + tuple(map(str, range(100)))}, InvalidProvider, "at most 100"),
        ({"settings": ModelSettings(temperature=2.1)}, InvalidProvider, "between 0 and 2"),
        ({"settings": ModelSettings(max_tokens=0)}, InvalidProvider, "Longest answer"),
        ({"settings": ModelSettings(system_prompt="x" * 20_001)}, InvalidProvider, "20,000"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_what_cannot_be_right_is_refused(
    providers: Providers, user: Principal, change: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised:
        providers.add(user, replace(DRAFT, **change))
    assert "sk-a" not in str(raised.value)
    assert providers.list(user) == []


def test_provider_of_langchain_needs_names_and_no_address(providers: Providers, user: Principal) -> None:
    draft = ProviderDraft("Claude", "anthropic", "", SecretStr(KEY))
    with pytest.raises(InvalidProvider, match="enter at least one name"):
        providers.add(user, draft)
    providers.add(user, replace(draft, model_names=("claude",)))
    (connection,) = providers.connections(user)
    assert (connection.langchain, connection.base_url, connection.host) == ("anthropic", "", "Claude")
    assert connection.model("claude").langchain == "anthropic"


def test_unreadable_settings_have_defaults(providers: Providers, user: Principal, database: Database) -> None:
    providers.add(user, DRAFT)
    unreadable: list[object] = [{}, {"format": 9, "temperature": "hot"}, []]
    for stored in unreadable:
        with database.write() as connection:
            connection.execute(sa.update(table).values(settings=stored))
        assert providers.list(user)[0].settings == ModelSettings()


@pytest.mark.parametrize(
    ("entered", "base_url"),
    [
        (" https://host/v1/ ", "https://host/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://host:8000/v1/models", "http://host:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_base_url_is_found_in_the_address_of_an_endpoint(entered: str, base_url: str) -> None:
    assert clean_base_url(entered) == base_url


def test_presets_are_addresses_as_they_are_stored() -> None:
    for preset in PRESETS.values():
        assert not preset.base_url or clean_base_url(preset.base_url) == preset.base_url


# --- the key that encrypts them ---


def test_key_file_is_for_its_owner_alone_and_made_when_needed(settings: Settings) -> None:
    file = settings.home / KEY_FILE
    safe = KeySafe(settings)
    assert safe.encrypt(SecretStr("")) == ""
    assert safe.decrypt("") == SecretStr("")
    assert not file.exists()
    stored = safe.encrypt(SecretStr(KEY))
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KeySafe(settings).decrypt(stored) == SecretStr(KEY)
    assert [path.name for path in settings.home.iterdir()] == [KEY_FILE]


def test_processes_that_make_the_key_file_at_once_agree(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: KeySafe(settings).encrypt(SecretStr(KEY)), range(8)))
    assert [KeySafe(settings).decrypt(each) for each in stored] == [SecretStr(KEY)] * 8


def test_secret_of_the_settings_replaces_the_file(make_settings: MakeSettings) -> None:
    settings = make_settings(secret_key="a passphrase")
    stored = KeySafe(settings).encrypt(SecretStr(KEY))
    assert not (settings.home / KEY_FILE).exists()
    assert KeySafe(settings).decrypt(stored) == SecretStr(KEY)
    assert KeySafe(make_settings(secret_key="another")).decrypt(stored) is None


@pytest.mark.parametrize("damage", ["gone", "other", "nonsense"])
def test_lost_key_file_is_told_and_costs_nothing_else(
    database: Database, providers: Providers, settings: Settings, user: Principal, damage: str
) -> None:
    provider_id = providers.add(user, DRAFT)
    file = settings.home / KEY_FILE
    file.unlink()
    if damage == "other":
        KeySafe(settings).encrypt(SecretStr("x"))
    elif damage == "nonsense":
        file.write_text("nonsense")
    after = Providers(database, KeySafe(settings))
    (connection,) = after.connections(user)
    assert isinstance(connection.error, ModelKeyLost)
    assert after.list(user)[0].has_key
    if damage == "nonsense":
        with pytest.raises(SetupError, match=r"secret\.key cannot be used"):
            after.change(user, provider_id, DRAFT)
        file.unlink()
        after = Providers(database, KeySafe(settings))
    after.change(user, provider_id, DRAFT)
    assert key_of(after, user) == KEY
