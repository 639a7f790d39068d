"""What was done for an answer, in lines above its text: the same while it is written and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import streamlit as st

from kb.extracts import escape_markdown as escape
from kb.messages import SourcesPart
from pages.ui.citations import safe_markdown
from pages.ui.i18n import _, error_text, join_sentences, ngettext, number

SHOWN_THOUGHTS = 10_000  # characters, the last ones


def draw_searched_for(question: str) -> None:
    """Say what a follow-up was taken to mean."""
    if question:
        st.expander(
            _("Searched for: {question}").format(question=escape(question)),
            type="step",
            icon=":material/subdirectory_arrow_right:",
        )


def draw_found(sources: SourcesPart, message_id: UUID, draw: Callable[[], None]) -> None:
    """Offer what was found; `draw` draws it once it is opened. Say which pages of the question could not be read."""
    draw_step(found_label(sources), ":material/plagiarism:", f"passages-of-{message_id}", draw)
    for page in sources.unread:
        reason, remedy = error_text(page.reason)
        st.warning(escape(join_sentences(reason, remedy)), icon=":material/link_off:")


def found_label(sources: SourcesPart) -> str:
    count = len(sources.passages)
    parts = [ngettext("{count} passage found", "{count} passages found", count)]
    if sources.pages:
        read = {"read": number(sources.pages_read), "pages": number(sources.pages)}
        parts.append(_("{read} of {pages} web pages read").format(**read))
    if sources.milliseconds:
        parts.append(seconds_text(sources.milliseconds / 1000))
    return " · ".join(parts)


def draw_thoughts(reasoning: str, message_id: UUID, thought_ms: float = 0.0) -> None:
    """Offer the model's reasoning, folded. It cites nothing."""
    if not reasoning:
        return
    label = _("Thoughts")
    if thought_ms:
        label = _("Thought for {seconds}").format(seconds=seconds_text(thought_ms / 1000))

    def draw() -> None:
        if len(reasoning) > SHOWN_THOUGHTS:
            st.caption(_("Only the end is shown, because it is very long."))
        st.markdown(safe_markdown(reasoning[-SHOWN_THOUGHTS:]))

    draw_step(label, ":material/psychology:", f"thoughts-{message_id}", draw)


def draw_step(label: str, icon: str, key: str, draw: Callable[[], None]) -> None:
    """Draw a line that can be opened. It stays open when its label changes, which makes another widget of it."""
    if key in st.session_state:
        st.session_state[key] = st.session_state[key]
    # “compact”, because a “step” opens only if something is in it already, which takes half as long again to draw.
    with st.expander(label, type="compact", icon=icon, key=key, on_change="rerun") as body:
        if body.open:
            draw()


def seconds_text(seconds: float) -> str:
    """Such as “0.3 s” and “12 s”."""
    shown = number(seconds) if seconds >= 9.95 else number(max(seconds, 0.1), 1)
    return _("{seconds} s").format(seconds=shown)
