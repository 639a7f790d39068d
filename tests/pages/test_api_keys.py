"""API keys on the page “API”: make one, see it once, see its use, revoke it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kb.access import KeyScope
from kb.access.keys import HINT_CHARACTERS, PREFIX, ApiKey
from kb.errors import KeyRefused
from pages.ui.api_key_form import _create
from pages.ui.reach import ALL, CHOSEN
from pages.ui.shown_once import MADE_KEY, Making, take_made
from tests.conftest import add_user
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor


@pytest.fixture
def visitor(installation: Installation, visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("api_keys")
    return visitor


def open_form(visitor: Visitor, **values: object) -> None:
    """With these values in its fields, by their keys without what these begin with."""
    visitor.click("new_api_key")
    for field, value in values.items():
        visitor.find(f"api_key_{field}".replace("scope_", "scope-")).set_value(value)


def keys(installation: Installation) -> list[ApiKey]:
    return list(installation.services.api_keys.list(installation.user))


def shown_code(visitor: Visitor) -> list[str]:
    return [code.value for code in visitor.app.code]


def everything(visitor: Visitor) -> str:
    """All that the session keeps and shows."""
    return "\n".join([visitor.text(), *shown_code(visitor), repr(visitor.app.session_state)])


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en-US", "With an API key, a program uses Zhiwen for you, through the HTTP API at `/api/v1`"),
        ("zh-CN", "程序可以凭 API 密钥，通过 `/api/v1` 的 HTTP 接口代你使用知问"),
        ("zh-TW", "程式可以用 API 金鑰，透過 `/api/v1` 的 HTTP 介面代你使用知問"),
    ],
)
def test_page_says_what_a_key_is_for(visit: Visit, locale: str, text: str) -> None:
    visitor = visit(locale)
    visitor.go_to("api_keys")
    assert text in visitor.text()
    assert visitor.has("new_api_key")


def test_key_is_shown_exactly_once(installation: Installation, visitor: Visitor) -> None:
    open_form(visitor, name="Backup")
    visitor.click("create_api_key")
    (secret,) = shown_code(visitor)
    assert secret.startswith(PREFIX)
    assert installation.services.api_keys.authenticate(secret).user_id == installation.user.user_id
    assert "it cannot be shown again" in visitor.text()
    assert MADE_KEY not in visitor.app.session_state
    visitor.click("secret_copied")
    for page in ("api_keys", "chat", "api_keys"):
        assert secret[HINT_CHARACTERS:] not in everything(visitor)
        visitor.go_to(page)
    assert f"**Backup** `{secret[:HINT_CHARACTERS]}…`" in visitor.text()


def test_second_click_makes_no_second_key(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It interrupts the run that would show the key, and the next run shows it."""
    fields = {"api_key_name": "Backup", "api_key_days": 0, **{f"api_key_scope-{scope}": True for scope in KeyScope}}
    monkeypatch.setattr("streamlit.session_state", fields)
    made = Making(str, str)
    for _click in range(2):
        _create(installation.services.users.local(), made)
        assert take_made() is made
        assert made.secret
    assert [key.name for key in keys(installation)] == ["Backup"]


def test_key_that_another_page_could_not_show_is_forgotten(visitor: Visitor) -> None:
    visitor.app.session_state[MADE_KEY] = "zw_secret"
    visitor.go_to("chat")
    assert MADE_KEY not in visitor.app.session_state


def test_key_gets_what_was_chosen(installation: Installation, visit: Visit) -> None:
    installation.knowledge_base("Kitchen")
    harbour = installation.knowledge_base("Harbour")
    visitor = visit()
    visitor.go_to("api_keys")
    visitor.click("new_api_key")
    visitor.app.session_state["api_key_bases"] = [harbour.id]
    for field, value in {"name": "Search", "scope-ask": True, "reach": CHOSEN, "days": 30}.items():
        visitor.find(f"api_key_{field}").set_value(value)
    visitor.click("create_api_key")
    assert not visitor.errors
    (key,) = keys(installation)
    assert key.scopes == {KeyScope.READ, KeyScope.ASK}
    assert key.knowledge_base_ids == (harbour.id,)
    assert key.expires_at == key.created_at + timedelta(days=30)
    visitor.run()
    assert "Read, Ask · Harbour" in visitor.text()


def test_key_for_all_that_never_expires(installation: Installation, visitor: Visitor) -> None:
    installation.knowledge_base()
    visitor.run()
    open_form(visitor, name="All", days=0, reach=ALL, scope_write=True, scope_admin=True)
    visitor.click("create_api_key")
    (key,) = keys(installation)
    assert (key.knowledge_base_ids, key.expires_at) == (None, None)
    visitor.run()
    assert "Read, Write, Administer · All knowledge bases" in visitor.text()
    assert "Created: Today · Not used yet · Does not expire" in visitor.text()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": " "}, "name"),
        ({"scope_read": False}, "would allow nothing"),
        ({"reach": CHOSEN}, "No knowledge base is chosen"),
    ],
)
def test_key_that_lacks_something_is_not_made(
    installation: Installation, visitor: Visitor, values: dict[str, object], error: str
) -> None:
    installation.knowledge_base()
    visitor.run()
    open_form(visitor, **{"name": "Half", **values})
    visitor.click("create_api_key")
    assert error in visitor.errors
    assert (keys(installation), shown_code(visitor)) == ([], [])


def test_use_and_expiry_are_shown(installation: Installation, visit: Visit) -> None:
    api_keys, bases = installation.services.api_keys, installation.services.knowledge_bases
    gone = installation.knowledge_base("Gone")
    api_keys.create(installation.user, "Old", [KeyScope.READ], [gone.id], timedelta(days=-1))
    _key, secret = api_keys.create(installation.user, "New", [KeyScope.READ], lifetime=timedelta(hours=1))
    api_keys.authenticate(secret.get_secret_value())
    bases.delete(installation.user, gone.id)
    visitor = visit()
    visitor.go_to("api_keys")
    new, old = (visitor.text(f"api_key-{key.id}") for key in keys(installation))
    assert "Last used: " in new
    assert "Expired" in old
    assert "Expired" not in new
    assert "Read · 1 that you no longer see" in old
    assert "`/api/v1/openapi.json` describes every call." in visitor.text()


def test_revoked_key_is_refused(installation: Installation, visit: Visit) -> None:
    key, secret = installation.services.api_keys.create(installation.user, "Backup", [KeyScope.READ])
    visitor = visit()
    visitor.go_to("api_keys")
    visitor.click(f"revoke_api_key-{key.id}")
    assert "Revoke “Backup”?" in visitor.text()
    assert keys(installation) == [key]
    visitor.click("confirm_delete_api_key")
    with pytest.raises(KeyRefused):
        installation.services.api_keys.authenticate(secret.get_secret_value())
    assert not visitor.has(f"api_key-{key.id}")


def test_keys_of_others_are_not_shown(installation: Installation, visit: Visit) -> None:
    stranger = add_user(installation.services.database, "Stranger")
    theirs, _secret = installation.services.api_keys.create(stranger, "Theirs", [KeyScope.READ])
    visitor = visit()
    visitor.go_to("api_keys")
    assert "Theirs" not in everything(visitor)
    assert theirs.hint not in everything(visitor)
