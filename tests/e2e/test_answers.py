"""Answers that run in the background: stopped, found again, and interrupted."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from playwright.sync_api import WebSocketRoute, expect

from kb.models import Chunk, Passage, Retrieval, RetrievalProfile, Trace
from tests.e2e.conftest import Desk
from tests.e2e.screen import SECONDS, OpenScreen, Screen
from tests.e2e.web import Web, is_alive
from tests.fakes.model_server import CHAT, LONG_TOKENS, ModelServer
from tests.real_services import wait_until

LAST_WORD = f"word{LONG_TOKENS - 1}"
HELD_MS = 3_000  # longer than frame.js holds the page
PLACE = "element => element.getBoundingClientRect().y"
AT_END_MS = 500  # until the page has come to its end
CONVERSATION = re.compile(r"[?&]conversation=[0-9a-f-]{36}(&|$)")
# A paragraph → the widths at which a mark begins a line, without what it belongs to.
MARKS_ALONE = """text => {
  const alone = []
  for (let width = 130; width < 300; width += 2) {
    text.style.width = `${width}px`
    for (const mark of text.querySelectorAll("[data-cites]"))
      if (mark.getBoundingClientRect().x < text.getBoundingClientRect().x + 12) alone.push(width)
  }
  text.style.width = ""
  return alone
}"""


@pytest.fixture
def held(models: ModelServer, desk: Desk) -> Iterator[ExitStack]:
    """Answers are long, and pause halfway until the test calls `held.close()`."""
    desk.choose_model("long")
    with ExitStack() as stack:
        stack.enter_context(models.held(CHAT))
        yield stack


def ask_at_length(screen: Screen) -> None:
    """Ask for a long answer, and wait until it has begun."""
    screen.switch_mode("LLM chat")
    screen.ask("Tell me all you know")
    expect(screen.messages.last).to_contain_text("word20")
    expect(screen.page).to_have_url(CONVERSATION)


def words_shown(screen: Screen) -> int:
    return len(re.findall(r"word\d+", screen.messages.last.inner_text()))


@pytest.mark.usefixtures("held")
def test_stop_ends_the_answer_and_keeps_its_text(open_screen: OpenScreen, models: ModelServer) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    screen.click("stop")
    expect(screen.messages.last).to_contain_text("You stopped this answer.")
    assert 20 <= words_shown(screen) < LONG_TOKENS
    expect(screen.key("regenerate")).to_be_visible()
    expect(screen.key("question").get_by_role("textbox")).to_be_enabled()
    request = models.chats[-1]
    assert request.ended.wait(20)
    assert request.disconnected, "the model goes on writing for nobody"


@pytest.mark.usefixtures("held")
def test_stop_works_while_redis_hangs(open_screen: OpenScreen, web: Web) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    (redis,) = [service.pid for service in web.run_state.services if service.name == "redis"]
    assert redis
    os.kill(redis, signal.SIGSTOP)
    try:
        screen.click("stop")
        expect(screen.messages.last).to_contain_text("You stopped this answer.", timeout=40 * SECONDS)
    finally:
        os.kill(redis, signal.SIGCONT)


def test_reload_follows_the_running_answer(open_screen: OpenScreen, models: ModelServer, held: ExitStack) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    asked = len(models.chats)
    screen.page.reload()
    expect(screen.messages.last).to_contain_text("word20")
    expect(screen.key("stop")).to_be_visible()
    held.close()
    expect(screen.messages.last).to_contain_text(LAST_WORD)
    expect(screen.key("stop")).to_have_count(0)
    assert words_shown(screen) == LONG_TOKENS
    assert len(models.chats) == asked


def test_answer_survives_a_closed_tab(open_screen: OpenScreen, models: ModelServer, held: ExitStack) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    path = screen.page.url.removeprefix(screen.url)
    screen.page.close()
    held.close()
    request = models.chats[-1]
    assert request.ended.wait(40)
    assert not request.disconnected
    screen = open_screen(path)
    expect(screen.messages.last).to_contain_text(LAST_WORD)
    assert words_shown(screen) == LONG_TOKENS


def test_dropped_connection_and_second_browser_follow_the_answer(open_screen: OpenScreen, held: ExitStack) -> None:
    screen = open_screen("/")
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    screen.page.route_web_socket(re.compile("/_stcore/stream"), pass_on)
    screen.page.reload()
    screen.settle()
    ask_at_length(screen)
    other = open_screen(screen.page.url.removeprefix(screen.url))
    expect(other.messages.last).to_contain_text("word20")
    sockets[-1].close()
    held.close()
    for each in (screen, other):
        expect(each.messages.last).to_contain_text(LAST_WORD)
        expect(each.key("stop")).to_have_count(0)
        assert words_shown(each) == LONG_TOKENS
    assert len(sockets) > 1, "the page did not connect again"
    screen.complaints.clear()  # the browser logs that it was disconnected


@pytest.mark.usefixtures("held")
def test_other_pages_work_during_an_answer(open_screen: OpenScreen) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    path = screen.page.url.removeprefix(screen.url)
    screen.go_to("System")
    expect(screen.page.get_by_role("heading", name="Services")).to_be_visible()
    screen.go_to("Chat")
    expect(screen.messages.last).to_contain_text(f"word{LONG_TOKENS // 2 - 1} ")
    expect(screen.page).to_have_url(re.compile(re.escape(path) + "$"))
    screen.click("stop")
    expect(screen.messages.last).to_contain_text("You stopped this answer.")


def test_killed_web_process_interrupts_its_answer(
    open_screen: OpenScreen, desk: Desk, web: Web, held: ExitStack
) -> None:
    screen = open_screen("/")
    ask_at_length(screen)
    path = screen.page.url.removeprefix(screen.url)
    screen.page.close()
    family = web.kill_alone()
    wait_until(lambda: not any(is_alive(process) for process in family), 30, "no process left")
    web.start()
    desk.choose_model("fake")  # before the page is open: the next click would name the model that it shows
    screen = open_screen(path)
    expect(screen.messages.last).to_contain_text("This answer was interrupted")
    assert 20 <= words_shown(screen) < LONG_TOKENS
    expect(screen.page.get_by_role("button", name="Go on writing")).to_be_visible()
    held.close()
    screen.click("regenerate")
    expect(screen.messages.last).to_have_text(re.compile(r"You asked: Tell me all you know\s*$"))
    expect(screen.messages).to_have_count(2)


def test_formulas_money_and_line_breaks_are_rendered(open_screen: OpenScreen, desk: Desk) -> None:
    answer = (
        "It costs $5 and $10, and \\(E = mc^2\\).\n\n\\[ x^2 \\]\n\n"
        "| gate | state |\n|---|---|\n| north | Open<br>Close |\n\n`$5 <br> \\(x\\)`"
    )
    message = open_screen(desk.store_conversation(("How much?", answer))).messages.last
    expect(message).to_contain_text("It costs $5 and $10")
    expect(message.locator(".katex")).to_have_count(2)
    expect(message.locator(".katex-display")).to_have_count(1)
    cell = message.get_by_role("cell", name="Open")
    expect(cell).to_have_css("white-space", "pre-line")  # the style may come after the text
    assert cell.inner_text().split("\n") == ["Open", "Close"]
    expect(message.locator("code")).to_have_text("$5 <br> \\(x\\)")


def test_citations_of_every_answer_open(open_screen: OpenScreen, desk: Desk) -> None:
    chunk = Chunk("1", uuid4(), uuid4(), 0, 0, 4, 7, "Gates", "The north gate opens at nine.")
    passage = Passage(chunk, "gates.pdf", 1, 1.0, 1.0, 1.0, context="The north gate opens at nine. It closes at ten.")
    retrieval = Retrieval("When?", (passage,), Trace((), RetrievalProfile(), 3.0, ("gate", "open")))
    exchanges = [
        (f"When is gate {number} open?", f"Gate {number}: at `9 am` [1], or $x = 1 + 2$ [1].") for number in range(2)
    ]
    screen = open_screen(desk.store_conversation(*exchanges, retrieval=retrieval))
    text = screen.messages.last.locator("p", has_text="Gate 1")
    expect(text.locator("[data-cites]")).to_have_count(2)
    assert text.evaluate(MARKS_ALONE) == []
    # Twice: a choice is forgotten once it has been followed.
    for citation in (screen.keys("cited-").first, screen.keys("cited-").first, screen.key("citation-1")):
        citation.locator("button").first.click()
        expect(screen.drawer).to_contain_text("The north gate opens at nine.")
        screen.page.keyboard.press("Escape")
        expect(screen.drawer).to_have_count(0)
        screen.settle()  # the page notes that the drawer was closed
    expect(screen.key("passage-1")).to_have_count(0)
    screen.messages.last.get_by_text("1 passage found").click()
    expect(screen.key("passage-1")).to_contain_text("The north gate opens at nine.")


def test_page_scrolls_to_a_new_question(open_screen: OpenScreen, desk: Desk) -> None:
    lines = "\n\n".join(f"Line {number}" for number in range(30))
    screen = open_screen(desk.store_conversation(*((f"Question {number}", lines) for number in range(3))))
    screen.ask("And what is the last one?")
    answer = screen.page.get_by_text("You asked: And what is the last one?")
    expect(answer).to_be_in_viewport()
    expect(screen.messages).to_have_count(8)
    screen.ask("And another one?")
    expect(screen.page.get_by_text("You asked: And another one?")).to_be_in_viewport()
    expect(screen.messages).to_have_count(10)


@pytest.mark.parametrize("lines", [1, 40])  # a page that need not scroll, and one that is at its end
def test_what_is_opened_stays_where_it_was_clicked(open_screen: OpenScreen, desk: Desk, lines: int) -> None:
    text = "\n\n".join(["The north gate opens at nine."] * 60)
    chunk = Chunk("1", uuid4(), uuid4(), 0, 0, len(text), 1, "", text)
    passages = tuple(Passage(chunk, f"gates-{rank}.pdf", rank, 1.0, 1.0, 1.0, context=text) for rank in (1, 2, 3))
    retrieval = Retrieval("When?", passages, Trace((), RetrievalProfile(), 3.0, ("gate",)))
    exchanges = [("Question", "\n\n".join(f"Line {line}" for line in range(lines))), ("When?", "At nine [1].")]
    screen = open_screen(desk.store_conversation(*exchanges, retrieval=retrieval))
    step = screen.messages.last.locator("summary").first
    expect(screen.messages.last.locator("p").last).to_be_in_viewport()
    screen.page.wait_for_timeout(AT_END_MS)
    before = step.evaluate(PLACE)
    step.click()
    expect(screen.keys("passage-3")).to_have_count(1)
    screen.page.wait_for_timeout(HELD_MS)  # until the page may scroll by itself again
    after = step.evaluate(PLACE)
    assert abs(after - before) <= 2
    screen.ask("And what is the last one?")
    expect(screen.page.get_by_text("You asked: And what is the last one?")).to_be_in_viewport()


def test_edited_question_makes_a_branch(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen(desk.store_conversation(("Why is it green?", "Because of the algae.")))
    screen.messages.first.hover()
    screen.keys("edit-").get_by_role("button").click()
    screen.drawer.get_by_role("textbox").fill("Why is it blue?")
    screen.drawer.get_by_role("textbox").blur()
    screen.click("edit_ask")
    expect(screen.messages.last).to_contain_text("You asked: Why is it blue?")
    expect(screen.messages).to_have_count(2)
    branch = screen.page.locator(".zw-act-branch").first
    expect(branch).to_contain_text("2/2")
    screen.messages.first.hover()
    screen.keys("before-").get_by_role("button").click()
    expect(screen.messages.last).to_contain_text("Because of the algae.")
    expect(branch).to_contain_text("1/2")
    screen.page.reload()  # the conversation remembers which one is shown
    expect(screen.messages.last).to_contain_text("Because of the algae.")
    screen.messages.first.hover()
    screen.keys("after-").get_by_role("button").click()
    expect(screen.messages.last).to_contain_text("You asked: Why is it blue?")
