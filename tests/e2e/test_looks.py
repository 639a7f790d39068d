"""How the pages look and which keys they know: both themes, the chat's column and bubbles, a phone."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from kb.models import Retrieval
from tests.e2e.conftest import Desk
from tests.e2e.screen import OpenScreen, Screen
from tests.fakes.model_server import CHAT, ModelServer

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 25, 27)"}  # of .streamlit/config.toml
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
CODE = "```python\ndef wait(days: int = 14) -> str:\n    # in days\n    return f'{days} days' if days else ''\n```"
ANSWER = (
    "# Refunds\n\nThey take **14 days**: `order 7`.\n\n> Opened goods stay.\n\n| Way | Days |\n|---|---|\n| Card | 3 |"
)


def faint_texts(screen: Screen) -> list[str]:
    """What has too little contrast on the page, once all of it is drawn; with both colours."""
    expect(screen.page.locator("[data-testid=stSkeleton]")).to_have_count(0)
    found = Axe().run(screen.page, options=CONTRAST).response["violations"]
    return [f"{node['html'][:200]}: {node['any'][0]['message']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("theme", GROUNDS)
def test_every_text_has_enough_contrast(theme: Literal["light", "dark"], open_screen: OpenScreen, desk: Desk) -> None:
    desk.create_knowledge_bases("Archive")
    path = desk.store_conversation(("How long do refunds take?", ANSWER), ("And why?", CODE))
    screen = open_screen("/")
    screen.page.emulate_media(color_scheme=theme)
    expect(screen.page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[theme])
    for address in ("/", path, "/knowledge-bases", "/testing", "/history", "/system", "/nowhere"):
        if address == "/nowhere":
            screen.page.goto(screen.url + address)
            expect(screen.page.locator("body")).to_have_css("background-color", GROUNDS[theme])
            screen.complaints.clear()  # the browser logs that it is a 404
        else:
            screen.open(address)
        assert faint_texts(screen) == [], address


def test_theme_is_chosen_in_the_menu_and_kept(open_screen: OpenScreen) -> None:
    screen = open_screen("/", locale="zh-CN")
    app = screen.page.get_by_test_id("stApp")
    expect(app).to_have_css("background-color", GROUNDS["light"])
    screen.page.get_by_test_id("stMainMenuButton").click()
    choice = screen.page.get_by_test_id("stMainMenuItem-theme-Dark")
    expect(choice).to_contain_text("深色")
    choice.click()
    expect(app).to_have_css("background-color", GROUNDS["dark"])
    screen.open("/history")
    expect(app).to_have_css("background-color", GROUNDS["dark"])
    screen.page.goto(f"{screen.url}/nowhere")
    expect(screen.page.get_by_role("heading", name="没有这个页面")).to_be_visible()
    expect(screen.page.locator("body")).to_have_css("background-color", GROUNDS["dark"])
    screen.complaints.clear()  # the browser logs the 404


def test_question_is_a_bubble_on_the_right_and_answer_has_no_box(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why?", ANSWER)))
    column = screen.page.get_by_test_id("stMainBlockContainer").bounding_box()
    question = screen.messages.first.get_by_test_id("stText").bounding_box()
    assert column
    assert question
    assert question["x"] > column["x"] + column["width"] / 2
    answer = screen.messages.last
    expect(answer).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    sizes = [
        place.evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
        for place in (answer.get_by_role("heading", name="Refunds"), screen.page.locator("html"))
    ]
    assert sizes[0] <= 1.3 * sizes[1]


def test_choices_of_the_chat_stand_above_the_conversations(open_screen: OpenScreen, desk: Desk) -> None:
    desk.store_conversation(("Why?", "Because."))
    screen = open_screen("/")
    choices, conversations = screen.key("mode").bounding_box(), screen.key("talks").bounding_box()
    assert choices
    assert conversations
    assert choices["y"] < conversations["y"]


def test_actions_of_earlier_messages_show_under_the_pointer(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why?", "Because."), ("And why that?", "Therefore.")))
    copy = screen.page.get_by_role("button", name="Copy", exact=True).locator("..")
    expect(copy).to_have_count(4)
    expect(copy.nth(3)).to_have_css("opacity", "1")
    expect(copy.nth(1)).to_have_css("opacity", "0")
    screen.messages.nth(1).hover()
    expect(copy.nth(1)).to_have_css("opacity", "1")


def test_rating_is_shown_at_once(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why?", "Because.")))
    good, bad = (screen.page.get_by_role("button", name=f"{name} answer") for name in ("Good", "Bad"))
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(screen.drawer).to_be_visible()
    screen.page.keyboard.press("Escape")
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")


def test_escape_stops_the_answer(open_screen: OpenScreen, desk: Desk, models: ModelServer) -> None:
    desk.choose_model("long")
    screen = open_screen("/?mode=llm")
    with models.held(CHAT):
        screen.ask("Tell me about the sea.")
        expect(screen.key("stop")).to_be_visible()
        screen.page.keyboard.press("Escape")
        expect(screen.messages.last).to_contain_text("You stopped this answer.")


def test_phone_names_mode_and_knowledge_base_above_the_input(open_screen: OpenScreen, desk: Desk) -> None:
    desk.create_knowledge_bases("Archive")
    screen = open_screen("/")
    expect(screen.key("choice")).to_be_hidden()  # the sidebar says it
    screen.page.set_viewport_size({"width": 390, "height": 844})
    screen.page.reload()
    screen.settle()
    sidebar = screen.page.get_by_test_id("stSidebar")
    if sidebar.get_attribute("data-collapsed") == "false":
        sidebar.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    expect(screen.key("choice")).to_contain_text("Knowledge-base Q&A · Archive")
    screen.click("choice")
    expect(sidebar).to_have_attribute("data-collapsed", "false")
    screen.switch_mode("LLM chat")
    expect(sidebar).to_have_attribute("data-collapsed", "true")
    expect(screen.key("choice")).to_contain_text("LLM chat")


def test_phone_shows_all_that_a_web_search_did(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why?", ANSWER), reasoning="They ask why."))
    screen.page.set_viewport_size({"width": 390, "height": 844})
    line = screen.messages.last.locator("summary p").first
    expect(line).to_contain_text("Thoughts")
    is_whole = "(line) => line.scrollWidth <= line.clientWidth && line.scrollHeight <= line.clientHeight"
    line.evaluate("(line) => { line.textContent = '13 passages found · 2 of 8 web pages read · 12 s' }")
    assert line.evaluate(is_whole)


def test_icons_keep_their_font_in_traditional_chinese(open_screen: OpenScreen, desk: Desk) -> None:
    """An icon is a word in a font of its own; in another font, the word itself would be shown."""
    screen = open_screen(desk.store_conversation(("Why?", ""), retrieval=Retrieval()), locale="zh-TW")
    expect(screen.page.get_by_test_id("stAlertDynamicIcon")).to_be_visible()
    # The style may come after the text.
    expect(screen.page.get_by_test_id("stText")).to_have_css("font-family", re.compile("PingFang TC"))
    fonts = "icons => [...new Set(icons.map(icon => getComputedStyle(icon).fontFamily))]"
    assert screen.page.locator("[translate=no]").evaluate_all(fonts) == ['"Material Symbols Rounded"']


def test_dialog_has_enough_contrast_in_the_dark(open_screen: OpenScreen, desk: Desk) -> None:
    """A dialog stands outside of the app, where light-dark() chooses the light colour."""
    desk.create_knowledge_bases("Archive", "Handbook")
    screen = open_screen("/")
    screen.page.emulate_media(color_scheme="dark")
    expect(screen.page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS["dark"])
    screen.click("knowledge_base_more")
    expect(screen.drawer).to_be_visible()
    assert faint_texts(screen) == []


def test_sending_again_stands_beside_its_delivery(open_screen: OpenScreen, desk: Desk) -> None:
    desk.store_lost_delivery("The maintenance schedule of the northern pilot station and of all its boats.pdf")
    screen = open_screen("/api-keys?part=webhooks")
    screen.page.get_by_text("Recent deliveries").click()
    delivery, button = screen.keys("line-delivery-"), screen.keys("resend-").get_by_role("button")
    expect(button).to_be_visible()
    for width, is_beside in ((1280, True), (390, False)):
        screen.page.set_viewport_size({"width": width, "height": 900})
        text, other = delivery.get_by_test_id("stMarkdown").bounding_box(), button.bounding_box()
        assert text
        assert other
        assert (other["x"] >= text["x"] + text["width"]) == is_beside
        assert other["y"] <= text["y"] + text["height"] + 8  # else it might belong to the next one
