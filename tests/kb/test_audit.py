"""The audit log: what is recorded, of whom and from where; who may search it; what a file of it holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from kb.access import GranteeKind, KeyLimits, KeyScope, Permission, Principal
from kb.access.keys import ApiKeys
from kb.accounts import Accounts
from kb.audit import Action, Kind, acting_from, record, record_failed_sign_in, recording
from kb.audit.log import AuditLog, Event, Filter
from kb.conversations import ConversationLinks, Conversations, Messages
from kb.database import Database
from kb.database.tables import audit_events, knowledge_bases, now
from kb.errors import AdministratorsOnly, FileMissing, LastAdministrator, NotFound, SignInFailed
from kb.exports import Exports, Format, Wording
from kb.library.sharing import Grantee, Sharing
from kb.models import Account, Document, KnowledgeBaseKind, Mode, UserRole
from kb.providers.keys import KeySafe
from kb.providers.store import ProviderDraft, Providers
from tests.conftest import Clock, Library, MakeSettings, add_user
from tests.kb.accounts.people import ADDRESS, PASSWORD, make_accounts
from tests.kb.talks import answered

Recorded = Callable[[], list[tuple[Action | str, str]]]
OTHER = "tea kettle whistle"
WORDING = Wording(str, dict.fromkeys(Mode, ""), str, str, str, str)


@pytest.fixture(autouse=True)
def address() -> Iterator[None]:
    acting_from(ADDRESS)
    yield
    acting_from("")


@pytest.fixture
def accounts(database: Database, tmp_path: Path, clock: Clock) -> Accounts:
    """Runs the test on SQLite and on PostgreSQL."""
    return make_accounts(database, tmp_path / "home", clock)


@pytest.fixture(autouse=True)
def ada(accounts: Accounts) -> Account:
    """The first administrator."""
    registration = accounts.registration
    found = accounts.sessions.find(registration.create_first(registration.first_token(), "Ada", PASSWORD, ADDRESS))
    assert found
    return found


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database, 365)


@pytest.fixture
def recorded(log: AuditLog, ada: Account) -> Recorded:
    """What has been recorded since the last look, and of which thing, the oldest first."""
    seen = {event.id for event in log.search(ada.principal, Filter())}

    def look() -> list[tuple[Action | str, str]]:
        new = [event for event in log.search(ada.principal, Filter()) if event.id not in seen]
        seen.update(event.id for event in new)
        return [(event.action, event.target_name) for event in reversed(new)]

    return look


def newest(log: AuditLog, ada: Account) -> Event:
    return log.search(ada.principal, Filter(), limit=1)[0]


def test_event_says_who_what_when_and_from_where(
    library: Library, ada: Account, log: AuditLog, recorded: Recorded
) -> None:
    base, before = library.knowledge_base("Kitchen"), now()
    library.knowledge_bases.delete(library.user, base.id)
    event = newest(log, ada)
    assert (event.action, event.target_id, event.target_name) == (Action.KNOWLEDGE_BASE_DELETED, base.id, "Kitchen")
    assert (event.user_id, event.user_name, event.key_name) == (library.user.user_id, "user", "")
    assert (event.address, event.times) == (ADDRESS, 1)
    assert before <= event.at <= now()


def test_key_that_acted_is_named(library: Library, ada: Account, log: AuditLog) -> None:
    key, _secret = ApiKeys(library.database).create(library.user, "Backup", [KeyScope.ADMIN])
    program = Principal(library.user.user_id, KeyLimits(key.id, frozenset(KeyScope)))
    library.knowledge_bases.delete(program, library.knowledge_base().id)
    assert newest(log, ada).key_name == "Backup"


def test_accounts_are_recorded(accounts: Accounts, ada: Account, recorded: Recorded) -> None:
    registration, administration, me = accounts.registration, accounts.administration, ada.principal
    registration.withdraw(me, _link(accounts, registration.invite(me)))
    registration.accept(registration.invite(me), "Ben", PASSWORD, ADDRESS)
    registration.mode = "open"
    for name in ("Cem", "Dot"):
        registration.register(name, PASSWORD, ADDRESS)
    ids = {each.name: each.id for each in administration.accounts(me)}
    administration.approve(me, ids["Cem"])
    administration.reject(me, ids["Dot"])
    administration.suspend(me, ids["Ben"])
    administration.resume(me, ids["Ben"])
    administration.set_role(me, ids["Ben"], UserRole.ADMINISTRATOR)
    registration.set_password(me, ids["Ben"], OTHER)
    registration.add(me, "Eve", PASSWORD)
    registration.accept(registration.offer_new_password(me, ids["Ben"]), "", OTHER, ADDRESS)
    assert recorded() == [
        (Action.INVITATION_MADE, ""),
        (Action.INVITATION_WITHDRAWN, ""),
        (Action.INVITATION_MADE, ""),
        (Action.ACCOUNT_CREATED, "Ben"),
        (Action.ACCOUNT_REQUESTED, "Cem"),
        (Action.ACCOUNT_REQUESTED, "Dot"),
        (Action.ACCOUNT_APPROVED, "Cem"),
        (Action.ACCOUNT_REJECTED, "Dot"),
        (Action.ACCOUNT_SUSPENDED, "Ben"),
        (Action.ACCOUNT_RESUMED, "Ben"),
        (Action.ROLE_CHANGED, "Ben"),
        (Action.PASSWORD_REPLACED, "Ben"),
        (Action.ACCOUNT_CREATED, "Eve"),
        (Action.PASSWORD_LINK_MADE, "Ben"),
        (Action.PASSWORD_SET, "Ben"),
    ]


def _link(accounts: Accounts, token: str) -> UUID:
    found = accounts.registration.invitation(token)
    assert found
    return found.id


def test_what_was_refused_is_not_recorded(accounts: Accounts, ada: Account, recorded: Recorded) -> None:
    with pytest.raises(LastAdministrator):
        accounts.administration.suspend(ada.principal, ada.id)
    assert recorded() == []


def test_signing_in_and_out_is_recorded(accounts: Accounts, ada: Account, recorded: Recorded) -> None:
    token = accounts.sign_in.sign_in("Ada", PASSWORD, ADDRESS)
    accounts.sessions.end(token)
    accounts.sessions.end(token)
    token = accounts.sign_in.change_password(ada.principal, PASSWORD, OTHER, ADDRESS)
    accounts.sessions.end_all(ada.principal)
    actions = [action for action, _name in recorded()]
    ended = Action.SIGNED_OUT, Action.PASSWORD_CHANGED, Action.SIGNED_OUT_EVERYWHERE
    assert actions == [Action.SIGNED_IN, *ended]


def test_failed_sign_in_keeps_neither_password_nor_unknown_name(
    accounts: Accounts, ada: Account, log: AuditLog, database: Database
) -> None:
    for name, password in (("ada", "wrong horse battery"), (PASSWORD, "Ada")):  # the second in the wrong fields
        with pytest.raises(SignInFailed):
            accounts.sign_in.sign_in(name, password, ADDRESS)
    nobody, known = log.search(ada.principal, Filter(), limit=2)
    assert (known.action, known.user_name, known.user_id) == (Action.SIGN_IN_FAILED, "Ada", ada.id)
    assert (nobody.action, nobody.user_name, nobody.user_id) == (Action.SIGN_IN_FAILED, "", None)
    with database.read() as connection:
        everything = repr(connection.execute(sa.select(audit_events)).all())
    assert "horse" not in everything


def test_failures_in_a_row_are_one_event(accounts: Accounts, ada: Account, log: AuditLog) -> None:
    for _attempt in range(3):
        with pytest.raises(SignInFailed):
            accounts.sign_in.sign_in("Ada", "wrong horse battery", ADDRESS)
    acting_from("192.0.2.8")
    with pytest.raises(SignInFailed):
        accounts.sign_in.sign_in("Ada", "wrong horse battery", "192.0.2.8")
    failed = [event for event in log.search(ada.principal, Filter()) if event.action == Action.SIGN_IN_FAILED]
    assert [(event.address, event.times) for event in failed] == [("192.0.2.8", 1), (ADDRESS, 3)]


def test_failures_from_many_addresses_do_not_fill_the_log(
    database: Database, ada: Account, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_FAILURES", 3)
    for place in range(10):
        acting_from(f"198.51.100.{place}")
        with database.write() as connection:
            record_failed_sign_in(connection, None, "")
    failed = log.search(ada.principal, Filter(kind=Kind.SIGN_IN))
    assert [event.times for event in failed] == [7, 1, 1, 1]
    assert failed[0].address == ""


def test_groups_and_sharing_are_recorded(
    accounts: Accounts, ada: Account, library: Library, log: AuditLog, recorded: Recorded
) -> None:
    me, groups, sharing = ada.principal, accounts.groups, Sharing(library.database)
    base = library.knowledge_base("Kitchen")
    group = groups.create(me, "Cooks")
    groups.rename(me, group.id, "Chefs")
    for _again in range(2):  # only what changes something is an event
        groups.add(me, group.id, library.stranger.user_id)
    grantee = Grantee(GranteeKind.GROUP, group.id)
    sharing.grant(library.user, base.id, grantee, Permission.EDIT)
    shared = newest(log, ada)
    for _again in range(2):
        sharing.withdraw(library.user, base.id, grantee)
        groups.remove(me, group.id, library.stranger.user_id)
    groups.delete(me, group.id)
    assert shared.details == {"to": "Chefs", "grantee": "group", "permission": "edit"}
    assert recorded() == [
        (Action.GROUP_CREATED, "Cooks"),
        (Action.GROUP_RENAMED, "Chefs"),
        (Action.MEMBER_ADDED, "Chefs"),
        (Action.SHARED, "Kitchen"),
        (Action.UNSHARED, "Kitchen"),
        (Action.MEMBER_REMOVED, "Chefs"),
        (Action.GROUP_DELETED, "Chefs"),
    ]


def test_keys_deletions_and_settings_are_recorded(
    library: Library, conversations: Conversations, make_settings: MakeSettings, recorded: Recorded
) -> None:
    me, keys = library.user, ApiKeys(library.database)
    key, _secret = keys.create(me, "Backup", [KeyScope.READ])
    keys.revoke(me, key.id)
    base = library.knowledge_base("Kitchen")
    library.documents.delete(me, library.upload(base, "tea.md").id)
    library.knowledge_bases.rename(me, base.id, "Pantry")
    library.knowledge_bases.set_prompt(me, base.id, "")
    talk = conversations.create(me, "What is secret?", Mode.LLM)
    answered(Messages(library.database), library, talk, "What is secret?")
    links = ConversationLinks(library.database)
    links.share(me, talk.id)
    links.withdraw(me, talk.id)
    conversations.delete(me, talk.id)
    conversations.restore(me, talk.id)
    providers = Providers(library.database, KeySafe(make_settings()))
    draft = ProviderDraft("DeepSeek", "deepseek", "https://api.deepseek.com/v1", SecretStr("sk-very-secret"))
    provider_id = providers.add(me, draft)
    providers.change(me, provider_id, draft)
    providers.delete(me, provider_id)
    assert recorded() == [
        (Action.KEY_CREATED, "Backup"),
        (Action.KEY_REVOKED, "Backup"),
        (Action.DOCUMENT_DELETED, "tea.md"),
        (Action.KNOWLEDGE_BASE_RENAMED, "Pantry"),
        (Action.PROMPT_CHANGED, "Pantry"),
        (Action.LINK_MADE, ""),
        (Action.LINK_WITHDRAWN, ""),
        (Action.CONVERSATION_DELETED, ""),
        (Action.CONVERSATION_RESTORED, ""),
        (Action.PROVIDER_ADDED, "DeepSeek"),
        (Action.PROVIDER_CHANGED, "DeepSeek"),
        (Action.PROVIDER_DELETED, "DeepSeek"),
    ]
    with library.database.read() as connection:
        everything = repr(connection.execute(sa.select(audit_events)).all())
    assert "secret" not in everything  # neither what was asked nor a key


def test_exports_are_recorded(
    library: Library, conversations: Conversations, ada: Account, log: AuditLog, recorded: Recorded
) -> None:
    exports = Exports(library.database, conversations, Messages(library.database), library.knowledge_bases)
    talks = [conversations.create(library.user, f"Question {number}", Mode.LLM) for number in range(2)]
    exports.one(library.user, talks[0].id, Format.JSON, WORDING)
    exports.write_all(io.BytesIO(), library.user, Format.JSON, WORDING)
    assert newest(log, ada).details == {"count": 2}
    assert [action for action, _name in recorded()] == [Action.CONVERSATION_EXPORTED, Action.CONVERSATIONS_EXPORTED]


def test_downloads_of_files_are_recorded(library: Library, ada: Account, log: AuditLog, recorded: Recorded) -> None:
    """Parts of one download are one event, unless its beginning was never asked for."""
    documents, base = library.documents, library.knowledge_base("Kitchen")
    tea, salt = (library.upload(base, f"{name}.md") for name in ("tea", "salt"))

    def download(document: Document, who: Principal = library.user, is_further_part: bool = False) -> None:
        documents.download(who, base.id, document.latest.id, is_further_part)

    download(tea)
    assert (newest(log, ada).target_id, newest(log, ada).details) == (tea.id, {"knowledge_base": "Kitchen"})
    for document in (tea, salt, tea, salt):
        download(document, is_further_part=True)
    download(tea)
    documents.original(library.user, base.id, tea.latest.id)
    assert recorded() == [(Action.DOCUMENT_DOWNLOADED, f"{name}.md") for name in ("tea", "salt", "tea")]
    acting_from("203.0.113.9")
    download(tea, is_further_part=True)
    assert recorded() == [(Action.DOCUMENT_DOWNLOADED, "tea.md")]
    with pytest.raises(NotFound):
        download(tea, library.stranger)
    library.files.delete(tea.latest.file_key)
    with pytest.raises(FileMissing):
        download(tea)
    assert recorded() == []


def test_download_of_an_attached_file_is_recorded_without_names(
    library: Library, ada: Account, log: AuditLog, recorded: Recorded
) -> None:
    base = library.knowledge_base("Of a conversation")
    document = library.upload(base, "diary.md")
    with library.database.write() as connection:
        connection.execute(sa.update(knowledge_bases).values(kind=KnowledgeBaseKind.ATTACHMENTS.value))
    for is_further_part in (False, True):
        library.documents.download(library.user, base.id, document.latest.id, is_further_part)
    assert recorded() == [(Action.ATTACHMENT_DOWNLOADED, "")]
    assert (newest(log, ada).target_id, newest(log, ada).details) == (document.id, {})


# --- searching ---


def test_search_filters_by_person_kind_time_and_text(library: Library, ada: Account, log: AuditLog) -> None:
    me, database = ada.principal, library.database
    with database.write() as connection:
        record(connection, library.user, Action.DOCUMENT_DELETED, uuid4(), "Grüner TEE.pdf", knowledge_base="厨房")
        record(connection, library.stranger, Action.SIGNED_IN)

    def found(**wanted: object) -> list[str]:
        return [event.action for event in log.search(me, Filter(**wanted))]  # type: ignore[arg-type]

    assert found(user_id=library.stranger.user_id) == [Action.SIGNED_IN]
    assert found(kind=Kind.DELETION) == [Action.DOCUMENT_DELETED]
    assert found(text="tee grüner") == found(text="廚房") == [Action.DOCUMENT_DELETED]
    assert found(text="tee 50%") == []
    assert found(text=ADDRESS, user_id=library.user.user_id) == [Action.DOCUMENT_DELETED]
    assert found(since=now() + timedelta(minutes=1)) == found(before=now() - timedelta(minutes=1)) == []
    assert log.count(me, Filter(since=now() - timedelta(minutes=1))) == len(found()) == 3


def test_others_see_nothing(library: Library, accounts: Accounts, ada: Account, log: AuditLog) -> None:
    program = Principal(ada.id, KeyLimits(uuid4(), frozenset(KeyScope)))
    for principal in (library.user, program):
        for ask in (log.search, log.count, log.export):
            with pytest.raises(AdministratorsOnly):
                ask(principal, Filter())


def test_old_events_are_cleared(database: Database, ada: Account, log: AuditLog) -> None:
    assert log.clear() == 0
    later = AuditLog(database, 30, lambda: now() + timedelta(days=31))
    assert later.clear() == 1
    assert log.count(ada.principal, Filter()) == 0


# --- the file ---


def lines(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode("utf-8-sig"))))


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1", "＝1", "＠SUM"])
def test_no_cell_is_a_formula(database: Database, ada: Account, log: AuditLog, name: str) -> None:
    user = add_user(database, name)
    with database.write() as connection:
        record(connection, user, Action.KEY_CREATED, uuid4(), name, scopes=name)
    (line,) = [line for line in lines(log.export(ada.principal, Filter())) if line["action"] == Action.KEY_CREATED]
    assert line["user"] == line["thing"] == f"'{name}"


def test_file_holds_what_was_searched_and_is_recorded(database: Database, ada: Account, log: AuditLog) -> None:
    user, thing = add_user(database, "李雷"), uuid4()
    with database.write() as connection:
        record(connection, user, Action.GROUP_RENAMED, thing, '“A, B”\n"C"', before="甲")
    file = log.export(ada.principal, Filter(kind=Kind.GROUP))
    (line,) = lines(file)
    assert file.startswith(b"\xef\xbb\xbf")
    assert (line["user"], line["thing"], line["details"]) == ("李雷", '“A, B”\n"C"', '{"before": "甲"}')
    assert (line["thing_id"], line["user_id"], line["times"]) == (str(thing), str(user.user_id), "1")
    event = newest(log, ada)
    assert (event.action, event.details) == (Action.AUDIT_EXPORTED, {"count": 1})
