"""A file in a conversation, in a browser: attached, waited for, cited, and removed."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import FilePayload, expect

from tests.e2e.screen import SECONDS, OpenScreen

NOTES: FilePayload = {
    "name": "notes.md",
    "mimeType": "text/markdown",
    "buffer": b"An apple grows on a tree.",
}


def test_question_waits_while_the_browser_refuses_a_file(open_screen: OpenScreen, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(300 << 20)  # no byte of it is sent
    screen = open_screen("/")
    screen.switch_mode("LLM chat")
    screen.key("question").locator("input[type=file]").set_input_files(large)
    expect(screen.key("file_refused")).to_contain_text("The limit is 200 MB")
    screen.ask("Where does an apple grow?")
    screen.key("question").get_by_test_id("stChatInputSubmitButton").click()
    expect(screen.key("question").get_by_role("textbox")).to_have_value("Where does an apple grow?")
    screen.key("question").get_by_role("button", name="Remove large.txt").click()
    expect(screen.key("file_refused")).to_be_hidden()
    screen.ask("Where does an apple grow?")
    expect(screen.messages).to_have_count(2)


def test_question_that_is_sent_during_an_upload_is_asked_after_it(open_screen: OpenScreen) -> None:
    screen = open_screen("/?mode=llm", locale="zh-CN")
    screen.slow_down(uploads=30_000)
    large: FilePayload = {**NOTES, "buffer": NOTES["buffer"] * 4_000}
    screen.key("question").locator("input[type=file]").set_input_files([large])
    expect(screen.key("question").get_by_role("button", name="移除 notes.md")).to_be_visible()
    expect(screen.key("question").get_by_test_id("stFileChipIconSpinner")).to_be_visible()
    screen.ask("Where does an apple grow?")
    expect(screen.messages).to_have_count(0)
    expect(screen.messages.first).to_contain_text("notes.md")
    expect(screen.messages.first).to_contain_text("Where does an apple grow?")
    expect(screen.key("question").get_by_role("textbox")).to_have_value("")


def test_attached_file_is_cited_until_it_is_removed(open_screen: OpenScreen) -> None:
    screen = open_screen("/")
    screen.switch_mode("LLM chat")
    screen.key("question").locator("input[type=file]").set_input_files([NOTES])
    expect(screen.key("question")).to_contain_text("notes.md")
    screen.ask("Where does an apple grow?")
    expect(screen.messages.first).to_contain_text("notes.md")
    expect(screen.key("citation-1")).to_contain_text("notes.md", timeout=40 * SECONDS)
    expect(screen.messages.last).to_contain_text("An apple grows on a tree")
    expect(screen.key("stop")).to_have_count(0)
    screen.key("attached").get_by_role("button", name="Remove notes.md").click()
    screen.click("remove_attached")
    expect(screen.key("attached")).to_have_count(0)
    expect(screen.messages.first).to_contain_text("notes.md")
    expect(screen.key("citation-1")).to_contain_text("notes.md")
