"""The language of the pages: the browser's, or the one that is chosen, which is stored in the page's address."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.screen import OpenScreen


def test_chosen_language_survives_reloads_and_navigation(open_screen: OpenScreen) -> None:
    screen = open_screen("/", locale="zh-TW")
    html = screen.page.locator("html")
    expect(screen.key("new_conversation")).to_contain_text("新對話")
    expect(html).to_have_attribute("lang", "zh-Hant")
    screen.choose("language", "简体中文")
    expect(html).to_have_attribute("lang", "zh-Hans")
    screen.switch_mode("大模型对话")
    screen.ask("你好")
    expect(screen.page).to_have_url(re.compile("conversation="))
    screen.page.reload()
    screen.settle()
    expect(screen.messages.first).to_contain_text("你好")
    expect(screen.key("new_conversation")).to_contain_text("新对话")
    screen.go_to("系统")
    expect(screen.page.get_by_role("heading", name="服务")).to_be_visible()
    screen.page.reload()
    expect(screen.page.get_by_role("heading", name="服务")).to_be_visible()
    screen.choose("language", "English")
    expect(screen.page.get_by_role("heading", name="Services")).to_be_visible()
    screen.page.reload()
    expect(screen.page.get_by_role("heading", name="Services")).to_be_visible()
    screen.choose("language", "繁體中文")
    expect(screen.page.get_by_role("heading", name="服務")).to_be_visible()
    expect(screen.page).not_to_have_url(re.compile("language="))
