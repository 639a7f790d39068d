"""What can be done with a message: its list of citations, the row below it, and the citation marks in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.citations import cited, without_dangling
from kb.errors import N_, KbError, QuestionEmpty
from kb.messages import UNRATED, Message, Rating, Source
from kb.models import MessageState, Mode, Role
from pages.ui.chat_sidebar import chosen_model
from pages.ui.feedback import dialog, errors_flashed, flash, live_fragment, show_flash
from pages.ui.i18n import _, language, number, translate
from pages.ui.passages import citation_label
from pages.ui.resources import is_signed_out, services
from pages.ui.running import HowToAnswer, start_answer
from pages.ui.scripts import loading
from pages.ui.state import TestSettings, state
from pages.ui.steps import seconds_text
from pages.ui.support import may_check, start_check

HERE = Path(__file__).parent
MOST_MODELS = 12
EDITED_KEY = "edited_question"
REASON_KEY = "rating_reason"
WORDS = {
    "copy": N_("Copy"),
    "copied": N_("Copied"),
    "regenerate": N_("Try again"),
    "models": N_("Try again with another model"),
    "go_on": N_("Go on writing"),
    "edit": N_("Edit the question"),
    "own_words": N_("Search for my own words"),
    "good": N_("Good answer"),
    "bad": N_("Bad answer"),
    "check": N_("Check with the model"),
    "test": N_("Open in retrieval testing"),
    "before": N_("Earlier version"),
    "after": N_("Later version"),
    "cited": N_("Cited passages"),
    "cite": N_("Open passage {rank}"),
}

_bar = st.components.v2.component(
    "zhiwen.actions",
    html=(HERE / "actions.html").read_text(encoding="utf-8"),
    # Its style is a part of the page (web.page_style): each message would bring its own copy of it.
    js=loading("actions.js"),
    isolate_styles=False,
)


def draw_question_actions(message: Message, principal: Principal, may_change: bool) -> None:
    """Draw the row of a question.

    `may_change`: it can be edited; not while an answer is being written, when the row is there all the same, so that
    nothing moves at the end.
    """
    _draw(message, principal, _data(message, principal, is_last=False, may_change=may_change))


def draw_answer_actions(
    message: Message, principal: Principal, is_last: bool, open_cited: Callable[[int], None]
) -> None:
    """Draw the citations and the row of an answer that is complete. `open_cited` shows the passage of a rank."""
    _draw(message, principal, _data(message, principal, is_last, may_change=True), open_cited)


def draw_citations(message: Message, open_cited: Callable[[int], None]) -> None:
    """Draw the citations of an answer, for somebody who can do nothing else with it but copy it."""
    key = f"actions-{message.id}"

    @live_fragment()
    def draw() -> None:
        result = _bar(key=key, data=[_for_reading(message, is_last=False)], on_pressed_change=_nothing)
        match result.pressed:
            case {"action": "cite", "rank": int(rank)}:
                open_cited(rank)

    draw()


def _nothing() -> None:
    pass


def _draw(
    message: Message, principal: Principal, data: dict[str, object], open_cited: Callable[[int], None] | None = None
) -> None:
    """Draw them as a fragment: what is pressed does not draw the message anew."""
    key = f"actions-{message.id}"

    @live_fragment()
    def draw() -> None:
        result = _bar(key=key, data=[data], on_pressed_change=lambda: _act(message, principal, key))
        match result.pressed:
            case {"action": "cite", "rank": int(rank)} if open_cited:
                open_cited(rank)
            case {"action": "edit"} if message.role is Role.USER:
                _open_editor(message, principal)
            case {"action": "rate", "value": -1} if message.role is Role.ASSISTANT:
                _open_reason(message, principal)
            case {"action": "test"} if message.scope.first_id:
                st.switch_page("testing.py")

    draw()


def _for_reading(message: Message, is_last: bool) -> dict[str, object]:
    """What a message shows to whoever reads it."""
    is_answer = message.role is Role.ASSISTANT
    usage, detail = _usage(message)
    return {
        "id": str(message.id),
        "side": "start" if is_answer else "end",
        "actions": [],
        "isLatest": False,
        "isIncomplete": False,
        "models": [],
        "branch": None,
        "rating": UNRATED.value,
        "ranks": [source.rank for source in message.sources.passages] if message.sources else [],
        "cited": [(source.rank, citation_label(source)) for source in _cited(message, is_last)],
        "text": without_dangling(message.content, message.sources),
        "usage": usage,
        "usageDetail": detail,
        "words": _words(is_answer, language()),
    }


def _data(message: Message, principal: Principal, is_last: bool, may_change: bool) -> dict[str, object]:
    is_answer = message.role is Role.ASSISTANT
    is_complete = message.state is MessageState.DONE
    actions = ["regenerate"] if is_answer and (is_complete or is_last) else []
    if is_answer and is_last and not is_complete and message.content and message.model:
        actions.append("go_on")
    if is_answer and is_complete and message.mode is not Mode.TEST:
        actions.append("rate")
    if is_answer and is_last and is_complete and message.searched_for:
        actions.append("own_words")
    if is_answer and may_check(message):
        actions.append("check")
    if is_answer and message.sources is not None and message.scope.first_id:
        actions.append("test")
    if not is_answer and may_change:
        actions.append("edit")
    if message.mode is Mode.TEST and "regenerate" in actions and is_complete:
        actions.remove("regenerate")  # the same passages again
    return _for_reading(message, is_last) | {
        "actions": actions,
        "isLatest": is_last,
        "isIncomplete": is_answer and is_last and not is_complete,
        "models": _other_models(message, principal) if "regenerate" in actions and message.model else [],
        "branch": _branch(message) if may_change else None,
        "rating": message.rating.value,
    }


def _cited(message: Message, is_last: bool) -> Sequence[Source]:
    if message.sources is None or (is_last and message.mode is Mode.TEST):  # that one shows all its passages
        return ()
    return cited(message.content, message.sources)


@cache
def _words(is_answer: bool, code: str) -> dict[str, str]:
    """In the language `code`. Each message needs them, in each run."""
    title = N_("Answer") if is_answer else N_("Question")
    return {name: translate(text, code) for name, text in {"title": title, **WORDS}.items()}


def _branch(message: Message) -> dict[str, object] | None:
    siblings = message.siblings
    if len(siblings) < 2:
        return None
    at = siblings.index(message.id)
    return {
        "at": at + 1,
        "count": len(siblings),
        "before": str(siblings[at - 1]) if at else "",
        "after": str(siblings[at + 1]) if at + 1 < len(siblings) else "",
    }


def _other_models(message: Message, principal: Principal) -> list[tuple[str, str]]:
    """The models that may answer instead, as far as is known, by id and label."""
    known = services().chat_models.known(principal).models
    others = [model for model in known if model.name != message.model]
    return [(model.id, f"{model.name} · {model.server}") for model in others[:MOST_MODELS]]


def _usage(message: Message) -> tuple[str, str]:
    """The model and its time, in short and in full."""
    usage = message.usage
    if not usage.model:
        return "", ""
    short, full = [usage.model], [usage.model]
    if usage.total_ms:
        short.append(seconds_text(usage.total_ms / 1000))
        total = number(usage.total_ms / 1000, 1)
        first = number(usage.first_token_ms / 1000, 1)
        full.append(_("first words after {first} s, all after {total} s").format(first=first, total=total))
    if usage.output_tokens:
        tokens = {"input": number(usage.input_tokens), "output": number(usage.output_tokens)}
        full.append(_("{input} tokens read, {output} written").format(**tokens))
    return " · ".join(short), " · ".join(full)


# --- what was pressed, before the page is drawn ---


def _act(message: Message, principal: Principal, key: str) -> None:
    pressed: object = st.session_state[key].pressed
    messages = services().messages
    match pressed:
        case {"action": "regenerate", **others}:
            answer_again(principal, message, str(others.get("model") or chosen_model()))
        case {"action": "own_words"}:
            answer_again(principal, message, chosen_model(), in_own_words=True)
        case {"action": "go_on"}:
            go_on(principal, message)
        case {"action": "show", "id": str(sibling)}:
            with errors_flashed():
                if shown := _sibling(message, sibling):
                    messages.show(principal, shown)
            st.rerun()
        case {"action": "rate", "value": int(value)} if value in (-1, 0, 1):
            with errors_flashed():
                messages.rate(principal, message.id, Rating(value))
            if value != -1:  # else a dialog asks why, and its end draws the page
                st.rerun()  # the whole page: what is drawn of the message is older
        case {"action": "check"}:
            start_check(message, principal)
        case {"action": "test"}:
            with errors_flashed():
                remember_test(message, principal)
                return
            st.rerun()  # the chat with the error, not the testing page


def _sibling(message: Message, wanted: str) -> UUID | None:
    return next((each for each in message.siblings if str(each) == wanted), None)


def answer_again(principal: Principal, old: Message, model: str, in_own_words: bool = False) -> None:
    """Regenerate, unless another tab already did. For callbacks."""
    how = HowToAnswer.chosen(old.mode, model)
    with errors_flashed():
        services().request_limits.count_answer(principal)
        if message := services().messages.regenerate(principal, old.id, old.run_id):
            start_answer(principal, message, how, in_own_words, old.widened)
    st.rerun()  # the whole page, not the answer's fragment alone


def go_on(principal: Principal, begun: Message) -> None:
    """Have the answer written on. For callbacks."""
    how = HowToAnswer.chosen(begun.mode)
    with errors_flashed():
        services().request_limits.count_answer(principal)
        if message := services().messages.go_on(principal, begun.id, begun.run_id):
            start_answer(principal, message, how)
    st.rerun()


def remember_test(message: Message, principal: Principal) -> None:
    """The testing page then shows what this answer was given from, and searches in the same way. Errors: `NotFound`."""
    for knowledge_base_id in message.scope.knowledge_base_ids[:1]:
        services().knowledge_bases.get(principal, knowledge_base_id)
    retrieval = services().messages.get(principal, message.id).retrieval
    if retrieval and message.scope.first_id:
        state().chosen = message.scope
        state().test = message.scope, retrieval
        state().test_settings = TestSettings(retrieval.trace.profiles, retrieval.widened)


# --- dialogs ---


def _open_editor(message: Message, principal: Principal) -> None:
    """Ask the question in other words; what followed it stays reachable. One that is refused stays in the dialog."""

    @dialog(_("Edit the question"))
    def edit() -> None:
        st.caption(_("The question is asked again. What followed it stays beside it."))
        if EDITED_KEY not in st.session_state:
            st.session_state[EDITED_KEY] = message.content
        st.text_area(_("Question"), key=EDITED_KEY, label_visibility="collapsed", height=160)
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Cancel"), key="edit_cancel"):
                st.rerun()
            st.button(
                _("Ask"),
                key="edit_ask",
                type="primary",
                on_click=_ask_edited,
                args=(message, principal),
                shortcut="Ctrl+Enter",
            )
        show_flash()

    st.session_state.pop(EDITED_KEY, None)
    edit()


def _ask_edited(message: Message, principal: Principal) -> None:
    question = str(st.session_state[EDITED_KEY]).strip()
    if not question:
        flash(QuestionEmpty())
        return
    current = state()
    if is_signed_out():
        current.unsent = question
        return  # the dialog is drawn next, and has the page say so
    how = HowToAnswer.chosen(current.mode)
    try:
        services().request_limits.count_answer(principal)
        answer = services().messages.edit(principal, message.id, question, (current.mode, current.scope))
    except KbError as error:
        flash(error)
        return
    with errors_flashed():
        start_answer(principal, answer, how)
    current.has_dialog = False
    st.rerun()


def _open_reason(message: Message, principal: Principal) -> None:
    """The answer is already rated as bad; a reason helps to mend what is behind it."""

    @dialog(_("What is wrong with this answer?"), is_page_older=True)
    def tell() -> None:
        st.text_area(
            _("Reason"),
            key=REASON_KEY,
            label_visibility="collapsed",
            placeholder=_("For example: it is outdated, or the wrong file was found"),
        )
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button(_("Save"), key="reason_save", type="primary", on_click=_save_reason, args=(message, principal))

    st.session_state.pop(REASON_KEY, None)
    tell()


def _save_reason(message: Message, principal: Principal) -> None:
    with errors_flashed():
        services().messages.rate(principal, message.id, Rating(-1, str(st.session_state[REASON_KEY]).strip()))
    state().has_dialog = False
    st.rerun()
