"""Whether the passages support an answer: its sentences that they do not, and the check by a language model."""

from __future__ import annotations

import time

import streamlit as st

from kb.access import Principal
from kb.answers.checks import RUNNING_SECONDS
from kb.citations import without_dangling
from kb.errors import CheckInterrupted, from_code
from kb.extracts import escape_markdown as escape
from kb.messages import Message, SupportPart
from kb.models import MessageState
from pages.ui import resources
from pages.ui.chat_sidebar import chosen_model, has_model
from pages.ui.feedback import errors_flashed, live_fragment, redraw, show_error
from pages.ui.i18n import _, join_list, language, ngettext, number

POLL_SECONDS = 1.0


def draw_support(message: Message, principal: Principal) -> None:
    """Name the sentences that the passages do not support, folded, and tell who checked them."""
    support = message.support
    if is_checking(support):
        _follow_check(message, principal)
    elif support.code or support.asked_at:
        error = from_code(support.code, support.values) if support.code else CheckInterrupted()
        show_error(error)
        st.button(
            _("Check again"),
            key=f"check-again-{message.id}",
            icon=":material/refresh:",
            on_click=start_check,
            args=(message, principal),
        )
    _draw_result(message, support)


def may_check(message: Message) -> bool:
    """Whether a model can be asked now whether the passages support this answer."""
    is_given = bool(message.model and message.content and message.sources and message.sources.passages)
    return is_given and message.state is MessageState.DONE and not is_checking(message.support) and has_model()


def start_check(message: Message, principal: Principal) -> None:
    """For callbacks."""
    with errors_flashed():
        resources.answers().check_support(principal, message.id, chosen_model(), language())
    st.rerun()  # the whole page: what is drawn of the message is older


def is_checking(support: SupportPart) -> bool:
    return time.time() - support.asked_at < RUNNING_SECONDS


def _follow_check(message: Message, principal: Principal) -> None:
    @live_fragment(POLL_SECONDS)
    def follow() -> None:
        support = resources.services().messages.support(principal, message.id)
        if not is_checking(support):
            redraw()
        seconds = number(max(0, time.time() - support.asked_at))
        st.caption(
            _(":material/hourglass_top: The language model checks each sentence… {seconds} s").format(seconds=seconds)
        )

    follow()


def _draw_result(message: Message, support: SupportPart) -> None:
    model = escape(support.checked_by)
    if support.unsupported:
        _draw_unsupported(message, support, model)
    elif model and support.unjudged:
        st.caption(_(":material/fact_check: Checked by {model}: nothing unsupported was found.").format(model=model))
    elif model:
        st.caption(_(":material/fact_check: Checked by {model}: every sentence is supported.").format(model=model))
    if support.unjudged:
        st.caption(
            ngettext("{count} sentence was not checked.", "{count} sentences were not checked.", support.unjudged)
        )


def _draw_unsupported(message: Message, support: SupportPart, model: str) -> None:
    count = len(support.unsupported)
    if model:
        label = ngettext(
            "Checked by {model}: {count} sentence is not supported",
            "Checked by {model}: {count} sentences are not supported",
            count,
            model=model,
        )
        told = _("The passages do not say this, as the language model reads them. It can be wrong, too.")
    else:
        label = ngettext(
            "{count} sentence is not backed by the passages",
            "{count} sentences are not backed by the passages",
            count,
        )
        told = _("Figures, names or terms of these sentences were not found in the passages that they cite.")
    with st.expander(label, icon=":material/fact_check:", key=f"support-{message.id}", on_change="rerun") as body:
        if not body.open:
            return
        st.caption(told)
        for each in support.unsupported:
            said = without_dangling(each.sentence, message.sources)
            sentence = f"> {escape(' '.join(said.split()))}"
            if each.missing:
                missing = _("not found: {words}").format(words=escape(join_list(each.missing)))
                sentence += f"  \n> :orange[{missing}]"
            st.markdown(sentence)
