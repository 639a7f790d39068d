"""Knowledge bases: create them, upload files, watch them become searchable."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from kb.access import Permission
from kb.embedding import ModelState, full_name, provider_of
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.embedding.models import BUILTIN_MODELS
from kb.errors import NotFound
from kb.extracts import escape_markdown as escape
from kb.library import KNOWLEDGE_BASE
from kb.models import KnowledgeBase, User
from pages.ui.choices import choice
from pages.ui.documents import draw_documents, show_newest
from pages.ui.feedback import close_dialog_if, confirm, dialog, errors_flashed, errors_shown, show_error
from pages.ui.i18n import _, ngettext, size
from pages.ui.prompt_editor import open_prompt_editor
from pages.ui.resources import current_user, services
from pages.ui.scope import is_own
from pages.ui.sharing import can_share, draw_shared_with, open_sharing
from pages.ui.state import forget_id, preferred, query_id, state
from pages.ui.uploads import draw_upload

CHOICE_KEY = "shown_knowledge_base"
NAME_KEY = "knowledge_base_name"
MODEL_KEY = "knowledge_base_model"
RENAME_KEY = "rename_knowledge_base"
MORE_KEY = "more_knowledge_base"


def main() -> None:
    st.header(_("Knowledge bases"), anchor=False)
    with errors_shown():
        draw_page(current_user())


def draw_page(user: User) -> None:
    knowledge_bases = services().knowledge_bases.list(user.principal)
    if not knowledge_bases:
        draw_first_steps(user)
        return
    base = draw_choice(user, knowledge_bases)
    if is_own(base):
        draw_shared_with(user, base)
    else:
        _draw_owner(base)
    _offer_multilingual_model(base)
    if base.permission.includes(Permission.EDIT):
        draw_upload(user, base)
    draw_documents(user, base)


def draw_first_steps(user: User) -> None:
    st.write(
        _("A knowledge base is a group of files that you can ask questions. Create one, then upload files into it.")
    )
    _draw_new_button(user, primary=True)


def draw_choice(user: User, knowledge_bases: list[KnowledgeBase]) -> KnowledgeBase:
    """The choice of the knowledge base to show, with what can be done to it."""
    bases = {base.id: base for base in knowledge_bases}
    wanted = query_id("knowledge_base") or state().chosen.first_id
    if wanted and wanted not in bases:
        show_error(NotFound(what=KNOWLEDGE_BASE))
        show_newest()
    chosen = wanted if wanted in bases else preferred(knowledge_bases)
    assert chosen is not None  # there is at least one
    with st.container(horizontal=True, vertical_alignment="bottom", key="line-knowledge-base"):
        st.selectbox(
            _("Knowledge base"),
            list(bases),
            format_func=lambda key: _label(bases[key]) if key in bases else "…",
            **choice(CHOICE_KEY, chosen, bases, _show),
        )
        _draw_new_button(user, primary=False)
        base = bases[chosen]
        if base.permission.includes(Permission.EDIT):
            _draw_more(user, base)
    state().show(base.id)
    return base


def _draw_more(user: User, base: KnowledgeBase) -> None:
    """What can be done to the knowledge base."""
    with st.popover(_("More"), icon=":material/more_horiz:", key=MORE_KEY, on_change="rerun"):
        key = f"{RENAME_KEY}-{base.id}"
        st.text_input(_("Name"), value=base.name, key=key)
        st.button(_("Rename"), key="rename", on_click=_rename, args=(user, base, key), width="stretch")
        if st.button(_("Prompt…"), key="edit_prompt", width="stretch", on_click=_close_more):
            open_prompt_editor(user, base)
        if base.permission is not Permission.OWN:
            return
        if can_share(user, base) and st.button(
            _("Share…"), key="share_knowledge_base", icon=":material/group_add:", width="stretch", on_click=_close_more
        ):
            open_sharing(user, base)
        # Otherwise it stays open above the confirmation.
        if st.button(
            _("Delete…"),
            key="delete_knowledge_base",
            icon=":material/delete:",
            width="stretch",
            on_click=_close_more,
        ):
            _confirm_delete(user, base)


def _label(base: KnowledgeBase) -> str:
    parts = [base.name, ngettext("{count} document", "{count} documents", base.document_count)]
    return " · ".join(parts if is_own(base) else [*parts, _("shared by {owner}").format(owner=base.owner_name)])


def _draw_owner(base: KnowledgeBase) -> None:
    """Say who shares the knowledge base, and what one may do with it."""
    if base.permission.includes(Permission.EDIT):
        text = _(
            "{owner} shares this knowledge base with you: you can ask it, and change its documents and its settings."
        )
    else:
        text = _("{owner} shares this knowledge base with you: you can ask it, and read its documents.")
    st.caption(text.format(owner=f"**{escape(base.owner_name)}**"))


def _show(knowledge_base_id: UUID) -> None:
    show_newest()
    state().show(knowledge_base_id)


# --- creating ---


def _draw_new_button(user: User, primary: bool) -> None:
    if st.button(
        _("New knowledge base"),
        key="new_knowledge_base",
        icon=":material/add:",
        type="primary" if primary else "secondary",
    ):
        _draw_new_dialog(user)


def _draw_new_dialog(user: User) -> None:
    @dialog(_("New knowledge base"))
    def create() -> None:
        with st.form("new_knowledge_base_form", border=False):
            st.text_input(_("Name"), key=NAME_KEY, placeholder=_("Any name, in any language"))
            offered = services().offered_embeddings(user.principal)
            providers = {provider.id: provider.name for provider in services().providers.list(user.principal)}
            st.radio(
                _("Embedding model"),
                offered,
                key=MODEL_KEY,
                format_func=_model_label,
                captions=[_model_caption(name, providers) for name in offered],
                help=_("It finds passages by meaning. A knowledge base keeps its model."),
            )
            created = st.form_submit_button(
                _("Create"), key="create_knowledge_base", type="primary", on_click=_create, args=(user,)
            )
        close_dialog_if(created)

    create()


def _create(user: User) -> None:
    with errors_flashed():
        model = services().embeddings.get(st.session_state[MODEL_KEY])
        base = services().knowledge_bases.create(user.principal, st.session_state[NAME_KEY], model.name)
        services().embeddings.prepare(model.name)
        _show(base.id)


def _model_label(name: str) -> str:
    labels = {
        E5.name: _("Multilingual: Chinese, English and some 90 other languages"),
        MINILM.name: _("Fast: English only"),
    }
    return labels.get(name) or escape(full_name(name) if provider_of(name) else name)


def _model_caption(name: str, providers: dict[UUID, str]) -> str:
    """Who provides a model; or what a built-in one is called, and its size if it is still to be downloaded."""
    if provider_id := provider_of(name):
        return escape(providers.get(provider_id, ""))
    status, model = services().embeddings.status(name), BUILTIN_MODELS.get(name)
    if status is None or model is None:
        return ""
    title = model.published.title
    if status.state in (ModelState.READY, ModelState.DAMAGED):
        return title
    return _("{title}, a download of {size}").format(title=title, size=size(model.published.wheel_bytes))


def _offer_multilingual_model(base: KnowledgeBase) -> None:
    """Tell the owner of a knowledge base with the English model what the multilingual one would add."""
    if base.embedding_model == MINILM.name:
        st.caption(
            _(
                "The embedding model of this knowledge base knows English only. The multilingual model also finds "
                "Chinese passages by meaning, and passages in another language than the question. To use it, create a "
                "new knowledge base and upload the files there."
            )
        )


# --- renaming and deleting ---


def _rename(user: User, base: KnowledgeBase, key: str) -> None:
    _close_more()
    with errors_flashed():
        services().knowledge_bases.rename(user.principal, base.id, st.session_state[key])


def _close_more() -> None:
    st.session_state[MORE_KEY] = False


def _confirm_delete(user: User, base: KnowledgeBase) -> None:
    question = ngettext(
        "Delete “{name}” with its {count} document? This cannot be undone.",
        "Delete “{name}” with its {count} documents? This cannot be undone.",
        base.document_count,
        name=escape(base.name),
    )
    confirm(_("Delete knowledge base"), question, _("Delete"), lambda: _delete(user, base), "confirm_delete_base")


def _delete(user: User, base: KnowledgeBase) -> None:
    forget_id("knowledge_base")
    show_newest()
    others = [each for each in state().chosen.knowledge_base_ids if each != base.id]
    state().chosen = state().chosen.among(others)
    with errors_flashed():
        services().knowledge_bases.delete(user.principal, base.id)


main()
