"""What Milvus and the uploads hold that the database does not know: how much, why it is kept, and what can be done."""

from __future__ import annotations

import streamlit as st

from kb.extracts import escape_markdown as escape
from kb.reconciling import Reconciled
from pages.ui.i18n import _, ngettext, number, size
from pages.ui.resources import services

COMMAND = "python -m kb.reconciling"


def draw_leftovers(found: Reconciled) -> None:
    """Say it below the comparison; nothing if there is none."""
    if folders := found.unknown_folders:
        text = ngettext(
            "{count} file in the uploads folder belongs to no document ({size}).",
            "{count} files in the uploads folder belong to no document ({size}).",
            sum(folder.items for folder in folders),
            size=size(sum(folder.size_bytes for folder in folders)),
        )
        why = _(
            "Zhiwen never deletes such files: they may be the only copies. They are left when an older backup of the "
            "database is restored, or when a process is killed during an upload. Restore the newer database to get the "
            "documents back, or delete by hand what nobody needs. {command} lists the files and folders in {folder}."
        )
        uploads = services().settings.uploads
        _draw(text, why.format(command=f"`{COMMAND}`", folder=f"`{uploads}`"), ":material/draft:")
    if collections := found.unknown_collections:
        text = ngettext(
            "{count} collection in Milvus belongs to no knowledge base ({chunks} chunks).",
            "{count} collections in Milvus belong to no knowledge base ({chunks} chunks).",
            len(collections),
            chunks=number(sum(collection.items for collection in collections)),
        )
        why = _(
            "They only take up space, unless another installation uses this Milvus with a copy of this database, or "
            "you are going to restore a newer database. {command} drops them."
        )
        _draw(text, why.format(command=f"`{COMMAND} --drop-unknown`"), ":material/database:")


def _draw(text: str, why: str, icon: str) -> None:
    st.info(f"**{escape(text)}**  \n{why}", icon=icon)
