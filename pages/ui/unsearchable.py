"""What cannot be searched: documents that Milvus lacks chunks of, which can be indexed again, and knowledge bases."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.errors import from_code
from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, NotSearched, Unsearchable
from kb.reconciling import Lacking, count_lacking, failed_check, index_again
from kb.retrieval.corpora import ATTACHED
from pages.ui.feedback import announce, errors_flashed
from pages.ui.i18n import _, ago, error_text, join_list, ngettext
from pages.ui.resources import services
from pages.ui.state import state

SHOWN_LISTS = 5


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
    if is_attached or len(state().chosen.knowledge_base_ids) != 1:  # of several, the first may lack nothing
        st.page_link("system.py", label=_("Index them again on the System page"), icon=":material/healing:")
    else:
        st.page_link("knowledge_bases.py", label=_("Index them again in the knowledge base"), icon=":material/healing:")


def draw_not_searched(failed: Sequence[NotSearched]) -> None:
    """Say with an answer from other knowledge bases that these could not be searched, and why."""
    for each in failed:
        home = _(ATTACHED) if each.knowledge_base == ATTACHED else each.knowledge_base
        text = _("“{name}” could not be searched, so what it says is missing here.").format(name=escape(home))
        reason = " ".join(error_text(from_code(each.code, each.values)))
        st.warning(f"**{text}**  \n{escape(reason)}", icon=":material/search_off:")


def draw_unreadable(base: KnowledgeBase) -> None:
    """Say that the knowledge base's index could not be read when it was last compared."""
    found = failed_check(services().database, base.collection)
    if not found:
        return
    error, checked_at = found
    text = _("The index of this knowledge base could not be read {ago}.").format(ago=ago(checked_at))
    what_to_do = _(
        "Questions to it fail, or miss what it says, until it can be read. If its data in Milvus is damaged (the log "
        "of Milvus says so), drop the collection {collection} there, press “Compare now” on the System page, and "
        "index its documents again."
    ).format(collection=f"`{base.collection}`")
    st.warning(f"**{text}** {escape(error_text(error)[0])}  \n{what_to_do}", icon=":material/search_off:")


def draw_remedy(principal: Principal, count: int, base: KnowledgeBase | None = None) -> int:
    """Offer to index them again: all of the user's, or those of one knowledge base.

    Returns how many are ready by their state, but cannot be searched.
    """
    lacking = count_lacking(services().database, principal, base.id if base else None) if count else Lacking()
    if lacking.under_way and not lacking.ready:
        text = ngettext(
            "{count} document is being indexed again. Until it is ready, answers lack what it says.",
            "{count} documents are being indexed again. Until they are ready, answers lack what they say.",
            lacking.under_way,
        )
        st.info(text, icon=":material/healing:")
    if lacking.given_up:
        text = ngettext(
            "{count} document cannot be searched: it could not be indexed again. "
            "Its row in the list says why, and what to do.",
            "{count} documents cannot be searched: they could not be indexed again. "
            "Their rows in the list say why, and what to do.",
            lacking.given_up,
        )
        st.warning(text, icon=":material/search_off:")
    if lacking.without_file:
        text = ngettext(
            "{count} document cannot be searched, and its original file is missing. Upload it again in its row, "
            "or restore a backup and press “Compare now” on the System page.",
            "{count} documents cannot be searched, and their original files are missing. Upload them again in their "
            "rows, or restore a backup and press “Compare now” on the System page.",
            lacking.without_file,
        )
        st.warning(text, icon=":material/search_off:")
    if not lacking.ready:
        return lacking.without_file
    with st.container(key="unsearchable"):
        text = ngettext(
            "{count} document cannot be searched: Milvus does not have all its text.",
            "{count} documents cannot be searched: Milvus does not have all their text.",
            lacking.ready,
        )
        why = _(
            "Its data was lost or damaged, or MILVUS_URI was changed. If you set it back, or restore a backup, press "
            "“Compare now” on the System page. Otherwise index them again from their uploads: names, chats and "
            "citations stay."
        )
        st.warning(f"**{text}**  \n{escape(why)}", icon=":material/search_off:")
        st.button(
            _("Index them again"),
            key="index_again",
            type="primary",
            icon=":material/healing:",
            on_click=_index_again,
            args=(principal, base.id if base else None),
        )
    return lacking.ready + lacking.without_file


def draw_lists(principal: Principal) -> None:
    """Lead to the knowledge bases with such documents, whose lists say more of each."""
    lacking = [base for base in services().knowledge_bases.list(principal) if base.unsearchable_count]
    for base in lacking[:SHOWN_LISTS]:
        st.page_link(
            "knowledge_bases.py",
            label=_("Open “{name}”").format(name=escape(base.name)),
            icon=":material/folder_open:",
            query_params={"knowledge_base": str(base.id)},
        )


def _index_again(principal: Principal, knowledge_base_id: UUID | None) -> None:
    with errors_flashed():
        done = index_again(services().database, services().files, principal, knowledge_base_id)
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
