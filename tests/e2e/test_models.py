"""The Models page in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import Desk
from tests.e2e.screen import OpenScreen
from tests.fakes.model_server import ModelServer


def test_key_is_kept_when_the_tab_key_leaves_its_field(
    open_screen: OpenScreen, desk: Desk, models: ModelServer
) -> None:
    """The Tab key goes to the field's own button first, which Streamlit does not take for leaving it."""
    screen = open_screen("/models")
    screen.click("add_provider")
    screen.key("provider_name").get_by_role("textbox").fill("Mine")
    screen.key("provider_url").get_by_role("textbox").fill(models.base_url)
    key = screen.key("provider_key").locator("input")
    key.fill("sk-typed")
    key.press("Tab")
    screen.click("save_provider")
    expect(screen.drawer).to_have_count(0)
    assert desk.stored_keys() == ["sk-typed"]
