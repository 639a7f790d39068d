"""The choice of where to search: one or several knowledge bases, and some of their files where wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import streamlit as st

from kb.access import Permission
from kb.errors import NotFound
from kb.extracts import escape_markdown as escape
from kb.library import KNOWLEDGE_BASE
from kb.models import Document, DocumentOrder, KnowledgeBase, Scope, VersionState
from pages.ui.choices import choice
from pages.ui.feedback import dialog, show_error
from pages.ui.i18n import _, ngettext, number
from pages.ui.resources import current_principal, services
from pages.ui.state import Lost, state

SEVERAL = "several"  # stands for all chosen ones in the list of knowledge bases
BASES_KEY = "scope_bases"
SEARCH_KEY = "scope_search"
FILES_KEY = "scope_files"  # the files ticked so far, by id, with their knowledge bases and names
FILE_KEY = "scope_file"
SHOWN_FILES = 20
MOST_FILES = 100  # the address names each of them

Choose = Callable[[Scope], None]  # a callback of the page: this was chosen


def base_labels(knowledge_bases: Sequence[KnowledgeBase]) -> dict[UUID, str]:
    """What lists call each of them: its name, and whose it is where another has the same name."""
    names = Counter(base.name for base in knowledge_bases)
    return {
        base.id: f"{base.name} · {base.owner_name}" if names[base.name] > 1 and not is_own(base) else base.name
        for base in knowledge_bases
    }


def is_own(base: KnowledgeBase) -> bool:
    """Whether it is the user's, and not shared with them."""
    return base.permission is Permission.OWN


def names_of(scope: Scope, knowledge_bases: Sequence[KnowledgeBase]) -> list[str]:
    """The names of the chosen knowledge bases, in the order of the choice."""
    names = base_labels(knowledge_bases)
    return [names[each] for each in scope.knowledge_base_ids if each in names]


def scope_label(scope: Scope, knowledge_bases: Sequence[KnowledgeBase]) -> str:
    """In short: “Handbook + 2 · 3 files”."""
    chosen = names_of(scope, knowledge_bases)
    label = f"{chosen[0]} + {number(len(chosen) - 1)}" if len(chosen) > 1 else "".join(chosen)
    return f"{label} · {_files(len(scope.document_ids))}" if label and scope.document_ids else label


def _files(count: int) -> str:
    return ngettext("{count} file", "{count} files", count)


def show_lost(lost: Lost, knowledge_bases: Sequence[KnowledgeBase]) -> None:
    """Say what of the choice was deleted, and where questions go now."""
    if lost.knowledge_bases:
        show_error(NotFound(what=KNOWLEDGE_BASE))
    if lost.documents:
        text = ngettext(
            "{count} of the chosen files no longer exists.",
            "{count} of the chosen files no longer exist.",
            lost.documents,
        )
        st.warning(text, icon=":material/delete:")
    if label := scope_label(state().chosen, knowledge_bases):
        st.caption(_("Questions now go to: {name}").format(name=escape(label)))


def draw_scope(knowledge_bases: Sequence[KnowledgeBase], key: str, choose: Choose) -> None:
    """Draw the list of knowledge bases under the name `key`, and what opens the choice of several and of files."""
    chosen = state().chosen
    names: dict[UUID | str, str] = dict(base_labels(knowledge_bases).items())
    options: list[UUID | str] = list(names)
    shown: UUID | str | None = chosen.first_id
    if len(chosen.knowledge_base_ids) > 1:
        names[SEVERAL] = scope_label(Scope(chosen.knowledge_base_ids), knowledge_bases)
        options.insert(0, SEVERAL)
        shown = SEVERAL
    st.selectbox(
        _("Knowledge base"),
        options,
        format_func=lambda each: names.get(each, "…"),
        **choice(key, shown, options, partial(_choose_one, choose)),
    )
    count = len(chosen.document_ids)
    with st.container(horizontal=True, key=f"{key}_scope", gap="small", vertical_alignment="center"):
        label = _("Only {files}").format(files=_files(count)) if count else _("Several, or only some files…")
        if st.button(label, key=f"{key}_more", type="tertiary", icon=":material/filter_alt:"):
            _open(knowledge_bases, choose)
        if count:
            st.button(
                _("Clear"),
                key=f"{key}_all_files",
                type="tertiary",
                icon=":material/close:",
                help=_("Search all files"),
                on_click=choose,
                args=(Scope(chosen.knowledge_base_ids),),
            )


def _choose_one(choose: Choose, chosen: UUID | str | None) -> None:
    if isinstance(chosen, UUID):  # not `SEVERAL`, which only the dialog chooses
        choose(Scope.of(chosen))


# --- several, and files ---


def _open(knowledge_bases: Sequence[KnowledgeBase], choose: Choose) -> None:
    chosen = state().chosen
    for key in [key for key in st.session_state if str(key).startswith((FILE_KEY, SEARCH_KEY))]:
        del st.session_state[key]
    st.session_state[BASES_KEY] = list(chosen.knowledge_base_ids)
    st.session_state[FILES_KEY] = {each.id: each for each in _documents(chosen.knowledge_base_ids, chosen.document_ids)}

    @dialog(_("Where to search"))
    def draw() -> None:
        names = base_labels(knowledge_bases)
        with st.container(key="scope", gap="small"):
            base_ids: list[UUID] = st.pills(
                _("Knowledge bases"),
                list(names),
                selection_mode="multi",
                format_func=lambda each: escape(names[each]),
                key=BASES_KEY,
            )
            _draw_files(base_ids, names)
        st.button(
            _("Search here"),
            key="scope_apply",
            type="primary",
            disabled=not base_ids,
            on_click=_apply,
            args=(choose,),
            width="stretch",
        )

    draw()


def _documents(base_ids: Sequence[UUID], document_ids: Sequence[UUID]) -> list[Document]:
    """Those of these documents that the knowledge bases hold."""
    if not document_ids:
        return []
    principal, documents = current_principal(), services().documents
    return [
        document
        for base_id in base_ids
        for document in documents.list(
            principal, base_id, limit=MOST_FILES, order=DocumentOrder.NAME, within=document_ids
        )
    ]


def _draw_files(base_ids: Sequence[UUID], names: dict[UUID, str]) -> None:
    """A field to search for files, and a list to tick them: first those that are ticked, then what is found."""
    ticked: dict[UUID, Document] = st.session_state[FILES_KEY]
    own = {key: document for key, document in ticked.items() if document.knowledge_base_id in base_ids}
    found, has_more = find_files(base_ids, str(st.session_state.get(SEARCH_KEY, "")).strip())
    st.text_input(
        _("Only these files"),
        key=SEARCH_KEY,
        placeholder=_("Find files by name"),
        help=_("Without any, all are searched."),
    )
    with st.container(height=260, key="scope_list", gap="xxsmall"):
        for document in {document.id: document for document in [*own.values(), *found]}.values():
            label = escape(document.name)
            if len(base_ids) > 1:
                label += f" · :gray[{escape(names.get(document.knowledge_base_id, ''))}]"
            is_ticked = document.id in own
            ticking = choice(f"{FILE_KEY}-{document.id}", is_ticked, (False, True), partial(_tick, document))
            st.checkbox(label, disabled=len(own) >= MOST_FILES and not is_ticked, **ticking)
        if has_more:
            st.caption(_("There are more. Type a part of the name to find them."))
        elif not found:
            st.caption(
                _("No file that is ready has such a name.") if st.session_state[SEARCH_KEY] else _("No file is ready.")
            )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        text = _("All files are searched.") if not own else _("Only {files}").format(files=_files(len(own)))
        st.caption(text)
        if own:
            st.button(_("Clear"), key="scope_clear", type="tertiary", icon=":material/close:", on_click=ticked.clear)


def find_files(base_ids: Sequence[UUID], search: str) -> tuple[list[Document], bool]:
    """The first files that can answer and whose names hold the words of `search`, and whether there are more."""
    found: list[Document] = []
    for base_id in base_ids:
        found += services().documents.list(
            current_principal(),
            base_id,
            limit=SHOWN_FILES + 1 - len(found),
            states=[VersionState.READY],
            search=search,
            order=DocumentOrder.NAME,
        )
        if len(found) > SHOWN_FILES:
            return found[:SHOWN_FILES], True
    return found, False


def _tick(document: Document, is_ticked: bool) -> None:
    ticked: dict[UUID, Document] = st.session_state[FILES_KEY]
    ticked.pop(document.id, None)
    if is_ticked:
        ticked[document.id] = document


def _apply(choose: Choose) -> None:
    base_ids: list[UUID] = st.session_state[BASES_KEY]
    ticked: dict[UUID, Document] = st.session_state[FILES_KEY]
    files = [key for key, document in ticked.items() if document.knowledge_base_id in base_ids]
    # The whole page is to be drawn: parts of it would leave the dialog open.
    state().has_dialog = state().has_parts = False
    if base_ids:
        choose(Scope(tuple(base_ids), tuple(files[:MOST_FILES])))
    st.rerun()
