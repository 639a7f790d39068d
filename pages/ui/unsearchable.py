"""Documents that are ready and cannot be searched, because Milvus lacks chunks of them: said, and indexed again."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, Unsearchable
from kb.reconciling import Lacking, count_lacking, index_again
from pages.ui.feedback import announce, errors_flashed
from pages.ui.i18n import _, join_list, ngettext
from pages.ui.resources import services


def draw_unsearchable(found: Unsearchable, is_attached: bool = False) -> None:
    """Say with an answer that it lacks what these documents say."""
    if found.documents:
        text = ngettext(
            "{count} document could not be searched: Milvus does not have all its text.",
            "{count} documents could not be searched: Milvus does not have all their text.",
            found.documents,
        )
    else:
        text = _("Some documents could not be searched: Milvus does not have all their text.")
    names = join_list(found.names)
    if names and found.documents > len(found.names):
        names += " …"
    st.warning(f"**{text}**" + (f"  \n{escape(names)}" if names else ""), icon=":material/search_off:")
    if is_attached:
        st.page_link("system.py", label=_("Index them again on the System page"), icon=":material/healing:")
    else:
        st.page_link("knowledge_bases.py", label=_("Index them again in the knowledge base"), icon=":material/healing:")


def draw_remedy(user_id: UUID, count: int, base: KnowledgeBase | None = None) -> int:
    """Offer to index them again: all of the user's, or those of one knowledge base; returns how many wait for that."""
    lacking = count_lacking(services().database, user_id, base.id if base else None) if count else Lacking()
    if lacking.under_way and not lacking.ready:
        text = ngettext(
            "{count} document is indexed again. Until it is ready, answers lack what it says.",
            "{count} documents are indexed again. Until they are ready, answers lack what they say.",
            lacking.under_way,
        )
        st.info(text, icon=":material/healing:")
    if not lacking.ready:
        return 0
    with st.container(key="unsearchable"):
        text = ngettext(
            "{count} document cannot be searched: Milvus does not have all its text.",
            "{count} documents cannot be searched: Milvus does not have all their text.",
            lacking.ready,
        )
        why = _(
            "Its data was lost or damaged, or MILVUS_URI was changed. If you set it back, or restore a backup, compare "
            "again on the System page. Otherwise index them again from their uploads: names, chats and citations stay."
        )
        st.warning(f"**{text}**  \n{escape(why)}", icon=":material/search_off:")
        st.button(
            _("Index them again"),
            key="index_again",
            type="primary",
            icon=":material/healing:",
            on_click=_index_again,
            args=(user_id, base.id if base else None),
        )
    return lacking.ready


def _index_again(user_id: UUID, knowledge_base_id: UUID | None) -> None:
    with errors_flashed():
        done = index_again(services().database, services().files, user_id, knowledge_base_id)
        if done.queued:
            text = ngettext("{count} document was queued.", "{count} documents were queued.", done.queued)
            announce(text, ":material/healing:")
        if done.without_file:
            text = ngettext(
                "{count} document cannot be indexed again, because its file is missing. Upload it again.",
                "{count} documents cannot be indexed again, because their files are missing. Upload them again.",
                done.without_file,
            )
            announce(text, ":material/error:", "long")
