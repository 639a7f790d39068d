"""The list of conversations in a browser: its menu, the keyboard, downloads, a phone; and drafts."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.e2e.conftest import Desk
from tests.e2e.screen import SECONDS, OpenScreen, Screen
from tests.fakes.model_server import CHAT, ModelServer

OPEN = re.compile("conversation=")
DRAFT_MS = 1_500  # by then a field that was just drawn has its draft


def line(screen: Screen, address: str, kind: str = "talk") -> Locator:
    return screen.key(f"{kind}-{address.partition('=')[2]}")


def choose(screen: Screen, row: Locator, name: str) -> None:
    row.hover()
    row.get_by_role("button").click()
    screen.page.get_by_role("menuitem", name=name).click()


def field(screen: Screen) -> Locator:
    return screen.key("question").get_by_role("textbox")


def test_conversation_is_renamed_and_pinned_in_its_line(open_screen: OpenScreen, desk: Desk) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    screen = open_screen("/system")
    row = line(screen, address)
    expect(row).to_have_text("Stored")
    choose(screen, row, "Rename")
    title = row.get_by_role("textbox")
    expect(title).to_be_focused()
    title.fill("A title that is much too long for one line of the sidebar")
    title.press("Enter")
    link = row.get_by_role("link")
    expect(link).to_have_attribute("title", re.compile("^A title that"))
    box, sidebar = link.bounding_box(), screen.page.get_by_test_id("stSidebar").bounding_box()
    assert box
    assert sidebar
    assert box["height"] < 40
    assert box["x"] + box["width"] < sidebar["x"] + sidebar["width"]
    choose(screen, row, "Pin")
    expect(screen.key("talks").get_by_role("heading")).to_have_text("Pinned")
    screen.page.reload()
    expect(line(screen, address)).to_contain_text("A title that is much too long")


def test_conversation_is_deleted_and_restored(open_screen: OpenScreen, desk: Desk) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    screen = open_screen(address)
    choose(screen, line(screen, address), "Delete")
    expect(screen.messages).to_have_count(0)
    expect(line(screen, address)).to_have_count(0)
    screen.key("talks").get_by_role("button", name="Undo").click()
    expect(screen.messages).to_have_count(2)
    expect(line(screen, address)).to_be_visible()


def test_conversations_are_downloaded(open_screen: OpenScreen, desk: Desk, tmp_path: Path) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    screen = open_screen("/history")
    with screen.page.expect_download() as one:
        choose(screen, line(screen, address, "conversation"), "Download as Markdown")
    assert one.value.suggested_filename == "Stored.md"
    one.value.save_as(tmp_path / "one.md")
    assert "Because." in (tmp_path / "one.md").read_text("utf-8")
    with screen.page.expect_download() as every:
        screen.page.get_by_role("link", name="Download all as JSON").click()
    assert every.value.suggested_filename == "zhiwen-conversations.zip"


def test_search_in_the_sidebar(open_screen: OpenScreen, desk: Desk) -> None:
    address = desk.store_conversation(("Why?", "Because of the lighthouse."))
    screen = open_screen("/")
    search = screen.key("talks").get_by_role("searchbox")
    search.press_sequentially("LIGHTHOUSE")
    expect(line(screen, address)).to_be_visible()
    search.press_sequentially(" windmill")
    expect(screen.key("talks")).to_contain_text("No conversation contains these words.")
    expect(search).to_be_focused()
    search.fill("")
    expect(line(screen, address)).to_be_visible()


def test_alt_n_begins_a_conversation(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why?", "Because.")))
    expect(screen.messages).to_have_count(2)
    for _ in range(20):  # a page that has just been painted does not listen for keys yet
        screen.page.keyboard.press("Alt+n")
        with suppress(AssertionError):
            expect(screen.messages).to_have_count(0, timeout=SECONDS)
            break
    expect(screen.messages).to_have_count(0)
    expect(screen.page).not_to_have_url(OPEN)


def test_sidebar_of_a_phone_closes_when_a_conversation_is_opened(open_screen: OpenScreen, desk: Desk) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    screen = open_screen("/")
    screen.page.set_viewport_size({"width": 390, "height": 844})
    screen.page.reload()
    screen.settle()
    sidebar = screen.page.get_by_test_id("stSidebar")
    if sidebar.get_attribute("data-collapsed") == "true":
        screen.page.get_by_test_id("stExpandSidebarButton").click()
    line(screen, address).get_by_role("link").click()
    expect(screen.messages).to_have_count(2)
    expect(sidebar).to_have_attribute("data-collapsed", "true")


def test_draft_survives_reload_page_switch_and_new_tab(open_screen: OpenScreen, desk: Desk) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    desk.create_knowledge_bases("Archive")
    screen = open_screen("/")
    field(screen).fill("Half a question")
    screen.page.reload()
    expect(field(screen)).to_have_value("Half a question")
    screen.go_to("System")
    screen.go_to("Chat")
    expect(field(screen)).to_have_value("Half a question")
    with screen.page.expect_popup() as popup:
        screen.page.evaluate("window.open('/')")
    other = Screen(popup.value, screen.url)
    expect(field(other)).to_have_value("Half a question")
    # Each conversation has its own.
    line(screen, address).get_by_role("link").click()
    expect(screen.messages).to_have_count(2)
    expect(field(screen)).to_have_value("")
    field(screen).fill("About that")
    screen.click("new_conversation")
    expect(field(screen)).to_have_value("Half a question")
    screen.switch_mode("LLM chat")
    expect(field(screen)).to_have_value("Half a question")
    field(screen).press("Enter")
    expect(screen.messages.last).to_contain_text("You asked: Half a question")
    screen.click("new_conversation")
    expect(screen.messages).to_have_count(0)
    expect(field(screen)).to_have_value("")
    screen.page.reload()
    screen.settle()
    expect(field(screen)).to_have_value("")
    line(screen, address).get_by_role("link").click()
    expect(field(screen)).to_have_value("About that")


def test_question_that_waits_is_no_draft(open_screen: OpenScreen, desk: Desk, models: ModelServer) -> None:
    address = desk.store_conversation(("Why?", "Because."))
    screen = open_screen("/")
    screen.switch_mode("LLM chat")
    with models.held(CHAT):
        screen.ask("First?")
        expect(screen.messages).to_have_count(2)
        screen.ask("Second?")
        waiting = screen.page.get_by_text("Asked next: Second?")
        expect(waiting).to_be_visible()
        expect(screen.page).to_have_url(OPEN)
        own = re.search("conversation=[0-9a-f-]+", screen.page.url)
        screen.go_to("History")
        screen.go_to("Chat")
        expect(waiting).to_be_visible()
        screen.page.wait_for_timeout(DRAFT_MS)
        expect(field(screen)).to_have_value("")
        line(screen, address).get_by_role("link").click()
        expect(waiting).to_have_count(0)
        expect(field(screen)).to_have_value("")
    assert own
    line(screen, own[0]).get_by_role("link").click()
    expect(screen.messages.last).to_contain_text("You asked: Second?")
    expect(screen.messages).to_have_count(4)
    screen.page.wait_for_timeout(DRAFT_MS)
    expect(field(screen)).to_have_value("")
    screen.page.reload()
    screen.settle()
    screen.page.wait_for_timeout(DRAFT_MS)
    expect(field(screen)).to_have_value("")


def test_question_of_the_testing_page_survives_reload_page_switch_and_new_tab(
    open_screen: OpenScreen, desk: Desk
) -> None:
    desk.create_knowledge_bases("Archive")
    screen = open_screen("/testing")
    question = screen.key("test_question").get_by_role("textbox")
    # As “Open in retrieval testing” puts it there: without an event.
    question.evaluate("field => field.value = 'What was asked in the chat?'")
    screen.page.reload()
    expect(question).to_have_value("What was asked in the chat?")
    question.fill("What is in the archive?")
    screen.page.reload()
    expect(question).to_have_value("What is in the archive?")
    screen.go_to("History")
    screen.go_to("Retrieval testing")
    expect(question).to_have_value("What is in the archive?")
    with screen.page.expect_popup() as popup:
        screen.page.evaluate("window.open('/testing')")
    other = Screen(popup.value, screen.url)
    expect(other.key("test_question").get_by_role("textbox")).to_have_value("What is in the archive?")
