"""The frame around the pages in a browser: language, width, the sidebar of a phone, Streamlit's own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from playwright.sync_api import expect

from tests.e2e.conftest import Desk
from tests.e2e.screen import OpenScreen, Screen
from tests.real_services import wait_until

# Texts and labels in English letters that a person or a screen reader meets.
ENGLISH_LABELS = """() => [...document.querySelectorAll("[aria-label], [alt], [placeholder]")]
    .flatMap((node) => ["aria-label", "alt", "placeholder"].map((name) => node.getAttribute(name) ?? ""))
    .filter((text) => /^[\\x00-\\x7f]*[A-Za-z]{3}[\\x00-\\x7f]*$/.test(text))"""


def test_document_language_and_title_follow_the_choice(open_screen: OpenScreen) -> None:
    screen = open_screen("/history", locale="zh-CN")
    expect(screen.page).to_have_title("历史记录 · 知问")
    expect(screen.page.locator("html")).to_have_attribute("lang", "zh-Hans")
    screen.choose("language", "English")
    expect(screen.page).to_have_title("History · Zhiwen")
    expect(screen.page.locator("html")).to_have_attribute("lang", "en")


def test_chinese_pages_have_no_english_labels(open_screen: OpenScreen) -> None:
    screen = open_screen("/", locale="zh-CN")
    expect(screen.page.get_by_test_id("stSidebar")).to_have_attribute("aria-label", "侧边栏")
    for title in ("知识库", "检索测试", "历史记录", "系统", "对话"):
        screen.go_to(title)
        assert poll(lambda: screen.page.evaluate(ENGLISH_LABELS)) == []


def test_streamlits_words_follow_a_change_of_language(open_screen: OpenScreen) -> None:
    screen = open_screen("/", locale="zh-CN")
    expect(screen.page.get_by_label("收起侧边栏")).to_be_attached()
    screen.choose("language", "English")
    expect(screen.page.get_by_label("Close the sidebar")).to_be_attached()
    screen.choose("language", "简体中文")
    expect(screen.page.get_by_label("收起侧边栏")).to_be_attached()


def test_text_is_at_most_48_rem_wide_on_a_large_screen(open_screen: OpenScreen) -> None:
    screen = open_screen("/")
    screen.page.set_viewport_size({"width": 2560, "height": 1200})
    box = screen.key("question").bounding_box()
    assert box
    assert box["width"] <= 48 * 16
    sidebar = screen.page.get_by_test_id("stSidebar").bounding_box()
    assert sidebar
    left, right = box["x"] - sidebar["width"], 2560 - box["x"] - box["width"]
    assert abs(left - right) <= 16  # centred in what the sidebar leaves, up to a scroll bar


def poll(look: Callable[[], list[str]]) -> list[str]:
    """What `look` sees in the end; the browser's part of a page follows a moment after it."""
    seen: list[str] = []

    def is_empty() -> bool:
        seen[:] = look()
        return not seen

    with suppress(AssertionError):
        wait_until(is_empty, 10, "no labels")
    return seen


def open_sidebar(screen: Screen) -> None:
    screen.page.get_by_test_id("stExpandSidebarButton").click()
    expect(screen.page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "false")


def test_sidebar_of_a_phone_closes_after_each_choice(open_screen: OpenScreen, desk: Desk) -> None:
    desk.create_knowledge_bases("Archive", "Handbook")
    screen = open_screen("/")
    screen.page.set_viewport_size({"width": 390, "height": 844})
    screen.page.reload()
    screen.settle()
    sidebar = screen.page.get_by_test_id("stSidebar")
    if sidebar.get_attribute("data-collapsed") == "false":
        sidebar.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    shown = screen.key("knowledge_base").get_by_role("combobox").input_value()
    other_base = "Archive" if shown == "Handbook" else "Handbook"
    choices: list[Callable[[], None]] = [
        lambda: screen.choose("knowledge_base", other_base),
        lambda: screen.switch_mode("LLM chat"),
        lambda: screen.click("new_conversation"),
        lambda: screen.go_to("History"),
        lambda: screen.choose("language", "简体中文"),
    ]
    for choose in choices:
        open_sidebar(screen)
        choose()
        expect(sidebar).to_have_attribute("data-collapsed", "true")


def test_sidebar_of_a_desktop_stays_open(open_screen: OpenScreen) -> None:
    screen = open_screen("/")
    screen.click("new_conversation")
    screen.settle()
    screen.go_to("History")
    expect(screen.page).to_have_title(re.compile("^History"))
    expect(screen.page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "false")


def test_reload_and_new_tab_keep_the_mode(open_screen: OpenScreen) -> None:
    screen = open_screen("/")
    screen.switch_mode("LLM chat")
    expect(screen.page).to_have_url(re.compile("mode=llm"))
    screen.page.reload()
    screen.settle()
    expect(screen.key("mode").get_by_role("radio", name="LLM chat")).to_be_checked()
    other = open_screen("/")
    expect(other.key("mode").get_by_role("radio", name="LLM chat")).to_be_checked()
    other.switch_mode("Knowledge-base Q&A")
    screen.go_to("History")
    screen.page.reload()
    screen.settle()
    screen.go_to("Chat")
    expect(screen.key("mode").get_by_role("radio", name="LLM chat")).to_be_checked()


def test_reload_and_new_tab_keep_knowledge_base_and_model(open_screen: OpenScreen, desk: Desk) -> None:
    desk.create_knowledge_bases("Archive", "Handbook", "Minutes")
    screen = open_screen("/")
    base, model = screen.key("knowledge_base"), screen.key("chat_model")
    for name in ("Archive", "Handbook"):  # one of them is another than the first
        screen.choose("knowledge_base", name)
    chosen = model.get_by_role("combobox")
    chosen.fill("slow")  # the list is long: a click on what had to be scrolled to may be lost
    screen.page.get_by_role("option", name=re.compile("^slow ·")).click()
    screen.settle()
    expect(screen.page).to_have_url(re.compile("model=[^&]*slow"))
    screen.page.reload()
    screen.settle()
    expect(base.get_by_role("combobox")).to_have_value("Handbook")
    expect(chosen).to_have_value(re.compile("^slow ·"))
    other = open_screen("/")
    expect(other.key("knowledge_base").get_by_role("combobox")).to_have_value("Handbook")
    expect(other.key("chat_model").get_by_role("combobox")).to_have_value(re.compile("^slow ·"))
    other.choose("knowledge_base", "Minutes")
    screen.page.reload()
    screen.settle()
    expect(base.get_by_role("combobox")).to_have_value("Handbook")
