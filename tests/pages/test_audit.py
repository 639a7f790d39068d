"""The page of the audit log: for administrators, narrowed as they ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from uuid import uuid4

import pytest

from kb.audit import COMMAND_LINE, Action, Kind, record
from kb.audit.log import Event
from kb.database.tables import now
from pages.ui.audit_texts import TEXTS, event_address, event_text, kind_names
from tests.conftest import add_user
from tests.pages.conftest import Browsers, Installation
from tests.pages.visitor import Visitor


def audit_page(locale: str = "en-US") -> Visitor:
    visitor = Visitor(locale)
    visitor.go_to("audit")
    return visitor


def test_place_is_an_address_or_the_command_line() -> None:
    here = event(Action.SIGNED_IN)
    assert event_address(here) == ""
    assert event_address(replace(here, address="192.0.2.7")) == "from 192.0.2.7"
    assert event_address(replace(here, address=COMMAND_LINE)) == "at the command line"


def event(action: str, **details: object) -> Event:
    return Event(uuid4(), now(), action, uuid4(), "Ada", "", "", uuid4(), "*Kitchen*", details, 1)


def test_each_action_and_each_kind_has_a_text() -> None:
    assert set(TEXTS) == set(Action)
    assert set(kind_names()) == set(Kind)


def test_text_names_people_and_things_as_they_are() -> None:
    shared = event(Action.SHARED, to="_Ben_", grantee="user", permission="edit")
    assert event_text(shared) == r"Shared the knowledge base “\*Kitchen\*” with \_Ben\_ (May edit too)"
    everybody = event(Action.UNSHARED, to="", grantee="everybody")
    assert event_text(everybody).endswith("with everybody")
    assert event_text(event(Action.ROLE_CHANGED, role="administrator")).endswith("to Administrator")
    assert event_text(event(Action.KEY_CREATED, scopes="ask, read")).endswith("(Read, Ask)")


def test_event_of_another_release_is_shown() -> None:
    assert event_text(event("moon.landed")) == "`moon.landed`"
    assert event_text(event(Action.GROUP_RENAMED)).startswith("Renamed the group “…”")


def test_administrator_narrows_the_log(browsers: Browsers) -> None:
    browsers.sign_up_first()
    services = browsers.installation.services
    ben = add_user(services.database, "Ben")
    with services.database.write() as connection:
        record(connection, ben, Action.KNOWLEDGE_BASE_DELETED, uuid4(), "Kitchen")
    page = audit_page()
    assert "2 events" in page.text()
    assert "**Ada** · Created the account “Ada”" in page.text()
    page.choose("audit_search", "kitchen")
    assert "1 event" in page.text()
    assert "**Ben** · Deleted the knowledge base “Kitchen”" in page.text()
    page.choose("audit_person", ben.user_id)
    page.choose("audit_kind", Kind.EXPORT)
    assert "No event matches." in page.text()
    page.click("audit_show_all")
    assert "2 events" in page.text()
    page.choose("audit_until", date.today() - timedelta(days=2))
    assert "No event matches." in page.text()


def test_what_a_page_does_is_recorded_with_its_address(browsers: Browsers) -> None:
    browsers.sign_up_first()
    page = Visitor()
    page.go_to("users")
    page.type("group_name", "Cooks")
    page.click("create_group")
    page.go_to("audit")
    page.choose("audit_kind", Kind.GROUP)
    assert "Created the group “Cooks”" in page.text()
    assert "from 127.0.0.1" in page.text()


def test_long_log_has_pages(browsers: Browsers) -> None:
    browsers.sign_up_first()
    services = browsers.installation.services
    ben = add_user(services.database, "Ben")
    with services.database.write() as connection:
        for number in range(50):
            record(connection, ben, Action.GROUP_CREATED, uuid4(), f"Group {number}")
    page = audit_page()
    assert "Created the account" not in page.text()
    page.app.session_state["audit_page"] = 2
    page.run()
    assert "Created the account" in page.text()
    assert "Group 1" not in page.text()


def test_log_that_is_empty_says_so(browsers: Browsers, monkeypatch: pytest.MonkeyPatch) -> None:
    browsers.sign_up_first()
    log = browsers.installation.services.audit
    monkeypatch.setattr(type(log), "count", lambda *_: 0)
    assert "Nothing has been recorded yet." in audit_page().text()


def test_page_is_for_administrators_only(browsers: Browsers) -> None:
    browsers.sign_up_first()
    browsers.invite("Ben")
    page = audit_page()
    assert "Only administrators" in page.errors
    assert "Ada" not in page.text()
    assert not page.has("audit_download")


def test_without_a_login_there_is_no_log(installation: Installation) -> None:
    assert "AUTH=local" in audit_page().text()
