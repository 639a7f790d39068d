"""Uploading files into a knowledge base."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.typing import UploadedFile

from kb.errors import DatabaseUnavailable, KbError, UploadsLost
from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, User
from kb.parsing import SUPPORTED_EXTENSIONS
from pages.ui.arrivals import forget_file, forget_files, has_arrivals
from pages.ui.documents import show_newest
from pages.ui.feedback import flash
from pages.ui.i18n import _, ngettext, number
from pages.ui.resources import services
from pages.ui.state import state

UPLOAD_KEY = "upload"
NAMES_SHOWN = 5


def draw_upload(user: User, base: KnowledgeBase, knowledge_bases: Sequence[KnowledgeBase]) -> None:
    """Takes files as soon as they have arrived; nothing else is to be pressed.

    While files of this session are on their way, the knowledge bases it has shown keep their uploaders, each in its
    place and hidden: what still arrives when another one is chosen goes where it was dropped.
    """
    current = state()
    if not current.uploaders:
        forget_files()  # that came after their page was left
    if not has_arrivals():
        current.uploaders = [base.id]
    elif base.id not in current.uploaders:
        current.uploaders.append(base.id)
    _style_uploaders(base)
    bases = {base.id: base for base in knowledge_bases}
    with st.container(key=UPLOAD_KEY, gap=None):
        for base_id in current.uploaders:
            with st.container(key=f"{UPLOAD_KEY}-box-{base_id}", gap="xsmall"):
                files = _draw_uploader(bases[base_id]) if base_id in bases else None
            if files:
                _take(user, bases[base_id], files)
                current.uploads[base_id] += 1
                if base_id == base.id:
                    show_newest()
                st.rerun()


def _style_uploaders(base: KnowledgeBase) -> None:
    # Streamlit has no translations: its own words are hidden, and the button gets ours.
    label = _("Choose files, or drop them here")
    button = f".st-key-{UPLOAD_KEY} section button[data-testid=stBaseButton-secondary]"
    others = f"[class*=st-key-{UPLOAD_KEY}-box-]:not(.st-key-{UPLOAD_KEY}-box-{base.id})"
    st.html(f"<style>{button}::after {{ content: '{label}' }} {others} {{ display: none }}</style>")


def _draw_uploader(base: KnowledgeBase) -> list[UploadedFile]:
    kinds = ", ".join(extension.removeprefix(".").upper() for extension in SUPPORTED_EXTENSIONS)
    limit = services().settings.max_upload_mb
    # No types: a file that cannot be read yet is refused by name and reason, not silently by the browser.
    files = st.file_uploader(
        _("Upload files into “{name}”").format(name=escape(base.name)),
        accept_multiple_files=True,
        key=f"{UPLOAD_KEY}-{base.id}",
        help=_("Readable are: {kinds}.").format(kinds=kinds),
        max_upload_size=limit,
        # The types belong to the widget's identity: others empty it, while its key stays. Both stand for any type.
        type=[] if state().uploads[base.id] % 2 else None,
    )
    # The browser leaves larger ones out, and the page is not told of them.
    st.caption(_("Up to {limit} MB a file; larger ones are left out.").format(limit=number(limit)))
    return files


def _take(user: User, base: KnowledgeBase, files: Sequence[UploadedFile]) -> None:
    """Keep each file, and tell the workers of it at once: they begin while the next one is saved."""
    kept, all_sent = 0, True
    label = ngettext("Saving {count} file…", "Saving {count} files…", len(files))
    bar = st.progress(0.0, label)
    for done, file in enumerate(files, 1):
        try:
            document = services().documents.register(user.id, base.id, file.name, file)
        except DatabaseUnavailable as error:
            lost = files[done - 1 :]
            flash(UploadsLost(detail=error.values.get("detail", ""), names=_listed([file.name for file in lost])))
            for file in lost:
                forget_file(file.file_id)
            break  # after one failure, no more waiting
        except KbError as error:
            flash(error)
        else:
            kept += 1
            all_sent = all_sent and document.latest.sent_at is not None
        forget_file(file.file_id)  # it is on disk now
        bar.progress(done / len(files), label)
    bar.empty()
    if not kept:
        return
    if all_sent:
        st.toast(ngettext("{count} file saved", "{count} files saved", kept), icon=":material/check:")
    else:
        text = _("Your files are saved, and processed as soon as all services are back.")
        st.toast(text, icon=":material/save:", duration="long")


def _listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" … (+{more})" if more > 0 else "")
