"""Where to search, in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import Desk
from tests.e2e.screen import OpenScreen


def test_several_knowledge_bases_are_chosen_in_the_dialog(open_screen: OpenScreen, desk: Desk) -> None:
    desk.create_knowledge_bases("Archive", "Handbook")
    screen = open_screen("/")
    screen.choose("knowledge_base", "Handbook")
    screen.click("knowledge_base_more")
    screen.key("scope_bases").get_by_text("Archive", exact=True).click()
    expect(screen.key("scope")).to_contain_text("No file is ready.")
    screen.click("scope_apply")
    expect(screen.page.get_by_role("dialog")).to_have_count(0)
    expect(screen.key("choice")).to_contain_text("Handbook + 1")
    screen.page.reload()
    expect(screen.key("choice")).to_contain_text("Handbook + 1")
    screen.choose("knowledge_base", "Archive")
    expect(screen.key("choice")).to_contain_text("Knowledge-base Q&A · Archive")
