"""Pages where there is a login."""

from __future__ import annotations

import pytest

from kb.models import Account, Mode, UserRole
from tests.fakes.model_server import CHAT, ModelServer
from tests.kb.accounts.people import ADDRESS, PASSWORD
from tests.pages.conftest import Browsers, Installation
from tests.pages.test_attachments import attach
from tests.pages.visitor import Visitor

ACCOUNT = "zhiwen.account"


def is_signed_out(visitor: Visitor) -> bool:
    return "You are signed out" in visitor.errors


def test_page_shows_nothing_before_signing_in(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.answered("What is green tea?", "Leaves.")
    browsers.token = ""
    visitor = Visitor()
    assert is_signed_out(visitor)
    assert visitor.component(ACCOUNT)["signIn"] == "Sign in"
    assert not visitor.has("question")
    assert "green tea" not in str(visitor.app._tree)


def test_users_see_their_own_things_only(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.filled("Kitchen")
    browsers.installation.answered("What is green tea?", "Leaves.")
    ada = Visitor()
    assert ada.component(ACCOUNT, in_sidebar=True)["name"] == "Ada"
    assert ada.talks(in_sidebar=True) == {"Today": ["What is green tea?"]}
    browsers.invite("Ben")
    ben = Visitor()
    assert ben.component(ACCOUNT, in_sidebar=True)["name"] == "Ben"
    assert ben.talks(in_sidebar=True) == {}
    assert "Kitchen" not in str(ben.app._tree)
    browsers.sign_in("ada")
    assert Visitor().talks(in_sidebar=True) == {"Today": ["What is green tea?"]}


def test_session_that_ends_keeps_the_question(browsers: Browsers) -> None:
    browsers.sign_up_first()
    visitor = Visitor()
    browsers.installation.services.accounts.sessions.end(browsers.token)
    visitor.start_asking("What is lost?")
    assert is_signed_out(visitor)
    assert visitor.component("zhiwen_frame")["unsent"] == "What is lost?"


def test_files_of_a_question_that_was_not_sent_are_noted(browsers: Browsers) -> None:
    """The browser has them still, and keeps them (session.js)."""
    browsers.sign_up_first()
    visitor = Visitor()
    assert not visitor.component("zhiwen_frame")["hasUnsentFiles"]
    browsers.installation.services.accounts.sessions.end(browsers.token)
    attach(visitor, "What is lost?", ("notes.md", b"Tea."))
    assert is_signed_out(visitor)
    frame = visitor.component("zhiwen_frame")
    assert (frame["unsent"], frame["hasUnsentFiles"], frame["isSignedOut"]) == ("What is lost?", True, True)


def test_page_that_hears_of_the_end_is_drawn_anew(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.answered("What is green tea?", "Leaves.")
    visitor = Visitor()
    shown = visitor.component("zhiwen_frame")
    account = browsers.installation.services.accounts.sessions.find(browsers.token)
    assert account
    assert (shown["user"], shown["isSignedOut"]) == (str(account.id), False)
    browsers.installation.services.accounts.sessions.end(browsers.token)
    visitor.press("zhiwen_frame", "ended", 1)
    assert is_signed_out(visitor)
    assert "green tea" not in str(visitor.app._tree)
    assert visitor.component("zhiwen_frame")["user"] == str(account.id)  # whose drafts stay


def test_running_answer_and_the_question_that_waits_are_not_lost(browsers: Browsers, models: ModelServer) -> None:
    browsers.sign_up_first()
    visitor = Visitor()
    visitor.choose("mode", Mode.LLM)
    with models.held(CHAT):
        visitor.start_asking("Tell me all you know")
        visitor.start_asking("And what comes next?")
        browsers.installation.services.accounts.sessions.end(browsers.token)
        visitor.run()
    assert is_signed_out(visitor)
    assert "The answer is still being written" in visitor.text()
    assert visitor.component("zhiwen_frame")["unsent"] == "And what comes next?"


def test_click_after_the_end_of_the_session_does_nothing(browsers: Browsers) -> None:
    """What was drawn for its user acts for nobody any more: on a page, in a dialog, and in a fragment."""
    browsers.sign_up_first()
    services, user = browsers.installation.services, browsers.installation.user
    base = browsers.installation.knowledge_base("Kitchen")
    answer = browsers.installation.answered("What is green tea?", "Leaves.")
    page, form, chat = Visitor(), Visitor(), Visitor(conversation=str(answer.conversation_id))
    page.go_to("knowledge_bases")
    page.type(f"rename_knowledge_base-{base.id}", "Garden")
    form.go_to("api_keys")
    form.click("new_api_key")
    form.find("api_key_name").set_value("Backdoor")
    services.accounts.sessions.end(browsers.token)
    page.click("rename")
    form.click("create_api_key")
    chat.act(0, action="rate", value=1)
    assert all(is_signed_out(each) for each in (page, form, chat))
    assert [each.name for each in services.knowledge_bases.list(user)] == ["Kitchen"]
    assert list(services.api_keys.list(user)) == []
    assert services.messages.get(user, answer.id).rating.value == 0


def test_edited_question_is_kept_when_the_session_ends(browsers: Browsers) -> None:
    browsers.sign_up_first()
    answer = browsers.installation.answered("What is green tea?", "Leaves.")
    visitor = Visitor(conversation=str(answer.conversation_id))
    visitor.act(0, action="edit")
    visitor.find("edited_question").set_value("What is black tea?")
    browsers.installation.services.accounts.sessions.end(browsers.token)
    visitor.click("edit_ask")
    assert is_signed_out(visitor)
    assert visitor.component("zhiwen_frame")["unsent"] == "What is black tea?"


def test_suspended_user_is_out_with_the_next_run(browsers: Browsers) -> None:
    browsers.sign_up_first()
    accounts = browsers.installation.services.accounts
    ada = accounts.sessions.find(browsers.token)
    browsers.invite("Ben")
    ben = accounts.sessions.find(browsers.token)
    assert ada
    assert ben
    visitor = Visitor()
    assert not is_signed_out(visitor)
    accounts.administration.suspend(ada.principal, ben.id)
    visitor.run()
    assert is_signed_out(visitor)


def test_open_page_is_nobody_elses(browsers: Browsers) -> None:
    """A tab that connects again sends the cookie of whoever has signed in since."""
    browsers.sign_up_first()
    visitor = Visitor()
    browsers.invite("Ben")
    visitor.run()
    assert is_signed_out(visitor)


def test_run_asks_sql_once_who_it_is(browsers: Browsers, monkeypatch: pytest.MonkeyPatch) -> None:
    browsers.sign_up_first()
    visitor = Visitor()
    sessions = browsers.installation.services.accounts.sessions
    find, asked = sessions.find, list[str]()

    def find_and_count(token: str) -> Account | None:
        asked.append(token)
        return find(token)

    monkeypatch.setattr(sessions, "find", find_and_count)
    visitor.run()
    assert len(asked) == 1  # and for all of the page's fragments


# --- the page of administrators ---


def users_page() -> Visitor:
    visitor = Visitor()
    visitor.go_to("users")
    return visitor


def link_token(visitor: Visitor) -> str:
    (link,) = [code.value for code in visitor.app.code]
    assert link.startswith("http://127.0.0.1:8501/signup?invitation=")
    return str(link.partition("invitation=")[2])


def test_administrator_invites_and_suspends(browsers: Browsers) -> None:
    browsers.sign_up_first()
    accounts, ada = browsers.installation.services.accounts, browsers.token
    page = users_page()
    page.choose("invite_as", UserRole.MEMBER)
    page.click("invite")
    browsers.token = accounts.registration.accept(link_token(page), "Ben", PASSWORD, ADDRESS)
    ben = accounts.sessions.find(browsers.token)
    assert ben
    browsers.token = ada
    page = users_page()
    assert "Ben" in page.text(f"user-{ben.id}")
    assert "0 B of files" in page.text(f"user-{ben.id}")
    page.click(f"suspend-{ben.id}")
    page.click("confirm_suspend")
    assert "Suspended" in page.text(f"user-{ben.id}")
    page.click(f"resume-{ben.id}")
    page.click(f"role-{ben.id}")
    assert "Administrator" in page.text(f"user-{ben.id}")


def test_administrator_replaces_a_password_and_withdraws_a_link(browsers: Browsers) -> None:
    browsers.sign_up_first()
    accounts = browsers.installation.services.accounts
    ada = accounts.sessions.find(browsers.token)
    assert ada
    page = users_page()
    page.click(f"password-{ada.id}")
    invitation = accounts.registration.invitation(link_token(page))
    assert invitation
    assert invitation.for_name == "Ada"
    page.click(f"withdraw-{invitation.id}")
    assert accounts.registration.invitations(ada.principal) == []
    assert not page.has("new_link")


def test_last_administrator_is_told_to_stay(browsers: Browsers) -> None:
    browsers.sign_up_first()
    ada = browsers.installation.services.accounts.sessions.find(browsers.token)
    assert ada
    page = users_page()
    page.click(f"role-{ada.id}")
    assert "only active administrator" in page.errors


def test_administrator_approves_and_rejects(browsers: Browsers) -> None:
    browsers.sign_up_first()
    accounts = browsers.installation.services.accounts
    accounts.registration.mode = "open"
    for name in ("Ben", "Cem"):
        accounts.registration.register(name, PASSWORD, ADDRESS)
    ada = accounts.sessions.find(browsers.token)
    assert ada
    ben, cem, _ada = accounts.administration.accounts(ada.principal)
    page = users_page()
    page.click(f"approve-{ben.id}")
    page.click(f"reject-{cem.id}")
    assert not page.has(f"user-{cem.id}")
    browsers.sign_in("ben")


def test_closed_registration_says_how_to_open_it(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.installation.services.accounts.registration.mode = "closed"
    page = users_page()
    assert not page.has("invite")
    assert "REGISTRATION=invitation" in page.text()


def test_page_of_administrators_is_for_nobody_else(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.invite("Ben")
    page = users_page()
    assert "Only administrators" in page.errors
    assert not page.has("invite")
    assert "Ada" not in page.text()


def test_without_a_login_there_are_no_users(installation: Installation) -> None:
    assert "AUTH=local" in users_page().text()


def test_administrator_keeps_groups(browsers: Browsers) -> None:
    browsers.sign_up_first()
    administrator = browsers.token
    browsers.invite("Ben")
    browsers.token = administrator
    accounts = browsers.installation.services.accounts
    ada = accounts.sessions.find(administrator)
    assert ada
    (ben,) = [each for each in accounts.administration.accounts(ada.principal) if each.name == "Ben"]
    page = users_page()
    page.click("create_group")
    assert "A name must have" in page.errors
    page.type("group_name", "Developers")
    page.click("create_group")
    (group,) = accounts.groups.list(ada.principal)
    assert "**Developers**" in page.text(f"group-{group.id}")
    page.choose(f"member-{group.id}-{ben.id}", True)
    assert accounts.groups.list(ada.principal)[0].member_ids == {ben.id}
    assert "1 member" in page.text(f"group-{group.id}")
    page.choose(f"member-{group.id}-{ben.id}", False)
    assert accounts.groups.list(ada.principal)[0].member_ids == set()
    page.type(f"rename_group-{group.id}", "Builders")
    page.click(f"rename-{group.id}")
    assert [each.name for each in accounts.groups.list(ada.principal)] == ["Builders"]
    page.click(f"delete_group-{group.id}")
    assert "Delete the group “Builders”?" in page.text()
    page.click("confirm_delete_group")
    assert accounts.groups.list(ada.principal) == []
