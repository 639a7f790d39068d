"""`zhiwen user` and `zhiwen key`: what administrators and users do on their pages, from the command line."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kb.access import KeyScope
from kb.access.keys import ApiKeys
from kb.accounts import Accounts, Passwords, build_accounts, first_administrator
from kb.audit import COMMAND_LINE, Action
from kb.audit.log import AuditLog, Filter
from kb.cli import parser
from kb.config import Settings
from kb.database import Database
from kb.errors import InvitationsClosed, KeyRefused, SignInFailed
from kb.library import KnowledgeBases
from kb.models import UserRole
from kb.redis import quick
from kb.users import Users
from tests.conftest import MakeSettings, copy_sqlite
from tests.fakes.queue import RecordingQueue
from tests.kb.accounts.people import ADDRESS, PASSWORD, quick_passwords
from tests.kb.cli.conftest import Run

OTHER_PASSWORD = "another long password"
Type = Callable[[str], None]


@pytest.fixture
def settings(
    make_settings: MakeSettings, redis_url: str, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of an installation whose Milvus does not run."""
    monkeypatch.setattr(Passwords, "_hasher", quick_passwords()._hasher)
    values = {"redis_url": redis_url, "milvus_uri": "http://127.0.0.1:9", "registration": "invitation"}
    for name, value in values.items():
        monkeypatch.setenv(name.upper(), value)
    settings = make_settings(**values)
    copy_sqlite(migrated_sqlite, settings)
    return settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def accounts(settings: Settings, database: Database) -> Accounts:
    return build_accounts(settings, database, quick(settings))


@pytest.fixture
def type_password(monkeypatch: pytest.MonkeyPatch) -> Type:
    """What standard input brings, which is no terminal."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))


@pytest.fixture
def ada(zhiwen: Run, settings: Settings, type_password: Type) -> None:
    """The first account."""
    type_password(PASSWORD)
    ended = zhiwen("user", "add", "Ada")
    assert (ended.code, ended.out) == (0, "Ada: administrator, active\n"), ended


@pytest.fixture
def ben(ada: None, zhiwen: Run, type_password: Type) -> None:
    type_password(PASSWORD)
    assert zhiwen("user", "add", "Ben").code == 0


def states(zhiwen: Run) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["role"], each["state"]) for each in zhiwen("user", "list", "--json").json}


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["invitation"][0]


def test_parser_knows_the_roles_and_scopes_of_the_core() -> None:
    assert list(parser.ROLES) == list(UserRole)
    assert list(parser.SCOPES) == list(KeyScope)


@pytest.mark.parametrize("arguments", [["user"], ["user", "add"], ["user", "role", "Ada", "king"], ["key", "create"]])
def test_wrong_use(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse(arguments, "1")


# --- users -----------------------------------------------------------------------------------------------------


def test_first_account_takes_over_the_local_user(ada: None, accounts: Accounts, database: Database) -> None:
    token = accounts.sign_in.sign_in("ada", PASSWORD, ADDRESS)
    account = accounts.sessions.find(token)
    assert account
    assert account.principal == Users(database).local_principal()
    assert not accounts.registration.needs_first()


def test_accounts_are_added_also_where_registration_is_closed(
    ada: None, accounts: Accounts, zhiwen: Run, type_password: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRATION", "closed")
    type_password(PASSWORD)
    assert zhiwen("user", "add", "李雷", "--role", "administrator").code == 0
    assert states(zhiwen) == {"Ada": ("administrator", "active"), "李雷": ("administrator", "active")}
    assert zhiwen("user", "invite", "--json").json["error"]["code"] == InvitationsClosed().code
    listed = zhiwen("user", "list").out.splitlines()
    assert listed[0].split() == ["NAME", "ROLE", "STATE", "SIGNED", "IN"]
    assert listed[2] == "李雷  administrator  active  never"
    assert accounts.sign_in.sign_in("李雷", PASSWORD, ADDRESS)


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [("ADA", PASSWORD, "account_name_taken"), ("Ben", "short", "password_too_short"), (" ", PASSWORD, "invalid_name")],
)
def test_rules_of_the_pages_hold(
    ada: None, zhiwen: Run, type_password: Type, name: str, password: str, code: str
) -> None:
    type_password(password)
    ended = zhiwen("user", "add", name, "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, code)


def test_link_makes_one_account(ada: None, accounts: Accounts, zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URLS", "http://localhost:8501 https://wissen.example/zhiwen/")
    link = zhiwen("user", "invite", "--role", "administrator", "--json").json["link"]
    assert link.startswith("https://wissen.example/zhiwen/signup?invitation=")
    accounts.registration.accept(token_of(link), "Ben", PASSWORD, ADDRESS)
    assert states(zhiwen)["Ben"] == ("administrator", "active")


def test_role_suspend_and_restore(ben: None, accounts: Accounts, zhiwen: Run) -> None:
    session = accounts.sign_in.sign_in("Ben", PASSWORD, ADDRESS)
    assert zhiwen("user", "role", "ben", "administrator").out == "Ben: administrator, active\n"
    assert zhiwen("user", "suspend", "Ben").out == "Ben: administrator, suspended\n"
    assert accounts.sessions.find(session) is None
    assert zhiwen("user", "restore", "Ben").out == "Ben: administrator, active\n"
    assert zhiwen("user", "role", "Ada", "member").code == 0  # Ben is left, as whom the next command acts
    last = zhiwen("user", "suspend", "Ben")
    assert (last.code, "only active administrator" in last.err) == (1, True)


def test_waiting_user_is_approved(ada: None, accounts: Accounts, zhiwen: Run) -> None:
    accounts.registration.mode = "open"
    accounts.registration.register("Cleo", PASSWORD, ADDRESS)
    assert states(zhiwen)["Cleo"] == ("member", "awaiting approval")
    assert zhiwen("user", "approve", "Cleo").out == "Cleo: member, active\n"


def test_new_password_by_link_or_typed(ben: None, accounts: Accounts, zhiwen: Run, type_password: Type) -> None:
    link = zhiwen("user", "reset-password", "Ben").out.splitlines()[0]
    assert link.startswith("http://localhost:8501/signup?")
    session = accounts.registration.accept(token_of(link), "", OTHER_PASSWORD, ADDRESS)
    type_password(PASSWORD)
    assert zhiwen("user", "reset-password", "Ben", "--ask").code == 0
    assert accounts.sessions.find(session) is None
    accounts.sign_in.sign_in("Ben", PASSWORD, ADDRESS)
    with pytest.raises(SignInFailed):
        accounts.sign_in.sign_in("Ben", OTHER_PASSWORD, ADDRESS)


def test_password_is_typed_twice_at_a_terminal(ben: None, zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([OTHER_PASSWORD, PASSWORD])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("kb.cli.user.getpass", lambda _prompt: next(typed))
    ended = zhiwen("user", "reset-password", "Ben", "--ask")
    assert (ended.code, "differ" in ended.err) == (1, True)

    def end(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("kb.cli.user.getpass", end)
    assert "No password was typed" in zhiwen("user", "reset-password", "Ben", "--ask").err


def test_unknown_user_and_no_accounts(settings: Settings, zhiwen: Run, type_password: Type) -> None:
    assert "makes the first one" in zhiwen("user", "list").out
    assert zhiwen("user", "list", "--json").json == []
    assert "makes the first one" in zhiwen("user", "suspend", "Ada").err
    type_password(PASSWORD)
    zhiwen("user", "add", "Ada")
    assert "Users: “Ada”" in zhiwen("user", "suspend", "Bob").err


def test_home_that_never_ran_is_left_alone(zhiwen: Run, make_settings: MakeSettings) -> None:
    ended = zhiwen("user", "list")
    assert (ended.code, "holds no data" in ended.err) == (1, True)
    assert not make_settings().home.exists()


def test_commands_are_recorded(ben: None, zhiwen: Run, database: Database, type_password: Type) -> None:
    type_password(OTHER_PASSWORD)
    zhiwen("user", "reset-password", "Ben", "--ask")
    for action in ("reset-password", "suspend", "restore"):
        zhiwen("user", action, "Ben")
    zhiwen("user", "role", "Ben", "administrator")
    zhiwen("user", "invite")
    hint = zhiwen("key", "create", "bot", "--user", "Ben", "--json").json["hint"]
    zhiwen("key", "revoke", hint)
    administrator = first_administrator(database)
    assert administrator
    events = AuditLog(database, days=1).search(administrator, Filter())
    assert {event.address for event in events} == {COMMAND_LINE}
    assert sorted((event.action, event.user_name, event.target_name) for event in events) == [
        (Action.ACCOUNT_CREATED, "Ada", "Ada"),
        (Action.ACCOUNT_CREATED, "Ada", "Ben"),
        (Action.INVITATION_MADE, "Ada", ""),
        (Action.PASSWORD_LINK_MADE, "Ada", "Ben"),
        (Action.PASSWORD_REPLACED, "Ada", "Ben"),
        (Action.ACCOUNT_RESUMED, "Ada", "Ben"),
        (Action.ROLE_CHANGED, "Ada", "Ben"),
        (Action.ACCOUNT_SUSPENDED, "Ada", "Ben"),
        (Action.KEY_CREATED, "Ben", "bot"),
        (Action.KEY_REVOKED, "Ben", "bot"),
    ]


# --- keys ------------------------------------------------------------------------------------------------------


def test_key_of_the_local_user_without_accounts(settings: Settings, zhiwen: Run, database: Database) -> None:
    made = zhiwen("key", "create", "script")
    secret, note = made.out.splitlines()
    assert "cannot be shown again" in note
    keys = ApiKeys(database)
    principal = keys.authenticate(secret)
    assert (principal.user_id, principal.has(KeyScope.READ), principal.has(KeyScope.ASK)) == (
        Users(database).local_principal().user_id,
        True,
        False,
    )
    (listed,) = zhiwen("key", "list", "--json").json
    assert (listed["name"], listed["scopes"], listed["knowledge_bases"]) == ("script", ["read"], None)
    assert secret not in zhiwen("key", "list").out
    assert zhiwen("key", "revoke", listed["hint"]).out == "Revoked “script” of local.\n"
    with pytest.raises(KeyRefused):
        keys.authenticate(secret)
    assert zhiwen("key", "list").out == "There are no API keys.\n"


def test_key_of_another_user(ben: None, zhiwen: Run, accounts: Accounts, database: Database) -> None:
    ben_account = accounts.sessions.find(accounts.sign_in.sign_in("Ben", PASSWORD, ADDRESS))
    assert ben_account
    KnowledgeBases(database, RecordingQueue()).create(ben_account.principal, "Coast", "test", 3)
    wanted = ["--user", "ben", "-k", "coast", "--scope", "read", "--scope", "ask", "--days", "30"]
    made = zhiwen("key", "create", "bot", *wanted, "--json").json
    assert (made["user"], made["scopes"], made["knowledge_bases"]) == ("Ben", ["read", "ask"], ["Coast"])
    assert made["expires_at"]
    principal = ApiKeys(database).authenticate(made["secret"])
    assert (principal.user_id, principal.limiting_key_id is None) == (ben_account.id, False)
    assert [each["name"] for each in zhiwen("key", "list", "--json").json] == ["bot"]
    assert zhiwen("key", "list", "--user", "Ada", "--json").json == []
    assert "Coast" in zhiwen("key", "list").out
    assert zhiwen("key", "revoke", made["id"]).code == 0


def test_unknown_key_and_knowledge_base(settings: Settings, zhiwen: Run) -> None:
    assert "no API key" in zhiwen("key", "revoke", "zw_nothing").err
    ended = zhiwen("key", "create", "bot", "-k", "Nowhere")
    assert (ended.code, "no knowledge base “Nowhere”" in ended.err) == (1, True)
