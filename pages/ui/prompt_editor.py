"""The dialog in which a knowledge base gets a prompt of its own, with a preview of what the model is sent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from kb.completions.options import with_system_prompt
from kb.errors import ModelError
from kb.extracts import escape_markdown as escape
from kb.languages import Language
from kb.models import KnowledgeBase, Scope, User
from kb.prompt_templates import MOST_CHARACTERS, clean_template
from kb.prompts import ChatMessage, default_template, knowledge_messages
from kb.providers.connection import SERVERS_OWN
from kb.questions import check_question
from pages.ui.chat_sidebar import chosen_model
from pages.ui.feedback import close_dialog_if, dialog, errors_flashed, errors_shown, wait_for
from pages.ui.i18n import _, language
from pages.ui.resources import services

TEMPLATE_KEY, QUESTION_KEY, PREVIEW_KEY = "prompt_template", "prompt_question", "prompt_preview"


def open_prompt_editor(user: User, base: KnowledgeBase) -> None:
    default = default_template(Language(language()))
    st.session_state[TEMPLATE_KEY] = base.prompt or default
    st.session_state.pop(PREVIEW_KEY, None)

    @dialog(_("Prompt"), width="large")
    def edit() -> None:
        draw_prompt_editor(user, base, default)

    edit()


def draw_prompt_editor(user: User, base: KnowledgeBase, default: str) -> None:
    st.caption(
        _(
            "What the model is told before it answers from “{name}”. {passages} is replaced by what was found, "
            "{language} by the request to answer in the language of the question."
        ).format(name=escape(base.name), passages="`{passages}`", language="`{language}`")
    )
    st.text_area(_("Prompt"), key=TEMPLATE_KEY, height=300, max_chars=MOST_CHARACTERS, label_visibility="collapsed")
    with st.container(horizontal=True):
        saved = st.button(_("Save"), key="save_prompt", type="primary", on_click=_save, args=(user, base, default))
        reset = st.button(
            _("Reset to the default"),
            key="reset_prompt",
            disabled=not base.prompt,
            on_click=_store,
            args=(user, base, ""),
        )
    st.divider()
    st.text_input(_("A question to preview the prompt with"), key=QUESTION_KEY)
    if st.button(_("Preview"), key="preview_prompt"):
        _preview(user, base, default)
    draw_messages(st.session_state.get(PREVIEW_KEY, []))
    close_dialog_if(saved or reset)


def messages_for(user: User, base: KnowledgeBase, template: str, question: str) -> list[ChatMessage]:
    """What the model would be sent for it. An empty template is the default.

    Errors: `InvalidPrompt`, `QuestionTooLong`, those of retrieval.
    """
    template = clean_template(template) if template else ""
    check_question(question)
    retrieve = partial(services().retriever.retrieve, user.principal, Scope.of(base.id), question)
    found = wait_for(_("Searching…"), retrieve)
    try:
        model = services().chat_models.choose(user.principal, chosen_model())
    except ModelError:
        model = None
    settings = model.settings if model else SERVERS_OWN
    found = replace(found, prompt=template)
    messages = knowledge_messages(question, [], found, settings.context_window, language())
    return with_system_prompt(messages, settings.system_prompt)


def draw_messages(messages: list[ChatMessage]) -> None:
    roles = {"system": _("Instructions"), "user": _("Question"), "assistant": _("Answer")}
    for role, text in messages:
        st.caption(roles[role])
        st.code(text, language=None, wrap_lines=True)


def _preview(user: User, base: KnowledgeBase, default: str) -> None:
    kept = st.session_state
    kept.pop(PREVIEW_KEY, None)
    with errors_shown():
        kept[PREVIEW_KEY] = messages_for(user, base, _template(default), str(kept[QUESTION_KEY]))


def _save(user: User, base: KnowledgeBase, default: str) -> None:
    _store(user, base, _template(default))


def _template(default: str) -> str:
    """What is in the field; empty for the default, which follows the question's language and what was found."""
    text = str(st.session_state[TEMPLATE_KEY])
    return "" if text.strip() == default.strip() else text


def _store(user: User, base: KnowledgeBase, template: str) -> None:
    with errors_flashed():
        services().knowledge_bases.set_prompt(user.principal, base.id, template)
