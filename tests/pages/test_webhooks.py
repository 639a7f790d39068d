"""Webhooks on the page “API”: add one, see its secret once, and what came of what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from kb.access import KeyScope
from kb.database.tables import webhook_deliveries
from kb.errors import NotFound
from kb.services import build_worker_parts
from kb.webhooks import Event, Webhook
from kb.webhooks.outbox import new_delivery
from pages.ui.feedback import live_fragment
from pages.ui.reach import CHOSEN
from pages.ui.shown_once import Making, take_made
from pages.ui.webhook_form import _create
from pages.ui.webhooks import LOOK_SECONDS, POLL_SECONDS
from tests.conftest import add_user
from tests.fakes.receiver import Receiver
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

ADDRESS = "https://hooks.example/zhiwen"
SHOWN = ADDRESS.replace("//", "\u2060//")  # so that it becomes no link


@pytest.fixture
def visitor(installation: Installation, visit: Visit) -> Visitor:
    return opened(visit())


def opened(visitor: Visitor) -> Visitor:
    visitor.go_to("api_keys", part="webhooks")
    return visitor


def webhooks(installation: Installation) -> list[Webhook]:
    return list(installation.services.webhooks.list(installation.user))


def open_form(visitor: Visitor, **values: object) -> None:
    """With these values in its fields, by their keys without what these begin with."""
    visitor.click("new_webhook")
    for field, value in values.items():
        visitor.find(f"webhook_{field}").set_value(value)


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en-US", "A webhook tells a program of yours when a document is ready or has failed"),
        ("zh-CN", "Webhook 会在文档就绪或处理失败时通知你的程序"),
        ("zh-TW", "Webhook 會在文件就緒或處理失敗時通知你的程式"),
    ],
)
def test_empty_part_says_what_webhooks_are_for(visit: Visit, locale: str, text: str) -> None:
    visitor = opened(visit(locale))
    assert text in visitor.text()
    assert "https://www.standardwebhooks.com" in visitor.text()
    assert visitor.has("new_webhook")
    assert not visitor.has("new_api_key")


def test_secret_is_shown_exactly_once(installation: Installation, visitor: Visitor) -> None:
    open_form(visitor, address=ADDRESS)
    visitor.click("create_webhook")
    (secret,) = [code.value for code in visitor.app.code]
    assert secret.startswith("whsec_")
    assert "it cannot be shown again" in visitor.text()
    visitor.click("secret_copied")
    for _ in range(2):
        assert secret not in "\n".join([visitor.text(), *(code.value for code in visitor.app.code)])
        opened(visitor)
    (webhook,) = webhooks(installation)
    assert (webhook.address, webhook.events, webhook.knowledge_base_ids) == (ADDRESS, frozenset(), None)
    shown = visitor.text(f"webhook-{webhook.id}")
    assert f"**{SHOWN}** :green-badge[On]" in shown
    assert "All events · All knowledge bases" in shown
    assert "Nothing has been sent yet." in shown


def test_second_click_makes_no_second_webhook(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"webhook_address": ADDRESS, **{f"webhook_event-{event}": True for event in Event}}
    monkeypatch.setattr("streamlit.session_state", fields)
    made = Making(str, str)
    for _click in range(2):
        _create(installation.services.users.local(), made)
        assert take_made() is made
    assert len(webhooks(installation)) == 1


def test_part_stays_open_in_another_language(visitor: Visitor) -> None:
    visitor.choose("language", "zh_CN")
    assert visitor.has("new_webhook")
    assert "知问" in visitor.text()


def test_webhook_gets_what_was_chosen_and_can_be_changed(installation: Installation, visit: Visit) -> None:
    installation.knowledge_base("Kitchen")
    harbour = installation.knowledge_base("Harbour")
    visitor = opened(visit())
    visitor.click("new_webhook")
    visitor.app.session_state["webhook_bases"] = [harbour.id]
    others = {f"event-{event}": False for event in Event if event not in (Event.TEST, Event.DOCUMENT_FAILED)}
    for field, value in {"address": ADDRESS, "reach": CHOSEN, **others}.items():
        visitor.find(f"webhook_{field}").set_value(value)
    visitor.click("create_webhook")
    (webhook,) = webhooks(installation)
    assert webhook.events == {Event.DOCUMENT_FAILED}
    assert webhook.knowledge_base_ids == (harbour.id,)
    opened(visitor)
    assert "Document failed · Harbour" in visitor.text(f"webhook-{webhook.id}")
    visitor.click(f"edit_webhook-{webhook.id}")
    assert visitor.find("webhook_address").value == ADDRESS
    assert visitor.find("webhook_bases").value == [harbour.id]
    assert not visitor.find(f"webhook_event-{Event.DOCUMENT_READY}").value
    visitor.find(f"webhook_event-{Event.DOCUMENT_READY}").set_value(True)
    visitor.find("webhook_reach").set_value("all")
    visitor.click("save_webhook")
    (changed,) = webhooks(installation)
    assert changed.events == {Event.DOCUMENT_FAILED, Event.DOCUMENT_READY}
    assert changed.knowledge_base_ids is None


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"address": "hooks.example"}, "is not a web address"),
        ({"address": "http://169.254.169.254/latest"}, "is not on the public internet, so Zhiwen does not connect"),
        ({f"event-{event}": False for event in Event if event is not Event.TEST}, "No event is chosen"),
        ({"reach": CHOSEN}, "No knowledge base is chosen"),
    ],
)
def test_webhook_that_lacks_something_is_not_made(
    installation: Installation, visitor: Visitor, values: dict[str, object], error: str
) -> None:
    installation.knowledge_base()
    visitor.run()
    open_form(visitor, **{"address": ADDRESS, **values})
    visitor.click("create_webhook")
    assert error in visitor.errors
    assert webhooks(installation) == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_test_is_sent_and_what_came_of_it_shown(installation: Installation, visit: Visit, receiver: Receiver) -> None:
    installation.set_up(ALLOWED_FETCH_HOSTS=receiver.authority)
    webhook, _secret = installation.services.webhooks.create(installation.user, receiver.address)
    deliveries = build_worker_parts(installation.services).deliveries
    visitor = opened(visit())
    visitor.click(f"test_webhook-{webhook.id}")
    opened(visitor)
    assert "Test · waiting to be sent" in visitor.text(f"webhook-{webhook.id}")
    with installation.services.database.write() as connection:
        connection.execute(update(webhook_deliveries).values(attempts=1))  # as while the first attempt is under way
    opened(visitor)
    assert "Test · being sent" in visitor.text(f"webhook-{webhook.id}")
    with installation.services.database.write() as connection:
        connection.execute(update(webhook_deliveries).values(attempts=0))
    receiver.statuses = [500]
    deliveries.deliver_due()
    opened(visitor)
    shown = visitor.text(f"webhook-{webhook.id}")
    assert ":orange-badge[Failing]" in shown
    assert "Test · not delivered yet · 1 attempt · next attempt in " in shown
    assert " · 127.0.0.1 answered with HTTP 500. Check the address" in shown
    visitor.click(f"test_webhook-{webhook.id}")
    deliveries.deliver_due()
    visitor.app.session_state[f"deliveries-{webhook.id}"] = True
    visitor.run()
    shown = visitor.text(f"webhook-{webhook.id}")
    assert ":green-badge[On]" in shown
    newest, before = [line for line in shown.splitlines() if " Test · " in line][1:]
    assert "check_circle" in newest
    assert "delivered " in newest
    assert "HTTP 204" in newest
    assert "· not delivered (" in before
    assert "next attempt" not in before


def test_delivery_that_did_not_arrive_is_sent_again(installation: Installation, visit: Visit) -> None:
    webhooks, user = installation.services.webhooks, installation.user
    webhook, _secret = webhooks.create(user, ADDRESS)
    lost, arrived, waiting, soon = (
        new_delivery(webhook.id, Event.DOCUMENT_READY, {"name": name}) for name in ("a.md", "b.md", "c.md", "d.md")
    )
    now = datetime.now(UTC)
    lost |= {"due_at": None}
    arrived |= {"due_at": None, "delivered_at": now}
    waiting |= {"due_at": now + timedelta(hours=6), "error": "webhook_refused", "attempts": 6}
    soon |= {"due_at": now + timedelta(minutes=1), "error": "webhook_refused", "attempts": 2}
    with installation.services.database.write() as connection:
        for row in (lost, arrived, waiting, soon):
            connection.execute(insert(webhook_deliveries), row)
    visitor = opened(visit())
    visitor.app.session_state[f"deliveries-{webhook.id}"] = True
    visitor.run()
    assert not visitor.has(f"resend-{arrived['id']}")
    assert not visitor.has(f"resend-{soon['id']}")
    for row in (lost, waiting):
        visitor.click(f"resend-{row['id']}")
        assert not visitor.has(f"resend-{row['id']}")
    due = {each.id for each in webhooks.deliveries(user, webhook.id, None, 9) if each.due_at}
    assert due == {lost["id"], waiting["id"], soon["id"]}
    (sent,) = (each for each in webhooks.deliveries(user, webhook.id, None, 9) if each.id == waiting["id"])
    assert sent.due_at
    assert sent.due_at <= datetime.now(UTC)


def test_page_looks_often_while_an_older_delivery_is_sent_again(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled: list[float | None] = []

    def note(run_every: float | None = None) -> Any:
        polled.append(run_every)
        return live_fragment(run_every)

    monkeypatch.setattr("pages.ui.webhooks.live_fragment", note)
    webhook, _secret = installation.services.webhooks.create(installation.user, ADDRESS)
    lost, newest = (new_delivery(webhook.id, Event.DOCUMENT_READY, {"name": name}) for name in ("a.md", "b.md"))
    with installation.services.database.write() as connection:
        for row in (lost, newest):
            connection.execute(insert(webhook_deliveries), row | {"due_at": None})
    visitor = opened(visit())
    assert polled[-1] == LOOK_SECONDS
    installation.services.webhooks.resend(installation.user, webhook.id, lost["id"])
    opened(visitor)
    assert polled[-1] == POLL_SECONDS


def test_webhook_is_switched_off_and_on(installation: Installation, visit: Visit) -> None:
    webhook, _secret = installation.services.webhooks.create(installation.user, ADDRESS)
    visitor = opened(visit())
    visitor.click(f"disable_webhook-{webhook.id}")
    assert webhooks(installation)[0].disabled_at
    opened(visitor)
    assert ":gray-badge[Off]" in visitor.text(f"webhook-{webhook.id}")
    assert not visitor.has(f"test_webhook-{webhook.id}")
    visitor.click(f"enable_webhook-{webhook.id}")
    assert webhooks(installation)[0].disabled_at is None


def test_webhook_of_a_revoked_key_says_so(installation: Installation, visit: Visit) -> None:
    keys = installation.services.api_keys
    key, secret = keys.create(installation.user, "Backup", [KeyScope.WRITE], lifetime=timedelta(hours=1))
    program = keys.authenticate(secret.get_secret_value())
    webhook, _secret = installation.services.webhooks.create(program, ADDRESS)
    keys.revoke(installation.user, key.id)
    visitor = opened(visit())
    shown = visitor.text(f"webhook-{webhook.id}")
    assert "made with the API key “Backup”" in shown
    assert ":red-badge[Its API key is no longer valid]" in shown
    assert not visitor.has(f"test_webhook-{webhook.id}")
    assert not visitor.has(f"enable_webhook-{webhook.id}")


def test_webhook_is_deleted_once_that_is_confirmed(installation: Installation, visit: Visit) -> None:
    webhook, _secret = installation.services.webhooks.create(installation.user, f"{ADDRESS}?token=secret")
    visitor = opened(visit())
    visitor.click(f"delete_webhook-{webhook.id}")
    assert f"Delete the webhook “{SHOWN}”?" in visitor.text()
    assert webhooks(installation) == [webhook]
    visitor.click("confirm_delete_webhook")
    with pytest.raises(NotFound):
        installation.services.webhooks.get(installation.user, webhook.id)
    assert not visitor.has(f"webhook-{webhook.id}")


def test_webhooks_of_others_are_not_shown(installation: Installation, visit: Visit) -> None:
    stranger = add_user(installation.services.database, "Stranger")
    installation.services.webhooks.create(stranger, "https://theirs.example/")
    assert "theirs.example" not in opened(visit()).text()
