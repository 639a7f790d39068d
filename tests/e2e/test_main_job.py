"""The main job, as a new user does it, in both languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Route, expect

from tests.e2e.sample_files import text_files
from tests.e2e.screen import SECONDS, OpenScreen, Screen
from tests.fakes.model_server import CHAT, EMBEDDINGS, ModelServer


@dataclass(frozen=True)
class Words:
    """The page's texts and the question asked, in one language."""

    locale: str
    welcome: str
    create: str
    base: str
    ready: str
    empty_file: str
    remedy: str
    question: str
    answer: str
    file: str
    page: str
    fused: str
    passage: str


ENGLISH = Words(
    locale="en-US",
    welcome="What would you like to know?",
    create="Create a knowledge base",
    base="Harbour notes",
    ready="5 of 6 ready · 1 failed",
    empty_file="“empty.txt” is empty (0 bytes).",
    remedy="Check the file and upload it again.",
    question="Telescope with a copper dome: how many inches has its mirror?",
    answer="According to the passages, Observatory Hill telescope: a mirror of forty inches under a copper dome",
    file="observatory.pdf",
    page="p. 1",
    fused="Fused",
    passage="Passage 1",
)
CHINESE = Words(
    locale="zh-CN",
    welcome="想了解什么？",
    create="新建知识库",
    base="海港笔记",
    ready="已就绪 5/6 · 1 个失败",
    empty_file="“empty.txt”是空文件（0 字节）。",
    remedy="请检查文件后重新上传。",
    question="天文台的圆顶由谁打开？",
    answer="根据资料，北山天文台的圆顶每天黄昏由守夜人打开",
    file="天文台.pdf",
    page="第 1 页",
    fused="融合分",
    passage="段落 1",
)


@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_from_the_first_page_to_a_citation(words: Words, open_screen: OpenScreen, models: ModelServer) -> None:
    screen = open_screen("/", locale=words.locale)
    create_knowledge_base(screen, words)
    upload(screen, words)
    ask(screen, words, models)
    open_citation(screen, words)
    run_test(screen, words)


def create_knowledge_base(screen: Screen, words: Words) -> None:
    expect(screen.page.get_by_role("heading", name=words.welcome)).to_be_visible()
    screen.page.get_by_test_id("stMainBlockContainer").get_by_role("link", name=words.create).click()
    screen.settle()
    create_named(screen, words.base)
    expect(screen.key("shown_knowledge_base").get_by_role("combobox")).to_have_value(re.compile(words.base))


def upload(screen: Screen, words: Words) -> None:
    files = text_files()
    screen.upload(files)
    documents = screen.keys("document-")
    expect(documents).to_have_count(len(files))
    expect(screen.page.get_by_text(words.ready)).to_be_visible(timeout=30 * SECONDS)
    for file in files:
        expect(screen.key("documents")).to_contain_text(file["name"])
    failed = documents.filter(has_text="empty.txt")
    expect(failed).to_contain_text(words.empty_file)
    expect(failed).to_contain_text(words.remedy)


def ask(screen: Screen, words: Words, models: ModelServer) -> None:
    """The answer streams, and ends with its citation."""
    screen.page.get_by_test_id("stSidebarNav").get_by_role("link").first.click()
    screen.settle()
    answer = screen.messages.last
    with models.held(CHAT):
        screen.ask(words.question)
        expect(answer).to_contain_text(words.answer[:8])
        expect(answer).to_contain_text("▌")
        expect(answer).not_to_contain_text(words.answer[-8:])
    expect(answer).to_contain_text(words.answer)
    expect(screen.key("citation-1")).to_be_visible()
    expect(answer).not_to_contain_text("▌")
    expect(screen.page).to_have_url(re.compile(r"[?&]conversation=[0-9a-f-]{36}(&|$)"))


def open_citation(screen: Screen, words: Words) -> None:
    """The drawer shows the cited chunk, its page and every score."""
    expect(screen.key("citation-1")).to_contain_text(words.file)
    size = screen.page.viewport_size
    assert size
    screen.page.set_viewport_size({"width": size["width"], "height": 400})  # the image of the page does not fit
    screen.click("citation-1")
    for text in (words.passage, words.file, words.page, words.fused, "BM25", words.answer[-8:]):
        expect(screen.drawer).to_contain_text(text)
    expect(screen.drawer.locator(".zw-page > div").first).to_have_css("animation-name", "zw-loading")
    image = screen.drawer.get_by_role("img").first
    image.evaluate("image => image.decode()")  # fails unless it is an image
    expect(screen.drawer.locator(".zw-match").first).to_be_in_viewport()
    screen.page.set_viewport_size(size)
    expect(screen.drawer.get_by_role("link")).not_to_have_css("color", "rgb(0, 0, 238)")  # the browser's blue
    with screen.page.expect_download() as download:
        screen.drawer.get_by_role("link").click()
    assert download.value.suggested_filename == words.file
    screen.page.keyboard.press("Escape")
    expect(screen.drawer).to_have_count(0)


def run_test(screen: Screen, words: Words) -> None:
    screen.page.get_by_test_id("stSidebarNav").get_by_role("link").nth(2).click()
    screen.settle()
    screen.key("test_question").get_by_role("textbox").fill("龙泉青瓷的釉色")
    screen.click("run_test")
    best = screen.key("passages").locator(".st-key-passage-1")
    for text in ("青瓷.txt", "粉青和梅子青", words.fused, "BM25", "(#1)"):
        expect(best).to_contain_text(text)
    expect(screen.key("passages").locator(".st-key-passage-2")).to_be_visible()


def test_dialog_reports_a_taken_name_and_keeps_the_input(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    for _ in range(2):
        screen.click("new_knowledge_base")
        screen.key("knowledge_base_name").get_by_role("textbox").fill("手册 one")
        screen.click("create_knowledge_base")
        screen.settle()
    expect(screen.drawer).to_contain_text("A knowledge base named “手册 one” already exists.")
    expect(screen.key("knowledge_base_name").get_by_role("textbox")).to_have_value("手册 one")


def test_rename_field_holds_the_current_name(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Old name")
    screen.upload(text_files()[:1])
    expect(screen.keys("document-")).to_have_count(1)
    screen.settle()
    screen.page.get_by_role("button", name="More").click()
    field = screen.keys("rename_knowledge_base").get_by_role("textbox")
    expect(field).to_be_visible()
    expect(field).to_have_value("Old name")


def test_dialog_stays_open_when_the_last_file_becomes_ready(open_screen: OpenScreen, models: ModelServer) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Manuals")
    with models.held(EMBEDDINGS):
        screen.upload([FilePayload(name="manual.txt", mimeType="text/plain", buffer=b"A sentence of its own.")])
        expect(screen.keys("document-")).to_have_count(1)
        screen.click("new_knowledge_base")
        field = screen.key("knowledge_base_name").get_by_role("textbox")
        field.fill("Half a na")
        expect(screen.key("documents")).not_to_contain_text("ready")
    expect(screen.key("documents")).to_contain_text("ready", timeout=60 * SECONDS)
    screen.page.wait_for_timeout(1500)
    expect(field).to_have_value("Half a na")
    screen.page.keyboard.press("Escape")
    expect(screen.page.get_by_text("1 of 1 ready")).to_be_visible()


def test_dismissed_dialog_resumes_live_progress(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Manuals")
    screen.upload([*text_files()[:1], FilePayload(name="empty.txt", mimeType="text/plain", buffer=b"")])
    expect(screen.page.get_by_text("1 of 2 ready · 1 failed")).to_be_visible(timeout=30 * SECONDS)
    screen.settle()
    screen.keys("chunks-").get_by_role("button").click()
    expect(screen.drawer).to_be_visible()
    screen.page.keyboard.press("Escape")
    expect(screen.drawer).to_have_count(0)
    screen.upload([FilePayload(name="late.txt", mimeType="text/plain", buffer=b"A late sentence.")])
    expect(screen.page.get_by_text("2 of 3 ready · 1 failed")).to_be_visible(timeout=30 * SECONDS)


def test_uploads_continue_while_other_pages_are_open(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Empty")
    create_named(screen, "Filled")
    expect(screen.key("upload")).to_contain_text("Filled")
    screen.slow_down(uploads=30_000)
    with screen.page.expect_request("**/api/uploads/**"):
        screen.upload([FilePayload(name="slow.txt", mimeType="text/plain", buffer=b"Slowly. " * 25_000)])
    choose_shown(screen, "Empty")
    expect(screen.key("upload")).to_contain_text("slow.txt → Filled")
    screen.go_to("History")
    with screen.page.expect_response("**/api/uploads/**", timeout=40 * SECONDS) as response:
        pass
    assert response.value.status == 201
    screen.go_to("Knowledge bases")
    expect(screen.page.get_by_text("1 file saved")).to_be_visible()
    expect(screen.keys("document-")).to_have_count(0)
    choose_shown(screen, "Filled")
    expect(screen.keys("document-")).to_have_count(1)
    expect(screen.key("upload").locator("input[type=file]")).to_have_count(1)


def test_refused_upload_says_why_and_holds_the_others(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Manuals")
    reason = {"code": "x", "message": "The database is not responding.", "remedy": "Wait.", "can_retry": True}
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, json=reason)

    screen.page.route("**/api/uploads/**", refuse)
    files = [FilePayload(name=f"{number}.txt", mimeType="text/plain", buffer=b"Text.") for number in range(9)]
    screen.upload([*files, FilePayload(name="~$lock.docx", mimeType="text/plain", buffer=b"x")])
    panel = screen.key("upload")
    expect(panel).to_contain_text("0 of 9 saved · 9 failed")
    expect(panel).to_contain_text("The database is not responding. Wait.")
    expect(panel).to_contain_text("Skipped temporary, hidden and system files: 1 (~$lock.docx)")
    assert len(refused) <= 3  # nothing is sent to hear the same again
    screen.complaints.clear()  # the browser logs each refusal
    screen.page.unroute("**/api/uploads/**")
    panel.get_by_role("button", name="Retry all").click()
    expect(screen.keys("document-")).to_have_count(9)
    expect(panel).to_contain_text("9 of 9 saved")


def test_folder_is_uploaded_without_its_system_files(open_screen: OpenScreen, tmp_path: Path) -> None:
    folder = tmp_path / "manuals"
    for path in ("tea.md", "old/coffee.md", ".git/config", "old/Thumbs.db", "~$tea.docx"):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("Some text.")
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Manuals")
    with screen.page.expect_file_chooser() as chooser:
        screen.key("upload").get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder)
    expect(screen.keys("document-")).to_have_count(2)
    for name in ("manuals/tea.md", "manuals/old/coffee.md"):
        expect(screen.key("documents")).to_contain_text(name)
    expect(screen.key("upload")).to_contain_text("Skipped temporary, hidden and system files: 3")


def test_original_is_downloaded_and_replaced(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases")
    create_named(screen, "Manuals")
    original, panel = text_files()[1], screen.key("upload")

    def download() -> bytes:
        with screen.page.expect_download() as download:
            screen.keys("download-").get_by_role("link").click()
        assert download.value.suggested_filename == "青瓷.txt"
        return download.value.path().read_bytes()

    screen.upload([original])
    expect(screen.page.get_by_text("1 of 1 ready")).to_be_visible(timeout=30 * SECONDS)
    assert download() == original["buffer"]
    screen.upload([original])
    expect(panel).to_contain_text("1 was there already")
    with screen.page.expect_file_chooser() as chooser:
        screen.keys("replace-").get_by_role("button").click()
    chooser.value.set_files([FilePayload(name="new.txt", mimeType="text/plain", buffer=b"Porcelain is white.")])
    expect(screen.keys("document-")).to_contain_text("19 B")
    expect(screen.keys("document-")).to_have_count(1)
    assert download() == b"Porcelain is white."
    screen.upload([original])
    expect(panel).to_contain_text("1 has the name of another document.")
    expect(screen.keys("document-")).to_have_count(2)


def test_chinese_knowledge_base_page_has_no_english_texts(open_screen: OpenScreen) -> None:
    screen = open_screen("/knowledge-bases", locale="zh-CN")
    create_named(screen, "手册")
    expect(screen.key("upload").get_by_role("button").first).to_be_visible()
    shown = screen.key("upload").inner_text()
    assert re.findall(r"[a-z]{3,}", shown) == []
    screen.click("new_knowledge_base")
    expect(screen.key("knowledge_base_name")).to_be_visible()
    assert re.findall(r"Upload|per file|required", shown + screen.drawer.inner_text()) == []


def choose_shown(screen: Screen, name: str) -> None:
    screen.key("shown_knowledge_base").get_by_role("combobox").click()
    screen.page.get_by_role("option", name=re.compile(f"^{name}")).click()
    screen.settle()


def create_named(screen: Screen, name: str) -> None:
    screen.click("new_knowledge_base")
    screen.key("knowledge_base_name").get_by_role("textbox").fill(name)
    screen.click("create_knowledge_base")
    expect(screen.drawer).to_have_count(0)
