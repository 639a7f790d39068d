"""Answers that run in the background: stopped, found again, and interrupted."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Desk
from tests.e2e.screen import SECONDS, OpenScreen, Screen
from tests.e2e.web import Web, is_alive
from tests.fakes.model_server import CHAT, LONG_TOKENS, ModelServer
from tests.real_services import wait_until

LAST_WORD = f"word{LONG_TOKENS - 1}"
CONVERSATION = re.compile(r"\?conversation=[0-9a-f-]{36}$")


@pytest.fixture
def held(models: ModelServer) -> Iterator[ExitStack]:
    """No answer gets further than its half before the test lets it (`held.close()`)."""
    with ExitStack() as stack:
        stack.enter_context(models.held(CHAT))
        yield stack


def ask_at_length(screen: Screen, desk: Desk) -> None:
    """A long answer, seen to begin."""
    desk.choose_model("long")
    screen.switch_mode("LLM chat")
    screen.ask("Tell me all you know")
    expect(screen.messages.last).to_contain_text("word20")
    expect(screen.page).to_have_url(CONVERSATION)


def words_shown(screen: Screen) -> int:
    return len(re.findall(r"word\d+", screen.messages.last.inner_text()))


@pytest.mark.usefixtures("held")
def test_stop_ends_the_answer_and_keeps_what_had_arrived(
    open_screen: OpenScreen, desk: Desk, models: ModelServer
) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    screen.click("stop")
    expect(screen.messages.last).to_contain_text("You stopped this answer.")
    assert 20 <= words_shown(screen) < LONG_TOKENS
    expect(screen.key("regenerate")).to_be_visible()
    expect(screen.key("question").get_by_role("textbox")).to_be_enabled()
    request = models.chats[-1]
    assert request.ended.wait(20)
    assert request.disconnected, "the model goes on writing for nobody"


@pytest.mark.usefixtures("held")
def test_a_stop_that_redis_does_not_hear_says_so_at_once(open_screen: OpenScreen, desk: Desk, web: Web) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    (redis,) = [service.pid for service in web.run_state.services if service.name == "redis"]
    assert redis
    os.kill(redis, signal.SIGSTOP)
    try:
        screen.click("stop")
        expect(screen.page.get_by_text("Redis is not responding")).to_be_visible(timeout=40 * SECONDS)
    finally:
        os.kill(redis, signal.SIGCONT)


def test_a_reload_finds_the_running_answer_again(
    open_screen: OpenScreen, desk: Desk, models: ModelServer, held: ExitStack
) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    asked = len(models.chats)
    screen.page.reload()
    expect(screen.messages.last).to_contain_text("word20")
    expect(screen.key("stop")).to_be_visible()
    held.close()
    expect(screen.messages.last).to_contain_text(LAST_WORD)
    expect(screen.key("stop")).to_have_count(0)
    assert words_shown(screen) == LONG_TOKENS
    assert len(models.chats) == asked


def test_an_answer_goes_on_when_its_tab_is_closed(
    open_screen: OpenScreen, desk: Desk, models: ModelServer, held: ExitStack
) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    path = screen.page.url.removeprefix(screen.url)
    screen.page.close()
    held.close()
    request = models.chats[-1]
    assert request.ended.wait(40)
    assert not request.disconnected
    screen = open_screen(path)
    expect(screen.messages.last).to_contain_text(LAST_WORD)
    assert words_shown(screen) == LONG_TOKENS


@pytest.mark.usefixtures("held")
def test_the_page_can_be_used_while_an_answer_is_written(open_screen: OpenScreen, desk: Desk) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    path = screen.page.url.removeprefix(screen.url)
    screen.go_to("System")
    expect(screen.page.get_by_role("heading", name="Services")).to_be_visible()
    screen.go_to("Chat")
    expect(screen.messages.last).to_contain_text(f"word{LONG_TOKENS // 2 - 1} ")
    expect(screen.page).to_have_url(re.compile(re.escape(path) + "$"))
    screen.click("stop")
    expect(screen.messages.last).to_contain_text("You stopped this answer.")


def test_an_answer_whose_web_process_is_killed_is_interrupted_and_can_be_tried_again(
    open_screen: OpenScreen, desk: Desk, web: Web, held: ExitStack
) -> None:
    screen = open_screen("/")
    ask_at_length(screen, desk)
    path = screen.page.url.removeprefix(screen.url)
    screen.page.close()
    family = web.kill_alone()
    wait_until(lambda: not any(is_alive(process) for process in family), 30, "no process left")
    web.start()
    screen = open_screen(path)
    expect(screen.messages.last).to_contain_text("This answer was interrupted")
    assert 20 <= words_shown(screen) < LONG_TOKENS
    held.close()
    desk.choose_model("fake")
    screen.click("regenerate")
    expect(screen.messages.last).to_have_text(re.compile(r"You asked: Tell me all you know\s*$"))
    expect(screen.messages).to_have_count(2)
